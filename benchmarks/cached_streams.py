"""Cached answers over HTTP beside a bare aiohttp handler that returns the same octets, and over TCP beside our own UDP.

    python -m benchmarks.cached_streams

HTTP: 64 connections kept alive, one request on its way on each; every answer's status and length is checked, and that
the record is that of the name asked for. TCP: 64 connections with KPAL, and 4 connections with 16 requests each on
their way.
"""

import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from benchmarks.command import Options, run
from benchmarks.import_rate import laboratory
from benchmarks.load.requests import handle_requests, http_requests
from benchmarks.record import NAMES, names
from benchmarks.report import Bar, Outcome, Plot, Spread, at_least, compare
from benchmarks.rounds import Rounds, in_turn
from benchmarks.targets import ours
from benchmarks.targets.loaded import Target, streams, udp
from benchmarks.targets.process import LOOPBACK, Server, floor, workspace

CONNECTIONS: Final = 64
PIPELINES: Final = 4
DEPTH: Final = 16
PATH: Final = "/api/handles/"
BARE: Final = "bare aiohttp handler"
REGISTRY: Final = "registry"
RECURSIVE: Final = "recursive node"
REDIRECT: Final = f"{RECURSIVE}, HTTP redirect"
NODES: Final = (REGISTRY, RECURSIVE)
UNIT: Final = "answers/CPU-s"


def body_of(server: Server) -> bytes:
    """The JSON record of the first name."""
    url = f"http://{LOOPBACK}:{server.http_port}{PATH}{names().name(0)}"
    asked = urllib.request.Request(url, headers={"Accept": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
        return bytes(answer.read())


def of_node(name: str, server: Server) -> dict[str, Target]:
    """Everything that one daemon is asked."""
    body = body_of(server)
    http = http_requests(PATH, names(), name_at=body.index(names().name(0).encode()))
    kept = handle_requests(names(), keep_alive=True)
    there = LOOPBACK, server.http_port
    return {
        f"{name}, HTTP JSON": streams(server, there, http, connections=CONNECTIONS, body_octets=len(body)),
        f"{name}, TCP": streams(server, server.address, kept, connections=CONNECTIONS),
        f"{name}, TCP pipelined": streams(server, server.address, kept, connections=PIPELINES, depth=DEPTH),
        f"{name}, UDP": udp(server, handle_requests(names())),
    }


@contextmanager
def targets(body_file: Path, directory: Path) -> Iterator[dict[str, Target]]:
    """All servers, ready."""
    with ExitStack() as stack:
        made = stack.enter_context(laboratory())
        dsn = ours.filled_database(made, "cached", NAMES)
        authority = stack.enter_context(floor("wire", "handle"))
        nodes = {
            REGISTRY: stack.enter_context(ours.registry(made, REGISTRY, dsn)),
            RECURSIVE: stack.enter_context(ours.recursive(directory, RECURSIVE, authority.address)),
        }
        body = body_of(nodes[REGISTRY])
        body_file.write_bytes(body)
        bare = stack.enter_context(floor("http", str(body_file)))
        found = {
            BARE: streams(
                bare,
                bare.address,
                http_requests(PATH, names()),
                connections=CONNECTIONS,
                body_octets=len(body),
            )
        }
        for name, server in nodes.items():
            found |= of_node(name, server)
        there = LOOPBACK, nodes[RECURSIVE].http_port
        redirects = http_requests("/", names(), accept="text/html", status=302)
        found[REDIRECT] = streams(nodes[RECURSIVE], there, redirects, connections=CONNECTIONS)
        yield found


def report(rounds: Rounds) -> Outcome:
    """Aims and figures."""
    outcome = Outcome()
    for name in rounds.samples:
        outcome.lines.append(compare(f"cached streams: {name}", rounds.per_cpu_s(name), unit=UNIT))
    for node in NODES:
        for what, other, aim in (
            ("HTTP JSON", BARE, at_least(5)),
            ("TCP", f"{node}, UDP", at_least(0.25)),
            ("TCP pipelined", f"{node}, UDP", None),
        ):
            name = f"{node}, {what}"
            outcome.lines.append(
                compare(
                    f"cached streams: {name} to {other}",
                    rounds.per_cpu_s(name),
                    unit=UNIT,
                    beside=other,
                    baselines=rounds.per_cpu_s(other),
                    aim=aim,
                )
            )
    bars = [Bar(name, Spread.of(rounds.per_cpu_s(name))) for name in rounds.samples]
    title = "Cached answers over HTTP and TCP per server CPU-second"
    outcome.plots.append(Plot(name="cached_streams", title=title, bars=bars))
    return outcome


def measurement(options: Options) -> Outcome:
    """Measure."""
    with workspace() as directory, targets(directory / "body", directory) as found:
        for target in found.values():
            target.sample(sent_max=2 * NAMES)
        loads = {name: target.flat_out(options.seconds) for name, target in found.items()}
        return report(in_turn(loads, options.rounds, "cached streams"))


if __name__ == "__main__":
    run(measurement, __doc__)
