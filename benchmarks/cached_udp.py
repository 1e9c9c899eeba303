"""Cached answers over UDP: registry and recursive node, with the compiled module and without, beside Unbound and a bare
echo, in one run.

    python -m benchmarks.cached_udp

A record of 300 octets under a thousand names, 64 requests in flight. Unbound answers TXT records of the same size; it
is driven by the same generator, and by dnsperf as well. The compiled echo is the floor of any such server, and what is
reached against it is the ceiling of the generator.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from benchmarks.command import Options, run
from benchmarks.import_rate import laboratory
from benchmarks.load.requests import dns_requests, handle_requests, parse_names, shuffled
from benchmarks.record import NAMES, names
from benchmarks.report import Aim, Bar, Outcome, Plot, Spread, at_least, at_most, compare
from benchmarks.rounds import Rounds, Sample, in_turn
from benchmarks.targets import dns, ours
from benchmarks.targets.loaded import Target, udp
from benchmarks.targets.process import Server, floor, workspace

ECHO: Final = "bare echo"
CALLBACKS: Final = "echo on uvloop"
UNBOUND: Final = "Unbound"
DNSPERF: Final = "Unbound by dnsperf"
OTHER: Final = "Handle server"
REGISTRY: Final = "registry"
RECURSIVE: Final = "recursive node"
PYTHON: Final = ", Python"
OURS: Final = (REGISTRY, RECURSIVE, REGISTRY + PYTHON, RECURSIVE + PYTHON)
UNIT: Final = "answers/CPU-s"
HALF: Final = 0.5
WARM_UP_WINDOW: Final = 16


@contextmanager
def targets(options: Options) -> Iterator[dict[str, Target]]:
    """All servers, ready."""
    asked, questions = handle_requests(names()), dns_requests(shuffled(NAMES))
    with ExitStack() as stack:
        directory = stack.enter_context(workspace())
        made = stack.enter_context(laboratory())
        echoed = handle_requests(names(), code=0)
        found = {
            ECHO: udp(stack.enter_context(floor("wire", "echo")), echoed),
            CALLBACKS: udp(stack.enter_context(floor("callbacks", "echo")), echoed),
        }
        if dns.installed("unbound"):
            authority = stack.enter_context(floor("wire", "dns"))
            found[UNBOUND] = udp(stack.enter_context(dns.unbound(directory, authority.address)), questions)
        authority = stack.enter_context(floor("wire", "handle"))
        dsn = ours.filled_database(made, "cached", NAMES)
        for pure, suffix in ((False, ""), (True, PYTHON)):
            registry = ours.registry(made, REGISTRY + suffix, dsn, pure=pure)
            found[REGISTRY + suffix] = udp(stack.enter_context(registry), asked)
            recursive = ours.recursive(directory, RECURSIVE + suffix, authority.address, pure=pure)
            found[RECURSIVE + suffix] = udp(stack.enter_context(recursive), asked)
        if options.handle_server is not None:
            theirs = options.handle_server
            server = Server(
                name=OTHER, address=theirs.address, parts={"server": theirs.pid} if theirs.pid else {}
            )
            found[OTHER] = udp(server, handle_requests(parse_names(theirs.names, shuffled(NAMES))))
        yield found


def warm_up(target: Target) -> None:
    """Fill the cache: every name twice."""
    target.sample(window=WARM_UP_WINDOW, sent_max=2 * NAMES)


def by_dnsperf(target: Target, options: Options, names_file: Path) -> Callable[[], Sample]:
    """The same server under dnsperf, whose seconds are whole."""

    def sample() -> Sample:
        before = target.server.cpu_s()
        answers, rate = dns.dnsperf(target.server, names_file, seconds=options.seconds, window=64)
        after = target.server.cpu_s()
        used = {part: after[part] - before[part] for part in before}
        return Sample(answers=answers, answers_per_s=rate, cpu_s=used)

    return sample


def report(flat: Rounds, half: Rounds, paths: dict[str, str]) -> Outcome:
    """Aims and figures."""
    outcome = Outcome()
    for name in flat.samples:
        if flat.samples[name][0].cpu_s:
            notes = [flat.ceiling_note(name, ECHO) if name != ECHO else "", paths.get(name, "")]
            figures = flat.per_cpu_s(name)
            line = compare(f"cached UDP: {name}", figures, unit=UNIT, note="; ".join(filter(None, notes)))
            outcome.lines.append(line)
        if name in (ECHO, OTHER, *OURS):
            outcome.lines.append(compare(f"cached UDP: {name}", flat.rates(name), unit="answers/s"))
    outcome.lines.append(
        compare(
            f"cached UDP at half load: {ECHO}, p99", half.p99_ms(ECHO), unit="ms"
        )  # the machine's own share
    )
    for name in OURS:
        python = name.endswith(PYTHON)
        beside: list[tuple[str, Aim | None]] = [
            (UNBOUND, at_least(0.5 if python else 1.2)),
            (ECHO, None if python else at_least(0.65)),
            (DNSPERF, None),
            (OTHER, None),
        ]
        for other, aim in beside:
            if other in flat.samples and flat.samples[other][0].cpu_s:
                outcome.lines.append(
                    compare(
                        f"cached UDP: {name} to {other}",
                        flat.per_cpu_s(name),
                        unit=UNIT,
                        beside=other,
                        baselines=flat.per_cpu_s(other),
                        aim=aim,
                    )
                )
        outcome.lines.append(
            compare(f"cached UDP at half load: {name}, p99", half.p99_ms(name), unit="ms", aim=at_most(1.0))
        )
    bars = [Bar(name, Spread.of(flat.per_cpu_s(name))) for name in flat.samples if any(flat.per_cpu_s(name))]
    plot = Plot(name="cached_udp", title="Cached answers over UDP per server CPU-second", bars=bars)
    outcome.plots.append(plot)
    return outcome


def measurement(options: Options) -> Outcome:
    """Measure."""
    with targets(options) as found, workspace() as directory:
        for target in found.values():
            warm_up(target)
        loads = {name: target.flat_out(options.seconds) for name, target in found.items()}
        if UNBOUND in found and dns.installed("dnsperf"):
            file = dns.dnsperf_names(directory / "names", NAMES)
            loads[DNSPERF] = by_dnsperf(found[UNBOUND], options, file)
        flat = in_turn(loads, options.rounds, "cached UDP")
        half = in_turn(
            {
                name: target.paced(HALF * flat.rate(name), options.seconds)
                for name, target in found.items()
                if name in (ECHO, *OURS)
            },
            options.rounds,
            "cached UDP at half load",
        )
        outcome = report(flat, half, {name: ours.fast_path(found[name].server) for name in OURS})
    if UNBOUND not in found:
        outcome.notes.append("Unbound is not installed: nothing stands beside our servers but the floors")
    elif DNSPERF not in loads:
        outcome.notes.append("dnsperf is not installed: Unbound was driven by our generator alone")
    return outcome


if __name__ == "__main__":
    run(measurement, __doc__)
