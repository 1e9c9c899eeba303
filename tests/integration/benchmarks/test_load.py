"""The load generators against real sockets: what is right is counted, what is wrong is seen."""

import asyncio
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.load import pure
from benchmarks.load.build import compiled
from benchmarks.load.requests import (
    Requests,
    dns_requests,
    handle_requests,
    http_requests,
    parse_names,
    shuffled,
)
from benchmarks.record import prefix_records, record, txt_data, udp_site
from protocol.bodies import ResolutionRequest, ResolutionResponse
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.handle import Handle
from protocol.message import Message, decode_message, matches_digest, split_digest
from tests.support.registries import running_registry

LOOPBACK = "127.0.0.1"
NAMES = parse_names("88.1/PUMP-####", shuffled(50))


@pytest.fixture(params=["compiled", "pure"])
def engine(request: pytest.FixtureRequest) -> ModuleType:
    """Give each generator in turn; without a compiler there is one."""
    found = compiled() if request.param == "compiled" else pure
    if found is None:
        pytest.skip("no compiler, or no Cython")
    return found


@contextmanager
def serving(answer: Callable[[bytes], list[bytes]]) -> Iterator[tuple[str, int]]:
    """A UDP server that sends what a function says."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            octets, opened = self.request
            for one in answer(octets):
                opened.sendto(one, self.client_address)

    with socketserver.UDPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield LOOPBACK, server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def load_of(engine: ModuleType, requests: Requests, **changes: Any) -> Any:
    how = {"window": 8, "seconds": 5.0, "rate": 0.0, "sent_max": 200, "lost_after_s": 0.2} | changes
    return engine.Load(requests, **how)


def run_udp(engine: ModuleType, address: tuple[str, int], requests: Requests, **changes: Any) -> Any:
    load = load_of(engine, requests, **changes)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(address)
        engine.udp_load(client.fileno(), load)
    return load


def run_streams(
    engine: ModuleType, address: tuple[str, int], requests: Requests, *, length: int = 0, depth: int = 1
) -> Any:
    load = load_of(engine, requests, window=4 * depth)
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(4)]
        for client in clients:
            client.setblocking(False)
        fds = [client.fileno() for client in clients]
        engine.stream_load(fds, load, depth=depth, http=not requests.id_octets, length=length)
    return load


@contextmanager
def floor_serving(engine: ModuleType, answers: Any) -> Iterator[tuple[str, int]]:
    """A bare server in a thread of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind((LOOPBACK, 0))
        stop, stopping = socket.socketpair()
        thread = threading.Thread(target=engine.serve, args=(opened.fileno(), stop.fileno(), answers))
        thread.start()
        try:
            yield LOOPBACK, opened.getsockname()[1]
        finally:
            stopping.close()
            thread.join()
            stop.close()


def test_every_request_is_answered_once_and_names_come_in_turn(engine: ModuleType) -> None:
    seen = []

    def answer(octets: bytes) -> list[bytes]:
        seen.append(str(ResolutionRequest.decode(decode_message(octets).body).handle))
        return [octets]

    with serving(answer) as address:
        load = run_udp(engine, address, handle_requests(NAMES, code=0))

    assert (load.sent, load.answers) == (200, 200)
    assert load.lost == load.wrong == load.stray == 0
    assert sum(load.counts()) == 200
    assert seen == [NAMES.name(number) for number in NAMES.numbers] * 4


def test_another_response_code_than_expected_is_wrong(engine: ModuleType) -> None:
    with serving(lambda octets: [octets]) as address:
        load = run_udp(engine, address, handle_requests(NAMES, code=1))

    assert load.wrong == load.answers == 200
    assert load.first_wrong


def test_an_answer_for_another_name_is_wrong(engine: ModuleType) -> None:
    def answer(octets: bytes) -> list[bytes]:
        return [octets.replace(b"PUMP-0007", b"PUMP-0008")]

    with serving(answer) as address:
        load = run_udp(engine, address, handle_requests(NAMES, code=0))

    assert load.wrong == 4
    assert load.answers == 200


def test_lost_requests_are_given_up_and_strays_are_no_answers(engine: ModuleType) -> None:
    count = 0

    def answer(octets: bytes) -> list[bytes]:
        nonlocal count
        count += 1
        return [] if count % 50 == 0 else [octets, octets]

    with serving(answer) as address:
        load = run_udp(engine, address, handle_requests(NAMES, code=0))

    assert load.lost == 4
    assert load.answers == 196
    assert load.stray <= 196
    assert load.wrong == 0


def test_nobody_listening_ends_in_time(engine: ModuleType) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((LOOPBACK, 0))
        load = run_udp(engine, silent.getsockname(), handle_requests(NAMES), seconds=0.3)

    assert load.answers == 0
    assert load.lost == load.sent > 0


def test_a_paced_run_sends_what_its_rate_says(engine: ModuleType) -> None:
    with serving(lambda octets: [octets]) as address:
        load = run_udp(
            engine, address, handle_requests(NAMES, code=0), rate=500.0, sent_max=0, seconds=0.4, window=512
        )

    assert load.sent == load.answers
    assert load.sent <= 201


@pytest.mark.parametrize("kind", ["echo", "handle", "dns"])
def test_the_bare_servers_answer_what_the_generator_expects(engine: ModuleType, kind: str) -> None:
    data = {"echo": b"", "handle": record().encode(), "dns": txt_data()}[kind]
    requests = (
        dns_requests(shuffled(50)) if kind == "dns" else handle_requests(NAMES, code=int(kind != "echo"))
    )

    with floor_serving(engine, engine.Answers(kind, data, [], int(time.time()) + 60)) as address:
        load = run_udp(engine, address, requests)

    assert load.answers == 200
    assert load.wrong == load.lost == 0


def test_the_bare_authority_answers_as_the_protocol_demands(engine: ModuleType) -> None:
    records = prefix_records(udp_site(LOOPBACK, 2641))
    answers = engine.Answers(
        "handle", record().encode(), [(name, one.encode()) for name, one in records.items()], 2**31
    )

    with (
        floor_serving(engine, answers) as address,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(5)
        for name, values in (
            (b"88.100.1/x", record()),
            (b"0.NA/88.100.1", records[b"0.NA/88.100.1"]),
            (b"0.NA/9", None),
        ):
            body = ResolutionRequest(handle=Handle(name)).encode()
            asked = Message.request(OpCode.RESOLUTION, body, request_id=5, expiration=0, flags=OpFlag.RRDG)
            client.sendto(asked.encode(), address)
            answer = decode_message(client.recv(4_096))
            digest, rest = split_digest(answer)

            assert digest is not None
            assert matches_digest(decode_message(asked.encode()), digest)
            assert answer.has(OpFlag.AUTH)
            if values is None:
                assert answer.header.response_code == ResponseCode.HANDLE_NOT_FOUND
            else:
                assert ResolutionResponse.decode(rest) == ResolutionResponse(
                    handle=Handle(name), values=values
                )


@contextmanager
def http_server(answer: Callable[[bytes], bytes]) -> Iterator[tuple[str, int]]:
    """A server that answers each request head with what a function says, as long as the connection lasts."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b""
            while line := self.rfile.readline():
                head += line
                if line == b"\r\n":
                    self.wfile.write(answer(head))
                    head = b""

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield LOOPBACK, server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("depth", [1, 8])
def test_swapped_and_short_answers_over_http_are_seen(engine: ModuleType, depth: int) -> None:
    def answer(head: bytes) -> bytes:
        name = head.split()[1][1:].replace(b"PUMP-0007", b"PUMP-0008")
        body = name if b"PUMP-0009" not in name else name + b"!"
        return b"HTTP/1.1 200 OK\r\nX: y\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)

    with http_server(answer) as address:
        load = run_streams(engine, address, http_requests("/", NAMES, name_at=0), length=14, depth=depth)

    assert load.answers == 200
    assert load.wrong == 8
    assert load.closed == load.lost == 0


def test_a_closed_connection_is_counted(engine: ModuleType) -> None:
    with http_server(lambda head: b"HTTP/1.1 200 OK\r\n\r\n") as address:
        load = run_streams(engine, address, http_requests("/", NAMES))

    assert load.closed == 4
    assert load.answers == 0


async def test_a_registry_answers_every_protocol(engine: ModuleType, database: str, scratch: Path) -> None:
    async with running_registry(database, scratch) as node:
        for number in range(3):
            value = {
                "index": 1,
                "type": "URL",
                "data": {"format": "string", "value": "https://plant.example/"},
            }
            await node.put(f"/api/handles/88.1/PUMP-{number:04}", [value])
        names = parse_names("88.1/PUMP-####", shuffled(3))
        wire, http = node.node.addresses.udp[0], node.node.addresses.http[0]
        body = (await node.get("/api/handles/88.1/PUMP-0000")).body
        json = http_requests("/api/handles/", names, name_at=body.index(b"88.1/PUMP-0000"))
        kept = handle_requests(names, keep_alive=True)
        loads = [
            await asyncio.to_thread(run_udp, engine, wire[:2], handle_requests(names)),
            await asyncio.to_thread(run_streams, engine, wire[:2], kept),
            await asyncio.to_thread(run_streams, engine, wire[:2], kept, depth=4),
            await asyncio.to_thread(run_streams, engine, http[:2], json, length=len(body)),
        ]

    for load in loads:
        assert load.answers == 200, load.first_wrong
        assert load.wrong == load.lost == load.closed == 0
