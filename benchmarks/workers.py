"""How much more two workers answer than one, cached answers over UDP from one client socket.

    python -m benchmarks.workers

So that the generator has room beside them, each worker is given half a processor by a control group on machines with
fewer than four cores; where that is not possible, or there are more, nothing is limited. Whether there was room is
measured: workers that used less than nine tenths of what they may were kept waiting, by the generator or by what else
runs, and the ratio says little then. Answers per CPU-second are set beside each other as well: they need no room.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from benchmarks.command import Options, run
from benchmarks.cpu import family
from benchmarks.import_rate import laboratory
from benchmarks.load.requests import handle_requests
from benchmarks.record import NAMES, names
from benchmarks.report import Bar, Outcome, Plot, Spread, at_least, compare, number
from benchmarks.rounds import Rounds, in_turn
from benchmarks.targets import ours, quota
from benchmarks.targets.loaded import Target, udp
from benchmarks.targets.process import floor, workspace

COUNTS: Final = (1, 2)
CORES_WITH_ROOM: Final = 4
SHARE: Final = 0.5
WINDOW: Final = 256  # two workers must both have work, also while one of them waits for its share
RATIO: Final = 1.6
NODES: Final = ("recursive node", "registry")
SATURATED: Final = 0.9  # of what the workers may use: less, and they were kept waiting


def knows_workers(word: str) -> bool:
    """Whether the command that runs a daemon takes --workers."""
    command = [sys.executable, "-m", "deploy.cli", word, "--help"]
    return "--workers" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def label(node: str, count: int) -> str:
    """What a node with so many workers is called."""
    return f"{node}, {count} worker{'s' if count > 1 else ''}"


@contextmanager
def targets(*, limit: bool) -> Iterator[dict[str, Target]]:
    """Each node with one and with two workers."""
    with ExitStack() as stack:
        directory = stack.enter_context(workspace())
        made = stack.enter_context(laboratory())
        dsn = ours.filled_database(made, "workers", NAMES)
        authority = stack.enter_context(floor("wire", "handle"))
        found = {}
        for count in COUNTS:
            nodes = (
                ours.recursive(directory, label(NODES[0], count), authority.address, workers=count),
                ours.registry(made, label(NODES[1], count), dsn, workers=count),
            )
            for node in nodes:
                server = stack.enter_context(node)
                if limit:
                    stack.enter_context(quota.limited(family(server.parts["daemon"]), SHARE))
                found[server.name] = udp(server, handle_requests(names()), window=WINDOW)
                warm_up(found[server.name])
        yield found


def warm_up(target: Target) -> None:
    """Every worker has a cache of its own: ask often enough that each has seen every name."""
    target.sample(sent_max=20 * NAMES)


def report(rounds: Rounds, *, limit: bool) -> Outcome:
    """Aims and figures."""
    outcome = Outcome()
    for node in NODES:
        one, two = (label(node, count) for count in COUNTS)
        note = room_note(rounds, two, COUNTS[-1] * (SHARE if limit else 1.0))
        outcome.lines += [
            compare(f"workers: {one}", rounds.rates(one), unit="answers/s"),
            compare(
                f"workers: {two}",
                rounds.rates(two),
                unit="answers/s",
                beside=one,
                baselines=rounds.rates(one),
                aim=at_least(RATIO),
                note=note,
            ),
            compare(
                f"workers: {two}",
                rounds.per_cpu_s(two),
                unit="answers/CPU-s",
                beside=one,
                baselines=rounds.per_cpu_s(one),
            ),
        ]
    bars = [Bar(name, Spread.of(rounds.rates(name))) for name in rounds.samples]
    outcome.plots.append(Plot(name="workers", title="Cached answers a second with workers", bars=bars))
    outcome.notes.append(
        f"workers: each was limited to {SHARE} of a processor, so that the generator had room"
        if limit
        else "workers: nothing was limited; the generator shares the cores with them"
    )
    return outcome


def room_note(rounds: Rounds, name: str, allowed: float) -> str:
    """How much of what they may use the workers used, and whether that shows that the generator left them room."""
    samples = rounds.samples[name]
    generator = Spread.of(sample.generator_share for sample in samples).median
    server = Spread.of(
        sample.cpu_s["daemon"] * sample.answers_per_s / sample.answers for sample in samples
    ).median
    text = f"the workers used {number(server)} of {allowed:g} processors, the generator {number(generator)}"
    if server < SATURATED * allowed:
        return (
            text + ": NO ROOM was left by the generator or by what else runs, so that the ratio says little"
        )
    return text + ": room was left"


def measurement(options: Options) -> Outcome:
    """Measure."""
    if not (knows_workers("node") and knows_workers("resolver")):
        return Outcome(notes=["workers: skipped, the daemons take no --workers"])
    limit = (os.cpu_count() or 1) < CORES_WITH_ROOM and quota.is_available()
    with targets(limit=limit) as found:
        loads = {name: target.flat_out(options.seconds) for name, target in found.items()}
        rounds = in_turn(loads, options.rounds, "workers")
    return report(rounds, limit=limit)


if __name__ == "__main__":
    run(measurement, __doc__)
