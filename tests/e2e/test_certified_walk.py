"""Signed answers and the certified walk: registries and a recursive node on sockets, judged from the network alone."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from protocol.admin_bodies import HandleRequest
from protocol.bodies import SiteInfoResponse
from protocol.client import HandleClient, Opening, Question, load_bundle
from protocol.client.answers import Found
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.credential import verify
from protocol.errors import NotCertified, ResolutionFailed
from protocol.handle import Handle, Prefix
from protocol.message import Message, decode_message, matches_digest, split_digest
from protocol.site import Site
from protocol.transport.exchanger import Exchanger
from protocol.valuetypes import PublicKey
from resolver.settings import ForwardRule
from tests.integration.deploy.commanding import run
from tests.support.asking import Answered, ask_tcp, ask_udp, resolution, send_udp
from tests.support.handle_client import HandleClient as Client
from tests.support.handle_client import Proof
from tests.support.postgres import TestPostgres
from tests.support.scratch import scratch_directory
from tests.support.vectors import recordings
from tests.support.world import TestNode, TestResolver, World, url_value

pytestmark = pytest.mark.asyncio(loop_scope="module")

PUMP: Final = "88.100/pump-7"
CERT: Final = DEFAULT_FLAGS | OpFlag.CERT | OpFlag.RRDG
OF_AUTHORITY: Final = CERT & ~OpFlag.CACR

Spoil = Callable[[Message, Message], Awaitable[Message]]
"""What somebody on the way makes of a request and the response to it."""


@dataclass(kw_only=True)
class Chain:
    """Root, top-level 88 and secondary 88.100, and two recursive nodes, of which one forwards to the other."""

    world: World
    root: TestNode
    top: TestNode
    second: TestNode
    recursive: TestResolver
    forwarding: TestResolver

    @property
    def levels(self) -> dict[str, TestNode]:
        """The registries by the level that each of them serves."""
        return {"0.NA": self.root, "88": self.top, "88.100": self.second}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(postgres: TestPostgres) -> AsyncIterator[Chain]:
    with scratch_directory() as scratch:
        world = World(postgres, scratch)
        try:
            root, top, second = await world.chain("88", "88.100")
            await second.create(PUMP, url="https://plant.example/pump-7")
            recursive = await world.resolver()
            yield Chain(
                world=world,
                root=root,
                top=top,
                second=second,
                recursive=recursive,
                forwarding=await world.resolver(forward_to=recursive),
            )
        finally:
            await world.close()


class Meddler:
    """Real sockets, and somebody between them and us who alters what one node answers."""

    def __init__(self, exchanger: Exchanger, site: Site, spoil: Spoil) -> None:
        self._exchanger = exchanger
        self._address = str(site.servers[0].ip)
        self._spoil = spoil

    async def exchange(
        self,
        interface_protocol: int,
        address: str,
        port: int,
        request: Message,
        *,
        deadline_s: float,
        path: str = "",
    ) -> Message:
        response = await self._exchanger.exchange(
            interface_protocol, address, port, request, deadline_s=deadline_s, path=path
        )
        return await self._spoil(request, response) if address == self._address else response


async def untouched(request: Message, response: Message) -> Message:
    """Nobody in between."""
    return response


@asynccontextmanager
async def client_of(
    chain: Chain, at: TestNode | None = None, spoil: Spoil = untouched, *, unsigned: str = ""
) -> AsyncIterator[HandleClient]:
    """A client that starts at the root bundle; what the node `at` answers is spoilt on the way."""
    exchanger = Exchanger()
    try:
        yield HandleClient(
            load_bundle(chain.world.bundle),
            Meddler(exchanger, (at or chain.root).node.site, spoil),
            openings=[Opening(network=ip_network("127.0.0.0/8"), prefix=None)],
            unsigned_prefixes=[Prefix.parse(unsigned)] if unsigned else [],
        )
    finally:
        await exchanger.close()


def key_of(site: Site) -> PublicKey:
    return PublicKey.decode(site.servers[0].public_key)


def question(handle: str = PUMP) -> Question:
    return Question(handle=Handle.parse(handle))


async def test_a_handle_is_certified_from_the_bundle_down(chain: Chain) -> None:
    async with client_of(chain) as client:
        reply = await client.resolve(question(), certified=True)

    assert isinstance(reply, Found)
    assert [value.data for value in reply.values.select(types=("URL",))] == [b"https://plant.example/pump-7"]


@pytest.mark.parametrize("level", ["0.NA", "88", "88.100"])
async def test_a_forged_or_a_stripped_signature_is_refused_at_every_level(chain: Chain, level: str) -> None:
    async def altered(_: Message, response: Message) -> Message:
        header = replace(response.header, expiration=response.header.expiration + 1)
        return replace(response, header=header, signed_octets=None)

    async def stripped(_: Message, response: Message) -> Message:
        header = replace(response.header, op_flags=response.header.op_flags & ~OpFlag.CERT)
        return replace(response, header=header, credential=b"", signed_octets=None)

    for spoil in (altered, stripped):
        async with client_of(chain, chain.levels[level], spoil) as client:
            with pytest.raises(NotCertified) as refused:
                await client.resolve(question(), certified=True)
            assert isinstance(await client.resolve(question()), Found), "who asks for no proof is told"
        assert ("the root service" if level == "0.NA" else f"0.NA/{level}") in refused.value.node


async def test_the_answer_of_another_node_is_refused_however_well_it_is_signed(chain: Chain) -> None:
    """A node below speaks where its parent is asked: the key of the wrong level."""

    async def from_below(request: Message, _: Message) -> Message:
        response = decode_message(await send_udp(chain.second.address, request.encode()))
        verify(response, key_of(chain.second.node.site))
        return response

    async with client_of(chain, chain.top, from_below) as client:
        with pytest.raises(NotCertified, match=r"not signed by the key that 0\.NA/88 certifies"):
            await client.resolve(question(), certified=True)


async def test_an_earlier_answer_of_the_same_node_is_refused(chain: Chain) -> None:
    earlier = await chain.second.ask("88.100/none", flags=CERT)
    verify(earlier.message, key_of(chain.second.node.site))

    async def replayed(request: Message, _: Message) -> Message:
        return replace(
            earlier.message,
            envelope=replace(earlier.message.envelope, request_id=request.envelope.request_id),
        )

    async with client_of(chain, chain.second, replayed) as client:
        with pytest.raises(ResolutionFailed, match="digest of another request"):
            await client.resolve(question(), certified=True)


async def test_a_level_that_does_not_sign_is_believed_as_a_named_exception_only(chain: Chain) -> None:
    async def stripped(_: Message, response: Message) -> Message:
        return replace(response, credential=b"")

    async with client_of(chain, chain.top, stripped, unsigned="88") as client:
        assert isinstance(await client.resolve(question(), certified=True), Found)
    for other in ("0.NA", "88.100"):
        async with client_of(chain, chain.top, stripped, unsigned=other) as client:
            with pytest.raises(NotCertified):
                await client.resolve(question(), certified=True)


@pytest.mark.parametrize("ask", [ask_udp, ask_tcp])
async def test_a_registry_signs_values_denials_referrals_and_refusals(
    chain: Chain, ask: Callable[..., object]
) -> None:
    asked = {
        chain.second: (PUMP, "88.100/none"),
        chain.top: ("0.NA/88.100.5", PUMP, "99/x"),
        chain.root: ("0.NA/88", "0.NA/99"),
    }
    for node, names in asked.items():
        for name in names:
            request = resolution(name, flags=int(CERT))
            answered = await ask(node.address, request)  # type: ignore[misc]
            assert isinstance(answered, Answered)
            verify(answered.message, key_of(node.node.site))
            digest, _ = split_digest(answered.message)
            assert digest is not None
            assert matches_digest(request, digest)
            assert answered.message.has(OpFlag.CERT)


async def test_challenges_writes_and_every_message_of_a_list_are_signed(chain: Chain) -> None:
    node = chain.second
    key = key_of(node.node.site)
    stranger = Client(node.address)
    owner = Client(node.address, proof=Proof("88.100/ADMIN", secret=node.secret.encode()))
    await node.store({f"88.100/listed-{number}": [url_value("https://a.example/")] for number in range(60)})
    body = HandleRequest(handle=Handle.parse("88.100/listed-0")).encode()

    challenged = await stranger.ask(OpCode.DELETE_HANDLE, body, flags=CERT)
    refused = await owner.ask(OpCode.DELETE_HANDLE, body, flags=CERT)
    listed = await owner.about(OpCode.LIST_HANDLES, "0.NA/88.100", flags=CERT)
    unknown = await stranger.ask(OpCode.BACKUP_SERVER, b"", flags=CERT)

    assert [reply.rc for reply in (challenged, refused, listed, unknown)] == [402, 400, 1, 5]
    assert len(listed.messages) > 1
    for message in (*challenged.messages, *refused.messages, *listed.messages, *unknown.messages):
        verify(message, key)


@pytest.mark.parametrize("recording", [name for name in sorted(recordings()) if "certif" in name])
async def test_a_recorded_request_gets_a_signature_as_its_version_has_it(
    chain: Chain, recording: str
) -> None:
    entries = recordings()[recording]["messages"]
    request, answer = (decode_message(bytes.fromhex(entries[at]["hex"])) for at in (0, -1))
    response = decode_message(await send_udp(chain.second.address, request.encode()))

    verify(response, key_of(chain.second.node.site))
    assert response.envelope.version == answer.envelope.version
    assert response.has(OpFlag.CERT)


async def test_the_tunnel_brings_signed_answers_too(chain: Chain) -> None:
    response = decode_message(await chain.second.tunnel(resolution(PUMP, flags=int(CERT)).encode()))
    verify(response, key_of(chain.second.node.site))


async def test_site_information_is_signed_by_the_key_that_it_names(chain: Chain) -> None:
    for node in (chain.second, chain.recursive):
        request = Message.request(
            OpCode.GET_SITE_INFO, b"\0\0\0\1/", request_id=7, expiration=0, flags=DEFAULT_FLAGS | OpFlag.CERT
        )
        response = decode_message(await send_udp(node.address, request.encode()))
        site = SiteInfoResponse.decode(response.body).site
        verify(response, key_of(site))
        assert site == node.node.site


async def test_a_retransmission_gets_the_very_same_octets(chain: Chain) -> None:
    octets = resolution(PUMP, flags=int(CERT)).encode()
    first, second = [await send_udp(chain.second.address, octets) for _ in range(2)]
    assert first == second


async def test_under_cacr_the_recursive_node_signs_with_its_own_key(chain: Chain) -> None:
    for name in (PUMP, "88.100/none", PUMP):
        answered = await chain.recursive.ask(name, flags=CERT)
        verify(answered.message, key_of(chain.recursive.node.site))
        assert not answered.authoritative
    chain.world.forget()
    await chain.recursive.ask(PUMP, flags=CERT)
    assert not chain.world.exchanges(), "signing needs no authority"


@pytest.mark.parametrize("name", [PUMP, "88.100/none", "0.NA/88.100", "0.NA/88"])
async def test_without_cacr_the_authority_is_asked_and_its_answer_passed_on_untouched(
    chain: Chain, name: str
) -> None:
    authority = {PUMP: chain.second, "88.100/none": chain.second, "0.NA/88.100": chain.top}.get(
        name, chain.root
    )
    await chain.recursive.ask(name)
    for node in (chain.recursive, chain.forwarding):
        chain.world.forget()
        request = resolution(name, flags=int(OF_AUTHORITY))
        answered = await ask_udp(node.address, request)

        verify(answered.message, key_of(authority.node.site))
        assert answered.authoritative
        seen = authority.tap.requests[-1]
        assert seen.encode() == request.encode(), "the authority saw what the client had sent"


async def test_a_request_that_two_nodes_pass_on_to_each_other_ends(chain: Chain) -> None:
    first = await chain.world.resolver()
    second = await chain.world.resolver(forward_to=first)
    await first.stop()
    back = (ForwardRule(prefix="*", addresses=(second.endpoint,)),)
    circle = TestResolver(chain.world, msgspec.structs.replace(first.settings, forwarding=back))
    await circle.start()
    try:
        answered = await ask_tcp(circle.address, resolution(PUMP, flags=int(OF_AUTHORITY)))
    finally:
        await circle.stop()

    assert answered.rc == ResponseCode.RECURSION_LIMIT
    assert "circle" in answered.text


async def test_what_may_not_be_recursed_for_is_not_passed_on(chain: Chain) -> None:
    answered = await chain.recursive.ask(PUMP, flags=OF_AUTHORITY & ~OpFlag.RECU)
    assert answered.rc == ResponseCode.SERVER_NOT_RESPONSIBLE
    verify(answered.message, key_of(chain.recursive.node.site))


async def test_administration_goes_where_the_root_leads_and_believes_what_is_signed(
    chain: Chain, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text(chain.second.secret)
    who = ("--as", chain.second.administrator, "--secret-file", str(secret))
    way = ("--root", str(chain.world.bundle), "--certified")

    await run("admin", "create", "88.100/admin-1", "1:URL=https://a.example", "--session", *who, *way)
    await run("admin", "modify", "88.100/admin-1", "1:URL=https://b.example", *who, *way)
    listed = await run("admin", "list", "88.100", *who, *way)
    nowhere = await run("admin", "delete", "88.999/x", *who, *way, code=3)

    assert (await chain.second.ask("88.100/admin-1")).rc == ResponseCode.SUCCESS
    assert "88.100/admin-1" in listed.out.splitlines()
    assert "no service holds 88.999/x" in nowhere.err
