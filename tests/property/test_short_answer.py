"""The short way from octets to octets says what the long way by objects says."""

from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from protocol.bodies import ErrorBody, ResolutionRequest, ResolutionResponse
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import HandleError
from protocol.handle import Handle
from protocol.message import Envelope, Header, Message, decode_message
from protocol.short_answer import short_request
from protocol.value import ValueList
from tests.support import strategies as some

questions = st.builds(
    ResolutionRequest,
    handle=some.handles,
    indexes=st.lists(some.u32, max_size=3).map(tuple),
    types=st.lists(some.type_names, max_size=3).map(tuple),
    extension=st.just(b"") | some.octets,
)
versions = st.sampled_from([(2, 11), (2, 10), (2, 6), (2, 4), (2, 1), (2, 0), (1, 0), (3, 0), (5, 3)])
flag_words = st.lists(st.sampled_from(list(OpFlag))).map(sum) | some.u32
usual = st.builds(
    Message,
    envelope=st.builds(
        Envelope,
        version=versions | some.versions,
        suggested=versions | some.suggestions,
        request_id=some.u32,
    ),
    header=st.builds(
        Header,
        op_code=st.just(OpCode.RESOLUTION),
        op_flags=flag_words.map(lambda flags: flags & ~OpFlag.CERT),
        site_serial=some.u16,
        recursion_count=some.u8,
        reserved=some.u8,
        expiration=some.u32,
    ),
    body=questions.map(ResolutionRequest.encode),
    credential=st.sampled_from([b"", None]),
)
codes = st.sampled_from([ResponseCode.SUCCESS, ResponseCode.HANDLE_NOT_FOUND, ResponseCode.VALUES_NOT_FOUND])
givens = st.fixed_dictionaries(
    {
        "authoritative": st.booleans(),
        "site_serial": some.u16,
        "wall_s": st.floats(0, 2**33),
        "clear": st.sampled_from([0, OpFlag.RECU, OpFlag.KPAL | OpFlag.CACR]),
    }
)


@given(usual, codes, some.value_lists, givens)
def test_the_short_answer_has_the_octets_of_the_long_one(
    message: Message, code: ResponseCode, values: ValueList, given_with: dict[str, Any]
) -> None:
    request, question = decode_message(message.encode()), ResolutionRequest.decode(message.body)
    short = short_request(message.encode())
    assert short is not None
    body = ErrorBody().encode()
    if code is ResponseCode.SUCCESS:
        body = ResolutionResponse(handle=question.handle, values=values).encode()
        assert short.values_body(values.octets, values.count) == body

    assert short.answer(code, body, **given_with) == request.answer(code, body, **given_with).encode()
    assert (short.handle, tuple(short.indexes), tuple(short.types), short.flags) == (
        question.handle.octets,
        question.indexes,
        question.types,
        request.header.op_flags,
    )


PLAIN = Message.request(
    OpCode.RESOLUTION,
    ResolutionRequest(handle=Handle.parse("88.1/pump")).encode(),
    request_id=1,
    expiration=0,
)


@given(some.messages | usual, st.integers(0, 80), st.binary(max_size=3))
@example(replace(PLAIN, envelope=replace(PLAIN.envelope, session_id=1)), 0, b"")
@example(replace(PLAIN, header=replace(PLAIN.header, op_flags=OpFlag.CERT)), 0, b"")
@example(replace(PLAIN, header=replace(PLAIN.header, response_code=1)), 0, b"")
@example(replace(PLAIN, header=replace(PLAIN.header, op_code=OpCode.GET_SITE_INFO)), 0, b"")
@example(replace(PLAIN, credential=b"signed"), 0, b"")
@example(replace(PLAIN, surplus=b"more"), 0, b"")
@example(PLAIN, 1, b"")
@example(PLAIN, 0, b"x")
def test_what_is_not_usual_is_left_to_the_long_way(message: Message, cut: int, more: bytes) -> None:
    """Whatever comes: what is taken is a whole resolution, without session, credential and CERT."""
    whole = message.encode()
    octets = whole[: len(whole) - cut] + more

    short = short_request(octets)

    if short is None:
        return
    request = decode_message(octets)
    assert request.header.op_code == OpCode.RESOLUTION
    assert not request.header.response_code
    assert not request.has(OpFlag.CERT)
    assert not request.credential
    assert not request.surplus
    assert (request.envelope.session_id, request.envelope.sequence) == (0, 0)
    question = ResolutionRequest.decode(request.body)
    assert (short.handle, tuple(short.indexes)) == (question.handle.octets, question.indexes)


@given(st.binary(max_size=120) | usual.map(Message.encode), st.integers(20, 70), some.octets)
def test_damaged_requests_are_taken_only_when_the_long_way_reads_the_same(
    octets: bytes, at: int, other: bytes
) -> None:
    damaged = octets[:at] + other[:4] + octets[at + 4 :]

    short = short_request(damaged)

    if short is None:
        return
    try:
        question = ResolutionRequest.decode(decode_message(damaged).body)
    except HandleError as error:
        raise AssertionError("taken, and yet it cannot be read") from error
    assert (short.handle, tuple(short.indexes), tuple(short.types)) == (
        question.handle.octets,
        question.indexes,
        question.types,
    )
