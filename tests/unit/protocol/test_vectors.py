"""Every recorded message of a live CNRI server re-encodes to the same octets."""

from collections.abc import Iterator
from typing import Final

import pytest

from protocol.admin_bodies import (
    ChallengeAnswerRequest,
    ChallengeResponse,
    CreateResponse,
    DumpRequest,
    HandleListResponse,
    HandleRequest,
    RemoveValuesRequest,
    RetrieveTransactionsRequest,
    RetrieveTransactionsResponse,
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
from protocol.codes import REFERRALS, OpCode, ResponseCode
from protocol.errors import HandleError, WireError
from protocol.message import (
    ENVELOPE_OCTETS,
    HEADER_OCTETS,
    Message,
    decode_envelope,
    decode_message,
    split_digest,
)
from protocol.packets import PACKET_OCTETS, Reassembler, split
from tests.support.vectors import (
    Recorded,
    clear_message_of,
    is_encrypted,
    message_of,
    recorded,
    recorded_messages,
    recordings,
)

NOT_REENCODED: Final = {
    "raw_udp_env_only#0": "a message of length 0 has no header; refused",
    "raw_udp_len23#0": "a message of 23 octets has no whole header; refused",
    "raw_udp_short_envelope#0": "ten octets are no envelope; refused",
    "raw_udp_len_too_long#0": "announces 100 octets more than came; the real length is written",
    "raw_udp_trailing_bytes#0": "twelve octets behind the announced length are no part of the message",
}
"""Messages that by design do not re-encode. A missing credential length and octets behind the credential are kept."""

NOT_TYPED: Final = {
    "raw_udp_bad_handle_length#0": "a name longer than its message; refused",
    "raw_udp_empty_handle#0": "an empty name is no handle; refused",
    "raw_udp_huge_index_count#0": "2147483647 indexes are more than any message holds; refused",
    "raw_tcp_session_setup_v1#0": "mode 9 of key exchange, which nobody knows; refused",
}
"""Messages whose body is refused; their header re-encodes around the opaque body."""

OPAQUE: Final = {
    "raw_udp_encrypted_no_session#0": "marked as encrypted, and no session did it",
    "raw_udp_opcode0#0": "an operation in no list",
    "raw_udp_opcode99#0": "an operation in no list",
    "raw_tcp_opcode99#0": "an operation in no list",
}
"""Messages whose body has no type."""

NO_MESSAGES: Final = {
    "raw_tcp_big_length#1": "announces one octet more than the largest message",
    "repl_dump_handles_v211#4": "the client's first TLS record, with which a replication stream begins",
    "repl_retrieve_txn_v211#4": "the client's first TLS record, with which a replication stream begins",
    "repl_dump_handles_v211#5": "replication stream",
    "repl_dump_handles_v27#4": "replication stream",
    "repl_retrieve_txn_v211#5": "replication stream",
    "repl_retrieve_txn_v27#4": "replication stream",
}
"""Entries of the recordings that are no message of the protocol."""

Body = (
    ResolutionRequest
    | ResolutionResponse
    | SiteInfoRequest
    | SiteInfoResponse
    | ErrorBody
    | ReferralBody
    | ChallengeAnswerRequest
    | ChallengeResponse
    | CreateResponse
    | DumpRequest
    | HandleListResponse
    | HandleRequest
    | RemoveValuesRequest
    | RetrieveTransactionsResponse
    | SessionSetupRequest
    | SessionSetupResponse
    | ValuesRequest
    | VerifyRequest
    | VerifyResponse
)

REQUESTS: Final[dict[int, type[Body]]] = {
    OpCode.RESOLUTION: ResolutionRequest,
    OpCode.GET_SITE_INFO: SiteInfoRequest,
    OpCode.CREATE_HANDLE: ValuesRequest,
    OpCode.DELETE_HANDLE: HandleRequest,
    OpCode.ADD_VALUE: ValuesRequest,
    OpCode.REMOVE_VALUE: RemoveValuesRequest,
    OpCode.MODIFY_VALUE: ValuesRequest,
    OpCode.LIST_HANDLES: HandleRequest,
    OpCode.CHALLENGE_ANSWER: ChallengeAnswerRequest,
    OpCode.VERIFY_CHALLENGE: VerifyRequest,
    OpCode.HOME_PREFIX: HandleRequest,
    OpCode.UNHOME_PREFIX: HandleRequest,
    OpCode.LIST_HOMED_PREFIXES: HandleRequest,
    OpCode.SESSION_SETUP: SessionSetupRequest,
    OpCode.SESSION_TERMINATE: HandleRequest,
    OpCode.NEXT_TRANSACTION_ID: HandleRequest,
    OpCode.DUMP_HANDLES: DumpRequest,
    OpCode.BACKUP_SERVER: HandleRequest,
}
RESPONSES: Final[dict[int, type[Body]]] = {
    OpCode.RESOLUTION: ResolutionResponse,
    OpCode.GET_SITE_INFO: SiteInfoResponse,
    OpCode.CREATE_HANDLE: CreateResponse,
    OpCode.LIST_HANDLES: HandleListResponse,
    OpCode.VERIFY_CHALLENGE: VerifyResponse,
    OpCode.LIST_HOMED_PREFIXES: HandleListResponse,
    OpCode.SESSION_SETUP: SessionSetupResponse,
    OpCode.RETRIEVE_TRANSACTION_LOG: RetrieveTransactionsResponse,
}
"""Of the responses to other operations, success has no body."""
OPERATIONS: Final = frozenset(OpCode)


def reencode(entry: Recorded) -> bytes:
    """Return the octets after decoding and encoding; an encrypted message as envelope and opaque rest."""
    if entry.part == "fragment" or is_encrypted(entry):
        return decode_envelope(entry.octets).encode() + entry.octets[ENVELOPE_OCTETS:]
    return message_of(entry).encode()


def body_type(message: Message, *, to_server: bool) -> type[Body] | None:
    """Return the type of the message's body; None for operations in no list and for success without a body."""
    operation, code = message.header.op_code, message.header.response_code
    if to_server and code == 0:
        return REQUESTS.get(operation)
    if code == ResponseCode.SUCCESS:
        return RESPONSES.get(operation)
    if code in REFERRALS:
        return ReferralBody
    return ChallengeResponse if code == ResponseCode.AUTHENTICATION_NEEDED else ErrorBody


def reencode_body(message: Message, *, to_server: bool) -> tuple[str, bytes, bytes]:
    """Return the name of the body's type, its octets, and what encoding gives after decoding them."""
    octets = message.body if message.header.response_code == 0 else split_digest(message)[1]
    if message.header.op_code == OpCode.RETRIEVE_TRANSACTION_LOG and to_server:
        version = message.envelope.version
        positions = RetrieveTransactionsRequest.decode(octets, version)
        return RetrieveTransactionsRequest.__name__, octets, positions.encode(version)
    kind = body_type(message, to_server=to_server)
    if kind is None:
        return "none", octets, b""
    return kind.__name__, octets, kind.decode(octets).encode()


def failures(entries: Iterator[Recorded]) -> set[str]:
    """Return the names of the entries that do not re-encode."""
    failed = set()
    for entry in entries:
        try:
            same = reencode(entry) == entry.octets
        except HandleError:
            same = False
        if not same:
            failed.add(entry.name)
    return failed


def test_every_recorded_message_reencodes_to_the_same_octets_but_the_listed_ones() -> None:
    assert failures(entry for entry in recorded() if entry.name not in NO_MESSAGES) == set(NOT_REENCODED)


def test_what_is_no_message_is_listed() -> None:
    assert {entry.name for entry in recorded() if entry.part in {"incomplete", "stream"}} == set(NO_MESSAGES)


def test_every_recorded_body_reencodes_through_its_type_those_of_encrypted_messages_too() -> None:
    failed, seen, opaque = set(), set(), set()
    for entry in recorded_messages():
        if entry.name in NOT_REENCODED:
            continue
        message = clear_message_of(entry)
        if message is None or (
            message.header.response_code == 0 and message.header.op_code not in OPERATIONS
        ):
            opaque.add(entry.name)
            continue
        try:
            kind, octets, again = reencode_body(message, to_server=entry.to_server)
        except HandleError:
            failed.add(entry.name)
            continue
        seen.add(kind)
        assert again == octets, entry.name
    assert failed == set(NOT_TYPED)
    assert opaque == set(OPAQUE)
    assert seen == {kind.__name__ for kind in [*REQUESTS.values(), *RESPONSES.values()]} | {
        "ErrorBody", "ReferralBody", "ChallengeResponse", "RetrieveTransactionsRequest", "none"
    }  # fmt: skip


def test_the_recordings_are_all_here() -> None:
    assert len(recordings()) == 149
    assert len(list(recorded())) == 461


def test_envelope_and_header_say_what_the_recording_says() -> None:
    compared = 0
    for entry in recorded_messages():
        expected = entry.decoded.get("header")
        if expected is None or is_encrypted(entry):
            continue
        message = message_of(entry)
        envelope, header = entry.decoded["envelope"], message.header
        assert (*message.envelope.version, message.envelope.suggested[1]) == (
            envelope["major"],
            envelope["minor"],
            envelope["suggest_minor"],
        )
        assert message.envelope.session_id == envelope["session_id"]
        assert message.envelope.request_id == envelope["request_id"]
        assert (header.op_code, header.response_code, header.op_flags) == (
            expected["op_code"],
            expected["response_code"],
            expected["op_flags"],
        )
        assert (header.site_serial, header.recursion_count, header.expiration, len(message.body)) == (
            expected["site_info_serial"],
            expected["recursion_count"],
            expected["expiration"],
            expected["body_length"],
        )
        compared += 1
    assert compared > 350


def _fragments() -> dict[str, list[tuple[list[Recorded], Recorded]]]:
    """Return, by recording, runs of fragments and the message that they make."""
    runs: dict[str, list[tuple[list[Recorded], Recorded]]] = {}
    waiting: list[Recorded] = []
    for entry in recorded():
        if entry.part == "fragment":
            waiting.append(entry)
        elif entry.part == "reassembled":
            packets = [packet for packet in waiting if packet.recording == entry.recording]
            runs.setdefault(entry.recording, []).append((packets, entry))
            waiting = []
    return runs


ODD_PACKETS: Final = "raw_udp_frag_small"
"""Three packets of 300 octets, which start at no multiple of 492: each is refused, as the recorded server does."""


@pytest.mark.parametrize("recording", sorted(set(_fragments()) - {ODD_PACKETS}))
def test_recorded_packets_join_to_the_recorded_message(recording: str) -> None:
    for packets, message in _fragments()[recording]:
        reassembler: Reassembler[str] = Reassembler()
        joined = [reassembler.add("peer", packet.octets, 0.0) for packet in packets]
        assert joined[:-1] == [None] * (len(packets) - 1)
        assert joined[-1] is not None
        assert _without_packet_flags(joined[-1]) == _without_packet_flags(message.octets)
        assert len(reassembler) == 0


def test_recorded_packets_of_a_size_of_their_own_are_refused() -> None:
    packets = [entry for entry in recorded() if entry.recording == ODD_PACKETS and entry.to_server]
    reassembler: Reassembler[str] = Reassembler()
    for packet in [entry for entry in packets if entry.part == "fragment"]:
        with pytest.raises(WireError):
            reassembler.add("peer", packet.octets, 0.0)


def test_our_packets_of_a_recorded_message_are_the_recorded_packets() -> None:
    compared = 0
    for runs in _fragments().values():
        for packets, message in runs:
            if packets[0].to_server or len(message.octets) <= PACKET_OCTETS:
                continue
            assert split(message.octets) == [packet.octets for packet in packets]
            compared += 1
    assert compared > 3


def _without_packet_flags(message: bytes) -> bytes:
    """Return a message without the truncated flag and the sequence number, which speak of packets."""
    return message[:2] + bytes((message[2] & ~0x20,)) + message[3:12] + bytes(4) + message[16:]


def _sound() -> list[Recorded]:
    """Return the recorded messages that decode and re-encode."""
    return [
        entry for entry in recorded_messages() if entry.name not in NOT_REENCODED and not is_encrypted(entry)
    ]


def test_every_recorded_message_travels_in_packets_and_comes_together_again() -> None:
    for entry in _sound():
        reassembler: Reassembler[str] = Reassembler()
        joined = [reassembler.add("peer", packet, 0.0) for packet in reversed(split(entry.octets))]
        assert joined[:-1] == [None] * (len(joined) - 1)
        assert _without_packet_flags(joined[-1] or b"") == _without_packet_flags(entry.octets), entry.name


def test_every_recorded_message_cut_at_any_octet_is_refused_or_lacks_its_end() -> None:
    for entry in _sound():
        whole = message_of(entry)
        body_end = ENVELOPE_OCTETS + HEADER_OCTETS + len(whole.body)
        for cut in range(len(entry.octets)):
            try:
                message = decode_message(entry.octets[:cut])
            except WireError:
                continue
            assert cut == body_end, f"{entry.name} cut at {cut}: only the credential may be missing whole"
            assert message.credential is None


@pytest.mark.parametrize(
    "name", ["udp_resolve_found#0", "udp_resolve_found#1", "tcp_prefix_referral#1", "tcp_get_site_info#1"]
)
def test_a_recorded_body_cut_at_any_octet_is_refused(name: str) -> None:
    entry = next(entry for entry in recorded() if entry.name == name)
    whole = message_of(entry)
    kind = body_type(whole, to_server=entry.to_server)
    assert kind is not None
    for cut in range(len(whole.body)):
        if kind is ReferralBody and cut == 4:
            continue  # an empty name without values is whole
        with pytest.raises(WireError):
            kind.decode(whole.body[:cut])
