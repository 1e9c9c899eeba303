"""How many registrations a second a node takes over its API, beside the least that could be done with the same bodies.

    python -m benchmarks.registration_rate

Single: 16 clients post one identifier after the other with an API key, first to a registry daemon, then the same
bodies to a bare aiohttp handler that does one INSERT and COMMIT of each into a table of the same definition on the same
Postgres, which is durable; in turn, several rounds. The clients are a process of their own.

Batches: one client posts batches of 1,000, and the rows that the registry made of them are copied by binary COPY, as
they are, into an empty table of the same definition: once a transaction for each batch, and once all in one statement.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.batch_rate import BATCH, batch_round
from benchmarks.cpu import cpu_seconds
from benchmarks.http_load import CLIENTS, KEY_VARIABLE, NUMBERS_PER_CLIENT, Load
from benchmarks.import_rate import Laboratory, laboratory
from benchmarks.registry_process import RegistryProcess, make_enterprise, running, write_settings
from registry.settings import load_registry_settings

SINGLE_PATH: Final = "/api/v1/identifiers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where registrations are posted."""

    name: str
    port: int
    path: str
    token: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one server did in one round."""

    load: Load
    server_cpu_s: float


@contextmanager
def bare_server(dsn: str) -> Iterator[Server]:
    """The floor, as a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bare_inserts", dsn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Server(name="bare handler", port=port, path="/", token="", pid=process.pid)
        process.stdin.close()


def measure(server: Server, *, clients: int, seconds: float, start: int) -> Round:
    """One round of single registrations. Raises SystemExit when one of them was refused."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.http_load",
        "--port",
        str(server.port),
        "--path",
        server.path,
    ]
    command += ["--clients", str(clients), "--seconds", str(seconds), "--start", str(start)]
    before_s = cpu_seconds(server.pid)
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, KEY_VARIABLE: server.token},
    )
    load = Load(**json.loads(done.stdout))
    if set(load.statuses) != {"201"}:
        raise SystemExit(f"{server.name}: answers were {load.statuses}")
    return Round(load=load, server_cpu_s=cpu_seconds(server.pid) - before_s)


def single_rounds(servers: Sequence[Server], given: argparse.Namespace) -> dict[str, list[Round]]:
    """Rounds in turn, the order changing, so that neither has the better place."""
    rounds: dict[str, list[Round]] = {server.name: [] for server in servers}
    for number in range(given.rounds + 1):
        seconds = given.seconds if number else 1.0  # the first one fills caches and is thrown away
        start = number * given.clients * NUMBERS_PER_CLIENT
        for server in servers if number % 2 else reversed(servers):
            result = measure(server, clients=given.clients, seconds=seconds, start=start)
            if number:
                rounds[server.name].append(result)
    return rounds


def spread(figures: Sequence[float], form: str) -> str:
    """Median and, behind it, least and most."""
    median, least, most = (
        format(figure, form) for figure in (statistics.median(figures), min(figures), max(figures))
    )
    return f"{median} ({least} - {most})"


def report_single(rounds: dict[str, list[Round]], clients: int) -> str:
    """The table, and the ratio of every round."""
    lines = [
        f"{clients} clients, single registrations",
        f"{'server':14}{'registrations/s':>26}{'server CPU us each':>28}{'clients CPU':>16}{'p50 ms':>8}{'p99 ms':>8}",
    ]
    for name, results in rounds.items():
        loads = [one.load for one in results]
        each_us = [one.server_cpu_s / one.load.answers * 1e6 for one in results]
        client_share = statistics.median(load.cpu_s / load.elapsed_s for load in loads)
        lines.append(
            f"{name:14}{spread([load.answers_per_s for load in loads], ',.0f'):>26}{spread(each_us, ',.0f'):>28}"
            f"{client_share:>15.0%} {statistics.median(load.latency_ms_p50 for load in loads):>7.1f}"
            f"{statistics.median(load.latency_ms_p99 for load in loads):>8.1f}"
        )
    registry, bare = rounds.values()
    ratios = [
        one.load.answers_per_s / other.load.answers_per_s for one, other in zip(registry, bare, strict=True)
    ]
    return "\n".join([*lines, f"registry to bare handler: {spread(ratios, '.2f')}"])


async def run_batches(made: Laboratory, node: RegistryProcess, given: argparse.Namespace) -> str:
    """Rounds of batches, and of the same rows by COPY."""
    lines = [f"batches of {BATCH}, {given.batches} a round, identifiers/s"]
    rounds = []
    for number in range(given.rounds + 1):
        empty = await made.empty_database("copied")
        result = await batch_round(
            node, empty, number=number, batches=given.batches if number else 5, clients=given.batch_clients
        )
        if number:
            rounds.append(result)
        await made.drop("copied")
    for name, figures in (
        ("registry", [one.registry_per_s for one in rounds]),
        ("COPY by batch", [one.copy_per_s for one in rounds]),
        ("COPY at once", [one.copy_at_once_per_s for one in rounds]),
    ):
        lines.append(f"{name:14}{spread(figures, ',.0f'):>34}")
    for name, ratios in (
        ("COPY by batch", [one.registry_per_s / one.copy_per_s for one in rounds]),
        ("COPY at once", [one.registry_per_s / one.copy_at_once_per_s for one in rounds]),
    ):
        lines.append(f"registry to {name}: {spread(ratios, '.3f')}")
    cpu_us = [one.server_cpu_s / one.identifiers * 1e6 for one in rounds]
    return "\n".join([*lines, f"server CPU us each: {spread(cpu_us, '.1f')}"])


def run(given: argparse.Namespace) -> None:
    """Measure and print."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with laboratory() as made:
        settings_file = write_settings(
            made.directory, "registry", asyncio.run(made.empty_database("registry"))
        )
        enterprise = asyncio.run(make_enterprise(load_registry_settings(settings_file, {})))
        bare_dsn = asyncio.run(made.empty_database("bare"))
        with running(settings_file, enterprise) as node, bare_server(bare_dsn) as bare:
            registry = Server(
                name="registry", port=node.port, path=SINGLE_PATH, token=node.enterprise.editor, pid=node.pid
            )
            if given.what != "batches":
                print(report_single(single_rounds([registry, bare], given), given.clients), flush=True)
            if given.what != "single":
                print(asyncio.run(run_batches(made, node, given)), flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--what", choices=("both", "single", "batches"), default="both")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of single registrations in each round")
    parser.add_argument("--clients", type=int, default=CLIENTS, help="that post single registrations at once")
    parser.add_argument("--batches", type=int, default=50, help="of 1,000 identifiers in each round")
    parser.add_argument("--batch-clients", type=int, default=1, help="that post batches at once")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
