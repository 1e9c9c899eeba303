"""Cached answers over UDP: registry and recursive node beside a bare echo on the same event loop, in one run.

    python -m benchmarks.cached_answers

It brings up a one-machine deployment of its own under a temporary directory (or takes the one that --home names and
that is running), asks each server for one sample product over and over, in turn and several rounds, and ends what it
started. Server CPU-seconds are the kernel's, of the server's process; the echo is the floor of any such server and
shows what the load generator itself can reach.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.udp_load import WINDOW, parse_target, run_load

HANDLE: Final = "88.100.1/pump-0001"
REGISTRY: Final = "88.100.1"
RECURSIVE: Final = "recursive"
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Target:
    """One server under load."""

    name: str
    address: tuple[str, int]
    pid: int


@dataclass(frozen=True, slots=True)
class Round:
    """What one server did in one round."""

    answers_per_s: float
    answers_per_cpu_s: float
    latency_ms_p50: float
    latency_ms_p99: float


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads, in seconds of 1/100 s steps."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def measure(target: Target, seconds: float, window: int) -> Round:
    """One round against one server. Raises SystemExit when an answer was wrong or lost answers are not rare."""
    before_s = cpu_seconds(target.pid)
    result = run_load(target.address, [HANDLE], seconds=seconds, window=window)
    used_s = cpu_seconds(target.pid) - before_s
    if result.failures or result.lost > result.answers / 1000:
        raise SystemExit(f"{target.name}: {result.failures} wrong answers, {result.lost} lost")
    return Round(
        answers_per_s=result.answers_per_s,
        answers_per_cpu_s=result.answers / max(used_s, 1 / TICKS_PER_S),
        latency_ms_p50=result.latency_ms_p50,
        latency_ms_p99=result.latency_ms_p99,
    )


@contextmanager
def echo_server() -> Iterator[Target]:
    """The floor, as a process of its own."""
    command = [sys.executable, "-m", "benchmarks.udp_echo"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Target("bare echo", ("127.0.0.1", port), process.pid)
        process.stdin.close()


def handlegrid(home: Path, *words: str) -> str:
    """What a handlegrid command prints; its progress goes to our standard error."""
    command = [sys.executable, "-m", "deploy.cli", *words, "--home", str(home)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def deployment(home: Path | None) -> Iterator[list[Target]]:
    """The registry and the recursive node of a running deployment, or of one made for the occasion."""
    if home is not None:
        yield _targets(home)
        return
    home = Path(tempfile.mkdtemp(prefix="handlegrid-bench-", dir="/tmp"))
    home.chmod(0o711)
    try:
        handlegrid(home, "up", "--json")
        yield _targets(home)
    finally:
        handlegrid(home, "down", "--json")
        shutil.rmtree(home, ignore_errors=True)


def _targets(home: Path) -> list[Target]:
    status: dict[str, Any] = json.loads(handlegrid(home, "status", "--json"))
    pids = {process["name"]: process["pid"] for process in status["processes"]}
    addresses = {daemon["name"]: daemon["address"] for daemon in status["daemons"]}
    return [
        Target(label, parse_target(addresses[name]), pids[name])
        for label, name in (("registry", REGISTRY), ("recursive node", RECURSIVE))
    ]


def spread(figures: Sequence[float]) -> str:
    """Median and, behind it, least and most."""
    return f"{statistics.median(figures):>10,.0f} ({min(figures):,.0f} - {max(figures):,.0f})"


def report(rounds: dict[str, list[Round]]) -> str:
    """The table: absolute figures of this machine, and each server's ratio to the echo of the same round."""
    floor = rounds["bare echo"]
    lines = [
        f"{'server':16}{'answers/s':>34}{'answers per server CPU-s':>36}{'of the echo':>14}{'p50 ms':>9}{'p99 ms':>9}"
    ]
    for name, results in rounds.items():
        ratio = statistics.median(
            one.answers_per_cpu_s / base.answers_per_cpu_s for one, base in zip(results, floor, strict=True)
        )
        lines.append(
            f"{name:16}{spread([one.answers_per_s for one in results]):>34}"
            f"{spread([one.answers_per_cpu_s for one in results]):>36}{ratio:>14.2f}"
            f"{statistics.median(one.latency_ms_p50 for one in results):>9.2f}"
            f"{statistics.median(one.latency_ms_p99 for one in results):>9.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="a running deployment; without it, one is made and ended")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load on each server in each round")
    parser.add_argument("--window", type=int, default=WINDOW, help="requests in flight")
    parser.add_argument("--json", action="store_true", help="print the rounds as JSON")
    arguments = parser.parse_args()
    with echo_server() as echo, deployment(arguments.home) as nodes:
        targets = [echo, *nodes]
        for target in targets:
            measure(target, 0.5, arguments.window)  # warm-up: caches filled, connections made
        rounds: dict[str, list[Round]] = {target.name: [] for target in targets}
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            for target in targets:
                rounds[target.name].append(measure(target, arguments.seconds, arguments.window))
    if arguments.json:
        print(json.dumps({name: [asdict(one) for one in some] for name, some in rounds.items()}))
    else:
        print(report(rounds))


if __name__ == "__main__":
    main()
