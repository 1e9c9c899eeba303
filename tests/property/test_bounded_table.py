"""The bounded table agrees with a model: two plain lists and the names that left."""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.transport.bounded_table import (
    ASKED_MAX,
    GHOST_SLOTS,
    OVERHEAD_OCTETS,
    UNIT_OCTETS,
    BoundedTable,
    TableEntry,
)

ENTRIES_MAX = 20
UNITS_MAX = 500
KEYS = st.binary(min_size=1, max_size=1).map(lambda octet: bytes([octet[0] % 40]))


class Number(TableEntry):
    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass
class Kept:
    """One entry of the model."""

    key: bytes
    number: int
    units: int
    asked: int = 0


@dataclass
class Model:
    """The policy, written as plainly as possible."""

    probation: list[Kept] = field(default_factory=list)
    main: list[Kept] = field(default_factory=list)
    ghost: dict[int, bytes] = field(default_factory=dict)

    def find(self, key: bytes) -> Kept | None:
        return next((entry for entry in self.probation + self.main if entry.key == key), None)

    def remember(self, key: bytes) -> None:
        self.ghost[hash(key) % GHOST_SLOTS] = key

    def remove(self, key: bytes) -> None:
        if self.find(key) is not None:
            self.remember(key)
        self.probation = [entry for entry in self.probation if entry.key != key]
        self.main = [entry for entry in self.main if entry.key != key]

    def put(self, entry: Kept) -> None:
        self.remove(entry.key)
        if entry.units > UNITS_MAX // 10:
            return
        slot = hash(entry.key) % GHOST_SLOTS
        if self.ghost.get(slot) == entry.key:
            del self.ghost[slot]
            self.main.append(entry)
        else:
            self.probation.append(entry)
        while len(self.probation) > ENTRIES_MAX // 10 or weight(self.probation) > UNITS_MAX // 10:
            self.end_probation(self.probation.pop(0))
        while not self.main_holds(self.main):
            oldest = self.main.pop(0)
            if oldest.asked:
                oldest.asked -= 1
                self.main.append(oldest)

    def end_probation(self, entry: Kept) -> None:
        if entry.asked or self.main_holds([*self.main, entry]):
            self.main.append(entry)
        else:
            self.remember(entry.key)

    @staticmethod
    def main_holds(main: list[Kept]) -> bool:
        return len(main) <= ENTRIES_MAX - ENTRIES_MAX // 10 and weight(main) <= UNITS_MAX - UNITS_MAX // 10


def weight(entries: list[Kept]) -> int:
    return sum(entry.units for entry in entries)


class TableMachine(RuleBasedStateMachine):
    """Drives table and model alike."""

    def __init__(self) -> None:
        super().__init__()
        self.table: BoundedTable[Number] = BoundedTable(
            octets_max=UNITS_MAX * UNIT_OCTETS, entries_max=ENTRIES_MAX
        )
        self.model = Model()

    @rule(key=KEYS, number=st.integers(), octets=st.integers(0, 700))
    def put(self, key: bytes, number: int, octets: int) -> None:
        units = -(-(octets + 1 + OVERHEAD_OCTETS) // UNIT_OCTETS)
        fits = self.table.put(key, Number(number), octets)
        assert fits == (units <= UNITS_MAX // 10)
        self.model.put(Kept(key, number, units))

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        entry, expected = self.table.get(key), self.model.find(key)
        if expected is not None:
            expected.asked = min(ASKED_MAX, expected.asked + 1)
        assert (entry and entry.number) == (expected and expected.number)

    @rule(key=KEYS)
    def remove(self, key: bytes) -> None:
        self.table.remove(key)
        self.model.remove(key)

    @rule()
    def clear(self) -> None:
        self.table.clear()
        self.model = Model()

    @invariant()
    def both_hold_as_much(self) -> None:
        kept = self.model.probation + self.model.main
        assert len(self.table) == len(kept)
        assert self.table.octets == weight(kept) * UNIT_OCTETS


TestBoundedTable = TableMachine.TestCase
