"""Our registry, holding the records that the recorded answers show, answers the recorded requests alike.

Requests with CERT or in sessions are left out; what led to authentication is in test_recorded_conversations.py.
"""

import time
from dataclasses import dataclass, replace
from typing import Final

from protocol.bodies import ReferralBody, ResolutionResponse
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.errors import WireError
from protocol.handle import Handle
from protocol.message import (
    ENVELOPE_OCTETS,
    UNKNOWN_REQUEST_ID,
    Message,
    decode_message,
    matches_digest,
    split_digest,
)
from protocol.packets import SLICE_OCTETS, Reassembler
from protocol.site import Site
from protocol.value import HandleValue, ValueList
from tests.support.asking import send_packets, send_tcp
from tests.support.vectors import Recorded, keys, recorded, recorded_messages
from tests.support.world import TestNode, World

PREFIX: Final = "20.500.12345"
PARENT: Final = "20.500"
PIPELINED: Final = "raw_tcp_pipelined_keepalive"
PATIENCE_S: Final = 2.0  # for answers that may never come
UNKNOWN_SESSION: Final = 999_999  # as the recorded client made it up
SECRET_NOTE: Final = "20.500.12345/RESTRICTED"

PREFIX_RECORD: Final = "0.NA/20.500.12345"
PREFIX_RECORD_RECORDINGS: Final = (
    "tcp_prefix_handle_site",
    "tcp_prefix_referral",
    "tcp_prefix_referral_dnrf",
)
"""Made after 0.NA/20.500.12345 had been given to the server; a node of ours that holds it homes 20.500."""

LEFT_OUT: Final = {
    "raw_udp_encrypted_no_session": "encrypted, in no session",
    "raw_udp_bad_handle_length": "no request that decodes; the answer is compared below",
    "raw_udp_huge_index_count": "no request that decodes; the answer is compared below",
    "raw_udp_env_only": "no message; the answer is compared below",
    "raw_udp_len23": "no message; the answer is compared below",
    "raw_udp_short_envelope": "no message; the answer is compared below",
    "raw_udp_frag_missing": "half a message; answered by neither",
}
"""Recordings of resolution or site requests that are not replayed, with the reason."""

DIFFERENCES: Final = {
    "udp_resolve_flags_all_off": (
        "flags",
        "deployed servers set RECU in every answer; ours echoes the request",
    ),
    "raw_udp_unknown_flags": ("flags", "ours echoes the bits that mean nothing"),
    "tcp_resolve_keepalive": ("flags", "ours keeps the connection and says so with KPAL"),
    "raw_tcp_pipelined_keepalive": ("flags", "ours keeps the connection and says so with KPAL"),
    "raw_udp_version_5_0": ("version", "5.0 was a mistake for 2.0; ours answers in 2.0"),
    "raw_udp_big_one_packet": (
        "rc",
        "deployed servers cut a datagram at 512 octets; ours reads it: 100, not 2",
    ),
    "raw_udp_empty_handle": (
        "rc",
        "an empty name is no handle (102), rather than one that lives elsewhere (301)",
    ),
    "raw_udp_frag_small": ("rc", "packets that start at no multiple of 492 fit no message: 4, not 2"),
    "raw_udp_response_as_request": ("silent", "a response is never answered, or two servers would never end"),
}
"""What differs by decision: which aspect, and why."""

UNDECODABLE: Final = {
    "raw_udp_bad_handle_length": True,
    "raw_udp_huge_index_count": True,
    "raw_udp_env_only": False,
    "raw_udp_len23": False,
    "raw_udp_short_envelope": False,
}
"""Datagrams that are no request, and whether ours answers: RC 4 with the request's id, where deployed servers answer 2
or 4 with id -1. What has no room for the header of a request gets silence: otherwise two servers could refuse each
other's refusals for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One request as octets on the wire, and the answer to it."""

    recording: str
    transport: str
    packets: tuple[bytes, ...]
    request: Message
    expected: Message


def is_plain(request: Message) -> bool:
    """Whether the request asks for a resolution or a site without signature, session or credential."""
    return (
        request.header.op_code in {OpCode.RESOLUTION, OpCode.GET_SITE_INFO}
        and not request.has(OpFlag.CERT)
        and request.envelope.session_id in {0, 0xFFFF_FFFF, UNKNOWN_SESSION}
        and not request.credential
    )


def pairs() -> list[Pair]:
    """Return the recorded requests that are to be replayed, with the recorded answers."""
    found = []
    entries = recorded_messages()
    fragments = [entry for entry in recorded() if entry.part == "fragment" and entry.to_server]
    for entry in entries:
        request = _decode(entry)
        if not entry.to_server or entry.recording in LEFT_OUT or request is None or not is_plain(request):
            continue
        answer = _answer_to(entry, request, entries)
        if answer is None or _is_authenticated(entry.recording, entries):
            continue
        packets = tuple(packet.octets for packet in fragments if packet.recording == entry.recording)
        found.append(
            Pair(
                recording=entry.recording,
                transport=entry.transport,
                packets=packets or (entry.octets,),
                request=request,
                expected=answer,
            )
        )
    return found


def _decode(entry: Recorded) -> Message | None:
    try:
        return decode_message(entry.octets)
    except WireError:
        return None


def _answer_to(entry: Recorded, request: Message, entries: list[Recorded]) -> Message | None:
    answers = [
        answer
        for candidate in entries
        if candidate.recording == entry.recording
        and not candidate.to_server
        and (answer := _decode(candidate)) is not None
    ]
    same = [answer for answer in answers if answer.envelope.request_id == request.envelope.request_id]
    lost = [answer for answer in answers if answer.envelope.request_id == UNKNOWN_REQUEST_ID]
    return next(iter(same or lost), None)


def _is_authenticated(recording: str, entries: list[Recorded]) -> bool:
    """Whether the recording goes on with an answer to a challenge or is about an administrative operation."""
    for entry in entries:
        message = _decode(entry) if entry.recording == recording and entry.to_server else None
        if message is not None and message.header.op_code not in {OpCode.RESOLUTION, OpCode.GET_SITE_INFO}:
            return True
    return False


def recorded_values() -> dict[str, list[HandleValue]]:
    """Return the records that the recorded answers show, and the administrator record of the recorded keys."""
    records: dict[str, dict[int, HandleValue]] = {}
    for entry in recorded_messages():
        message = _decode(entry)
        if (
            message is None
            or entry.to_server
            or message.header.op_code != 1
            or message.header.response_code != 1
        ):
            continue
        body = ResolutionResponse.decode(split_digest(message)[1])
        if body.handle.key.startswith((b"0.SITE/", b"20.500.12345/SESS")):
            continue
        record = records.setdefault(str(Handle(body.handle.key)), {})
        record.update({value.index: value for value in body.values})
    assert set(records) == {
        "0.NA/20.500.12345",
        "20.500.12345/BIG",
        "20.500.12345/CASETEST-Ä",
        "20.500.12345/ITEM-0001",
        SECRET_NOTE,
        "20.500.12345/TYPED",
    }
    admin = records["20.500.12345/BIG"][100]
    key = HandleValue(
        index=300, type="HS_SECKEY", data=keys()["secret_key"]["value"].encode(), permissions=0x0C
    )
    records["20.500.12345/ADMIN"] = {300: key, 100: admin}
    records["20.500.12345/ITEM-0002"] = records["20.500.12345/ITEM-0001"]
    return {handle: [record[index] for index in sorted(record)] for handle, record in records.items()}


async def replay(node: TestNode, pair: Pair) -> Message | None:
    """Send the recorded octets the recorded way; None when nothing comes back."""
    if pair.transport == "tcp":
        octets = await send_tcp(node.address, pair.packets[0], half_close=True)
        return decode_message(octets) if octets else None
    if pair.transport == "http":
        return decode_message(await node.tunnel(pair.packets[0]))
    many = pair.expected.envelope.message_octets > SLICE_OCTETS
    received = await send_packets(node.address, pair.packets, answers=8 if many else 1, patience_s=PATIENCE_S)
    reassembler: Reassembler[int] = Reassembler()
    for packet in received:
        whole = reassembler.add(0, packet, 0.0)
        if whole is not None:
            return decode_message(whole)
    return None


def differing(pair: Pair, answer: Message | None) -> list[str]:
    """Return the aspects in which an answer differs from the recorded one; timestamps and texts are its own."""
    expected = pair.expected
    if answer is None:
        return ["silent"]
    if answer.header.response_code != expected.header.response_code:
        return ["rc"]
    found = [] if answer.envelope.version == expected.envelope.version else ["version"]
    found += [] if answer.header.op_flags == expected.header.op_flags else ["flags"]
    found += [] if answer.header.op_code == expected.header.op_code else ["operation"]
    found += [] if _ids(answer) == _ids(expected) else ["ids"]
    found += [] if answer.header.expiration > time.time() + 3_600 else ["expiration"]
    digest, body = split_digest(answer)
    expected_digest, expected_body = split_digest(expected)
    if (digest is None) != (expected_digest is None) or (
        digest is not None and not matches_digest(pair.request, digest)
    ):
        found.append("digest")
    return found if _meaning(answer, body) == _meaning(expected, expected_body) else [*found, "body"]


def _ids(message: Message) -> tuple[int, int]:
    """The ids that an answer echoes; that of a challenge is the server's own."""
    is_challenge = message.header.response_code == ResponseCode.AUTHENTICATION_NEEDED
    return message.envelope.request_id, 0 if is_challenge else message.envelope.session_id


def _meaning(message: Message, body: bytes) -> object:
    """Return what a body says, without what belongs to one server: times, texts, addresses and keys."""
    match message.header.op_code, message.header.response_code:
        case 1, 1:
            response = ResolutionResponse.decode(body)
            return response.handle.octets, _untimed(response.values)
        case 1, 302 | 303:
            referral = ReferralBody.decode(body)
            return referral.handle, _untimed(referral.values or ValueList.of([]))
        case 2, 1:
            return _shape(Site.decode(body))
        case _:
            return None


def _untimed(values: ValueList) -> list[HandleValue]:
    return [replace(value, timestamp=0) for value in values]


def _shape(site: Site) -> object:
    interfaces = {
        (interface.protocol, interface.query) for server in site.servers for interface in server.interfaces
    }
    return (
        (site.format_version, site.protocol_major, site.protocol_minor),
        (site.primary, site.multi_primary, site.hash_option, site.hash_filter),
        [server.server_id for server in site.servers],
        sorted(interfaces),
    )


async def recorded_nodes(world: World) -> tuple[TestNode, TestNode]:
    """Start a node as the recorded server was, and one that holds the record of its prefix as a parent does."""
    records = recorded_values()
    later = await world.lone(PARENT)
    await later.store({PREFIX_RECORD: records.pop(PREFIX_RECORD)})
    first = await world.lone(PREFIX)
    await first.store(records)
    return first, later


async def test_every_recorded_request_is_answered_alike_but_for_the_listed_differences(world: World) -> None:
    first, later = await recorded_nodes(world)
    differences = {}
    for pair in pairs():
        node = later if pair.recording in PREFIX_RECORD_RECORDINGS else first
        aspects = differing(pair, await replay(node, pair))
        if aspects:
            differences[pair.recording] = aspects
    assert differences == {name: [aspect] for name, (aspect, _) in DIFFERENCES.items()}


def test_the_replayed_requests_are_those_that_are_meant() -> None:
    names = {pair.recording for pair in pairs()}
    assert len(names) > 55
    assert set(DIFFERENCES) <= names
    assert set(PREFIX_RECORD_RECORDINGS) <= names
    assert names.isdisjoint(LEFT_OUT)
    rest = {
        entry.recording
        for entry in recorded_messages()
        if entry.to_server and (request := _decode(entry)) is not None and is_plain(request)
    } - names
    signed_or_authenticated = {name for name in rest if _is_authenticated(name, recorded_messages())}
    assert rest - signed_or_authenticated <= set(LEFT_OUT)


async def test_a_restricted_value_is_never_told_without_authentication(world: World) -> None:
    node, _ = await recorded_nodes(world)
    for flags in (0, DEFAULT_FLAGS, DEFAULT_FLAGS | OpFlag.AUTH, 0xFFFF_FFFF & ~OpFlag.CERT):
        answer = await node.ask(SECRET_NOTE, flags=flags)
        challenged = not flags & OpFlag.PUBL
        assert answer.rc == (402 if challenged else 1)
        assert [value.index for value in answer.values] == ([] if challenged else [1, 100])
    assert (await node.ask(SECRET_NOTE, indexes=[2])).rc == 200
    assert (await node.ask(f"{PREFIX}/ADMIN", types=["HS_SECKEY"])).rc == 200


async def test_a_datagram_that_is_no_request_has_its_answer_or_silence(world: World) -> None:
    node = await world.lone(PREFIX)
    for recording, is_answered in UNDECODABLE.items():
        (octets,) = [entry.octets for entry in recorded() if entry.recording == recording and entry.to_server]
        received = await send_packets(node.address, [octets], patience_s=PATIENCE_S if is_answered else 0.3)
        assert bool(received) is is_answered, recording
        for answer in map(decode_message, received):
            assert answer.header.response_code == ResponseCode.PROTOCOL_ERROR
            assert answer.envelope.request_id == int.from_bytes(octets[8:12], "big")
    assert (await node.ask(f"{PREFIX}/none")).rc == 100


async def test_pipelined_requests_are_answered_in_turn(world: World) -> None:
    node, _ = await recorded_nodes(world)
    requests = [entry.octets for entry in recorded() if entry.recording == PIPELINED and entry.to_server]
    octets = await send_tcp(node.address, b"".join(requests), half_close=True)
    first = decode_message(octets)
    second = decode_message(octets[ENVELOPE_OCTETS + first.envelope.message_octets :])
    asked = [decode_message(request).envelope.request_id for request in requests]
    assert [first.envelope.request_id, second.envelope.request_id] == asked
    assert [first.header.response_code, second.header.response_code] == [1, 1]
