"""The table in memory agrees with a model: a plain list in order of use."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.client.delegation import Delegation
from protocol.codes import ResponseCode
from protocol.handle import Handle, Prefix
from protocol.runtime.memory_cache import MemoryCache
from protocol.value import HandleValue, ValueList
from resolver.cache.policy import Lifetimes, denial_entry, record_entry
from resolver.cache.records import Clocks
from resolver.cache.tiered import Memory, TieredCache

ENTRIES_MAX = 4
OCTETS_MAX = 200
KEYS = st.sampled_from([b"a", b"bb", b"ccc", b"dddd", b"eeeee", b"ffffff"])


@dataclass
class Kept:
    """One entry of the model."""

    key: bytes
    value: int
    weight: int
    expires_s: float


@dataclass
class Model:
    """What a bounded table must do, written as plainly as possible."""

    entries: list[Kept] = field(default_factory=list)

    def get(self, key: bytes, now_s: float) -> int | None:
        found = next((entry for entry in self.entries if entry.key == key), None)
        if found is None:
            return None
        self.entries.remove(found)
        if now_s >= found.expires_s:
            return None
        self.entries.append(found)
        return found.value

    def put(self, entry: Kept) -> None:
        self.entries = [other for other in self.entries if other.key != entry.key]
        if entry.weight > OCTETS_MAX:
            return
        self.entries.append(entry)
        while len(self.entries) > ENTRIES_MAX or sum(other.weight for other in self.entries) > OCTETS_MAX:
            self.entries.pop(0)


class CacheMachine(RuleBasedStateMachine):
    """Drives table and model alike, and time with them."""

    def __init__(self) -> None:
        super().__init__()
        self.table: MemoryCache[int] = MemoryCache(entries_max=ENTRIES_MAX, octets_max=OCTETS_MAX)
        self.model = Model()
        self.now_s = 0.0

    @rule(key=KEYS, number=st.integers(), octets=st.integers(0, 250), life_s=st.integers(0, 20))
    def put(self, key: bytes, number: int, octets: int, life_s: int) -> None:
        expires_s = self.now_s + life_s
        self.table.put(key, number, octets=octets, expires_s=expires_s)
        self.model.put(Kept(key, number, octets + len(key), expires_s))

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        assert self.table.get(key, self.now_s) == self.model.get(key, self.now_s)

    @rule(key=KEYS)
    def discard(self, key: bytes) -> None:
        self.table.discard(key)
        self.model.entries = [entry for entry in self.model.entries if entry.key != key]

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.now_s += seconds

    @invariant()
    def both_weigh_the_same_within_the_bounds(self) -> None:
        assert len(self.table) == len(self.model.entries) <= ENTRIES_MAX
        assert self.table.octets == sum(entry.weight for entry in self.model.entries) <= OCTETS_MAX


TestCacheMachine = CacheMachine.TestCase


class Silent:
    """Counts nothing."""

    def looked_up(self, cache: str, tier: str, *, hit: bool) -> None:
        """As LookupObserver."""


NAMES = st.sampled_from(["88.1/a", "88.1/A", "88.2/a", "AB.1/a", "ab.1/a"])
CONTENTS = st.one_of(st.none(), st.tuples(st.integers(0, 200_000), st.integers(0, 200_000)))


@given(st.lists(st.tuples(NAMES, CONTENTS, st.integers(0, 100_000)), max_size=30))
def test_what_was_put_last_is_found_for_exactly_its_smallest_ttl(
    steps: list[tuple[str, tuple[int, int] | None, int]],
) -> None:
    now_s, lifetimes = 0.0, Lifetimes()
    memory = Memory(
        records=MemoryCache(entries_max=100, octets_max=1_000_000),
        denials=MemoryCache(entries_max=100, octets_max=1_000_000),
        delegations=MemoryCache(entries_max=100, octets_max=1_000_000),
    )
    cache = TieredCache(
        memory, lifetimes=lifetimes, observer=Silent(), clocks=lambda: Clocks(now_s=now_s, wall_s=now_s)
    )
    model: dict[bytes, tuple[object, float]] = {}
    for name, content, wait_s in steps:
        handle = Handle.parse(name)
        key = handle.prefix.key + b"/" + handle.suffix
        if content is None:
            entry = denial_entry(ResponseCode.HANDLE_NOT_FOUND, "no", lifetimes=lifetimes, now_s=now_s)
            life_s = 30
        else:
            values = ValueList.of(
                HandleValue(index=index, type="T", data=b"x", ttl=ttl) for index, ttl in enumerate(content, 1)
            )
            entry = record_entry(values, lifetimes=lifetimes, now_s=now_s, wall_s=now_s)  # type: ignore[assignment]
            life_s = min(*content, 86_400)
        cache.put(handle, entry)
        model[key] = (entry, now_s + life_s)
        now_s += wait_s
        expected, expires_s = model[key]
        assert cache.entry(key, now_s) == (expected if now_s < expires_s else None)


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_a_delegation_is_found_for_exactly_its_ttl(ttl_s: int, wait_s: int) -> None:
    now_s = 0.0
    memory = Memory(
        records=MemoryCache(entries_max=1, octets_max=10_000),
        denials=MemoryCache(entries_max=1, octets_max=10_000),
        delegations=MemoryCache(entries_max=1, octets_max=10_000),
    )
    cache = TieredCache(
        memory, lifetimes=Lifetimes(), observer=Silent(), clocks=lambda: Clocks(now_s=now_s, wall_s=now_s)
    )
    delegation = Delegation(prefix=Prefix.parse("88"), ttl_s=ttl_s)
    cache.put_delegation(delegation)
    now_s = float(wait_s)

    found = cache.delegation(Prefix.parse("88"))
    assert (found is not None) == (wait_s < min(ttl_s, 86_400))
