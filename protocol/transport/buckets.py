"""Token buckets of source networks in one block of memory, which the workers of a host and the compiled path share.

A bucket is kept as one number, the time at which it would be full again (the generic cell rate algorithm). Buckets
stand in sets of four, as in a processor's cache: a network that is not there takes the place of the one in its set that
is nearest to being full, so that forged sources cannot reset a busy bucket. Nothing locks: of two workers that take a
token at the same instant one may be forgotten, which admits a request more.
"""

import mmap
import secrets
from hashlib import blake2b
from typing import Final

SETS: Final = 16_384  # 65,536 networks in two megabytes; memory is used as far as sets are
WAYS: Final = 4
_WORD_OCTETS: Final = 8
_WAY_WORDS: Final = 4
_SET_WORDS: Final = WAYS * _WAY_WORDS
_HEADER_WORDS: Final = _SET_WORDS
_KEY_OCTETS: Final = 16
FULL: Final = (
    1  # words of a bucket: its tag, when it is full again, the same for packets, how often it was over
)
PACKETS: Final = 2
OVER: Final = 3


def octets_of(sets: int = SETS) -> int:
    """The size of a block."""
    return (_HEADER_WORDS + sets * _SET_WORDS) * _WORD_OCTETS


class Buckets:
    """The block as the processes see it: `words` and `times` are two views of the same memory."""

    def __init__(self, memory: bytearray | mmap.mmap | None = None, *, sets: int = SETS) -> None:
        """memory: octets_of(sets), zeros at first; None for memory of this process alone."""
        self.memory = bytearray(octets_of(sets)) if memory is None else memory
        octets = memoryview(self.memory)
        assert octets.nbytes >= octets_of(sets)
        self.words = octets.cast("Q")
        self.times: memoryview[float] = octets.cast("d")
        self._sets = sets
        if not any(octets[:_KEY_OCTETS]):
            octets[:_KEY_OCTETS] = secrets.token_bytes(_KEY_OCTETS)
        self._key = bytes(octets[:_KEY_OCTETS])

    def find(self, network: str, now_s: float) -> tuple[int, int]:
        """Where the bucket of a network stands, as the number of its first word, and its tag, the content of that.

        A new one is full. What find() gave counts while the tag stands there.
        """
        digest = int.from_bytes(blake2b(network.encode(), key=self._key, digest_size=16).digest(), "little")
        tag: Final = digest >> 64 | 1
        first = _HEADER_WORDS + digest % self._sets * _SET_WORDS
        ways = range(first, first + _SET_WORDS, _WAY_WORDS)
        for way in ways:
            if self.words[way] == tag:
                return way, tag
        way = min(ways, key=lambda way: max(self.times[way + FULL], self.times[way + PACKETS]))
        self.times[way + FULL] = self.times[way + PACKETS] = now_s
        self.words[way + OVER] = 0
        self.words[way] = tag
        return way, tag
