"""Our registry, holding what the recorded server held, answers its recordings alike but for the listed differences."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from protocol.bodies import ResolutionResponse
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import BadSignature, WireError
from protocol.handle import Handle
from protocol.message import Message, decode_message, split_digest
from protocol.value import SECRET_PERMISSIONS, HandleValue
from protocol.valuetypes import PublicKey
from registry.node import open_node
from registry.outcomes import OPERATOR
from tests.support.likeness import Heard, Server, aspects, differing
from tests.support.replaying import Replay, Replayed, in_order
from tests.support.vectors import Recorded, keys, recorded, recorded_messages, recordings
from tests.support.world import TestNode, World

PREFIX: Final = "20.500.12345"
PARENT: Final = "20.500"
LISTED: Final = "20.500.77"
ADMIN: Final = f"{PREFIX}/ADMIN"
SECRET_NOTE: Final = f"{PREFIX}/RESTRICTED"
PREFIX_RECORD: Final = f"0.NA/{PREFIX}"
RECORDINGS: Final = 149
HANDLES: Final = [f"{LISTED}/h{number:02}" for number in range(55)]

NOT_TOLD: Final = (
    "who has proved nothing is not told what is stored; challenged and proved, he is told the same"
)
DIFFERENCES: Final[dict[str, dict[str, str]]] = {
    NOT_TOLD: {
        "tcp_create_exists": "challenge",
        "tcp_modify_no_handle": "challenge",
        "tcp_modify_value_missing": "challenge",
    },
    "the reply to a proof has the digest of the proof, which deployed clients compare with what they sent last": {
        "tcp_create_certify": "digest",
    },
    "the answer that ends a session is within it still; clients verify it by its kind": {
        "dsa_tcp_session_dh_encrypted": "credential, encryption",
        "dsa_tcp_session_dh_mac": "credential",
        "tcp_session_dh_encrypted": "credential, encryption",
        "tcp_session_dh_mac": "credential",
    },
    "sessions by Diffie-Hellman alone: no deployed client can go on with a server's RSA key": {
        "tcp_session_server_cipher": "rc 501, session id",
    },
    "our key is RSA, so its name is in the site record, and its hash is SHA-256 from version 2.7 on": {
        "dsa_udp_certify_v210": "credential",
        "dsa_udp_get_site_info": "body",
    },
    "we serve no replication, nor make backups when told to; 5 is said at once": {
        "repl_dump_handles_v211": "digest, flags, rc 5, session id",
        "repl_dump_handles_v27": "digest, flags, rc 5, session id",
        "repl_retrieve_txn_v211": "digest, flags, rc 5, session id",
        "repl_retrieve_txn_v27": "digest, flags, rc 5, session id",
        "tcp_backup_server": "digest, flags, rc 5, session id",
        "tcp_dump_handles_challenge": "digest, flags, rc 5, session id",
        "tcp_retrieve_txn_challenge": "digest, flags, rc 5, session id",
    },
    "lists tell names as they were created, and not in capitals": {
        "tcp_list_handles": "body",
    },
    "a status is of its moment: its values have the TTL 0": {
        "tcp_resolve_status_auth": "body",
    },
    "KPAL is honoured and said: the connection stays, and what is sent behind is answered": {
        "raw_tcp_pipelined_keepalive": "flags, messages",
        "tcp_resolve_keepalive": "flags",
    },
    "the flags of the request are echoed; deployed servers set RECU in every answer, and drop unknown bits": {
        "raw_udp_unknown_flags": "flags",
        "udp_resolve_flags_all_off": "flags",
    },
    "5.0 was a mistake for 2.0, in which we answer": {
        "raw_udp_version_5_0": "version",
    },
    "an empty name is no handle, rather than one that lives elsewhere": {
        "raw_udp_empty_handle": "rc 102",
    },
    "a refusal belongs to its request: it has the id, the version and the flags of an answer to it": {
        "raw_udp_create_no_auth": "flags, request id, serial, version",
        "raw_udp_encrypted_no_session": "flags, request id, version",
        "raw_udp_list_no_auth": "flags, request id, serial, version",
        "udp_create_refused": "flags, request id, serial, version",
    },
    "an operation that we do not have is 5, with the id of the request, rather than 2 or 4 with none": {
        "raw_tcp_opcode99": "flags, operation, rc 5, request id, serial, version",
        "raw_udp_opcode0": "flags, rc 5, request id, serial, version",
        "raw_udp_opcode99": "flags, operation, rc 5, request id, serial, version",
    },
    "octets that are no request are 4, with the id of the request: 2 makes clients go on to the next server": {
        "raw_tcp_big_length": "flags, operation, rc 4, request id, version",
        "raw_udp_bad_handle_length": "flags, operation, rc 4, request id, serial, version",
        "raw_udp_huge_index_count": "flags, operation, rc 4, request id, serial, version",
    },
    "a datagram of more than 512 octets is read whole, where deployed servers cut it": {
        "raw_udp_big_one_packet": "flags, operation, rc 100, request id, serial, version",
    },
    "what has no room for the header of a request, or is a response, or a packet within a message at no multiple of "
    "492, gets silence over UDP: two servers would refuse each other's refusals for ever": {
        "raw_udp_env_only": "silence",
        "raw_udp_frag_small": "messages",
        "raw_udp_len23": "silence",
        "raw_udp_response_as_request": "silence",
        "raw_udp_short_envelope": "silence",
    },
}
"""Why ours answers otherwise than the recorded server, which recordings show it, and in which aspects; with response
codes that of ours."""
LISTED_ASPECTS: Final = {name: what for each in DIFFERENCES.values() for name, what in each.items()}
MAY_BE_SILENT: Final = {
    name for name, what in LISTED_ASPECTS.items() if {"silence", "messages"} & {*what.split(", ")}
}

PREFIX_RECORD_RECORDINGS: Final = (
    "tcp_prefix_handle_site",
    "tcp_prefix_referral",
    "tcp_prefix_referral_dnrf",
)
"""Asked of a parent that holds the record of the prefix; the recorded server was parent and child in one. Such a node
of ours refers nobody to itself, and says 100."""


def recorded_values() -> dict[str, list[HandleValue]]:
    """The records that the recorded answers show, and those of the recorded identities."""
    records: dict[str, dict[int, HandleValue]] = {}
    for entry in recorded_messages():
        message = _decode(entry)
        if message is None or entry.to_server or not _tells_values(message):
            continue
        body = ResolutionResponse.decode(split_digest(message)[1])
        record = records.setdefault(str(Handle(body.handle.key)), {})
        record.update({value.index: value for value in body.values})
    for virtual in ("0.SITE/STATUS", f"{PREFIX}/SESS"):
        del records[virtual]
    assert set(records) == {
        PREFIX_RECORD,
        f"{PREFIX}/BIG",
        f"{PREFIX}/CASETEST-Ä",
        f"{PREFIX}/ITEM-0001",
        SECRET_NOTE,
        f"{PREFIX}/TYPED",
    }
    admin = records[f"{PREFIX}/BIG"][100]
    public = bytes.fromhex(keys()["admin_rsa"]["hs_pubkey_value_hex"])
    records[ADMIN] = {
        100: admin,
        300: _secret(keys()["secret_key"]["value"]),
        301: HandleValue(index=301, type="HS_PUBKEY", data=public),
    }
    records[f"{PREFIX}/STRANGER"] = {100: admin, 300: _secret(keys()["stranger_secret_key"]["value"])}
    return {handle: [record[index] for index in sorted(record)] for handle, record in records.items()}


def _decode(entry: Recorded) -> Message | None:
    try:
        return decode_message(entry.octets)
    except WireError:
        return None


def _tells_values(message: Message) -> bool:
    return (message.header.op_code, message.header.response_code) == (
        OpCode.RESOLUTION,
        ResponseCode.SUCCESS,
    )


def _secret(text: str) -> HandleValue:
    return HandleValue(index=300, type="HS_SECKEY", data=text.encode(), permissions=SECRET_PERMISSIONS)


async def recorded_node(world: World, **settings: Any) -> TestNode:
    """Start a node as the recorded server was."""
    records = recorded_values()
    del records[PREFIX_RECORD]
    node = await world.lone(PREFIX, server_admins=(f"300:{ADMIN}", f"301:{ADMIN}"), **settings)
    await node.store(records)
    return node


async def parent_node(world: World) -> TestNode:
    """Start a node that holds the record of the recorded server's prefix."""
    parent = await world.lone(PARENT)
    await parent.store({PREFIX_RECORD: recorded_values()[PREFIX_RECORD]})
    return parent


async def register_the_listed(node: TestNode) -> None:
    """What happened before a prefix with 55 handles was listed."""
    await node.store(dict.fromkeys(HANDLES, recorded_values()[f"{PREFIX}/ITEM-0001"]))


async def delete_the_listed(node: TestNode) -> None:
    """What happened before that prefix was given up."""
    async with open_node(node.settings, unsafe=True) as opened:
        await opened.operations.delete([Handle.parse(handle) for handle in HANDLES], by=OPERATOR)


BEFORE: Final[dict[str, Callable[[TestNode], Awaitable[None]]]] = {
    "tcp_list_handles": register_the_listed,
    "tcp_unhome_na": delete_the_listed,
}


def recorded_server(recording: str) -> Server:
    """The server of a recording."""
    kind, serial = ("dsa", 2) if recording.startswith("dsa_") else ("rsa", 1)
    key = PublicKey.decode(bytes.fromhex(keys()[f"server_{kind}_public_key_hex"]))
    return Server(key=key, serial=serial, wall_s=0.0)


async def our_server(node: TestNode) -> Server:
    """A node of ours."""
    site = await node.site()
    return Server(key=PublicKey.decode(site.servers[0].public_key), serial=site.serial, wall_s=time.time())


def found_differences(replayed: list[Replayed], ours: Server, theirs: Server) -> str:
    """The aspects in which the answers to a recording differ; nothing for answers that are alike."""
    found = set()
    for each in replayed:
        different = differing(aspects(each.ours, ours), aspects(each.recorded, theirs))
        if "rc" in different:
            different = different - {"rc"} | {f"rc {each.ours.answers[0].header.response_code}"}
        found |= different | ({"challenge"} if each.extra_challenge else set())
    return ", ".join(sorted(found))


async def test_every_recording_is_answered_alike_but_for_the_listed_differences(world: World) -> None:
    node, parent = await recorded_node(world), await parent_node(world)
    servers = {node: await our_server(node), parent: await our_server(parent)}
    found = {}
    for recording in in_order():
        if recording in BEFORE:
            await BEFORE[recording](node)
        asked = parent if recording in PREFIX_RECORD_RECORDINGS else node
        replayed = await Replay(asked, recording, may_be_silent=recording in MAY_BE_SILENT).run()
        assert replayed, recording
        different = found_differences(replayed, servers[asked], recorded_server(recording))
        if different:
            found[recording] = different
    assert found == LISTED_ASPECTS


async def test_in_the_documented_order_existence_is_told_as_it_was_recorded(world: World) -> None:
    node = await recorded_node(world, existence_before_challenge=True)
    ours = await our_server(node)
    for recording in ("tcp_create_seckey", *DIFFERENCES[NOT_TOLD]):
        replayed = await Replay(node, recording).run()
        assert found_differences(replayed, ours, recorded_server(recording)) == "", recording


def test_every_recording_is_replayed_and_each_difference_is_listed_once() -> None:
    assert set(in_order()) == set(recordings())
    assert len(in_order()) == RECORDINGS
    assert set(LISTED_ASPECTS) <= set(recordings())
    assert len(LISTED_ASPECTS) == sum(map(len, DIFFERENCES.values()))


def test_the_comparison_sees_whatever_is_changed() -> None:
    theirs = recorded_server("tcp_create_certify")
    request, answer = (decode_message(entry.octets) for entry in recorded() if entry.connection == 1102)
    heard = Heard(request=request, request_id=request.envelope.request_id, answers=(answer,))
    seen = aspects(heard, theirs)
    assert not differing(aspects(heard, theirs), seen)
    changed = {
        "rc": _with_header(answer, response_code=404),
        "operation": _with_header(answer, op_code=101),
        "flags": _with_header(answer, op_flags=answer.header.op_flags ^ OpFlag.CONT),
        "serial": _with_header(answer, site_serial=9),
        "expiration": _with_header(answer, expiration=0),
        "recursion": _with_header(answer, recursion_count=1),
        "version": _with_envelope(answer, suggested=(2, 10)),
        "request id": _with_envelope(answer, request_id=7),
        "session id": _with_envelope(answer, session_id=0),
        "encryption": _with_envelope(answer, encrypted=True),
        "credential": answer,
        "body": replace(answer, body=answer.body[:33] + bytes((0, 0, 0, 15)) + bytes(15)),
    }
    for aspect, other in changed.items():
        unsigned = replace(other, credential=b"")
        found = differing(aspects(replace(heard, answers=(unsigned,)), theirs), seen)
        assert found == {aspect, "credential"}, aspect
    with pytest.raises(BadSignature):
        aspects(replace(heard, answers=(changed["flags"],)), theirs)


def _with_header(message: Message, **changes: Any) -> Message:
    return replace(message, header=replace(message.header, **changes), signed_octets=None)


def _with_envelope(message: Message, **changes: Any) -> Message:
    return replace(message, envelope=replace(message.envelope, **changes))


async def test_a_restricted_value_is_told_to_nobody_who_has_not_proved_who_he_is(world: World) -> None:
    node = await recorded_node(world)
    for others in (0, OpFlag.AUTH, OpFlag.RECU, 0xFFFF_FFFF & ~(OpFlag.CERT | OpFlag.PUBL)):
        for restricted in ({}, {"indexes": [2]}, {"indexes": [1, 2]}, {"types": ["SECRET.NOTE"]}):
            assert (await node.ask(SECRET_NOTE, flags=others, **restricted)).rc == 402
        assert (await node.ask(SECRET_NOTE, flags=others, indexes=[1])).rc == 1
        answer = await node.ask(SECRET_NOTE, flags=others | OpFlag.PUBL)
        assert [value.index for value in answer.values] == [1, 100]
        assert (await node.ask(SECRET_NOTE, flags=others | OpFlag.PUBL, indexes=[2])).rc == 200
        assert (await node.ask(ADMIN, flags=others | OpFlag.PUBL, types=["HS_SECKEY"])).rc == 200
