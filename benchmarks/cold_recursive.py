"""Names that were never asked before, whose prefix is known: the recursive node beside Unbound through one forwarder.

    python -m benchmarks.cold_recursive --full

One authority, a bare server of ours that speaks both protocols, has a record of 300 octets for every name. Unbound
forwards to it; the recursive node has learned from it once who serves the prefix. Every name is asked for once: 100,000
of them at full size in each round. A bare forwarder on uvloop's callbacks is the floor. At half load, the 99th
percentile of the recursive node is set beside the round trip to the authority at the same rate.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.command import Options, run
from benchmarks.load.requests import Requests, dns_requests, handle_requests, shuffled
from benchmarks.load.result import LoadResult
from benchmarks.load.run import run_udp
from benchmarks.record import some_names
from benchmarks.report import Bar, Outcome, Plot, Spread, at_least, at_most_above, compare
from benchmarks.rounds import Rounds, Sample, in_turn, measure
from benchmarks.targets import dns, ours
from benchmarks.targets.process import Server, floor, workspace

UNBOUND: Final = "Unbound, cold"
FORWARDER: Final = "bare forwarder"
RECURSIVE: Final = "recursive node"
PYTHON: Final = "recursive node, Python"
AUTHORITY: Final = "authority"
OURS: Final = (RECURSIVE, PYTHON)
UNIT: Final = "answers/CPU-s"
NAMES: Final = 20_000
NAMES_FULL: Final = 100_000
WARM_UP_NAMES: Final = 1_000
HALF: Final = 0.5


@dataclass(slots=True)
class Cold:
    """A server, and names that it has not been asked for yet."""

    server: Server
    is_dns: bool = False
    _next: int = 0

    def fresh(self, count: int) -> Requests:
        """Requests for so many names, each of them new."""
        first, self._next = self._next, self._next + count
        numbers = shuffled(count, first=first)
        return dns_requests(numbers) if self.is_dns else handle_requests(some_names(numbers))

    def sample(self, count: int, *, rate_per_s: float = 0.0) -> Sample:
        """Ask for so many fresh names once."""
        requests = self.fresh(count)

        def load() -> LoadResult:
            return run_udp(self.server.address, requests, sent_max=count, rate_per_s=rate_per_s)

        return measure(self.server, load)


@contextmanager
def targets() -> Iterator[dict[str, Cold]]:
    """All servers, ready, the prefix known."""
    with ExitStack() as stack:
        directory = stack.enter_context(workspace())
        authority = stack.enter_context(floor("wire", "handle"))
        host, port = authority.address
        found = {
            AUTHORITY: Cold(authority),
            FORWARDER: Cold(stack.enter_context(floor("callbacks", "forward", f"{host}:{port}"))),
        }
        if dns.installed("unbound"):
            answerer = stack.enter_context(floor("wire", "dns"))
            unbound = dns.unbound(directory, answerer.address, UNBOUND)
            found[UNBOUND] = Cold(stack.enter_context(unbound), is_dns=True)
        for name in OURS:
            node = ours.recursive(directory, name, authority.address, pure=name == PYTHON)
            found[name] = Cold(stack.enter_context(node))
        for target in found.values():
            target.sample(WARM_UP_NAMES)
        yield found


def half_load(found: dict[str, Cold], flat: Rounds, options: Options) -> Rounds:
    """Ours at half of what they can, each beside the authority asked at the same rate."""
    loads: dict[str, Callable[[], Sample]] = {}
    for name in OURS:
        rate = HALF * flat.rate(name)
        count = max(1, int(rate * options.seconds * 2))
        for label, target in ((name, found[name]), (f"{AUTHORITY} for {name}", found[AUTHORITY])):
            loads[label] = partial(target.sample, count, rate_per_s=rate)
    return in_turn(loads, options.rounds, "cold recursive at half load")


def report(flat: Rounds, half: Rounds) -> Outcome:
    """Aims and figures."""
    outcome = Outcome()
    for name in flat.samples:
        outcome.lines.append(compare(f"cold recursive: {name}", flat.per_cpu_s(name), unit=UNIT))
    for name in OURS:
        outcome.lines.append(compare(f"cold recursive: {name}", flat.rates(name), unit="answers/s"))
        for other, aim in ((UNBOUND, at_least(0.2)), (FORWARDER, None)):
            if other in flat.samples:
                outcome.lines.append(
                    compare(
                        f"cold recursive: {name} to {other}",
                        flat.per_cpu_s(name),
                        unit=UNIT,
                        beside=other,
                        baselines=flat.per_cpu_s(other),
                        aim=aim,
                    )
                )
        outcome.lines.append(
            compare(
                f"cold recursive at half load: {name}, p99",
                half.p99_ms(name),
                unit="ms",
                beside="round trip to the authority",
                baselines=half.p50_ms(f"{AUTHORITY} for {name}"),
                aim=at_most_above(2.0),
            )
        )
    bars = [Bar(name, Spread.of(flat.per_cpu_s(name))) for name in flat.samples if name != AUTHORITY]
    title = "Names never asked before per server CPU-second"
    outcome.plots.append(Plot(name="cold_recursive", title=title, bars=bars))
    return outcome


def measurement(options: Options) -> Outcome:
    """Measure."""
    count = options.size(NAMES, NAMES_FULL)
    with targets() as found:
        loads = {name: partial(target.sample, count) for name, target in found.items()}
        flat = in_turn(loads, options.rounds, "cold recursive")
        outcome = report(flat, half_load(found, flat, options))
    outcome.notes.append(f"cold recursive: {count:,} names never asked before in each round")
    if UNBOUND not in found:
        outcome.notes.append(
            "Unbound is not installed: nothing stands beside the recursive node but the floor"
        )
    return outcome


if __name__ == "__main__":
    run(measurement, __doc__)
