"""Messages field by field: every octet once, whatever came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bodies import ErrorBody, ReferralBody, ResolutionRequest, ResolutionResponse
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.dissection import Field, dissect
from protocol.handle import Handle
from protocol.message import NO_CREDENTIAL, Message
from protocol.value import HandleValue, ValueList, ValueReference

HANDLE = Handle.parse("88.1/泵\x1b")
VALUE = HandleValue(
    index=7,
    type="URL",
    data=b"https://x.example/",
    timestamp=1_700_000_000,
    references=(ValueReference(b"1/a", 3),),
)
QUESTION = ResolutionRequest(handle=HANDLE, indexes=(7,), types=("URL", "DESC"))
REQUEST = Message.request(
    OpCode.RESOLUTION, QUESTION.encode(), request_id=5, expiration=9, flags=DEFAULT_FLAGS | OpFlag.RRDG
)


def answer(code: ResponseCode, body: bytes) -> bytes:
    return REQUEST.answer(code, body, authoritative=True, site_serial=2, wall_s=0).encode()


FOUND = answer(ResponseCode.SUCCESS, ResolutionResponse(handle=HANDLE, values=ValueList.of([VALUE])).encode())
MESSAGES = {
    "question": REQUEST.encode(),
    "record": FOUND,
    "denial": answer(ResponseCode.HANDLE_NOT_FOUND, ErrorBody(message="no", indexes=(1,)).encode()),
    "referral": answer(ResponseCode.PREFIX_REFERRAL, ReferralBody(values=ValueList.of([VALUE])).encode()),
}


def meanings(message: bytes) -> dict[str, str]:
    return {field.name: field.meaning for field in dissect(message)}


def covers(fields: tuple[Field, ...], message: bytes) -> bool:
    """Whether the fields are the octets of the message, each where it says."""
    return b"".join(field.octets for field in fields) == message and all(
        message[field.offset : field.offset + len(field.octets)] == field.octets for field in fields
    )


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_whole_message_is_read_to_its_last_octet(message: bytes) -> None:
    fields = dissect(message)

    assert covers(fields, message)
    assert not {"unreadable", "surplus", "surplus of the body", "body"} & {field.name for field in fields}


def test_a_question_is_told_in_words() -> None:
    told = meanings(REQUEST.encode())

    assert told["operation"] == "1 (resolution)"
    assert told["response code"] == "0 (a request)"
    assert told["operation flags"] == "RECU CACR PUBL RRDG"
    assert told["request id"] == "5"
    assert told["handle"] == ""  # it would steer a terminal; its octets are shown
    assert (told["index 1"], told["type 2"]) == ("7", '"DESC"')
    assert told["credential length"] == "0"


def test_a_record_is_told_in_words() -> None:
    told = meanings(FOUND)

    assert told["digest algorithm"] == "3 (SHA256)"
    assert told["value 1: timestamp"] == "1700000000 (2023-11-14T22:13:20Z)"
    assert told["value 1: TTL type"] == "0 (relative)"
    assert told["value 1: permissions"] == "1110"
    assert told["value 1: data"] == '"https://x.example/"'
    assert told["value 1: reference 1: index"] == "3"


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_cut_message_says_what_is_missing(message: bytes) -> None:
    for end in range(len(message) - len(NO_CREDENTIAL)):
        fields = dissect(message[:end])
        assert covers(fields, message[:end])
        assert any("announced" in field.meaning for field in fields), end


def test_an_encrypted_message_is_read_as_far_as_its_envelope() -> None:
    message = REQUEST.encode()
    encrypted = message[:2] + bytes((message[2] | 0x40,)) + message[3:]

    assert dissect(encrypted)[-1].name == "encrypted"


def test_no_message_has_more_fields_than_anybody_reads() -> None:
    body = bytes(4) + (2**31).to_bytes(4, "big") + bytes(200_000)
    message = Message.request(OpCode.RESOLUTION, body, request_id=1, expiration=0).encode()

    fields = dissect(message)

    assert covers(fields, message)
    assert any("more than" in field.meaning for field in fields)


@given(st.binary(max_size=300), st.sampled_from([*MESSAGES.values()]), st.integers(0, 300))
def test_whatever_came_is_covered(octets: bytes, message: bytes, place: int) -> None:
    for odd in (octets, message[:place] + octets + message[place + len(octets) :], message + octets):
        assert covers(dissect(odd), odd)
