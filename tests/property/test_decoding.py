"""Arbitrary octets decode or raise the wire error; decoding inverts encoding."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.admin_bodies import (
    ChallengeAnswerRequest,
    ChallengeResponse,
    CreateResponse,
    DumpRequest,
    HandleListResponse,
    HandleRequest,
    LoginRequest,
    RemoveValuesRequest,
    SessionSetupRequest,
    SessionSetupResponse,
    ValuesRequest,
    VerifyRequest,
    VerifyResponse,
)
from protocol.bodies import (
    ErrorBody,
    ReferralBody,
    ResolutionRequest,
    ResolutionResponse,
    SiteInfoRequest,
    SiteInfoResponse,
)
from protocol.credential import Credential
from protocol.errors import InvalidHandle, SessionFailed, WireError
from protocol.handle import Handle
from protocol.message import Message, decode_message, split_digest, undecodable
from protocol.site import HashOption, Site, selection_hash
from protocol.value import HandleValue, Permission, ValueList
from protocol.valuetypes import PREDEFINED_TYPES, Typed, decode_typed
from protocol.wire import Reader
from tests.support import strategies as some
from tests.support.vectors import recorded_messages

SEEDS = [entry.octets for entry in recorded_messages()]


class Encodable(Protocol):
    def encode(self) -> bytes: ...


DECODERS: list[Callable[[bytes], Encodable]] = [
    ResolutionRequest.decode,
    ResolutionResponse.decode,
    SiteInfoRequest.decode,
    SiteInfoResponse.decode,
    ErrorBody.decode,
    ReferralBody.decode,
    ChallengeAnswerRequest.decode,
    ChallengeResponse.decode,
    CreateResponse.decode,
    DumpRequest.decode,
    HandleListResponse.decode,
    HandleRequest.decode,
    LoginRequest.decode,
    RemoveValuesRequest.decode,
    SessionSetupRequest.decode,
    SessionSetupResponse.decode,
    ValuesRequest.decode,
    VerifyRequest.decode,
    VerifyResponse.decode,
    Credential.decode,
    HandleValue.decode,
    Site.decode,
    lambda octets: ValueList.decode(Reader(octets)),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Make a recorded message with some octets changed, cut, repeated or moved."""
    octets = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(octets) - 1)))
        match draw(st.integers(0, 3)):
            case 0 if octets:
                octets[at] = draw(some.u8)
            case 1:
                del octets[at : at + draw(st.integers(1, 40))]
            case 2:
                octets[at:at] = octets[at : at + draw(st.integers(1, 40))]
            case _:
                octets[at : at + 4] = draw(
                    st.sampled_from([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\1"])
                )
    return bytes(octets)


@given(st.binary(max_size=2048) | damaged())
def test_arbitrary_octets_decode_or_raise_wire_error(octets: bytes) -> None:
    try:
        message = decode_message(octets)
    except WireError:
        return
    again = decode_message(message.encode())
    assert again == message
    assert again.encode() == message.encode()


@given(damaged())
def test_the_bodies_of_damaged_messages_decode_or_raise_wire_error(octets: bytes) -> None:
    try:
        message = decode_message(octets)
        _, rest = split_digest(message)
    except WireError:
        return
    for decode in DECODERS:
        for body in (message.body, rest):
            _decodes_or_refuses(decode, body)


@pytest.mark.parametrize("decode", DECODERS)
@given(octets=st.binary(max_size=512))
def test_arbitrary_bodies_decode_or_raise_wire_error(
    decode: Callable[[bytes], Encodable], octets: bytes
) -> None:
    _decodes_or_refuses(decode, octets)


def _decodes_or_refuses(decode: Callable[[bytes], Encodable], octets: bytes) -> None:
    try:
        body = decode(octets)
    except (WireError, InvalidHandle, SessionFailed):  # an empty name and an odd mode have codes of their own
        return
    assert decode(body.encode()) == body


@pytest.mark.parametrize("type_name", sorted(PREDEFINED_TYPES))
@given(data=st.binary(max_size=256) | st.text(max_size=64).map(str.encode))
def test_arbitrary_data_of_a_predefined_type_decode_or_raise_wire_error(type_name: str, data: bytes) -> None:
    try:
        typed = decode_typed(type_name, data)
    except WireError:
        return
    assert typed is not None
    if type_name != "HS_PUBKEY":  # blobs may leave out the tail and pad numbers; they are kept verbatim
        assert typed.encode() == data


@given(some.bodies)
def test_decoding_a_body_inverts_encoding(body: Encodable) -> None:
    decode: Callable[[bytes], Encodable] = type(body).decode  # type: ignore[attr-defined]
    assert decode(body.encode()) == body


@given(some.values)
def test_decoding_a_value_inverts_encoding(value: HandleValue) -> None:
    assert HandleValue.decode(value.encode()) == value


@given(some.sites)
def test_decoding_a_site_inverts_encoding(site: Site) -> None:
    assert Site.decode(site.encode()) == site


@given(some.typed)
def test_decoding_a_value_type_inverts_encoding(typed: Typed) -> None:
    assert type(typed).decode(typed.encode()) == typed  # type: ignore[attr-defined]


@given(some.messages)
def test_decoding_a_message_inverts_encoding(message: Message) -> None:
    octets = message.encode()
    decoded = decode_message(octets)
    assert decoded == replace(message, envelope=replace(message.envelope, message_octets=len(octets) - 20))
    assert decoded.header_and_body == message.header_and_body


@given(some.messages, st.data())
def test_a_message_cut_anywhere_is_refused_or_lacks_its_end(message: Message, data: st.DataObject) -> None:
    octets = message.encode()
    cut = data.draw(st.integers(0, len(octets) - 1))
    try:
        decoded = decode_message(octets[:cut])
    except WireError:
        return
    assert decoded.header == message.header
    assert decoded.body == message.body
    assert (decoded.credential, decoded.surplus) != (message.credential, message.surplus)


@given(st.binary(max_size=64))
def test_every_piece_of_rubbish_has_an_answer(octets: bytes) -> None:
    answer = undecodable(octets, "no message", 1e9)
    assert decode_message(answer.encode()) == replace(
        answer, envelope=replace(answer.envelope, message_octets=len(answer.encode()) - 20)
    )


@given(st.lists(some.values, max_size=8))
def test_a_value_list_holds_its_values(values: list[HandleValue]) -> None:
    made = ValueList.of(values)
    read = ValueList.decode(Reader(made.encode()))
    assert list(read) == values
    assert b"".join(read.slices()) == made.octets
    assert 0 <= read.smallest_ttl_s(1e9) <= 86_400


@given(
    st.lists(some.values, max_size=8),
    st.lists(some.u32, max_size=3),
    st.lists(some.type_names, max_size=3),
    st.booleans(),
)
def test_selection_agrees_with_its_definition(
    values: list[HandleValue], indexes: list[int], types: list[str], public_only: bool
) -> None:
    indexes = indexes + [value.index for value in values[::3]]

    def is_wanted(value: HandleValue) -> bool:
        if public_only and not value.permissions & Permission.PUBLIC_READ:
            return False
        if not indexes and not types:
            return True
        return value.index in indexes or any(_matches(value.type, name) for name in types)

    selected = ValueList.of(values).select(indexes, types, public_only=public_only)
    assert list(selected) == [value for value in values if is_wanted(value)]


def _matches(value_type: str, wanted: str) -> bool:
    mine, theirs = (name.encode("utf-8", "surrogateescape").upper() for name in (value_type, wanted))
    return mine == theirs or (theirs.endswith(b".") and (mine == theirs[:-1] or mine.startswith(theirs)))


@given(some.handles)
def test_folding_is_idempotent_and_equality_follows_it(handle: Handle) -> None:
    folded = Handle(handle.key)
    assert folded.key == handle.key
    assert folded == handle
    assert Handle(handle.octets.swapcase()) == handle
    assert Handle.parse(str(handle)).octets == handle.octets
    assert handle.resolved.prefix.octets + b"/" + handle.resolved.suffix == handle.resolved.octets


@given(some.handles, st.sampled_from(list(HashOption)))
def test_the_server_of_a_handle_does_not_depend_on_its_spelling(handle: Handle, option: HashOption) -> None:
    assert selection_hash(handle, option) == selection_hash(Handle(handle.octets.upper()), option)
    assert 0 <= selection_hash(handle, option) <= 2**31
