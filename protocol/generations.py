"""Generations: counters of change that the processes of one host share, so that a cached answer knows when it is old.

A writer marks the handles and prefixes that it changed after its commit and before its answer. A reader takes a stamp
before it reads the database, and what it made from that is valid while the stamp is current.

A slot is not counted up but set to a random number: two writers that mark one slot at the same time then need no lock,
and a slot never returns to an earlier state. Names share slots by hash, which only ever ends an entry too early.
"""

import mmap
import os
import secrets
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

HANDLE_SLOTS: Final = 65_536  # half a megabyte; two of ten handles written per second share one within hours
PREFIX_SLOTS: Final = 4_096
_EPOCH: Final = 0
_FIRST_PREFIX: Final = 8
_FIRST_HANDLE: Final = _FIRST_PREFIX + PREFIX_SLOTS
_SLOTS: Final = _FIRST_HANDLE + HANDLE_SLOTS
_SLOT_OCTETS: Final = 8

Stamp = tuple[int, ...]
"""Slot and content by turns; stamps are joined with +."""


class Generations:
    """The table, in a file that processes share, or in this process alone when path is None.

    The file is made when absent and needs no care: when it is lost, every cached answer ends, nothing else.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._map = _open(path)
        self._slots = memoryview(self._map).cast("Q")

    def stamp(self, handle_key: bytes, prefix_key: bytes) -> Stamp:
        """The state of a handle and its prefix, both folded; take it before reading what the answer is made from."""
        slots = self._slots
        handle = _handle_slot(handle_key)
        prefix = _prefix_slot(prefix_key)
        return (_EPOCH, slots[_EPOCH], handle, slots[handle], prefix, slots[prefix])

    def current(self, stamp: Stamp) -> bool:
        """Whether nothing that the stamp covers was marked since."""
        slots = self._slots
        return all(slots[stamp[at]] == stamp[at + 1] for at in range(0, len(stamp), 2))

    def bump(self, handle_keys: Iterable[bytes], prefix_keys: Iterable[bytes] = ()) -> None:
        """Marks handles and prefixes as changed; call after the commit and before the answer to the writer."""
        slots = self._slots
        fresh = secrets.randbits(64)  # one number for all: an import marks ten thousand at once
        for key in handle_keys:
            slots[_handle_slot(key)] = fresh
        for key in prefix_keys:
            slots[_prefix_slot(key)] = fresh

    def prefix_stamp(self, prefix_keys: Iterable[bytes]) -> Stamp:
        """The state of some folded prefixes, for what was made from what the node knows of them."""
        slots = self._slots
        stamp = [_EPOCH, slots[_EPOCH]]
        for key in prefix_keys:
            slot = _prefix_slot(key)
            stamp += (slot, slots[slot])
        return tuple(stamp)

    def bump_all(self) -> None:
        """Marks everything as changed; for what cannot be told by name."""
        self._slots[_EPOCH] = secrets.randbits(64)

    def close(self) -> None:
        """Lets go of the file; the object is of no use afterwards."""
        self._slots.release()
        if isinstance(self._map, mmap.mmap):
            self._map.close()


def _handle_slot(key: bytes) -> int:
    return _FIRST_HANDLE + zlib.crc32(key) % HANDLE_SLOTS


def _prefix_slot(key: bytes) -> int:
    return _FIRST_PREFIX + zlib.crc32(key) % PREFIX_SLOTS


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
