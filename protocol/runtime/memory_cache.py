"""A table in memory, bounded in entries and in octets, that forgets what was not used for longest."""

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class MemoryCache(Generic[V]):
    """Least-recently-used table with an expiry per entry; every operation takes constant time.

    An expired entry is never returned; it leaves when it is asked for, replaced, or the least recently used.
    """

    def __init__(self, *, entries_max: int, octets_max: int) -> None:
        """Make an empty table. entries_max and octets_max are at least 1 and are never exceeded."""
        assert entries_max > 0
        assert octets_max > 0
        self.octets = 0
        """Octets that the entries weigh together."""
        self.evictions = 0
        """Entries that had to leave for others."""
        self._entries_max = entries_max
        self._octets_max = octets_max
        self._slots: OrderedDict[bytes, tuple[V, int, float]] = OrderedDict()

    def get(self, key: bytes, now_s: float) -> V | None:
        """The live entry under a key, which counts as used; None when there is none or it has expired."""
        slot = self._slots.get(key)
        if slot is None:
            return None
        value, _, expires_s = slot
        if now_s >= expires_s:
            self.discard(key)
            return None
        self._slots.move_to_end(key)
        return value

    def put(self, key: bytes, value: V, *, octets: int, expires_s: float) -> None:
        """Keep an entry in place of any older one under its key.

        octets: what it weighs, without the key. One that alone exceeds the table is not kept.
        """
        self.discard(key)
        weight = octets + len(key)
        if weight > self._octets_max:
            return
        self._slots[key] = (value, weight, expires_s)
        self.octets += weight
        while len(self._slots) > self._entries_max or self.octets > self._octets_max:
            _, (_, evicted_octets, _) = self._slots.popitem(last=False)
            self.octets -= evicted_octets
            self.evictions += 1

    def discard(self, key: bytes) -> None:
        """Forget the entry under a key, if any."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            self.octets -= slot[1]

    def clear(self) -> None:
        """Forget everything."""
        self._slots.clear()
        self.octets = 0

    def __len__(self) -> int:
        return len(self._slots)
