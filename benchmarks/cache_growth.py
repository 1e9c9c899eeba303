"""What an answer costs when more is kept: cached answers with 10^3, 10^5 and 10^6 entries, rows with 10^5 and 10^7.

    python -m benchmarks.cache_growth --full

Every name comes as often as every other, so that no processor cache helps a hot few. A recursive node of its own for
each number of entries, with and without the compiled module, asked in turn (a registry keeps an answer for thirty
seconds at most, and a million take longer to come); and a registry without an answer cache for each number of rows. At
reduced size the largest are left out: 10^5 entries, 10^6 rows.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final

from benchmarks.command import Options, run
from benchmarks.import_rate import laboratory
from benchmarks.load.requests import handle_requests
from benchmarks.record import names
from benchmarks.report import Bar, Outcome, Plot, Spread, at_most, compare
from benchmarks.rounds import Rounds, in_turn, tell
from benchmarks.targets import ours
from benchmarks.targets.loaded import Target, udp
from benchmarks.targets.process import floor, workspace

ENTRIES: Final = (1_000, 100_000)
ENTRIES_FULL: Final = (1_000, 100_000, 1_000_000)
ROWS: Final = (100_000, 1_000_000)
ROWS_FULL: Final = (100_000, 10_000_000)
OCTETS_PER_ENTRY: Final = 4_096  # room enough that nothing is evicted
PATHS: Final = {"": (False, 1.40), ", Python": (True, 1.25)}
"""Suffix of the name, whether the compiled module is left out, and what an answer may cost of that with few entries."""
ROWS_RATIO: Final = 1.5
FILL_WINDOW: Final = 64
UNIT: Final = "us of CPU"


@contextmanager
def caches(entries: tuple[int, ...]) -> Iterator[dict[str, Target]]:
    """Recursive nodes whose answer caches hold so many entries."""
    with ExitStack() as stack:
        directory = stack.enter_context(workspace())
        authority = stack.enter_context(floor("wire", "handle"))
        found = {}
        for suffix, (pure, _) in PATHS.items():
            for count in entries:
                name = entries_name(count, suffix)
                octets = max(ours.CACHE_OCTETS, count * OCTETS_PER_ENTRY)
                file_name = name.replace(",", "")
                node = ours.recursive(
                    directory, file_name, authority.address, pure=pure, answer_cache_octets_max=octets
                )
                found[name] = udp(stack.enter_context(node), handle_requests(names(count)))
                tell(f"cache growth: filling {name}")
                found[name].sample(sent_max=count, window=FILL_WINDOW)
        yield found


def entries_name(count: int, suffix: str) -> str:
    """What a node is called that keeps so many answers."""
    return f"recursive node, {count:,} entries{suffix}"


@contextmanager
def tables(rows: tuple[int, ...]) -> Iterator[dict[str, Target]]:
    """Registries with so many rows, and without an answer cache."""
    with ExitStack() as stack:
        made = stack.enter_context(laboratory())
        found = {}
        for count in rows:
            tell(f"cache growth: copying {count:,} rows")
            dsn = ours.filled_database(made, f"rows{count}", count)
            name = f"registry, {count:,} rows"
            node = ours.registry(made, name.replace(",", ""), dsn, answer_cache_octets_max=0)
            found[name] = udp(stack.enter_context(node), handle_requests(names(count)))
        yield found


def growth(
    rounds: Rounds, sizes: Mapping[str, str], *, what: str, limits: Mapping[str, float], part: str = ""
) -> Outcome:
    """Cost of each size beside that of the smallest. sizes: the name of the smallest for each name."""
    outcome = Outcome()

    def cost_us(name: str) -> list[float]:
        return [1e6 / figure for figure in rounds.per_cpu_s(name, part)]

    for name, smallest in sizes.items():
        costs, base = cost_us(name), cost_us(smallest)
        title = f"{what}: {name}"
        if name == smallest:
            outcome.lines.append(compare(title, costs, unit=UNIT))
            continue
        limit = at_most(limits[name])
        outcome.lines.append(compare(title, costs, unit=UNIT, beside=smallest, baselines=base, aim=limit))
    bars = [Bar(name, Spread.of(cost_us(name))) for name in sizes]
    plot = what.replace(" ", "_")
    outcome.plots.append(Plot(name=plot, title=f"{what}: microseconds of CPU for an answer", bars=bars))
    return outcome


def of_caches(options: Options) -> Outcome:
    """Cached answers."""
    entries = ENTRIES_FULL if options.full else ENTRIES
    sizes: dict[str, str] = {}
    limits: dict[str, float] = {}
    for suffix, (_, limit) in PATHS.items():
        ordered = [entries_name(count, suffix) for count in entries]
        sizes |= dict.fromkeys(ordered, ordered[0])
        limits |= dict.fromkeys(ordered, limit)
    with caches(entries) as found:
        loads = {name: target.flat_out(options.seconds) for name, target in found.items()}
        rounds = in_turn(loads, options.rounds, "cache growth")
        outcome = growth(rounds, sizes, what="cached answers", limits=limits, part="daemon")
        for name, target in found.items():
            held = ours.metric(target.server.admin_port, "handlegrid_cache_entries", cache="answers")
            outcome.notes.append(f"cache growth: the answer cache of {name} held {held:,.0f}")
    return outcome


def of_tables(options: Options) -> Outcome:
    """Look-ups in the database."""
    with tables(ROWS_FULL if options.full else ROWS) as found:
        for target in found.values():
            target.sample(seconds=options.seconds)
        rounds = in_turn(
            {name: target.flat_out(options.seconds) for name, target in found.items()},
            options.rounds,
            "registry look-ups",
        )
    smallest = next(iter(found))
    limits = dict.fromkeys(found, ROWS_RATIO)
    return growth(rounds, dict.fromkeys(found, smallest), what="registry look-ups", limits=limits)


def measurement(options: Options) -> Outcome:
    """Measure."""
    cached, looked_up = of_caches(options), of_tables(options)
    return Outcome(
        lines=cached.lines + looked_up.lines,
        plots=cached.plots + looked_up.plots,
        notes=cached.notes
        + ([] if options.full else ["cache growth: 10^6 entries and 10^7 rows are of the full size alone"]),
    )


if __name__ == "__main__":
    run(measurement, __doc__)
