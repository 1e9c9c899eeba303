"""Generations: counters of change that the processes of one host share, so that a cached answer knows when it is old.

A writer marks the handles and prefixes that it changed after its commit and before its answer. A reader takes a stamp
before it reads the database, and what it made from that is valid while the stamp is current.

A slot is not counted up but set to a random number: two writers that mark one slot at the same time then need no lock,
and a slot never returns to an earlier state. Names share slots by hash, which only ever ends an entry too early.
"""

import mmap
import os
import secrets
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final
from zlib import crc32

HANDLE_SLOTS: Final = 65_536  # half a megabyte; two of ten handles written per second share one within hours
PREFIX_SLOTS: Final = 4_096
_EPOCH: Final = 0
_LAST: Final = 1
_FIRST_PREFIX: Final = 8
_FIRST_HANDLE: Final = _FIRST_PREFIX + PREFIX_SLOTS
_SLOTS: Final = _FIRST_HANDLE + HANDLE_SLOTS
_SLOT_OCTETS: Final = 8

_PAIR: Final = struct.Struct("=IQ")
_THREE: Final = struct.Struct("=IQIQIQ")

Stamp = bytes
"""Slot (four octets) and content (eight) by turns, as this machine orders octets; stamps are joined with +."""


class Generations:
    """The table, in a file that processes share, or in this process alone when path is None.

    The file is made when absent and needs no care: when it is lost, every cached answer ends, nothing else.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.memory = _open(path)
        """The slots as 64-bit numbers, for a reader that compares stamps by itself."""
        self._slots = memoryview(self.memory).cast("Q")
        self._barrier = threading.Lock()
        if not self._slots[_LAST]:
            self._slots[_LAST] = _fresh()
        self.changes = self._slots[_LAST : _LAST + 1]
        """last_change as the only item of a view, for whoever looks at it with every request."""

    @property
    def last_change(self) -> int:
        """A number that differs after every change, whatever was marked; never 0.

        Whoever finds a stamp current and remembers the number that he saw before he looked need not compare again
        while it is the same.
        """
        return self._slots[_LAST]

    def stamp(self, handle_key: bytes, prefix_key: bytes) -> Stamp:
        """The state of a handle and its prefix, both folded; take it before reading what the answer is made from."""
        slots = self._slots
        handle = _FIRST_HANDLE + crc32(handle_key) % HANDLE_SLOTS
        prefix = _FIRST_PREFIX + crc32(prefix_key) % PREFIX_SLOTS
        return _THREE.pack(_EPOCH, slots[_EPOCH], handle, slots[handle], prefix, slots[prefix])

    def current(self, stamp: Stamp) -> bool:
        """Whether nothing that the stamp covers was marked since."""
        slots = self._slots
        return all(slots[slot] == content for slot, content in _PAIR.iter_unpack(stamp))

    def bump(self, handle_keys: Iterable[bytes], prefix_keys: Iterable[bytes] = ()) -> None:
        """Marks handles and prefixes as changed; call after the commit and before the answer to the writer."""
        slots = self._slots
        fresh = _fresh()  # one number for all: an import marks ten thousand at once
        for key in handle_keys:
            slots[_handle_slot(key)] = fresh
        for key in prefix_keys:
            slots[_prefix_slot(key)] = fresh
        self._tell(fresh)

    def prefix_stamp(self, prefix_keys: Iterable[bytes]) -> Stamp:
        """The state of some folded prefixes, for what was made from what the node knows of them."""
        slots = self._slots
        stamp = _PAIR.pack(_EPOCH, slots[_EPOCH])
        for key in prefix_keys:
            slot = _prefix_slot(key)
            stamp += _PAIR.pack(slot, slots[slot])
        return stamp

    def bump_all(self) -> None:
        """Marks everything as changed; for what cannot be told by name."""
        fresh = _fresh()
        self._slots[_EPOCH] = fresh
        self._tell(fresh)

    def _tell(self, fresh: int) -> None:
        """Changes last_change, after everything that was marked.

        The lock is taken twice for its memory barriers alone: a processor that reorders writes could otherwise show
        another one the new last_change before the slots.
        """
        for _ in range(2):
            self._barrier.acquire()
            self._barrier.release()
        self._slots[_LAST] = fresh

    def close(self) -> None:
        """Lets go of the file, once whoever reads the table has let go of it too; of no use afterwards."""
        self._slots.release()
        if isinstance(self.memory, mmap.mmap):
            with suppress(
                BufferError
            ):  # an answer cache still points there; it lets go of it as it is let go of
                self.memory.close()


def _fresh() -> int:
    return secrets.randbits(64) | 1


def _handle_slot(key: bytes) -> int:
    return _FIRST_HANDLE + crc32(key) % HANDLE_SLOTS


def _prefix_slot(key: bytes) -> int:
    return _FIRST_PREFIX + crc32(key) % PREFIX_SLOTS


def _open(path: Path | None) -> "mmap.mmap | bytearray":
    octets = _SLOTS * _SLOT_OCTETS
    if path is None:
        return bytearray(octets)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, octets)
        return mmap.mmap(descriptor, octets)
    finally:
        os.close(descriptor)
