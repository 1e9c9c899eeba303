"""The responder: whatever comes in, one defined answer or silence goes out."""

from dataclasses import replace

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from protocol.bodies import ErrorBody, ResolutionRequest, SiteInfoResponse
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.errors import RecursionLimit, Unreachable
from protocol.handle import Handle
from protocol.message import Header, Message, decode_message, split_digest
from protocol.site import single_server_site
from protocol.transport.base import Answer, Peer
from protocol.value import HandleValue, ValueList
from resolver.cache.policy import Denial, Entry, Record, select
from resolver.recursor import Origin, Recursor, Resolved
from resolver.wire_server import WireServer
from tests.support.transport import answer_of

NOW_S, WALL_S = 1_000.0, 1_700_000_000.0
PEER = Peer(host="192.0.2.1", port=1, transport="udp")
PUMP = Handle.parse("88.100.1/Pump-7")
RECORD = Record(
    values=ValueList.of(
        [HandleValue(index=1, type="URL", data=b"x"), HandleValue(index=2, type="DESC", data=b"y")]
    ),
    stored_s=900.0,
    expires_s=1_100.0,
)
SITE = single_server_site(
    addresses=("192.0.2.9", "2001:db8::9"),
    serial=7,
    description="ours",
    tcp_port=2641,
    udp_port=2641,
    http_port=8000,
    https=True,
    primary=False,
)


class OneAnswer(Recursor):
    """A recursor that has, or fetches, one thing."""

    def __init__(self, outcome: Entry | Exception, *, known: bool = True) -> None:
        self.outcome = outcome
        self.known = known
        self.asked: list[tuple[bool, int]] = []

    def cached(self, handle: Handle) -> Entry | None:
        return self.outcome if self.known and not isinstance(self.outcome, Exception) else None

    async def resolve(
        self, handle: Handle, *, authoritative: bool = False, recursion_count: int = 0
    ) -> Resolved:
        self.asked.append((authoritative, recursion_count))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Resolved(self.outcome, Origin.FETCHED)


def server(recursor: Recursor) -> WireServer:
    return WireServer(recursor, SITE, clock=lambda: NOW_S, wall_clock=lambda: WALL_S)


def request(*, op_code: OpCode = OpCode.RESOLUTION, flags: int = DEFAULT_FLAGS, count: int = 0) -> Message:
    body = ResolutionRequest(handle=PUMP, types=("URL",)).encode()
    return Message.request(op_code, body, request_id=77, expiration=0, flags=flags, recursion_count=count)


async def answer_to(recursor: Recursor, message: Message) -> tuple[Answer, Message]:
    answer = await answer_of(server(recursor).respond, message.encode(), PEER)
    assert answer is not None
    return answer, decode_message(answer.octets)


async def test_an_answer_echoes_flags_and_spelling_and_carries_our_serial() -> None:
    flags = DEFAULT_FLAGS | OpFlag.RRDG | OpFlag.AUTH
    _, response = await answer_to(OneAnswer(RECORD), request(flags=flags))

    assert response.envelope.request_id == 77
    assert response.header.op_flags == flags & ~OpFlag.AUTH
    assert response.header.site_serial == 7
    assert split_digest(response)[1][4:19] == b"88.100.1/Pump-7"


async def test_an_answer_may_be_repeated_as_long_as_its_record_lives() -> None:
    answer, _ = await answer_to(OneAnswer(RECORD), request())
    fresh, _ = await answer_to(OneAnswer(RECORD), request(flags=DEFAULT_FLAGS | OpFlag.AUTH))
    over, _ = await answer_to(OneAnswer(replace(RECORD, expires_s=NOW_S)), request())

    assert answer.cache_until_s == RECORD.expires_s
    assert fresh.cache_until_s is None
    assert over.cache_until_s is None


async def test_an_authoritative_question_and_its_count_reach_the_recursor() -> None:
    recursor = OneAnswer(RECORD)
    await answer_to(recursor, request(flags=DEFAULT_FLAGS | OpFlag.AUTH, count=3))

    assert recursor.asked == [(True, 3)]


async def test_a_failure_is_rc_2_with_node_cause_time_and_remedy_and_is_not_repeated() -> None:
    failure = Unreachable("no answer", node="0.NA/88", since="2026-11-20T08:00:00Z", remedy="start it")
    answer, response = await answer_to(OneAnswer(failure), request())

    assert response.header.response_code == ResponseCode.ERROR
    text = ErrorBody.decode(response.body).message
    assert text == "0.NA/88: no answer (since 2026-11-20T08:00:00Z). Remedy: start it"
    assert answer.cache_until_s is None


async def test_a_cause_that_is_another_nodes_sentence_ends_once() -> None:
    _, response = await answer_to(OneAnswer(RecursionLimit("it has passed 10 nodes.", node="a")), request())

    assert ErrorBody.decode(response.body).message == "a: it has passed 10 nodes."


async def test_what_is_logged_on_the_way_to_an_answer_carries_the_request_id() -> None:
    class Logging(OneAnswer):
        async def resolve(self, handle: Handle, **options: object) -> Resolved:
            structlog.get_logger().warning("on_the_way")
            return await super().resolve(handle, **options)  # type: ignore[arg-type]

    message = request()
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        await answer_to(Logging(Unreachable("no answer")), message)

    assert [line["request_id"] for line in lines] == [str(message.envelope.request_id)]


async def test_a_bug_is_rc_2_without_detail() -> None:
    _, response = await answer_to(
        OneAnswer(RuntimeError("password=secret")), request(flags=OpFlag.RECU | OpFlag.AUTH)
    )

    assert response.header.response_code == ResponseCode.ERROR
    assert ErrorBody.decode(response.body).message == "Internal error."


async def test_a_response_gets_silence() -> None:
    message = request()
    response = replace(message, header=Header(op_code=1, response_code=1))

    assert await answer_of(server(OneAnswer(RECORD)).respond, response.encode(), PEER) is None


async def test_an_empty_name_is_invalid() -> None:
    message = replace(request(), body=bytes(12))
    _, response = await answer_to(OneAnswer(RECORD), message)

    assert response.header.response_code == ResponseCode.INVALID_HANDLE


async def test_our_site_has_query_interfaces_tcp_first_and_names_its_other_address() -> None:
    _, response = await answer_to(OneAnswer(RECORD), request(op_code=OpCode.GET_SITE_INFO))

    site = SiteInfoResponse.decode(response.body).site
    assert [(interface.protocol, interface.port) for interface in site.servers[0].interfaces] == [
        (1, 2641),
        (0, 2641),
        (2, 8000),
        (3, 8000),
    ]
    assert not any(interface.admin for interface in site.servers[0].interfaces)
    assert dict(site.attributes) == {b"desc": b"ours", b"alt_addr": b"2001:db8::9"}


def test_a_record_of_which_nothing_fits_denies_for_as_long_as_it_lives() -> None:
    denial = select(RECORD, (9,), ("EMAIL",))

    assert isinstance(denial, Denial)
    assert (denial.code, denial.expires_s) == (ResponseCode.VALUES_NOT_FOUND, RECORD.expires_s)


@given(st.binary(max_size=200), st.booleans())
async def test_any_octets_get_a_decodable_answer_or_silence(octets: bytes, whole: bool) -> None:
    message = request().encode()
    tried = message[: len(octets)] + octets if whole else octets

    answer = await answer_of(server(OneAnswer(RECORD)).respond, tried, PEER)

    if answer is not None:
        decode_message(answer.octets)


@pytest.mark.parametrize("cut", range(0, 78, 3))
async def test_a_cut_request_is_a_protocol_error(cut: int) -> None:
    answer = await answer_of(server(OneAnswer(RECORD)).respond, request().encode()[:cut], PEER)

    assert answer is not None
    assert decode_message(answer.octets).header.response_code == ResponseCode.PROTOCOL_ERROR
