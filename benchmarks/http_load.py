"""Registrations over HTTP as fast as an answer allows them: so many clients, each posting its next body on its own
connection when the answer to the last one is there.

    HANDLEGRID_API_KEY=... python -m benchmarks.http_load --port 8000 --path /api/v1/identifiers --seconds 3

A client of a few lines on bare sockets, so that it takes little of the processor that it shares with the server. It
prints what it saw as JSON. Bodies are numbered from --start on, so that two servers can be sent the same ones.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, cast

import uvloop

CLIENTS: Final = 16
NUMBERS_PER_CLIENT: Final = 1_000_000
"""Each client has so many numbers to itself; a round is over long before."""
KEY_VARIABLE: Final = "HANDLEGRID_API_KEY"
END_OF_HEAD: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length:"
DRAIN_S: Final = 30.0
"""How long the last answers are waited for."""
BODY: Final = (
    '{"identifier":"88.100.1/PUMP-%010d","values":['
    '{"index":1,"type":"URL","data":{"format":"string","value":"https://plant.example/products/%010d"}},'
    '{"index":2,"type":"DESC","data":{"format":"string","value":"Centrifugal pump of series %d"}}]}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the clients saw."""

    answers: int
    elapsed_s: float
    """From the first octet sent to the last answer."""
    cpu_s: float
    """Of the load generator itself."""
    statuses: dict[str, int]
    latency_ms_p50: float
    latency_ms_p99: float

    @property
    def answers_per_s(self) -> float:
        """Answers per second."""
        return self.answers / self.elapsed_s


def body(number: int) -> bytes:
    """One registration."""
    return (BODY % (number, number, number % 31)).encode()


def numbers(start: int, client: int) -> Iterator[int]:
    """The numbers of one client."""
    first = start + client * NUMBERS_PER_CLIENT
    return iter(range(first, first + NUMBERS_PER_CLIENT))


@dataclass(slots=True, kw_only=True)
class Seen:
    """What all clients note."""

    statuses: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    last_s: float = 0.0


class Client(asyncio.Protocol):
    """One connection: a request, its whole answer, the next request."""

    def __init__(self, head: bytes, its_numbers: Iterator[int], until_s: float, seen: Seen) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = head
        self._numbers = its_numbers
        self._until_s = until_s
        self._seen = seen
        self._buffer = b""
        self._sent_s = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(END_OF_HEAD)
        if end < 0:
            return
        head = buffer[:end].lower()
        length_at = head.index(LENGTH) + len(LENGTH)
        length = int(head[length_at:].split(b"\r\n", 1)[0])
        if len(buffer) < end + len(END_OF_HEAD) + length:
            return
        self._buffer = b""
        self._answered(head[9:12].decode())

    def connection_lost(self, exc: Exception | None) -> None:
        """Note a connection that the server closed before its time."""
        if not self.done.done():
            self._seen.statuses["lost"] += 1
            self.done.set_result(None)

    def _answered(self, status: str) -> None:
        now_s = time.perf_counter()
        self._seen.statuses[status] += 1
        self._seen.latencies_s.append(now_s - self._sent_s)
        self._seen.last_s = now_s
        if now_s < self._until_s:
            self._send()
        else:
            self.done.set_result(None)
            assert self._transport is not None
            self._transport.close()

    def _send(self) -> None:
        assert self._transport is not None
        content = body(next(self._numbers))
        self._sent_s = time.perf_counter()
        self._transport.write(self._head + str(len(content)).encode() + END_OF_HEAD + content)


def request_head(path: str, token: str) -> bytes:
    """Everything before the length of the body."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return ("\r\n".join([*lines, "Content-Length: "])).encode()


async def run_load(port: int, head: bytes, *, clients: int, seconds: float, start: int) -> Load:
    """Post for so many seconds from so many clients at once."""
    loop = asyncio.get_running_loop()
    seen = Seen()
    began_s = time.perf_counter()
    cpu_before_s = _cpu_s()
    connected = [
        await loop.create_connection(
            lambda client=client: Client(head, numbers(start, client), began_s + seconds, seen),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        for client in range(clients)
    ]
    async with asyncio.timeout(seconds + DRAIN_S):
        await asyncio.gather(*(client.done for _, client in connected))
    return Load(
        answers=len(seen.latencies_s),
        elapsed_s=seen.last_s - began_s,
        cpu_s=_cpu_s() - cpu_before_s,
        statuses=dict(seen.statuses),
        latency_ms_p50=_percentile_ms(seen.latencies_s, 50),
        latency_ms_p99=_percentile_ms(seen.latencies_s, 99),
    )


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def _percentile_ms(latencies_s: Sequence[float], percent: int) -> float:
    return statistics.quantiles(latencies_s, n=100)[percent - 1] * 1_000 if len(latencies_s) > 1 else 0.0


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/api/v1/identifiers")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--start", type=int, default=0, help="number of the first body")
    given = parser.parse_args()
    head = request_head(given.path, os.environ.get(KEY_VARIABLE, ""))
    load = uvloop.run(
        run_load(given.port, head, clients=given.clients, seconds=given.seconds, start=given.start)
    )
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
