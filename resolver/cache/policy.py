"""What is kept, under which key, for how long: pure rules, time passed in.

A record lives for the smallest TTL among its values and at most a day; TTL 0 is never kept (ARCHITECTURE §3.10).
A denial lives for a short time of our own choice, since its authority names none. Failures are never kept.
"""

from dataclasses import dataclass
from typing import Final

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.statuses import Status, parse_status
from protocol.value import MAX_TTL_S, ValueList

ENTRY_OVERHEAD_OCTETS: Final = 512  # objects around an entry's octets, by sys.getsizeof, rounded up
REVOKED_TTL_S: Final = 300  # ARCHITECTURE §3.14
DENIALS: Final = frozenset({ResponseCode.HANDLE_NOT_FOUND, ResponseCode.VALUES_NOT_FOUND})
MAX_MESSAGE_CHARACTERS: Final = 1_024  # of a denial's text; longer ones tell nobody more


FlatRecord = tuple[bytes, int, float, float]
FlatDenial = tuple[int, str, float, float]
"""Plain tuples of plain values, which the garbage collector lets go of after its first look. As objects, half a million
records would stop the node for a second whenever it looks at everything (measured: 2.4 microseconds each)."""


@dataclass(slots=True, kw_only=True)  # not frozen: one is made for each miss, and that takes half the time
class Record:
    """Every public value of a handle, as its authority sent them."""

    values: ValueList
    stored_s: float
    """Monotonic seconds when it was fetched."""
    expires_s: float
    """Monotonic seconds; not later than stored_s for a record that must not be kept."""

    @property
    def octets(self) -> int:
        """What the record weighs in a bounded cache."""
        return len(self.values.octets) + ENTRY_OVERHEAD_OCTETS

    @property
    def flat(self) -> FlatRecord:
        """The same as a cache in memory holds it."""
        return self.values.octets, self.values.count, self.stored_s, self.expires_s

    @classmethod
    def of(cls, flat: FlatRecord) -> "Record":
        """The record that a cache in memory held."""
        octets, count, stored_s, expires_s = flat
        return cls(values=ValueList(octets, count), stored_s=stored_s, expires_s=expires_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """The authority says that there is no such handle, or that it has no public value."""

    code: ResponseCode
    message: str
    """The authority's own words, for people; may be empty."""
    stored_s: float
    expires_s: float

    @property
    def octets(self) -> int:
        """What the denial weighs in a bounded cache."""
        return 4 * len(self.message) + ENTRY_OVERHEAD_OCTETS

    @property
    def flat(self) -> FlatDenial:
        """The same as a cache in memory holds it."""
        return int(self.code), self.message, self.stored_s, self.expires_s

    @classmethod
    def of(cls, flat: FlatDenial) -> "Denial":
        """The denial that a cache in memory held."""
        code, message, stored_s, expires_s = flat
        return cls(code=ResponseCode(code), message=message, stored_s=stored_s, expires_s=expires_s)


Entry = Record | Denial


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long things are kept, as the operator chose."""

    ttl_max_s: int = MAX_TTL_S
    negative_ttl_s: int = 30

    def of_values(self, values: ValueList, wall_s: float) -> int:
        """Seconds that a record may be kept; 0 when it must not be. wall_s: Unix seconds, for absolute TTLs."""
        return self.of_ttl(values.smallest_ttl_s(wall_s))

    def of_ttl(self, ttl_s: int) -> int:
        """Seconds that a record may be kept whose smallest TTL is this."""
        return min(ttl_s, self.ttl_max_s)

    def of_denial(self, code: int, message: str = "") -> int:
        """Seconds that a denial may be kept; 0 for a response code that denies nothing.

        message: the authority's text; of a revoked prefix it says so, and that does not change soon.
        """
        if code not in DENIALS:
            return 0
        status = parse_status(message) if self.negative_ttl_s else None
        return (
            REVOKED_TTL_S if status is not None and status.status is Status.REVOKED else self.negative_ttl_s
        )


def cache_key(handle: Handle) -> bytes:
    """The key of a record: the prefix folded, the suffix as spelled, slashless names completed.

    A cache cannot know whether an authority tells suffixes apart by case, so it never joins two spellings
    (PROTOCOL §1.2, 5). Names that begin with "0." fold as a whole.
    """
    return handle.fold(case_sensitive=True)


def record_entry(values: ValueList, *, lifetimes: Lifetimes, now_s: float, wall_s: float) -> Entry:
    """The entry for values that an authority sent; a record without values denies that there are any."""
    if values.count == 0:
        return denial_entry(ResponseCode.VALUES_NOT_FOUND, "", lifetimes=lifetimes, now_s=now_s)
    return Record(values=values, stored_s=now_s, expires_s=now_s + lifetimes.of_values(values, wall_s))


def denial_entry(code: ResponseCode, message: str, *, lifetimes: Lifetimes, now_s: float) -> Denial:
    """The entry for an authority's denial; its text is cut to a bounded length."""
    return Denial(
        code=code,
        message=message[:MAX_MESSAGE_CHARACTERS],
        stored_s=now_s,
        expires_s=now_s + lifetimes.of_denial(code, message),
    )


def select(entry: Entry, indexes: tuple[int, ...], types: tuple[str, ...]) -> ValueList | Denial:
    """What a question about part of a record gets: its public values that fit, or the denial.

    A record of which nothing fits becomes "values not found", which lives as long as the record.
    """
    if isinstance(entry, Denial):
        return entry
    selected = entry.values.select(indexes, types)
    if selected.count:
        return selected
    return Denial(
        code=ResponseCode.VALUES_NOT_FOUND, message="", stored_s=entry.stored_s, expires_s=entry.expires_s
    )
