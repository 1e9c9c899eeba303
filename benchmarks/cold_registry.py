"""Random names of a registry whose answer cache is off, beside a bare asyncpg loop of one key to a statement.

    python -m benchmarks.cold_registry

10^6 rows. 64 requests are in flight, and the bare loop runs 64 times at once; both have pools of ten connections to the
same Postgres and use prepared statements. CPU-seconds are those of Postgres and its client together, and of each. Then
one request after the other, alone: its latency beside that of the bare look-up. PowerDNS Authoritative reads as many
records from the same Postgres, its caches off.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.command import Options, run
from benchmarks.import_rate import laboratory
from benchmarks.load.requests import dns_requests, handle_requests, shuffled
from benchmarks.load.run import WINDOW
from benchmarks.record import names
from benchmarks.report import Bar, Outcome, Plot, Spread, at_least, at_most, compare
from benchmarks.rounds import Rounds, Sample, in_turn, tell
from benchmarks.targets import dns, ours
from benchmarks.targets.keys import KeysLoop, keys_loop
from benchmarks.targets.loaded import Target, udp

ROWS: Final = 1_000_000
CONNECTIONS: Final = 10  # the registry's default
BARE: Final = "bare loop"
REGISTRY: Final = "registry"
PYTHON: Final = "registry, Python"
POWERDNS: Final = "PowerDNS"
OURS: Final = (REGISTRY, PYTHON)
UNIT: Final = "answers/CPU-s"


@dataclass(frozen=True, slots=True)
class Found:
    """What is measured."""

    bare: KeysLoop
    targets: dict[str, Target]


@contextmanager
def targets(rows: int) -> Iterator[Found]:
    """All servers on one Postgres, ready."""
    with ExitStack() as stack:
        made = stack.enter_context(laboratory())
        tell(f"cold registry: copying {rows:,} rows")
        dsn = ours.filled_database(made, "cold", rows)
        asked = handle_requests(names(rows))
        found = {}
        for name in OURS:
            node = ours.registry(
                made,
                name,
                dsn,
                pure=name == PYTHON,
                answer_cache_octets_max=0,
                database_connections_max=CONNECTIONS,
            )
            found[name] = udp(stack.enter_context(node), asked)
        if dns.installed("pdns_server"):
            tell(f"cold registry: PowerDNS gets {rows:,} records")
            server = stack.enter_context(dns.powerdns(made, rows))
            found[POWERDNS] = udp(server, dns_requests(shuffled(rows)))
        bare = stack.enter_context(keys_loop(made, dsn, rows=rows, connections=CONNECTIONS))
        yield Found(bare, found)


def report(flat: Rounds, lone: Rounds) -> Outcome:
    """Aims and figures."""
    outcome = Outcome()
    for name, samples in flat.samples.items():
        each = ", ".join(
            f"{part} {Spread.of(sample.per_part_cpu_s(part) for sample in samples)}"
            for part in samples[0].cpu_s
        )
        note = f"per CPU-second of each: {each}"
        outcome.lines.append(compare(f"cold registry: {name}", flat.per_cpu_s(name), unit=UNIT, note=note))
        outcome.lines.append(compare(f"cold registry: {name}", flat.rates(name), unit="answers/s"))
    for name in OURS:
        for other, aim in ((BARE, at_least(2)), (POWERDNS, None)):
            if other in flat.samples:
                outcome.lines.append(
                    compare(
                        f"cold registry: {name} to {other}",
                        flat.per_cpu_s(name),
                        unit=UNIT,
                        beside=other,
                        baselines=flat.per_cpu_s(other),
                        aim=aim,
                    )
                )
        outcome.lines.append(
            compare(
                f"cold registry: {name}, a lone request",
                lone.p50_ms(name),
                unit="ms",
                beside=BARE,
                baselines=lone.p50_ms(BARE),
                aim=at_most(1.2),
            )
        )
    bars = [Bar(name, Spread.of(flat.per_cpu_s(name))) for name in flat.samples]
    title = "Random names from the database, per CPU-second of server and Postgres"
    outcome.plots.append(Plot(name="cold_registry", title=title, bars=bars))
    return outcome


def measurement(options: Options) -> Outcome:
    """Measure."""
    with targets(ROWS) as found:
        for loops in (WINDOW, 1):
            found.bare.sample(loops, options.seconds)  # warms up connections and the database's pages
            for target in found.targets.values():
                target.sample(window=loops, seconds=options.seconds)
        rounds = []
        for loops, what in ((WINDOW, "cold registry"), (1, "cold registry, lone requests")):
            loads: dict[str, Callable[[], Sample]] = {
                name: partial(target.sample, window=loops, seconds=options.seconds)
                for name, target in found.targets.items()
            }
            loads[BARE] = partial(found.bare.sample, loops, options.seconds)
            rounds.append(in_turn(loads, options.rounds, what))
        outcome = report(*rounds)
    outcome.notes.append(f"cold registry: {ROWS:,} rows")
    if POWERDNS not in found.targets:
        outcome.notes.append("PowerDNS Authoritative is not installed (pdns-server, pdns-backend-pgsql)")
    return outcome


if __name__ == "__main__":
    run(measurement, __doc__)
