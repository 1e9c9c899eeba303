"""Challenges and retransmissions on a real node: nothing is done twice, and nobody else's proof is of use."""

import asyncio
from dataclasses import replace

import pytest

from protocol.admin_bodies import ChallengeAnswerRequest, HandleRequest
from protocol.challenge import SecretCode
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag
from protocol.handle import Handle
from protocol.message import Message
from protocol.transport.base import Peer, Reply, Responder
from tests.integration.registry.bench import url
from tests.support.handle_client import HandleClient, Transport
from tests.support.wired import Wired, fresh, open_to_all

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDRESS = "https://plant.example/7"
TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp", "http")


async def version_of(node: Wired, name: str) -> int:
    rows = await node.node.operations.context.store.find([Handle.parse(name).key])
    return rows[Handle.parse(name).key].version


async def first_half(node: Wired, transport: Transport, name: str) -> tuple[HandleClient, Message]:
    """A client that has a challenge, and its answer, not yet sent."""
    client = node.client(transport)
    reply = await client.add(name, url(ADDRESS, 5))
    assert reply.rc == 402
    client.proof = node.admin
    return client, client.answer(client.sent[-1], reply.last)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_answer_that_is_sent_again_gets_the_same_reply_and_is_not_done_again(
    node: Wired, transport: Transport
) -> None:
    name = await node.created()
    client, answer = await first_half(node, transport, name)

    replies = [await client.exchange(answer) for _ in range(3)]

    assert [reply.rc for reply in replies] == [1, 1, 1]  # done again, it would be 201
    assert len({reply.last.encode() for reply in replies}) == 1
    assert await version_of(node, name) == 2


async def test_an_answer_that_comes_again_while_it_is_worked_on_is_done_once(node: Wired) -> None:
    name = await node.created()
    client, answer = await first_half(node, "tcp", name)

    replies = await asyncio.gather(*(client.exchange(answer) for _ in range(5)))

    assert {reply.rc for reply in replies} == {1}
    assert await version_of(node, name) == 2


async def test_what_anybody_may_write_is_written_once_too(node: Wired) -> None:
    name = await node.created(open_to_all("before"))
    client = node.client("udp")
    assert (await client.modify(name, open_to_all("mine"))).rc == 1
    assert (await node.client().modify(name, open_to_all("of somebody else"))).rc == 1

    assert (await client.exchange(client.sent[0])).rc == 1  # a datagram that was late

    assert (await client.resolve(name, indexes=[1])).values[0].data == b"of somebody else"


async def test_a_challenge_answered_over_another_transport_is_answered_all_the_same(node: Wired) -> None:
    name = await node.created()
    _, answer = await first_half(node, "udp", name)

    assert (await node.client("http").exchange(answer)).rc == 1


async def test_a_request_that_is_sent_again_has_the_challenge_that_waits(node: Wired) -> None:
    client = node.client("udp")
    await client.add(fresh(), url(ADDRESS))
    first = (await client.exchange(client.sent[0])).last
    second = (await client.exchange(client.sent[0])).last

    assert first.envelope.session_id == second.envelope.session_id
    assert first.body == second.body


async def test_another_answer_to_a_challenge_that_is_gone_comes_too_late(node: Wired) -> None:
    name = await node.created()
    client, answer = await first_half(node, "tcp", name)
    assert (await client.exchange(answer)).rc == 1
    again = replace(answer, envelope=replace(answer.envelope, request_id=4_711))

    assert (await client.exchange(again)).rc == 405


async def test_a_wrong_answer_uses_the_challenge_up(node: Wired) -> None:
    name = await node.created()
    client, answer = await first_half(node, "tcp", name)
    body = ChallengeAnswerRequest.decode(answer.body)
    wrong = replace(
        answer,
        envelope=replace(answer.envelope, request_id=4_711),
        body=replace(body, answer=body.answer[:-1] + bytes((body.answer[-1] ^ 1,))).encode(),
    )

    assert (await client.exchange(wrong)).rc == 403
    assert (await client.exchange(answer)).rc == 405
    assert await version_of(node, name) == 1


@pytest.mark.parametrize(
    ("session_id", "code"), [(0, 405), (0xFFFF_FFFF, 405), (1, 500), (0x7FFF_FFFF, 500), (0x8000_0000, 500)]
)
async def test_an_answer_to_no_challenge_is_told_so(node: Wired, session_id: int, code: int) -> None:
    client = node.client(proof=node.admin)
    _, answer = await first_half(node, "tcp", await node.created())
    stray = replace(answer, envelope=replace(answer.envelope, session_id=session_id))

    assert (await client.exchange(stray)).rc == code


@pytest.mark.parametrize(("session_id", "code"), [(0xFFFF_FFFF, 1), (10_001, 500), (0x0100_0000, 500)])
async def test_a_session_id_that_names_nothing_is_told_so_before_anything_else(
    node: Wired, session_id: int, code: int
) -> None:
    client, name = node.client(), await node.created()
    request = client.request(OpCode.RESOLUTION, HandleRequest(handle=Handle.parse(name)).encode() + bytes(8))
    named = replace(request, envelope=replace(request.envelope, session_id=session_id))

    assert (await client.exchange(named)).rc == code


async def test_a_guess_from_another_network_does_not_use_the_challenge_up(node: Wired) -> None:
    """Whoever has seen the id on its way could else keep somebody out."""
    name = await node.created()
    client, answer = await first_half(node, "tcp", name)
    body = ChallengeAnswerRequest.decode(answer.body)
    wrong = replace(answer, body=replace(body, answer=b"\x02" + bytes(20)).encode())
    elsewhere = HandleClient(_from(node, "198.51.100.1"))

    assert (await elsewhere.exchange(wrong)).rc == 403
    assert (await client.exchange(answer)).rc == 1


async def test_a_stored_reply_is_for_the_address_that_has_earned_it(node: Wired) -> None:
    name = await node.created(url(ADDRESS))
    client, answer = await first_half(node, "tcp", name)
    assert (await client.exchange(answer)).rc == 1

    assert (await HandleClient(_from(node, "198.51.100.1")).exchange(answer)).rc == 405


@pytest.mark.parametrize("code", list(SecretCode))
async def test_forms_of_answers_are_believed_as_the_settings_say(node: Wired, code: SecretCode) -> None:
    proof = node.admin
    proof.code = code
    client = node.client(proof=proof)
    believed = code in (SecretCode.PBKDF2_HMAC_SHA1, SecretCode.SHA1)
    scheme = f"secret_{code.name.lower()}"
    counted = {"scheme": scheme, "result": "success" if believed else "refused"}
    before = node.metric("handlegrid_auth_total", **counted)

    reply = await client.create(fresh(), url(ADDRESS))

    assert reply.rc == (1 if believed else 403)
    assert node.metric("handlegrid_auth_total", **counted) == before + 1


@pytest.mark.parametrize("version", [(2, 3), (2, 4), (2, 10), (2, 11), (3, 0)])
async def test_clients_of_other_versions_prove_themselves_with_the_digest_of_theirs(
    node: Wired, version: tuple[int, int]
) -> None:
    client = node.writer()
    client.version = version
    client.suggested = version
    if version < (2, 7):
        assert client.proof is not None
        client.proof.code = SecretCode.SHA1

    assert (await client.create(fresh(), url(ADDRESS))).rc == 1


async def test_a_version_below_the_floor_is_told_so_in_place_of_a_challenge(node: Wired) -> None:
    client = node.writer()
    client.version = client.suggested = (2, 0)

    reply = await client.create(fresh(), url(ADDRESS))

    assert reply.rc == 5
    assert "version" in reply.text


@pytest.mark.parametrize("answer", [b"", b"\x22", b"\x22" + bytes(40), b"\x02"])
async def test_what_is_no_answer_by_any_form_changes_nothing(node: Wired, answer: bytes) -> None:
    name = await node.created()
    client, right = await first_half(node, "tcp", name)
    body = ChallengeAnswerRequest.decode(right.body)
    wrong = replace(right, body=replace(body, answer=answer).encode())

    assert (await client.exchange(wrong)).rc in (403, 406)
    assert await version_of(node, name) == 1


async def test_a_kind_of_proof_that_there_is_not_is_an_error(node: Wired) -> None:
    client, answer = await first_half(node, "tcp", await node.created())
    body = replace(ChallengeAnswerRequest.decode(answer.body), kind="HS_NOKEY")

    assert (await client.exchange(replace(answer, body=body.encode()))).rc == 406


async def test_a_certified_write_is_signed_and_its_retransmission_too(node: Wired) -> None:
    reply = await node.writer().create(fresh(), url(ADDRESS), flags=DEFAULT_FLAGS | OpFlag.CERT)

    assert reply.rc == 1
    assert reply.last.has(OpFlag.CERT)
    assert reply.last.credential


def _from(node: Wired, host: str) -> Responder:
    """The node, for who asks from another address."""

    def respond(octets: bytes, _: Peer, reply: Reply) -> None:
        node.node.wire.respond(octets, Peer(host, 4_711, "tcp"), reply)

    return respond
