"""A look-up table of bounded octets and entries that a pass over cold names does not empty. It has no clock.

What comes in is on probation, in a queue that has a tenth of the table. When its turn to leave that comes, it moves to
the main queue if it was asked for meanwhile, or if there is room; else it leaves the table, and only a fingerprint of
its key stays, in the ghost. A key whose fingerprint is there was asked for before, and enters the main queue at once.
The main queue is a clock: what was asked for since the hand came by is passed over, up to three times. A scan so turns
over the probation queue alone, whether or not the names in use are asked for meanwhile.

Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023 (S3-FIFO). Unlike there, each queue
has its own share at all times, so that no request pays for promoting all that came before the table was full.

Both queues are rings through the entries themselves: an entry is taken out of the middle in constant time, and its
octets are free at once.
"""

from array import array
from typing import Final, Generic, TypeVar

ASKED_MAX: Final = 3
PROBATION_PART: Final = 10  # a tenth of the table
GHOST_SLOTS: Final = 65_536  # a quarter of a megabyte
PASSED_OVER_MAX: Final = 1_024  # by the hand, for one that leaves: one put must not take a tenth of a second
UNIT_OCTETS: Final = 16  # what allocators round to; small counts of it are shared numbers, and cost nothing
OVERHEAD_OCTETS: Final = 176  # dictionary slot (30 to 60), entry (80), header of the key (33); by tracemalloc


class TableEntry:
    """What a table holds; subclasses add the content, in __slots__ of their own. An entry is in one table at most."""

    __slots__ = ("asked", "is_main", "key", "newer", "older", "units")

    key: bytes
    asked: int
    """How often it was asked for since the hand came by, up to ASKED_MAX."""
    is_main: bool
    units: int
    newer: "TableEntry"
    older: "TableEntry"


E = TypeVar("E", bound=TableEntry)


class _Ring:
    """A queue through its entries."""

    __slots__ = ("count", "count_max", "is_main", "sentinel", "units", "units_max")

    def __init__(self, *, is_main: bool, count_max: int, units_max: int) -> None:
        self.is_main = is_main
        self.count_max = count_max
        self.units_max = units_max
        self.sentinel = TableEntry()
        self.clear()

    def clear(self) -> None:
        self.sentinel.newer = self.sentinel.older = self.sentinel
        self.count = self.units = 0

    def has_room_for(self, entry: TableEntry) -> bool:
        return self.count < self.count_max and self.units + entry.units <= self.units_max

    def add(self, entry: TableEntry) -> None:
        """At the new end."""
        sentinel = self.sentinel
        newest = sentinel.older
        entry.older, entry.newer = newest, sentinel
        newest.newer = sentinel.older = entry
        entry.is_main = self.is_main
        self.count += 1
        self.units += entry.units

    def take(self, entry: TableEntry) -> None:
        """From any place."""
        older, newer = entry.older, entry.newer
        older.newer, newer.older = newer, older
        del entry.older, entry.newer  # or what has left would hold what it stood between
        self.count -= 1
        self.units -= entry.units


class BoundedTable(Generic[E]):
    """Entries by key, at most octets_max octets and entries_max of them; the module says what leaves first."""

    def __init__(self, *, octets_max: int, entries_max: int) -> None:
        """octets_max: keys, entries and the table itself included, the ghost excepted. entries_max: two or more."""
        assert entries_max >= 2
        units_max = octets_max // UNIT_OCTETS
        count = max(1, entries_max // PROBATION_PART)
        units = units_max // PROBATION_PART
        self._probation = _Ring(is_main=False, count_max=count, units_max=units)
        self._main = _Ring(is_main=True, count_max=entries_max - count, units_max=units_max - units)
        self.entries: dict[bytes, E] = {}
        """What is held, for a look-up that counts what is asked for by itself; always the same dictionary."""
        self._forget_ghost()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def octets(self) -> int:
        """Octets held, as put() weighs them."""
        return (self._probation.units + self._main.units) * UNIT_OCTETS

    def get(self, key: bytes) -> E | None:
        """The entry of a key, which so is asked for."""
        entry = self.entries.get(key)
        if entry is not None and entry.asked < ASKED_MAX:
            entry.asked += 1
        return entry

    def put(self, key: bytes, entry: E, octets: int) -> bool:
        """Holds an entry, which must be in no table, in place of what was held for this key.

        octets: of its content and of what its class adds to an entry; key and table are added here. False, and
        nothing is held for the key, when that is more than a tenth of the table.
        """
        if key in self.entries:
            self.remove(key)
        entry.key, entry.asked = key, 0
        entry.units = units = -(-(octets + len(key) + OVERHEAD_OCTETS) // UNIT_OCTETS)
        if units > self._probation.units_max:
            return False
        self.entries[key] = entry
        if self._recall(key):
            self._main.add(entry)
        else:
            self._probation.add(entry)
            self._end_probations()
        self._turn_hand()
        return True

    def remove(self, key: bytes) -> None:
        """Forgets what is held for a key; when it comes back, it enters the main queue."""
        entry = self.entries.pop(key, None)
        if entry is not None:
            (self._main if entry.is_main else self._probation).take(entry)
            self._remember(key)

    def clear(self) -> None:
        """Forgets everything."""
        for entry in self.entries.values():
            del entry.older, entry.newer
        self.entries.clear()
        self._probation.clear()
        self._main.clear()
        self._forget_ghost()

    def _end_probations(self) -> None:
        """Sends on or evicts what the probation queue has no room for."""
        probation, main = self._probation, self._main
        while probation.count > probation.count_max or probation.units > probation.units_max:
            entry = probation.sentinel.newer
            probation.take(entry)
            if entry.asked or main.has_room_for(entry):
                main.add(entry)
            else:
                self._evict(entry)
                self._remember(entry.key)

    def _turn_hand(self) -> None:
        """Evicts what the main queue has no room for."""
        main = self._main
        while main.count > main.count_max or main.units > main.units_max:
            entry = main.sentinel.newer
            for _ in range(PASSED_OVER_MAX):
                if not entry.asked:
                    break
                entry.asked -= 1
                main.take(entry)
                main.add(entry)
                entry = main.sentinel.newer
            main.take(entry)
            self._evict(entry)

    def _evict(self, entry: TableEntry) -> None:
        del self.entries[entry.key]
        self.evicted += 1

    def _remember(self, key: bytes) -> None:
        number = hash(key)
        self._ghost[number % GHOST_SLOTS] = number >> 16 & 0xFFFF_FFFF | 1

    def _recall(self, key: bytes) -> bool:
        """Whether a key has been here, which is forgotten by asking."""
        number = hash(key)  # with a secret of this process: nobody can aim at a slot
        slot = number % GHOST_SLOTS
        was_here = self._ghost[slot] == number >> 16 & 0xFFFF_FFFF | 1
        if was_here:
            self._ghost[slot] = 0
        return was_here

    def _forget_ghost(self) -> None:
        self._ghost = array("I", bytes(4 * GHOST_SLOTS))
