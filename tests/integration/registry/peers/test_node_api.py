"""The signed API of a node as strangers and neighbours of ill will meet it, and answers of peers that are none."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from functools import cache
from ipaddress import ip_address
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from yarl import URL

from protocol.handle import Handle, Prefix
from protocol.site import Site
from protocol.value import ValueList
from registry.api.services import Services
from registry.homing import admin_value
from registry.initialise import administrator_of
from registry.outcomes import COMMAND, Found
from registry.peers import nonces
from registry.peers.exchange import Peer, PeerRefused, PeerUnreachable, Place
from registry.peers.messages import (
    ApplicationMessage,
    Direction,
    HeartbeatMessage,
    MoveMessage,
    PageKind,
    PageRequest,
    Received,
    ReportMessage,
    SealedPage,
    Step,
    StepMessage,
)
from registry.peers.moves import Phase
from registry.peers.node_key import NodeKey
from registry.peers.pages import Page, RowForm
from registry.peers.parcels import record_of, wrap
from registry.peers.signatures import sign_request, sign_response, signature_of
from tests.support.neighbours import Neighbours, hosted_prefix, register_pumps
from tests.support.world import World, url_value

Answer = tuple[int, dict[str, Any]]
Answers = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def send(
    pair: Neighbours,
    to: Services,
    path: str,
    message: msgspec.Struct | None = None,
    *,
    key: NodeKey | None = None,
    late_s: int = 0,
    recipient: str | None = None,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Send a signed request to a node, by default as the node below to the one above."""
    octets = b"" if message is None else msgspec.json.encode(message)
    peers = to.peers
    signed = sign_request(
        key or pair.lower.peers.home.key,
        method="POST",
        target=path,
        body=octets,
        recipient=recipient or peers.home.key.id,
        now_s=int(peers.home.operations.context.wall_clock()) + late_s,
        nonce=secrets.token_urlsafe(18),
    )
    return await post(pair, to, path, signed | (headers or {}), octets if body is None else body)


async def post(pair: Neighbours, to: Services, path: str, headers: dict[str, str], body: bytes) -> Answer:
    base = pair.above.http if to is pair.upper else pair.below.http
    async with aiohttp.ClientSession() as session:
        given = {"Content-Type": "application/json", **headers} if body else headers
        url = URL(base + path, encoded=True)
        async with session.post(url, data=body or None, headers=given) as response:
            return response.status, json.loads(await response.read())


def heartbeat(pair: Neighbours) -> HeartbeatMessage:
    return HeartbeatMessage(site=pair.lower.peers.site.encode(), software="a test")


def slug(answer: Answer) -> str:
    return str(answer[1]["type"]).rpartition("/")[2]


async def test_a_signed_request_is_answered_and_nothing_that_differs_from_it(joined: Neighbours) -> None:
    path, message = "/api/v1/node/heartbeats", heartbeat(joined)

    assert (await send(joined, joined.upper, path, message))[0] == 200
    refusals = {
        "node-signature": [
            await send(joined, joined.upper, path, message, recipient="ab" * 32),
            await send(joined, joined.upper, path, message, body=b'{"site":"AAAA"}'),
            await send(joined, joined.upper, path, message, headers={"Signature": "node=:AAAA:"}),
            await send(joined, joined.upper, path, message, headers={"Signature-Input": ""}),
            await post(joined, joined.upper, path, {}, b"{}"),
        ],
        "clocks-differ": [
            await send(joined, joined.upper, path, message, late_s=-700),
            await send(joined, joined.upper, path, message, late_s=400),
        ],
        "node-unknown": [
            await send(joined, joined.upper, path, message, key=joined.upper.peers.home.key),
            await send(joined, joined.upper, path, message, key=stranger()),
        ],
    }
    for wanted, answers in refusals.items():
        assert [slug(answer) for answer in answers] == [wanted] * len(answers)
    assert "by the clock here" in refusals["clocks-differ"][0][1]["detail"]


@cache
def stranger(number: int = 0) -> NodeKey:
    """The key of a node that nobody knows."""
    return NodeKey.of(rsa.generate_private_key(public_exponent=65_537, key_size=2_048))


async def test_a_request_counts_once_also_after_a_restart(joined: Neighbours) -> None:
    path, octets = "/api/v1/node/heartbeats", msgspec.json.encode(heartbeat(joined))
    signed = sign_request(
        joined.lower.peers.home.key,
        method="POST",
        target=path,
        body=octets,
        recipient=joined.upper.peers.home.key.id,
        now_s=int(joined.upper.operations.context.wall_clock()),
        nonce="once-and-never-again",
    )
    assert (await post(joined, joined.upper, path, signed, octets))[0] == 200
    assert slug(await post(joined, joined.upper, path, signed, octets)) == "node-replay"

    await joined.above.stop()
    await joined.above.start()

    assert slug(await post(joined, joined.upper, path, signed, octets)) == "node-replay"


async def test_nonces_are_bounded_for_each_node(joined: Neighbours, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonces, "NONCES_MAX", 3)
    answers = [
        await send(joined, joined.upper, "/api/v1/node/heartbeats", heartbeat(joined)) for _ in range(6)
    ]

    assert [status for status, _ in answers][-1] == 429
    async with joined.upper.store.connection() as connection:
        await connection.execute("UPDATE node_nonces SET expires = now() - interval '1 h'")
    await joined.upper.peers.forget_nonces()
    assert (await send(joined, joined.upper, "/api/v1/node/heartbeats", heartbeat(joined)))[0] == 200


async def test_what_a_stranger_applies_with_is_looked_at(pair: Neighbours) -> None:
    path, key = "/api/v1/node/applications", stranger()
    own = pair.lower.peers.site

    def message(site: Site, **changes: Any) -> ApplicationMessage:
        fields: dict[str, Any] = {"id": "enr_" + "a" * 20, "site": site.encode(), "joins": True}
        return ApplicationMessage(**(fields | {"claim": pair.organisation} | changes))

    assert slug(await send(pair, pair.upper, path, message(own), key=key)) == "node-signature"
    private = with_address(own, "10.0.0.1")
    assert slug(await send(pair, pair.upper, path, message(private))) == "route-refused"
    assert (await send(pair, pair.upper, path, message(own)))[0] == 200
    again = await send(pair, pair.upper, path, message(own, joins=False, wanted="9"))
    assert slug(again) == "node-application"
    for number in range(12):
        last = await send(
            pair,
            pair.upper,
            path,
            message(own, id="enr_" + "b" * 18 + "23456abcdefgh"[number] + "a", joins=False),
        )
    assert slug(last) == "node-application"


def with_address(site: Site, address: str) -> Site:
    (server,) = site.servers
    return replace(site, servers=(replace(server, address=server.pack_address(ip_address(address))),))


async def test_a_node_cannot_name_another_nodes_key_in_its_site(joined: Neighbours) -> None:
    other = HeartbeatMessage(site=joined.upper.peers.site.encode())

    assert slug(await send(joined, joined.upper, "/api/v1/node/heartbeats", other)) == "node-site"


async def test_moves_listen_to_the_node_above_alone(joined: Neighbours) -> None:
    await hosted_prefix(joined.upper, joined.organisation, "88.100.8")
    await register_pumps(joined.upper, "88.100.7", 3)
    done = await joined.move("88.100.7", Direction.DELEGATED)
    record = record_of(ValueList.of([admin_value(administrator_of(Prefix.parse("88.100.8")))]))
    path = "/api/v1/node/moves"

    def begin(prefix: str, direction: Direction, id_: str = "mov_" + "a" * 20) -> MoveMessage:
        return MoveMessage(id=id_, prefix=prefix, direction=direction, case_sensitive=False, record=record)

    above = joined.upper.peers.home.key

    async def ask(suffix: str, message: msgspec.Struct) -> Answer:
        return await send(joined, joined.lower, path + suffix, message, key=above)

    refused = [
        await send(joined, joined.lower, path, begin("88.100.8", Direction.DELEGATED), key=stranger()),
        await ask("", begin("88.100.7", Direction.DELEGATED)),
        await ask("", begin("88.100.7.0", Direction.HOSTED)),
        await ask("", begin("88.100.9", Direction.HOSTED)),
        await ask("", begin("not/a/prefix", Direction.DELEGATED)),
        await ask("", begin("88.100.8", Direction.DELEGATED, done.id)),
        await ask(f"/{done.id}/page", PageRequest(kind=PageKind.ROWS)),
        await ask(f"/{done.id}/steps", StepMessage(step=Step.ABORT)),
        await ask(f"/{done.id}/steps", StepMessage(step=Step.FREEZE)),
        await ask(f"/mov_{'c' * 20}/steps", StepMessage(step=Step.DIGEST)),
    ]
    assert [slug(answer) for answer in refused] == [
        "node-unknown",
        "move-refused",
        "move-refused",
        "move-refused",
        "unprocessable",
        "move-refused",
        "move-refused",
        "move-refused",
        "move-refused",
        "not-found",
    ]
    answer = await joined.lower.operations.resolve(Handle.parse("88.100.7/pump-1"))
    assert isinstance(answer, Found)


async def test_pages_hold_what_belongs_below_the_prefix_and_nothing_else(joined: Neighbours) -> None:
    record = record_of(ValueList.of([admin_value(administrator_of(Prefix.parse("88.100.8")))]))
    id_, above = "mov_" + "a" * 20, joined.upper.peers.home.key
    path = "/api/v1/node/moves"
    message = MoveMessage(
        id=id_, prefix="88.100.8", direction=Direction.DELEGATED, case_sensitive=False, record=record
    )
    status, begun = await send(joined, joined.lower, path, message, key=above)
    assert (status, begun["phase"]) == (200, Phase.RECEIVING)
    own = joined.lower.peers.home.key.public
    url = ValueList.of([url_value("https://x.example/")])

    def page(name: bytes) -> SealedPage:
        return wrap(Page(rows=[RowForm(name, url.octets, 1, b"", 0, 0, 1, 1)]), id_, own)

    async def give(parcel: SealedPage) -> Answer:
        return await send(joined, joined.lower, f"{path}/{id_}/pages", parcel, key=above)

    assert (await give(page(b"88.100.8/pump")))[0] == 200
    for parcel in (
        page(b"88.100.7/pump"),
        page(b"88.100.7.0/ADMIN"),
        page(b"0.NA/88.100.8"),
        wrap(Page(rows=[]), "mov_" + "b" * 20, own),
        wrap(Page(rows=[]), id_, above.public),
        SealedPage(key=b"", nonce=b"", octets=b""),
    ):
        assert slug(await give(parcel)) == "unprocessable"
    resolved = await joined.lower.operations.resolve(Handle.parse("88.100.8/pump"))
    assert not isinstance(resolved, Found)
    aborted = await send(joined, joined.lower, f"{path}/{id_}/steps", StepMessage(step=Step.ABORT), key=above)
    assert aborted[1]["phase"] == Phase.ABORTED


async def test_a_challenge_is_answered_to_anybody_and_proves_the_key(pair: Neighbours) -> None:
    for services in (pair.upper, pair.lower):
        node = await pair.upper.peers.prove(services.peers.site, Prefix.parse("88.100.7"))
        assert node == services.peers.home.key.id


# Answers of peers that are none.


@asynccontextmanager
async def peer_that(
    world: World, answers: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> AsyncIterator[Peer]:
    """A peer of another key that answers so."""
    host, port = world.new_address()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    key = stranger()
    place = Place(scheme="http", host=host, port=port, addresses=(host,), named=False)
    try:
        yield Peer(node=key.id, public_key=key.public, places=(place,))
    finally:
        await runner.cleanup()


async def exchange(pair: Neighbours, peer: Peer) -> Received:
    report = ReportMessage(
        day=date(2026, 1, 1),
        registrations=0,
        resolutions=0,
        successes=0,
        denials=0,
        failures=0,
        peak_per_s=0,
    )
    return await pair.upper.peers.home.client.exchange(
        peer, "POST", "/api/v1/node/reports", Received, report, wait_s=2.0
    )


async def test_an_answer_that_is_not_proved_is_none(world: World, pair: Neighbours) -> None:
    key = stranger(1)

    def signed(request: web.Request, octets: bytes, status: int = 200) -> web.Response:
        headers = sign_response(
            key,
            status=status,
            body=octets,
            request_signature=signature_of(request.headers),
            now_s=int(pair.upper.operations.context.wall_clock()),
        )
        return web.Response(status=status, body=octets, headers=headers)

    async def unsigned(_: web.Request) -> web.Response:
        return web.json_response({"received": True})

    async def of_another_key(request: web.Request) -> web.Response:
        return signed(request, b"{}")

    async def redirect(_: web.Request) -> web.Response:
        raise web.HTTPFound(pair.below.http + "/api/v1/node/reports")

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 20))

    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    told = {}
    for answers in (unsigned, of_another_key, redirect, endless, silent, cut):
        async with peer_that(world, answers) as peer:
            with pytest.raises(PeerUnreachable) as failed:
                await exchange(pair, peer)
            told[answers.__name__] = str(failed.value)
    assert "without proof" in told["unsigned"]
    assert "was not made with the key" in told["of_another_key"]
    assert "HTTP 302 without proof" in told["redirect"]
    assert "more than" in told["endless"]
    assert "does not answer" in told["silent"]
    assert "cannot be asked" in told["cut"]


async def test_a_proven_no_and_proven_nonsense_are_told_apart(world: World, pair: Neighbours) -> None:
    key = stranger()

    async def answer(request: web.Request) -> web.Response:
        octets = b'{"type":"/x/conflict","detail":"no\\u202e way"}' if no else b"[1,2"
        status = 409 if no else 200
        headers = sign_response(
            key,
            status=status,
            body=octets,
            request_signature=signature_of(request.headers),
            now_s=int(pair.upper.operations.context.wall_clock()),
        )
        return web.Response(status=status, body=octets, headers=headers)

    async with peer_that(world, answer) as peer:
        proven = Peer(node=key.id, public_key=key.public, places=peer.places)
        no = True
        with pytest.raises(PeerRefused, match=r"no +way") as refused:
            await exchange(pair, proven)
        assert (refused.value.slug, refused.value.retry) == ("conflict", False)
        no = False
        with pytest.raises(PeerUnreachable, match="cannot be read"):
            await exchange(pair, proven)


async def test_everything_that_nodes_do_is_in_the_audit(joined: Neighbours) -> None:
    await register_pumps(joined.upper, "88.100.7", 2)
    await joined.move("88.100.7", Direction.DELEGATED)

    async with joined.upper.operations.transaction(COMMAND) as tx:
        above = await tx.connection.fetch("SELECT action FROM audit_log")
    async with joined.lower.operations.transaction(COMMAND) as tx:
        below = await tx.connection.fetch("SELECT action, actor FROM audit_log")
    actions = {record["action"] for record in above}
    assert {
        "node.introduce",
        "node.apply",
        "node.confirm",
        "move.begin",
        "prefix.move",
        "move.done",
    } <= actions
    assert ("move.begin", f"node:{joined.upper.peers.home.key.id}") in {tuple(record) for record in below}
