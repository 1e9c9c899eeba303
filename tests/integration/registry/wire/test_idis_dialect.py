"""A client of the IDIS dialect, written from DOMAIN.md §3.5 alone: it logs in, writes, reads and keeps alive."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from protocol.bodies import ResolutionRequest
from protocol.codes import OpCode, OpFlag
from protocol.handle import Handle
from protocol.site import InterfaceProtocol, Site
from protocol.value import HandleValue, ValueList, ValueReference
from protocol.valuetypes import PublicKey
from registry.outcomes import Identity
from tests.integration.registry.bench import admin, url
from tests.integration.registry.wire.conftest import KEY
from tests.support.session_client import SessionClient, over_tcp
from tests.support.wired import ADMIN, Wired, fresh, restricted

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEFAULT, LOGIN_FLAGS, RECURSIVE_AUTH = 0x1900_0000, 0x1080_0000, 0x1900_0004
LOGIN, CHALLENGE_ANSWER = 2_001, 200
LOGGED_IN = 10_001
KEY_INDEX = 301
ADDRESS = "https://plant.example/7"


def text(value: bytes | str) -> bytes:
    octets = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(octets)) + octets


class Answer:
    """A message, taken apart by hand."""

    def __init__(self, octets: bytes) -> None:
        self.version = tuple(octets[:2])
        self.session_id, self.request_id = struct.unpack_from(">II", octets, 4)
        self.op_code, self.rc, self.flags = struct.unpack_from(">III", octets, 20)
        self.body = octets[44 : 44 + struct.unpack_from(">I", octets, 40)[0]]

    @property
    def values(self) -> list[HandleValue]:
        name_octets = struct.unpack_from(">I", self.body)[0]
        count = struct.unpack_from(">I", self.body, 4 + name_octets)[0]
        return list(ValueList(self.body[8 + name_octets :], count))


class SdkClient:
    """One pooled connection of such a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.session_id = 0
        self.request_id = 0

    async def ask(
        self,
        op_code: int,
        body: bytes,
        *,
        flags: int = DEFAULT,
        session_id: int | None = None,
        credential: bytes = bytes(4),
    ) -> Answer:
        self.request_id += 1
        rest = struct.pack(">IIIHBBII", op_code, 0, flags, 0xFFFF, 0, 0, 0x7000_0000, len(body)) + body
        rest += credential
        session = self.session_id if session_id is None else session_id
        answer = await self.exchange(
            struct.pack(">4BIIII", 2, 10, 2, 11, session, self.request_id, 0, len(rest)) + rest
        )
        assert answer.request_id == self.request_id
        return answer

    async def exchange(self, octets: bytes) -> Answer:
        self.writer.write(octets)
        async with asyncio.timeout(15):
            envelope = await self.reader.readexactly(20)
            return Answer(envelope + await self.reader.readexactly(struct.unpack(">I", envelope[16:])[0]))

    async def resolve(self, name: str, *types: str, auth: str = "", flags: int = DEFAULT) -> Answer:
        body = text(name) + bytes(4) + struct.pack(">I", len(types)) + b"".join(map(text, types)) + text(auth)
        return await self.ask(1, body, flags=flags)

    async def log_in(self, user: str, index: int, key: rsa.RSAPrivateKey, *, as_user: str = "") -> Answer:
        challenge = await self.ask(
            LOGIN, text(user) + struct.pack(">I", index), flags=LOGIN_FLAGS, credential=b""
        )
        assert (challenge.rc, challenge.op_code, challenge.body[0]) == (402, LOGIN, 3)
        digest, nonce = challenge.body[1:33], challenge.body[37:53]
        signature = key.sign(nonce + digest, PKCS1v15(), hashes.SHA256())
        signed = text("SHA-256") + text(signature)
        body = text("HS_PUBKEY") + text(as_user or user) + struct.pack(">I", index) + text(signed)
        answer = await self.ask(CHALLENGE_ANSWER, body, flags=LOGIN_FLAGS, session_id=challenge.session_id)
        if answer.rc == 1:
            self.session_id = LOGGED_IN
        return answer


@asynccontextmanager
async def sdk(node: Wired) -> AsyncIterator[SdkClient]:
    reader, writer = await asyncio.open_connection(*node.node.addresses.tcp[0])
    try:
        yield SdkClient(reader, writer)
    finally:
        writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registry(node: Wired) -> Wired:
    """Give the node, whose handles its administrator's RSA key may write too."""
    identity = Identity(index=KEY_INDEX, handle=Handle.parse(ADMIN))
    await node.writer().create("0.NA/88.1.9", admin(identity))
    await node.writer().about(OpCode.HOME_PREFIX, "0.NA/88.1.9")
    return node


async def test_a_client_finds_the_node_by_the_bare_name_of_its_prefix(registry: Wired) -> None:
    async with sdk(registry) as client:
        answer = await client.resolve("88.1", "HS_SITE")

    assert (answer.rc, answer.version) == (1, (2, 11))
    first = Site.decode(answer.values[0].data).servers[0].interfaces[0]
    assert (first.protocol, first.port) == (InterfaceProtocol.TCP, registry.node.settings.handle_port)


async def test_only_the_site_of_a_homed_prefix_is_answered_under_its_bare_name(registry: Wired) -> None:
    async with sdk(registry) as client:
        assert (await client.resolve("88.1", "URL")).rc == 301
        assert (await client.resolve("0.NA/88.1", "HS_SITE")).rc == 301
        assert (await client.resolve("99.9", "HS_SITE")).rc == 301


async def test_the_heartbeat_is_answered_and_keeps_the_connection(registry: Wired) -> None:
    async with sdk(registry) as client:
        for _ in range(3):
            assert (await client.resolve("0")).rc == 100


async def test_the_authentication_field_and_its_flag_are_tolerated(registry: Wired) -> None:
    name = await registry.created()
    async with sdk(registry) as client:
        answer = await client.resolve(name, auth="tok", flags=RECURSIVE_AUTH)

    assert answer.rc == 1
    assert answer.flags & 0x4


async def test_after_a_login_a_client_writes_and_reads_with_session_ids_of_its_own(registry: Wired) -> None:
    name = fresh("sdk").replace("88.1/", "88.1.9/")
    value = url(ADDRESS, 1).encode()
    other = HandleValue(index=2, type="DESC", data=b"inside", permissions=0x0C).encode()
    async with sdk(registry) as client:
        site = await client.ask(2, text("/"))
        login = await client.log_in(ADMIN, KEY_INDEX, KEY)
        created = await client.ask(100, text(name) + struct.pack(">I", 1) + value)
        added = await client.ask(102, text(name) + struct.pack(">I", 1) + other)
        read = await client.resolve(name)
        beat = await client.resolve("0")
        removed = await client.ask(103, text(name) + struct.pack(">II", 1, 2))
        deleted = await client.ask(101, text(name))

    assert (site.rc, login.rc, login.op_code) == (1, 1, LOGIN)
    assert [answer.rc for answer in (created, added, read, beat, removed, deleted)] == [1, 1, 1, 100, 1, 1]
    assert created.session_id == LOGGED_IN
    assert {value.data for value in read.values} >= {b"inside"}  # though PUBL is set


async def test_who_has_logged_in_still_reads_what_others_own_as_anybody_does(registry: Wired) -> None:
    name = await registry.created(url(ADDRESS), restricted("inside"))
    async with sdk(registry) as client:
        await client.log_in(ADMIN, KEY_INDEX, KEY)
        answer = await client.resolve(name)

    assert answer.rc == 1
    assert all(value.data != b"inside" for value in answer.values)


async def test_a_login_is_honoured_on_its_own_connection_alone(registry: Wired) -> None:
    name = await registry.created()
    async with sdk(registry) as client, sdk(registry) as thief:
        await client.log_in(ADMIN, KEY_INDEX, KEY)
        thief.session_id = LOGGED_IN
        stolen = await thief.ask(101, text(name))
    async with sdk(registry) as later:
        later.session_id = LOGGED_IN
        late = await later.ask(101, text(name))

    assert (stolen.rc, late.rc) == (500, 500)


async def test_a_message_of_a_session_needs_its_mac_on_a_connection_with_a_login_too(registry: Wired) -> None:
    name, sent = await registry.created(), list[bytes]()
    async with sdk(registry) as client:
        await client.log_in(ADMIN, KEY_INDEX, KEY)
        session = await in_session(registry, sent)
        body = ResolutionRequest(handle=Handle.parse(name)).encode()
        read = await session.ask(OpCode.RESOLUTION, body, flags=DEFAULT | OpFlag.ENCR)
        again = await client.exchange(sent[-1])

    assert (read.header.response_code, again.rc) == (1, 505)


async def test_who_is_suspended_has_neither_login_nor_session_any_more(registry: Wired) -> None:
    name, operations = await registry.created(), registry.node.operations
    body = text(name) + struct.pack(">I", 1) + url("https://plant.example/8").encode()

    async def barred(identity: Identity) -> bool:
        return identity.handle == Handle.parse(ADMIN)

    async with sdk(registry) as client:
        session = await in_session(registry, [])
        assert (await client.log_in(ADMIN, KEY_INDEX, KEY)).rc == 1
        assert (await session.ask(OpCode.DELETE_HANDLE, text(fresh()))).header.response_code == 100
        operations.is_barred, was = barred, operations.is_barred
        try:
            assert (await client.ask(104, body)).rc == 402
            assert (await session.ask(OpCode.MODIFY_VALUE, body)).header.response_code == 403
        finally:
            operations.is_barred = was
        assert (await session.ask(OpCode.MODIFY_VALUE, body)).header.response_code == 1
        assert session.challenges == 2  # the first, and that of the suspended


async def in_session(registry: Wired, sent: list[bytes]) -> SessionClient:
    """A client of sessions that is the node's administrator. sent: gets what it sends."""
    send = over_tcp(registry.node.addresses.tcp[0], sent.append)
    key = PublicKey.decode(registry.node.site.servers[0].public_key)
    return await SessionClient.set_up(send, key, ValueReference(ADMIN.encode(), 300), registry.secret)


async def test_a_login_by_a_wrong_key_or_for_somebody_else_fails(registry: Wired) -> None:
    other = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    async with sdk(registry) as client:
        assert (await client.log_in(ADMIN, KEY_INDEX, other)).rc == 403
    async with sdk(registry) as client:
        assert (await client.log_in("88.1/STRANGER", 300, KEY, as_user=ADMIN)).rc == 403
        assert await client.reader.read() == b""


async def test_a_public_key_as_the_sdk_writes_it_is_a_key_too(registry: Wired) -> None:
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    name = await registry.created(HandleValue(index=300, type="HS_PUBKEY", data=pem))
    async with sdk(registry) as client:
        assert (await client.log_in(name, 300, KEY)).rc == 1


async def test_a_login_is_for_a_connection(registry: Wired) -> None:
    reply = await registry.client("http").ask(OpCode.IDIS_LOGIN, text(ADMIN) + struct.pack(">I", 300))

    assert reply.rc == 4


async def test_a_write_without_a_login_gets_a_challenge_as_others_need_it(registry: Wired) -> None:
    async with sdk(registry) as client:
        assert (await client.ask(101, text(await registry.created()))).rc == 402
