"""Messages in, messages out: what the wire server says to every kind of request."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from protocol.bodies import ErrorBody, ReferralBody, ResolutionRequest, ResolutionResponse, SiteInfoResponse
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.errors import StoreUnavailable
from protocol.handle import Handle
from protocol.message import UNKNOWN_REQUEST_ID, Message, decode_message, matches_digest, split_digest
from protocol.runtime.wire_server import SITE_ANSWER_LIFE_S
from protocol.site import Site
from protocol.transport.base import Answer, Peer
from protocol.value import HandleValue, ValueList
from registry.operations import Operations
from registry.outcomes import CACHE_TIME_MAX_S, Denied, Found, Referred
from registry.outcomes import Answer as Outcome
from registry.reads import Waiter
from registry.wire.server import WireServer
from tests.support.transport import answer_of
from tests.support.wire_servers import wire_server

PUMP = Handle.parse("88.1/Pump-7")
URL = HandleValue(index=1, type="URL", data=b"https://example.org/7", ttl=86_400)
STAMP = b"stamp of twelve"
PEER = Peer(host="192.0.2.1", port=4711, transport="udp")
NOW_S = 1_000.0
WALL_S = 1_700_000_000.0


class FakeOperations:
    """Gives one prepared outcome and keeps what it was asked."""

    def __init__(self, outcome: Outcome | Exception | None = None) -> None:
        self.outcome = outcome
        self.asked: list[tuple[Handle, Sequence[int], Sequence[str], bool]] = []

    def ask(self, name: bytes, waiter: Waiter) -> None:
        """Nothing is answered the short way; tests/integration/registry/test_short_way.py compares the two."""

    async def resolve(
        self,
        handle: Handle,
        *,
        indexes: Sequence[int] = (),
        types: Sequence[str] = (),
        refer: bool = True,
        reader: None = None,
        public_only: bool = True,
    ) -> Outcome:
        assert reader is None
        self.asked.append((handle, indexes, types, refer))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome is None:
            await asyncio.sleep(60)
        assert self.outcome is not None
        return self.outcome


def server(operations: FakeOperations, *, primary: bool = True) -> WireServer:
    return wire_server(
        cast(Operations, operations),
        Site(serial=9, primary=primary),
        clock=lambda: NOW_S,
        wall_clock=lambda: WALL_S,
        answer_time_max_s=0.1,
    )


def request(
    operation: int = OpCode.RESOLUTION, body: bytes | None = None, *, flags: int = DEFAULT_FLAGS
) -> Message:
    if body is None:
        body = ResolutionRequest(handle=PUMP, indexes=(1, 2), types=("URL",)).encode()
    return Message.request(cast(OpCode, operation), body, request_id=77, expiration=0, flags=flags)


async def ask(outcome: Outcome | Exception | None, message: Message) -> tuple[Answer, Message]:
    answer = await answer_of(server(FakeOperations(outcome)).respond, message.encode(), PEER)
    assert answer is not None
    return answer, decode_message(answer.octets)


def found(*values: HandleValue) -> Found:
    return Found(handle=PUMP, values=ValueList.of(values), stamp=STAMP)


async def test_values_are_answered_with_the_spelling_of_the_question() -> None:
    answer, response = await ask(found(URL), request())

    body = ResolutionResponse.decode(response.body)
    assert body.handle.octets == b"88.1/Pump-7"
    assert list(body.values) == [URL]
    assert response.header.response_code == ResponseCode.SUCCESS
    assert response.header.site_serial == 9
    assert response.header.expiration > WALL_S
    assert response.envelope.request_id == 77
    assert response.has(OpFlag.AUTH)
    assert (answer.stamp, answer.cache_until_s) == (STAMP, NOW_S + CACHE_TIME_MAX_S)


async def test_a_mirror_does_not_claim_authority() -> None:
    answer = await answer_of(
        server(FakeOperations(found(URL)), primary=False).respond, request().encode(), PEER
    )

    assert answer is not None
    assert not decode_message(answer.octets).has(OpFlag.AUTH)


async def test_filters_and_the_refusal_of_referrals_reach_the_operation() -> None:
    operations = FakeOperations(found(URL))
    await answer_of(server(operations).respond, request().encode(), PEER)
    await answer_of(server(operations).respond, request(flags=DEFAULT_FLAGS | OpFlag.DNRF).encode(), PEER)

    assert operations.asked == [(PUMP, (1, 2), ("URL",), True), (PUMP, (1, 2), ("URL",), False)]


async def test_a_request_without_publ_gets_the_public_values() -> None:
    _, response = await ask(found(URL), request(flags=0))

    assert response.header.response_code == ResponseCode.SUCCESS


@pytest.mark.parametrize(("ttl", "lifetime_s"), [(0, None), (5, 5.0), (86_400, CACHE_TIME_MAX_S)])
async def test_an_answer_is_kept_no_longer_than_its_smallest_ttl(ttl: int, lifetime_s: float | None) -> None:
    answer, _ = await ask(found(URL, HandleValue(index=2, type="A", data=b"", ttl=ttl)), request())

    assert answer.cache_until_s == (None if lifetime_s is None else NOW_S + lifetime_s)
    assert (answer.stamp is None) is (lifetime_s is None)


async def test_a_denial_carries_code_and_words() -> None:
    outcome = Denied(handle=PUMP, code=ResponseCode.HANDLE_NOT_FOUND, message="unknown", stamp=STAMP)
    answer, response = await ask(outcome, request())

    assert response.header.response_code == ResponseCode.HANDLE_NOT_FOUND
    assert ErrorBody.decode(response.body).message == "unknown"
    assert answer.stamp == STAMP


async def test_a_referral_carries_the_values_and_an_empty_handle() -> None:
    outcome = Referred(
        handle=PUMP, code=ResponseCode.PREFIX_REFERRAL, values=ValueList.of([URL]), stamp=STAMP
    )
    _, response = await ask(outcome, request())

    body = ReferralBody.decode(response.body)
    assert body.handle is None
    assert body.values == ValueList.of([URL])


async def test_the_digest_of_the_request_comes_when_asked_for() -> None:
    asked = request(flags=DEFAULT_FLAGS | OpFlag.RRDG)
    _, response = await ask(found(URL), asked)

    digest, rest = split_digest(response)
    assert digest is not None
    assert matches_digest(asked, digest)
    assert list(ResolutionResponse.decode(rest).values) == [URL]


async def test_site_information_is_the_bare_site_record() -> None:
    answer, response = await ask(None, request(OpCode.GET_SITE_INFO, b"\0\0\0\1/"))

    assert SiteInfoResponse.decode(response.body).site == Site(serial=9)
    assert answer.cache_until_s == NOW_S + SITE_ANSWER_LIFE_S


@pytest.mark.parametrize("operation", [402, 1000, 1001, 1002, 1003, 0, 99, 606, 4_294_967_295])
async def test_an_operation_that_there_is_not_is_not_supported_and_keeps_its_ids(operation: int) -> None:
    _, response = await ask(None, request(operation))

    assert response.header.response_code == ResponseCode.OPERATION_NOT_SUPPORTED
    assert (response.header.op_code, response.envelope.request_id) == (operation, 77)
    assert str(operation) in ErrorBody.decode(response.body).message


async def test_a_node_without_a_key_says_that_it_cannot_sign() -> None:
    answer, response = await ask(found(URL), request(flags=DEFAULT_FLAGS | OpFlag.CERT))

    assert response.header.response_code == ResponseCode.OPERATION_NOT_SUPPORTED
    assert "server key" in ErrorBody.decode(response.body).message
    assert not response.has(OpFlag.CERT)
    assert answer.cache_until_s is None


@pytest.mark.parametrize("body", [b"", b"\0\0\0\xffabc", b"\0\0\0\0" + bytes(8), b"\xff" * 40])
async def test_a_body_that_breaks_the_protocol_is_named(body: bytes) -> None:
    _, response = await ask(found(URL), request(body=body))

    assert response.header.response_code in (ResponseCode.PROTOCOL_ERROR, ResponseCode.INVALID_HANDLE)
    assert response.envelope.request_id == 77


@pytest.mark.parametrize("octets", [b"", b"hello", request().encode()[:30]])
async def test_octets_that_are_no_message_are_a_protocol_error(octets: bytes) -> None:
    answer = await answer_of(server(FakeOperations()).respond, octets, PEER)

    assert answer is not None
    response = decode_message(answer.octets)
    assert response.header.response_code == ResponseCode.PROTOCOL_ERROR
    assert response.envelope.request_id == (77 if len(octets) >= 20 else UNKNOWN_REQUEST_ID)


async def test_a_response_is_met_with_silence() -> None:
    response = request().answer(ResponseCode.SUCCESS, b"", authoritative=True, site_serial=1, wall_s=WALL_S)

    assert await answer_of(server(FakeOperations()).respond, response.encode(), PEER) is None


@pytest.mark.parametrize("outcome", [StoreUnavailable("connection refused by 10.1.2.3"), None])
async def test_a_database_that_does_not_answer_is_an_error_so_that_clients_go_to_a_mirror(
    outcome: StoreUnavailable | None,
) -> None:
    answer, response = await ask(outcome, request())

    assert response.header.response_code == ResponseCode.ERROR
    assert "10.1.2.3" not in ErrorBody.decode(response.body).message
    assert answer.cache_until_s is None


async def test_a_bug_is_answered_without_detail() -> None:
    _, response = await ask(RuntimeError("password=hunter2"), request())

    assert response.header.response_code == ResponseCode.ERROR
    assert ErrorBody.decode(response.body).message == "Internal error."
