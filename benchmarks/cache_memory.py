"""What the answer cache takes: octets of resident memory for each entry, and how well its limit holds.

    python -m benchmarks.cache_memory --full

A registry whose answer cache is limited (64 MiB at full size) is asked for distinct names until the cache is full, and
then for ten times as many more, so that everything in it is replaced ten times. Resident memory is the kernel's,
counted from where it was when the data path was warm and the cache empty but for a hundred names. The octets of the
answers themselves are left out of an entry's overhead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.command import Options, run
from benchmarks.cpu import family, resident_octets
from benchmarks.import_rate import laboratory
from benchmarks.load.requests import handle_requests
from benchmarks.load.run import run_udp
from benchmarks.record import names, some_names
from benchmarks.report import Aim, Line, Outcome, Spread, at_most
from benchmarks.rounds import Sample, Unmeasurable, measure, tell
from benchmarks.targets import ours
from benchmarks.targets.process import Server

LIMIT: Final = 16 * ours.MIB
LIMIT_FULL: Final = 64 * ours.MIB
TURNS: Final = 10
ENTRY_LEAST: Final = (
    400  # octets that an entry of this record takes at least: so many names certainly fill it
)
CHUNK: Final = 2_000  # names asked for between two looks at whether the cache is full
WARM_NAMES: Final = 100
WARM_REQUESTS: Final = 20_000
OVERHEAD_MAX: Final = 300
WITHIN: Final = 1.10


@dataclass(frozen=True, slots=True)
class Seen:
    """Memory at one moment."""

    resident: int
    entries: float
    counted: float
    """What the server itself says that its cache takes."""

    @classmethod
    def of(cls, server: Server) -> "Seen":
        """Now."""
        return cls(
            resident_octets(*family(server.parts["daemon"])),
            ours.metric(server.admin_port, "handlegrid_cache_entries", cache="answers"),
            ours.metric(server.admin_port, "handlegrid_cache_bytes", cache="answers"),
        )


@contextmanager
def node(limit: int, rows: int, *, pure: bool) -> Iterator[Server]:
    """A registry with so many rows and such a cache."""
    with laboratory() as made:
        dsn = ours.filled_database(made, "memory", rows)
        with ours.registry(made, "registry", dsn, pure=pure, answer_cache_octets_max=limit) as server:
            yield server


def ask(server: Server, first: int, count: int) -> Sample:
    """Ask for so many fresh names once each."""
    requests = handle_requests(names(count, first=first))
    return measure(server, lambda: run_udp(server.address, requests, sent_max=count))


def fill(server: Server, limit: int, rows: int, suffix: str) -> Outcome:
    """Fill the cache, turn it over, and say what it took."""
    tell(f"cache memory: warming up{suffix}")
    hot = handle_requests(some_names(names(WARM_NAMES).numbers))
    warm = measure(server, lambda: run_udp(server.address, hot, sent_max=WARM_REQUESTS))
    answer_octets = len_of_answer(server)
    empty = Seen.of(server)
    assert warm.answers
    tell(f"cache memory: filling{suffix}")
    asked, full = until_full(server, rows)
    once = int(full.entries)
    for turn in range(TURNS):
        tell(f"cache memory: turning over{suffix}, {turn + 1} of {TURNS}")
        ask(server, asked + once * turn, once)
    turned = Seen.of(server)
    overhead = (full.resident - empty.resident) / max(1.0, full.entries - empty.entries) - answer_octets
    lines = [
        line(
            f"octets beside an answer's own {answer_octets}{suffix}",
            overhead,
            "octets",
            at_most(OVERHEAD_MAX),
        ),
        line(
            f"resident growth to the limit, filled{suffix}",
            growth(empty, full, limit),
            "of the limit",
            at_most(WITHIN),
        ),
        line(
            f"resident growth to the limit, turned over {TURNS} times{suffix}",
            growth(empty, turned, limit),
            "of the limit",
            at_most(WITHIN),
        ),
    ]
    note = (
        f"cache memory{suffix}: limit {limit:,} octets, {full.entries:,.0f} entries, counted as "
        f"{full.counted:,.0f} octets; "
        f"resident {empty.resident:,} empty, {full.resident:,} full, {turned.resident:,} turned over"
    )
    return Outcome(lines=lines, notes=[note])


def until_full(server: Server, rows: int) -> tuple[int, Seen]:
    """Ask for fresh names until something is evicted. Returns how many names were asked for, and what was seen."""
    asked = WARM_NAMES
    while asked + CHUNK <= rows // (TURNS + 1):
        ask(server, asked, CHUNK)
        asked += CHUNK
        seen = Seen.of(server)
        if seen.entries < asked:
            return asked, seen
    raise Unmeasurable(f"{server.name}: the cache was not full after {asked:,} names, or does not say so")


def growth(before: Seen, after: Seen, limit: int) -> float:
    """How much resident memory grew, as a share of the limit."""
    return (after.resident - before.resident) / limit


def len_of_answer(server: Server) -> int:
    """Octets of one answer."""
    result = run_udp(server.address, handle_requests(names(1)), sent_max=1)
    return result.octets // max(1, result.answers)


def line(name: str, value: float, unit: str, aim: Aim) -> Line:
    """A line of one figure."""
    return Line(name=f"cache memory: {name}", value=Spread.of([value]), unit=unit, aim=aim)


def measurement(options: Options) -> Outcome:
    """Measure."""
    limit = options.size(LIMIT, LIMIT_FULL)
    rows = (limit // ENTRY_LEAST + WARM_NAMES + CHUNK) * (TURNS + 1)
    outcome = Outcome()
    paths: tuple[tuple[bool, str], ...] = ((False, ""), (True, ", Python"))
    for pure, suffix in paths:
        with node(limit, rows, pure=pure) as server:
            found = fill(server, limit, rows, suffix)
        outcome.lines += found.lines
        outcome.notes += found.notes
    return outcome


if __name__ == "__main__":
    run(measurement, __doc__)
