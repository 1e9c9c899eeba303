"""Per-day counters of a node: what reports need and what cannot be rebuilt later. Pure: time is passed in.

A node counts in memory and now and then takes the difference to its store, which adds counts and keeps the largest
peak. Source: DOMAIN.md §2.5, tables T3 and T8.
"""

import datetime as dt
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Literal

from protocol.codes import ResponseCode
from protocol.runtime.node_seconds import NodeSeconds

SOURCES_MAX: Final = 10_000  # source networks counted by name per day and delta; the rest is counted together
OTHER_SOURCES: Final = "other"
_DAY_S: Final = 86_400
_EPOCH: Final = dt.date(1970, 1, 1)

_FAILURES: Final = frozenset(
    {
        ResponseCode.ERROR,
        ResponseCode.SERVER_TOO_BUSY,
        ResponseCode.PROTOCOL_ERROR,
        ResponseCode.RECURSION_LIMIT,
        ResponseCode.SERVER_BACKUP,
    }
)

Outcome = Literal["success", "denied", "failed"]


def outcome_of_code(code: int) -> Outcome:
    """What a response code counts as: a success, a definite answer that is none, or a failure."""
    if code == ResponseCode.SUCCESS:
        return "success"
    return "failed" if code in _FAILURES else "denied"


@dataclass(slots=True, kw_only=True)
class DayDelta:
    """What was counted for one day since the counters were last taken."""

    day: dt.date
    resolutions: int = 0
    successes: int = 0
    denials: int = 0
    failures: int = 0
    registrations: int = 0
    peak_per_s: int = 0
    """The most resolutions within one second of the clock, since the start of the day or of the process."""
    peak_wall_s: int = 0
    """The Unix second of that peak; 0 without one."""
    latency_min_s: float | None = None
    latency_max_s: float | None = None
    latency_sum_s: float = 0.0
    """The average is this by resolutions."""
    sources: dict[str, int] = field(default_factory=dict)
    """Resolutions by source network."""

    @property
    def peak_at(self) -> dt.datetime | None:
        """The same as a moment; None without one."""
        return dt.datetime.fromtimestamp(self.peak_wall_s, dt.UTC) if self.peak_wall_s else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not (self.resolutions or self.registrations)


def bound_sources(sources: dict[str, int], named: AbstractSet[str], sources_max: int) -> dict[str, int]:
    """The counts of a day's sources, those that are new and beyond the bound added up as OTHER_SOURCES.

    named: the sources that the day's rows in the store name already.
    """
    bounded: dict[str, int] = {}
    room = sources_max - len(named - {OTHER_SOURCES})
    for source, count in sources.items():
        name = source
        if source not in named and source != OTHER_SOURCES:
            name = source if room > 0 else OTHER_SOURCES
            room -= 1
        bounded[name] = bounded.get(name, 0) + count
    return bounded


class DayCounters:
    """Counts resolutions and registrations of each day.

    utc_offset_s: where the day begins, in seconds east of Greenwich. sources_max: see SOURCES_MAX. seconds: what the
    other processes of the node count too, so that a peak is the node's; None for the only process.
    """

    def __init__(
        self,
        *,
        utc_offset_s: int = 0,
        sources_max: int = SOURCES_MAX,
        seconds: NodeSeconds | None = None,
    ) -> None:
        self._seconds = seconds
        self._utc_offset_s = utc_offset_s
        self._sources_max = sources_max
        self._days: dict[int, DayDelta] = {}
        self._today: DayDelta | None = None
        """The day of the second under way."""
        self._second = 0
        self._in_second = 0

    def record(self, wall_s: float, outcome: Outcome, elapsed_s: float, source_network: str) -> None:
        """Counts one resolution that was answered at wall_s (Unix time) after elapsed_s."""
        day = self.record_many(wall_s, outcome, elapsed_s, 1)
        sources = day.sources
        if source_network in sources:
            sources[source_network] += 1
        else:
            self._count_source(day, source_network, 1)

    def record_many(self, wall_s: float, outcome: Outcome, elapsed_s: float, count: int) -> DayDelta:
        """Counts resolutions that were answered together, each after elapsed_s; their sources are told apart."""
        second = int(wall_s)
        day = self._today if second == self._second else None
        if day is None:
            day = self._today = self._day(wall_s)
        day.resolutions += count
        if outcome == "success":
            day.successes += count
        elif outcome == "denied":
            day.denials += count
        else:
            day.failures += count
        self._count_second(day, second, count)
        day.latency_sum_s += elapsed_s * count
        if day.latency_min_s is None or elapsed_s < day.latency_min_s:
            day.latency_min_s = elapsed_s
        if day.latency_max_s is None or elapsed_s > day.latency_max_s:
            day.latency_max_s = elapsed_s
        return day

    def record_sources(self, wall_s: float, networks: Iterable[tuple[str, int]]) -> None:
        """Counts the source networks of resolutions that record_many() counted."""
        day = self._day(wall_s)
        for network, count in networks:
            self._count_source(day, network, count)

    def record_registrations(self, wall_s: float, count: int = 1) -> None:
        """Counts identifiers that were newly created."""
        self._day(wall_s).registrations += count

    def take_delta(self) -> tuple[DayDelta, ...]:
        """The counts since the last call, one for each day that has any; give_back() what cannot be stored."""
        self._look_at_node()
        taken = tuple(delta for delta in self._days.values() if not delta.is_empty)
        self._days.clear()
        self._today = None
        return taken

    def give_back(self, deltas: Iterable[DayDelta]) -> None:
        """Counts again what was taken and could not be stored."""
        for delta in deltas:
            number = (delta.day - _EPOCH).days
            self._merge(self._days.setdefault(number, DayDelta(day=delta.day)), delta)

    def _day(self, wall_s: float) -> DayDelta:
        number = int(wall_s + self._utc_offset_s) // _DAY_S
        day = self._days.get(number)
        if day is None:
            date = _EPOCH + dt.timedelta(days=number)
            day = self._days[number] = DayDelta(day=date)
        return day

    def _count_second(self, day: DayDelta, second: int, count: int) -> None:
        """The second under way is counted across take_delta(), so that a peak is never cut in two."""
        if second == self._second:
            self._in_second += count
        else:
            self._look_at_node()
            self._second, self._in_second = second, count
        if self._seconds is not None:
            self._seconds.publish(second, self._in_second)
        if self._in_second > day.peak_per_s:
            day.peak_per_s, day.peak_wall_s = self._in_second, second

    def _look_at_node(self) -> None:
        """Raises peaks to what all processes together had in a second; each that counts in a day does, for all."""
        if self._seconds is None:
            return
        for second, total in self._seconds.totals().items():
            day = self._days.get((second + self._utc_offset_s) // _DAY_S)
            if day is not None and total > day.peak_per_s:
                day.peak_per_s, day.peak_wall_s = total, second

    def _count_source(self, day: DayDelta, network: str, count: int) -> None:
        sources = day.sources
        if network not in sources and len(sources) >= self._sources_max:
            network = OTHER_SOURCES
        sources[network] = sources.get(network, 0) + count

    def _merge(self, day: DayDelta, delta: DayDelta) -> None:
        for name in ("resolutions", "successes", "denials", "failures", "registrations", "latency_sum_s"):
            setattr(day, name, getattr(day, name) + getattr(delta, name))
        if delta.peak_per_s > day.peak_per_s:
            day.peak_per_s, day.peak_wall_s = delta.peak_per_s, delta.peak_wall_s
        day.latency_min_s = min(_known(day.latency_min_s, delta.latency_min_s), default=None)
        day.latency_max_s = max(_known(day.latency_max_s, delta.latency_max_s), default=None)
        for network, count in delta.sources.items():
            self._count_source(day, network, count)


def _known(*latencies: float | None) -> list[float]:
    return [latency for latency in latencies if latency is not None]
