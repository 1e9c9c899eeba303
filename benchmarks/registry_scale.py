"""What a thousandfold costs: a node with 10^6 identifiers and 10^4 prefixes beside one with 10^3 and 10.

    python -m benchmarks.registry_scale

Two daemons on the same durable Postgres are asked in turn, one request at a time, over the API: read a random
identifier, list a page from a random place, look at a random prefix, list prefixes, and take a prefix from the
application over its review to the allocation. Given are medians, and the ratio of every round.
"""

import argparse
import asyncio
import http.client
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from benchmarks.filling import fill, identifier
from benchmarks.import_rate import Laboratory, laboratory
from benchmarks.registry_process import (
    PARENT,
    PREFIX,
    RegistryProcess,
    make_enterprise,
    running,
    write_settings,
)
from registry.settings import load_registry_settings

SEED: Final = 20_261_120
PAGE: Final = 50
PREFIX_PAGE: Final = 10
"""As many as the small node has, so that both answer alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is in a node."""

    name: str
    identifiers: int
    prefixes: int


class Client:
    """One connection to one node; blocking, so that nothing but the request is measured."""

    def __init__(self, node: RegistryProcess, size: Size) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
        self._enterprise = node.enterprise
        self._size = size
        self._random = random.Random(SEED)

    def read(self) -> None:
        """Read an identifier."""
        name = identifier(self._random.randrange(self._size.identifiers))
        found = self._ask(self._enterprise.editor, "GET", f"/identifiers/{quote(name, safe='')}")
        assert found["identifier"] == name

    def list_page(self) -> None:
        """List a page of identifiers."""
        first = self._random.randrange(self._size.identifiers - PAGE)
        start = identifier(first).partition("/")[2]
        query = urlencode({"prefix": PREFIX, "from": start, "limit": PAGE})
        found = self._ask(self._enterprise.editor, "GET", f"/identifiers?{query}")
        assert found["items"][0]["identifier"] == identifier(first)
        assert len(found["items"]) == PAGE

    def read_prefix(self) -> None:
        """Look at a prefix that was allocated."""
        name = f"{PARENT}.{self._random.randrange(2, self._size.prefixes + 2)}"
        assert self._ask(self._enterprise.operator, "GET", f"/prefixes/{name}")["prefix"] == name

    def list_prefixes(self) -> None:
        """List a page of prefixes."""
        found = self._ask(self._enterprise.administrator, "GET", f"/prefixes?limit={PREFIX_PAGE}")
        assert len(found["items"]) == PREFIX_PAGE

    def allocate(self) -> None:
        """Apply for a prefix, approve it and allocate it."""
        wish = {"parent": PARENT, "purpose": "products"}
        made = self._ask(self._enterprise.administrator, "POST", "/applications", wish)
        path, version = f"/applications/{made['id']}", {"If-Match": f'"{made["version"]}"'}
        self._ask(self._enterprise.reviewer, "POST", path + "/review", {"decision": "approve"}, version)
        allocated = self._ask(self._enterprise.operator, "POST", path + "/allocation")
        assert allocated["state"] == "active"

    def _ask(
        self,
        token: str,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        given = {"Authorization": f"Bearer {token}", **(headers or {})}
        if body is not None:
            given["Content-Type"] = "application/json"
        octets = None if body is None else json.dumps(body)
        self._connection.request(method, "/api/v1" + path, octets, given)
        response = self._connection.getresponse()
        content = response.read()
        if response.status not in (200, 201):
            raise SystemExit(f"{method} {path}: {response.status} {content[:500]!r}")
        return json.loads(content)


ACTS: Final[dict[str, tuple[Callable[[Client], None], int]]] = {
    "read an identifier": (Client.read, 200),
    "list a page of identifiers": (Client.list_page, 100),
    "read a prefix": (Client.read_prefix, 100),
    "list a page of prefixes": (Client.list_prefixes, 100),
    "allocate a prefix": (Client.allocate, 30),
}
"""What is measured, and how often in a round."""


def median_ms(act: Callable[[Client], None], client: Client, times: int) -> float:
    """The median of so many repetitions."""
    taken_s = []
    for _ in range(times):
        started_s = time.perf_counter()
        act(client)
        taken_s.append(time.perf_counter() - started_s)
    return statistics.median(taken_s) * 1_000


def report(name: str, figures: Sequence[tuple[float, float]]) -> str:
    """A line: medians of both nodes, the median of the rounds' ratios, and least and most of them."""
    small, large = (statistics.median(column) for column in zip(*figures, strict=True))
    ratios = [one / other for other, one in figures]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
    return f"{name:28}{small:>10.2f}{large:>10.2f}{spread:>24}"


def start(made: Laboratory, stack: ExitStack, size: Size) -> Client:
    """Fill a node, start it, and connect to it."""
    dsn = asyncio.run(made.empty_database(size.name))
    settings_file = write_settings(made.directory, size.name, dsn)
    settings = load_registry_settings(settings_file, {})
    enterprise = asyncio.run(make_enterprise(settings))
    started_s = time.monotonic()
    asyncio.run(fill(settings, enterprise, identifiers=size.identifiers, prefixes=size.prefixes))
    elapsed_s = time.monotonic() - started_s
    print(
        f"{size.name}: {size.identifiers} identifiers, {size.prefixes} prefixes in {elapsed_s:.0f} s",
        flush=True,
    )
    return Client(stack.enter_context(running(settings_file, enterprise)), size)


def run(given: argparse.Namespace) -> None:
    """Measure and print."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    sizes = (
        Size(name="small", identifiers=1_000, prefixes=10),
        Size(name="large", identifiers=given.identifiers, prefixes=given.prefixes),
    )
    with laboratory() as made, ExitStack() as stack:
        clients = [start(made, stack, size) for size in sizes]
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in ACTS}
        for number in range(given.rounds + 1):
            for name, (act, times) in ACTS.items():
                order = clients if number % 2 else clients[::-1]
                medians = {id(client): median_ms(act, client, times) for client in order}
                if number:  # the first one fills caches and is thrown away
                    figures[name].append((medians[id(clients[0])], medians[id(clients[1])]))
    print(f"{'median ms':28}{'small':>10}{'large':>10}{'large to small':>24}")
    for name, measured in figures.items():
        print(report(name, measured))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--identifiers", type=int, default=1_000_000, help="in the large node")
    parser.add_argument("--prefixes", type=int, default=10_000, help="in the large node")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
