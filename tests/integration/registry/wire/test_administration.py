"""The client of administration, against a node over every transport: secrets and keys, sessions, lists, refusals."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from protocol.challenge import Challenge, answer_with_secret
from protocol.client.administration import Administration, SessionUse
from protocol.client.identity import Identity, KeyIdentity, SecretIdentity
from protocol.client.places import NamedPlace, ask_for_site
from protocol.codes import ResponseCode
from protocol.errors import BadSignature, OperationRefused, Unreachable
from protocol.handle import Handle, Prefix
from protocol.message import decode_envelope
from protocol.site import InterfaceProtocol
from protocol.transport.exchanger import Exchanger
from protocol.value import ValueReference
from protocol.valuetypes import PublicKey
from registry.outcomes import Identity as Identity_
from tests.integration.registry.bench import admin as administered_by
from tests.integration.registry.bench import url
from tests.integration.registry.wire.conftest import KEY
from tests.support.wired import ADMIN, STRANGER, Wired, fresh

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREFIX = Prefix.parse("88.1")
TRANSPORTS = [InterfaceProtocol.UDP, InterfaceProtocol.TCP, InterfaceProtocol.HTTP]
EVERY_TRANSPORT = pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda protocol: protocol.name)
NONE_SIGNED = SessionUse(encrypted=False)


def by_secret(node: Wired) -> Identity:
    """The administrator, by secret."""
    return SecretIdentity(reference=ValueReference(ADMIN.encode(), 300), secret=node.secret)


def by_key() -> Identity:
    """The administrator, by RSA key."""
    return KeyIdentity(reference=ValueReference(ADMIN.encode(), 301), key=KEY)


class Watched(Exchanger):
    """An exchanger that keeps what is sent, and loses the answers that it is told to lose."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    async def exchange_octets(
        self, interface_protocol: int, address: str, port: int, request: bytes, **how: object
    ) -> bytes:
        """See Exchanger."""
        self.sent.append(request)
        return await super().exchange_octets(interface_protocol, address, port, request, **how)  # type: ignore[arg-type]


@asynccontextmanager
async def administration(
    node: Wired,
    identity: Identity | None,
    transport: InterfaceProtocol = InterfaceProtocol.TCP,
    *,
    sessions: SessionUse | None = None,
    certified: bool = False,
    exchanger: Exchanger | None = None,
) -> AsyncIterator[Administration]:
    """Somebody who administers a node over one transport."""
    exchanger = exchanger or Exchanger()
    places = node.node.addresses
    address = {"UDP": places.udp, "TCP": places.tcp, "HTTP": places.http}[transport.name][0]
    try:
        site = await ask_for_site(exchanger, transport, *address, patience_s=15)
        assert [server.ip.compressed for server in site.servers] == [address[0]]
        async with Administration(
            exchanger,
            NamedPlace(site),
            identity,
            interface_protocol=transport,
            sessions=sessions,
            certified=certified,
        ) as made:
            yield made
    finally:
        await exchanger.close()


async def data_of(node: Wired, name: Handle) -> list[str]:
    """The data of the URL values of a handle."""
    reply = await node.client().resolve(str(name), types=["URL"])
    return [value.data.decode() for value in reply.values] if reply.rc == ResponseCode.SUCCESS else []


@EVERY_TRANSPORT
@pytest.mark.parametrize("sessions", [None, NONE_SIGNED, SessionUse()], ids=["alone", "mac", "encrypted"])
@pytest.mark.parametrize("who", ["secret", "key"])
async def test_every_write_is_done(
    node: Wired, transport: InterfaceProtocol, sessions: SessionUse | None, who: str
) -> None:
    identity = by_secret(node) if who == "secret" else by_key()
    name = await _given_to_any_key(node)
    async with administration(node, identity, transport, sessions=sessions) as admin:
        await admin.add(name, [url("https://b.example", 2)])
        await admin.modify(name, [url("https://c.example", 2)])
        assert await data_of(node, name) == ["https://a.example", "https://c.example"]
        await admin.remove(name, [1])
        assert await data_of(node, name) == ["https://c.example"]
        await admin.delete(name)
        assert await data_of(node, name) == []
        if who == "secret":  # who creates needs the right at the prefix
            assert await admin.create(name, [url("https://d.example")]) == name
            await admin.create(name, [url("https://e.example")], overwrite=True)
            assert await data_of(node, name) == ["https://e.example"]


async def _given_to_any_key(node: Wired) -> Handle:
    """The name of a record that whoever has a key of the administrator administers."""
    anybody = Identity_(index=0, handle=Handle.parse(ADMIN))
    return Handle.parse(await node.created(url("https://a.example"), administered_by(anybody)))


async def test_a_session_is_set_up_once_and_proves_once_and_hides_what_it_carries(node: Wired) -> None:
    watched = Watched()
    async with administration(node, by_secret(node), sessions=SessionUse(), exchanger=watched) as admin:
        for _ in range(3):
            await admin.create(Handle.parse(fresh()), [url("https://hidden.example")])
        assert len(watched.sent) == 1 + 1 + 2 + 1 + 1  # site, set-up, challenged, and two more
        written = watched.sent[2:]
    assert all(decode_envelope(octets).encrypted for octets in written)
    assert not any(b"hidden.example" in octets for octets in written)
    assert len(watched.sent) == 7, "the session is ended"


async def test_a_session_that_the_server_forgot_is_set_up_again(node: Wired) -> None:
    async with administration(node, by_secret(node), sessions=SessionUse()) as admin:
        await admin.create(Handle.parse(fresh()), [url("https://a.example")])
        await admin._sessions[next(iter(admin._sessions))].end()
        name = Handle.parse(fresh())
        await admin.create(name, [url("https://b.example")])
        assert await data_of(node, name) == ["https://b.example"]


async def test_answers_signed_by_another_key_than_the_sites_are_not_believed(node: Wired) -> None:
    async with administration(node, by_secret(node), certified=True) as admin:
        name = Handle.parse(fresh())
        await admin.create(name, [url("https://a.example")])
        (site,) = await admin._places.sites(name)
        other = replace(site.servers[0], public_key=PublicKey.of_rsa(KEY.public_key()).encode())
        admin._places = NamedPlace(replace(site, servers=(other,)))
        with pytest.raises(BadSignature):
            await admin.delete(name)


async def test_a_refusal_tells_code_and_words(node: Wired) -> None:
    stranger = SecretIdentity(reference=ValueReference(STRANGER.encode(), 300), secret=b"of a stranger")
    wrong = SecretIdentity(reference=ValueReference(ADMIN.encode(), 300), secret=os.urandom(8))
    for identity, code in [
        (None, ResponseCode.AUTHENTICATION_NEEDED),
        (stranger, ResponseCode.INVALID_ADMINISTRATOR),
        (wrong, ResponseCode.AUTHENTICATION_FAILED),
    ]:
        async with administration(node, identity) as admin:
            with pytest.raises(OperationRefused) as refused:
                await admin.delete(Handle.parse(ADMIN))
            assert refused.value.refusal == code


async def test_a_list_comes_whole_in_its_order_message_by_message(node: Wired) -> None:
    start = fresh("listed")
    names = [f"{start}-{number:03}".upper().encode() for number in range(101)]
    async with administration(node, by_secret(node), sessions=SessionUse()) as admin:
        for name in names:
            await admin.create(Handle(name), [url("https://a.example")])
    for transport in TRANSPORTS[1:]:
        async with administration(node, by_secret(node), transport) as admin:
            listed = [name.upper() async for name in admin.list_handles(PREFIX)]
            assert [name for name in listed if name in names] == names
            homed = [name async for name in admin.list_homed(Handle.parse(ADMIN))]
            assert b"0.NA/88.1" in homed


async def test_a_list_is_not_asked_for_over_datagrams(node: Wired) -> None:
    async with administration(node, by_secret(node), InterfaceProtocol.UDP) as admin:
        with pytest.raises(Unreachable, match="no such interface over UDP"):
            _ = [name async for name in admin.list_handles(PREFIX)]


async def test_prefixes_are_homed_and_unhomed(node: Wired) -> None:
    prefix = Prefix.parse("88.1.77")
    async with administration(node, by_secret(node)) as admin:
        await admin.home(prefix)
        homed = [name async for name in admin.list_homed(Handle.parse(ADMIN))]
        await admin.unhome(prefix)
        after = [name async for name in admin.list_homed(Handle.parse(ADMIN))]
    assert b"0.NA/88.1.77" in homed
    assert b"0.NA/88.1.77" not in after


async def test_a_minted_name_is_told(node: Wired) -> None:
    async with administration(node, by_secret(node)) as admin:
        name = await admin.create(Handle.parse("88.1/minted-"), [url("https://a.example")], mint=True)
    assert name.octets.startswith(b"88.1/minted-")
    assert await data_of(node, name) == ["https://a.example"]


async def test_an_answer_to_somebodys_challenge_is_verified(node: Wired) -> None:
    challenge = Challenge(os.urandom(16), os.urandom(32))
    key = ValueReference(ADMIN.encode(), 300)
    async with administration(node, None) as admin:
        right = answer_with_secret(challenge, node.secret, salt=os.urandom(16))
        assert await admin.verify(key, challenge, right)
        wrong = answer_with_secret(challenge, b"guessed", salt=os.urandom(16))
        assert not await admin.verify(key, challenge, wrong)
