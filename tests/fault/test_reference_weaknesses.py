"""What brings a deployed server down, or lets strangers write, does neither here; and does where the defence is off.

The four weak points of PROTOCOL.md §12.1, each shown with its defence and without.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from protocol.admin_bodies import VerifyRequest
from protocol.challenge import Challenge, SecretCode
from protocol.codes import OpCode
from protocol.handle import Handle
from protocol.message import Envelope, decode_message
from protocol.packets import SLICE_OCTETS, Reassembler
from protocol.site import Interface, InterfaceProtocol, Server, Site
from protocol.transport import udp
from protocol.transport.base import SILENT, Answer
from protocol.transport.connections import ConnectionCount
from protocol.transport.tcp import TcpListener
from protocol.transport.tcp_connection import IDLE_S
from protocol.transport.udp import listen_udp
from protocol.value import ValueReference
from protocol.wire import Writer
from registry.wire.challenges import ChallengeStore
from registry.wire.desk import Desk
from registry.wire.proofs import Floors
from registry.wire.replies import StoredReplies
from tests.integration.registry.bench import Bench, admin, secret, url
from tests.support.asking import send_packets
from tests.support.handle_client import HandleClient, Proof
from tests.support.transport import WAIT_S, Echo, anyone, resolution
from tests.support.wire_servers import nothing, wire_server

DEFENDED = pytest.mark.parametrize("defended", [True, False], ids=["defended", "undefended"])
ADMIN, PUMP = "88.100/ADMIN", "88.100/pump"
PROOF = Proof(ADMIN, secret=b"open sesame")
INTERFACE = Interface(admin=True, query=True, protocol=InterfaceProtocol.TCP, port=2_641)
SITE = Site(
    serial=9,
    primary=True,
    servers=(Server(server_id=1, address=bytes(16), public_key=b"", interfaces=(INTERFACE,)),),
)


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    """Give a registry with an administrator."""
    made = await Bench.open(database, homes=("88.100",))
    await made.create(ADMIN, admin(), secret("open sesame"))
    yield made
    await made.close()


# A captured answer to a challenge


@DEFENDED
async def test_a_captured_answer_creates_nothing_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        _leave_challenges(monkeypatch)
    client = HandleClient(wire_server(bench.operations, SITE).respond, proof=PROOF)
    assert (await client.create(PUMP, url("https://plant.example/7"))).rc == 1
    captured = client.sent[-1]
    assert (await client.delete(PUMP)).rc == 1

    await client.exchange(captured)

    exists = (await client.resolve(PUMP)).rc == 1
    assert exists is not defended


def _leave_challenges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deployed servers keep a challenge for its minute, and no replies."""

    async def always(
        _: StoredReplies, key: object, work: Callable[[], Awaitable[Answer]], **options: object
    ) -> Answer:
        return await work()

    take = ChallengeStore.take

    def take_and_leave(store: ChallengeStore, session_id: int) -> Any:
        pending = take(store, session_id)
        if pending is not None:
            store.restore(pending)
        return pending

    monkeypatch.setattr(StoredReplies, "once", always)
    monkeypatch.setattr(ChallengeStore, "take", take_and_leave)


# Work that a stranger decides the amount of


@DEFENDED
async def test_a_small_message_does_not_ask_for_seconds_of_work(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    derived: list[int] = []

    def derive(name: str, secret: bytes, salt: bytes, iterations: int, octets: int) -> bytes:
        derived.append(iterations)
        return bytes(octets)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", derive)
    floors = Floors() if defended else Floors(iterations_max=0xFFFF_FFFF)
    server = wire_server(bench.operations, SITE, floors=floors)

    reply = await HandleClient(server.respond).ask(OpCode.VERIFY_CHALLENGE, _verification(3_000_000))

    assert max(derived, default=0) == (0 if defended else 3_000_000)
    assert reply.rc == (406 if defended else 1)


@DEFENDED
async def test_a_flood_of_verifications_lets_others_have_their_turn(defended: bool) -> None:
    """How many of a flood are served before somebody else: deployed servers serve who comes first."""
    served: list[str] = []
    desk = Desk(1, on_limit=nothing)

    async def ask(network: str) -> None:
        place = network if defended else "everybody"
        await desk.run(place, lambda: served.append(network))

    await asyncio.gather(*(ask("flood") for _ in range(100)), ask("quiet"))
    desk.close()

    assert served.index("quiet") <= 2 if defended else served.index("quiet") == 100


def _verification(iterations: int) -> bytes:
    challenge = Challenge(bytes(16), bytes(32))
    answer = Writer().u8(SecretCode.PBKDF2_HMAC_SHA1).counted(bytes(16)).u32(iterations).u32(160)
    return VerifyRequest(
        key=ValueReference(Handle.parse(ADMIN).octets, 300),
        nonce=challenge.nonce,
        digest=challenge.digest,
        answer=answer.counted(bytes(20)).octets(),
    ).encode()


# Connections that say nothing


@DEFENDED
async def test_idle_connections_of_one_network_keep_nobody_else_out(defended: bool) -> None:
    limits = {"per_source_max": 10 if defended else 10_000, "total_max": 20}
    listener = await _listener(ConnectionCount(**limits), idle_s=IDLE_S)
    idle = [await asyncio.open_connection(*listener.address) for _ in range(30)]

    assert await _is_answered(listener, local="127.0.2.1") is defended

    for _, writer in idle:
        writer.close()
    await listener.close(0)


@DEFENDED
async def test_idle_connections_are_ended_and_make_room(defended: bool) -> None:
    count = ConnectionCount(per_source_max=10_000, total_max=20)
    listener = await _listener(count, idle_s=1.0 if defended else 3_600)
    idle = [await asyncio.open_connection(*listener.address) for _ in range(20)]
    if defended:
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*(reader.read() for reader, _ in idle), return_exceptions=True)
            while listener.connections:  # noqa: ASYNC110 - the server's side of a close has no event
                await asyncio.sleep(0)

    assert await _is_answered(listener, local="127.0.0.1") is defended

    for _, writer in idle:
        writer.close()
    await listener.close(0)


async def _listener(connections: ConnectionCount, *, idle_s: float) -> TcpListener:
    listener = TcpListener(
        Echo(),
        source=anyone(),
        cache=None,
        observer=SILENT,
        connections=connections,
        idle_s=idle_s,
        misses_max=100,
    )
    await listener.open("127.0.0.1", 0)
    return listener


async def _is_answered(listener: TcpListener, *, local: str) -> bool:
    reader, writer = await asyncio.open_connection(*listener.address, local_addr=(local, 0))
    try:
        writer.write(resolution().encode())
        async with asyncio.timeout(WAIT_S):
            return len(await reader.read()) > 0
    except ConnectionError:
        return False
    finally:
        writer.close()


# Messages of which half is sent


@DEFENDED
async def test_half_sent_messages_take_bounded_room_and_hold_up_nobody(
    monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    made: list[Reassembler[Any]] = []

    def make() -> Reassembler[Any]:
        made.append(Reassembler() if defended else Reassembler(entries_max=10**9, octets_max=10**9))
        return made[0]

    monkeypatch.setattr(udp, "Reassembler", make)
    listener = await listen_udp("127.0.0.1", 0, Echo(), source=anyone())
    halves = [
        Envelope(request_id=number, truncated=True, message_octets=2 * SLICE_OCTETS).encode()
        + bytes(SLICE_OCTETS)
        for number in range(2_000)
    ]
    for start in range(0, len(halves), 50):  # few enough for the socket's buffer
        answers = await send_packets(listener.address, [*halves[start : start + 50], resolution().encode()])
        assert decode_message(answers[0]).header.response_code == 1

    assert (len(made[0]) <= 1_024) is defended
    await listener.close(0)
