"""Sessions with a node on real sockets: from the set-up to the end, and what must not pass in between."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from protocol.admin_bodies import (
    HandleRequest,
    SessionMode,
    SessionSetupRequest,
    SessionSetupResponse,
    ValuesRequest,
)
from protocol.bodies import ResolutionRequest, ResolutionResponse
from protocol.client.session import ClientSession
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.credential import mac, verify, verify_mac
from protocol.diffie_hellman import ENTROPY_OCTETS, Half, decode_public, usual_group
from protocol.errors import BadMac, BadSignature, SessionLost
from protocol.handle import Handle
from protocol.message import ENVELOPE_OCTETS, Message, decode_envelope, decode_message, split_digest
from protocol.session import finish_session
from protocol.transport.tunnel import MESSAGE_TYPE
from protocol.transport.udp_exchange import UdpExchanger
from protocol.value import HandleValue, Permission, ValueList, ValueReference
from protocol.valuetypes import Admin, PublicKey
from tests.support.asking import Address, send_tcp, send_udp
from tests.support.registries import LOOPBACK, RunningRegistry, running_registry
from tests.support.session_client import SessionClient, over_tcp
from tests.support.transport import WAIT_S
from tests.support.vectors import recorded, recordings

ADMIN: Final = ValueReference(b"88.1/ADMIN", 300)
PUMP: Final = Handle.parse("88.1/pump-7")
SECRET: Final = b"what nobody else may read"
ELSEWHERE: Final = "127.0.0.2"


@pytest.fixture
async def registry(database: str, scratch: Path) -> AsyncIterator[RunningRegistry]:
    async with running_registry(database, scratch, admin_port=0) as running:
        yield running


def address(registry: RunningRegistry) -> Address:
    return registry.node.addresses.tcp[0]


def server_key(registry: RunningRegistry) -> PublicKey:
    return PublicKey.decode(registry.node.site.servers[0].public_key)


async def administrator(registry: RunningRegistry, sent: list[bytes]) -> SessionClient:
    send = over_tcp(address(registry), sent.append)
    return await SessionClient.set_up(send, server_key(registry), ADMIN, registry.secret.encode())


def record() -> bytes:
    admin = HandleValue(index=100, type="HS_ADMIN", data=Admin(ADMIN).encode())
    url = HandleValue(index=1, type="URL", data=b"https://example.org/7")
    restricted = HandleValue(index=2, type="DESC", data=SECRET, permissions=int(Permission.ADMIN_READ))
    return ValuesRequest(handle=PUMP, values=ValueList.of([admin, url, restricted])).encode()


def question(*indexes: int) -> bytes:
    return ResolutionRequest(handle=PUMP, indexes=indexes).encode()


async def exchange(address: Address, octets: bytes, *, source: str = LOOPBACK) -> Message:
    """One message from an address of our choice, as it is."""
    async with asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
        writer.write(octets)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
    return decode_message(answer)


async def test_the_life_of_a_session(registry: RunningRegistry) -> None:
    sent: list[bytes] = []
    client = await administrator(registry, sent)
    assert client.session.id < 2**31

    created = await client.ask(OpCode.CREATE_HANDLE, record())
    assert created.header.response_code == ResponseCode.SUCCESS
    assert created.header.op_code == OpCode.CREATE_HANDLE
    assert client.challenges == 1
    assert not any(SECRET in octets for octets in sent)  # it was encrypted without anybody asking for it

    read = await client.ask(OpCode.RESOLUTION, question(), flags=DEFAULT_FLAGS & ~OpFlag.PUBL)
    values = ResolutionResponse.decode(split_digest(read)[1]).values
    assert {value.index for value in values} == {1, 2, 100}
    assert SECRET in read.body
    assert read.has(OpFlag.ENCR)

    for _ in range(3):  # nobody is asked twice who he is
        changed = HandleValue(index=1, type="URL", data=b"https://example.org/8")
        body = ValuesRequest(handle=PUMP, values=ValueList.of([changed])).encode()
        modified = await client.ask(OpCode.MODIFY_VALUE, body, flags=DEFAULT_FLAGS | OpFlag.ENCR)
        assert modified.header.response_code == ResponseCode.SUCCESS
    deleted = await client.ask(OpCode.DELETE_HANDLE, HandleRequest(handle=PUMP).encode())
    assert deleted.header.response_code == ResponseCode.SUCCESS
    assert client.challenges == 1

    await client.session.end()
    signed = registry.node.collectors.get_sample_value("handlegrid_signatures_total", {"result": "signed"})
    assert signed == 1  # the answer to the set-up; all others have a MAC
    with pytest.raises(SessionLost):
        await client.ask(OpCode.RESOLUTION, question())


async def test_what_must_not_pass_in_a_session(registry: RunningRegistry) -> None:
    sent: list[bytes] = []
    client = await administrator(registry, sent)
    assert (await client.ask(OpCode.CREATE_HANDLE, record())).header.response_code == ResponseCode.SUCCESS
    session, where = client.session, address(registry)

    # The same octets again: of a read, and of a write, which is not done again.
    await client.ask(OpCode.RESOLUTION, question(1))
    assert await told(where, sent[-1]) == ResponseCode.SESSION_MESSAGE_REJECTED
    await client.ask(OpCode.DELETE_HANDLE, HandleRequest(handle=PUMP).encode())
    delete = sent[-1]
    assert (await client.ask(OpCode.CREATE_HANDLE, record())).header.response_code == ResponseCode.SUCCESS
    assert await told(where, delete) == ResponseCode.SESSION_MESSAGE_REJECTED
    assert (await client.ask(OpCode.RESOLUTION, question(1))).header.response_code == ResponseCode.SUCCESS

    # Whoever has seen the id, and not the key.
    body = HandleRequest(handle=PUMP).encode()
    plain = Message.request(OpCode.DELETE_HANDLE, body, request_id=5, expiration=0, session_id=session.id)
    assert await told(where, plain.encode()) == ResponseCode.INVALID_CREDENTIAL
    assert await told(where, mac(plain, bytes(32), 99).encode()) == ResponseCode.INVALID_SESSION_KEY
    hidden = bytearray(plain.encode() + bytes(12))
    hidden[2] |= 0x40
    hidden[16:20] = (len(hidden) - ENVELOPE_OCTETS).to_bytes(4, "big")
    assert await told(where, bytes(hidden)) == ResponseCode.SESSION_FAILED

    # Whoever has a whole message, and sends it from somewhere else before it arrives.
    stolen: list[bytes] = []

    async def steal(octets: bytes) -> bytes:
        stolen.append(octets)
        answer = await exchange(where, octets, source=ELSEWHERE)
        return answer.encode()

    session._send, send = steal, session._send
    with pytest.raises(SessionLost):
        await session.ask(OpCode.DELETE_HANDLE, body)
    session._send = send
    answered = await send(stolen[0])

    async def answer_again(_octets: bytes) -> bytes:  # with what was true a moment ago
        return answered

    session._send = answer_again
    with pytest.raises(BadMac):
        await session.ask(OpCode.DELETE_HANDLE, body)
    assert decode_message(answered).header.response_code == ResponseCode.SUCCESS


async def told(where: Address, octets: bytes) -> int:
    return (await exchange(where, octets)).header.response_code


async def test_an_anonymous_session_is_challenged_each_time(registry: RunningRegistry) -> None:
    send = over_tcp(address(registry))
    client = await SessionClient.set_up(send, server_key(registry))
    client.identity, client._secret = ADMIN, registry.secret.encode()
    for _ in range(2):
        answer = await client.ask(OpCode.CREATE_HANDLE, record(), flags=DEFAULT_FLAGS | OpFlag.OVRW)
        assert answer.header.response_code == ResponseCode.SUCCESS
    assert client.challenges == 2


async def test_a_set_up_that_another_server_answers_is_not_believed(registry: RunningRegistry) -> None:
    honest = over_tcp(address(registry))
    key = server_key(registry)
    other = PublicKey(key.algorithm, (key.numbers[0], key.numbers[1] + 2))
    with pytest.raises(BadSignature):
        await ClientSession.set_up(honest, other)

    async def in_between(octets: bytes) -> bytes:  # somebody who sets up a session of his own
        setup = decode_message(octets)
        body = SessionSetupRequest.decode(setup.body)
        mine = Half.of(usual_group(), bytes(range(ENTROPY_OCTETS))).public.encode()
        return await honest(
            replace(setup, body=replace(body, key=mine).encode(), signed_octets=None).encode()
        )

    with pytest.raises(BadSignature, match="another request"):
        await ClientSession.set_up(in_between, key)


async def test_other_modes_are_refused_in_words(registry: RunningRegistry) -> None:
    for mode in (SessionMode.CLIENT_KEY, SessionMode.SERVER_KEY, SessionMode.HANDLE_KEY):
        exchange_key = ADMIN if mode is SessionMode.HANDLE_KEY else None
        body = SessionSetupRequest(
            mode=mode, timeout_s=60, identity=ADMIN, key=b"key", exchange=exchange_key
        ).encode()
        flags = DEFAULT_FLAGS | OpFlag.CERT | OpFlag.RRDG
        request = Message.request(OpCode.SESSION_SETUP, body, request_id=9, expiration=0, flags=flags)
        response = await exchange(address(registry), request.encode())
        assert response.header.response_code == ResponseCode.SESSION_FAILED
        assert b"Diffie-Hellman" in response.body
        verify(response, server_key(registry))


async def test_a_deployed_client_sets_up_its_session_over_datagrams(registry: RunningRegistry) -> None:
    (recording,) = [message for message in recorded() if message.name == "tcp_session_dh_mac#0"]
    exponent = int(recordings()["tcp_session_dh_mac"]["session"]["dh_client_private_x"], 16)
    setup, udp = decode_message(recording.octets), UdpExchanger()
    deadline_s = asyncio.get_running_loop().time() + WAIT_S
    response = await udp.exchange(*registry.node.addresses.udp[0], setup, deadline_s=deadline_s)
    await udp.close()
    verify(response, server_key(registry))
    group, _ = decode_public(SessionSetupRequest.decode(setup.body).key)
    told_by_server = SessionSetupResponse.decode(split_digest(response)[1])
    key = finish_session(Half(group, exponent), told_by_server)

    asked = Message.request(
        OpCode.RESOLUTION,
        question(),
        request_id=5,
        expiration=0,
        flags=OpFlag.CERT,
        session_id=response.envelope.session_id,
    )
    answer = await exchange(address(registry), mac(asked, key, 1).encode())
    assert answer.header.response_code == ResponseCode.HANDLE_NOT_FOUND
    assert verify_mac(answer, key) == 1


async def test_an_encrypted_request_is_read_over_every_transport(registry: RunningRegistry) -> None:
    tcp, places, over = over_tcp(address(registry)), registry.node.addresses, ["tcp"]

    async def send(octets: bytes) -> bytes:
        match over[0]:
            case "udp":
                return await send_udp(places.udp[0], octets)
            case "http":
                return await post(places.http[0], octets)
            case "closed":
                return await send_tcp(places.tcp[0], octets)
            case _:
                return await tcp(octets)

    client = await SessionClient.set_up(send, server_key(registry), ADMIN, registry.secret.encode())
    flags = DEFAULT_FLAGS | OpFlag.ENCR
    for over[0] in (
        "udp",
        "http",
        *["closed"] * 8,
    ):  # of which half would stay open, did octets 28 to 31 count
        answer = await client.ask(OpCode.RESOLUTION, question(), flags=flags)
        assert answer.header.response_code == ResponseCode.HANDLE_NOT_FOUND, over
        assert answer.has(OpFlag.ENCR)


async def post(where: Address, octets: bytes) -> bytes:
    headers = {"Content-Type": MESSAGE_TYPE}
    async with (
        aiohttp.ClientSession() as session,
        session.post("http://{}:{}/".format(*where), data=octets, headers=headers) as response,
    ):
        return await response.read()


async def test_an_id_that_names_nothing_is_answered_with_500(registry: RunningRegistry) -> None:
    request = Message.request(OpCode.RESOLUTION, question(), request_id=9, expiration=0, session_id=999_999)
    assert await told(address(registry), request.encode()) == ResponseCode.SESSION_TIMEOUT
    negative = Message.request(
        OpCode.RESOLUTION, question(), request_id=9, expiration=0, session_id=0xFFFF_FFFF
    )
    assert await told(address(registry), negative.encode()) == ResponseCode.HANDLE_NOT_FOUND
    octets = bytearray(request.encode())
    octets[2] |= 0x40
    assert decode_envelope(bytes(octets)).encrypted
    assert await told(address(registry), bytes(octets)) == ResponseCode.SESSION_TIMEOUT
    octets[4:8] = bytes(4)
    assert await told(address(registry), bytes(octets)) == ResponseCode.SESSION_FAILED
