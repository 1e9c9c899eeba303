"""What an answer says, whichever server gave it: two answers are alike when all of its aspects are.

What belongs to one server is left out or told apart by what it stands for: times, texts of errors, addresses, keys,
nonces and session ids. What a signature, a MAC or a digest covers is checked here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from protocol.admin_bodies import (
    ChallengeResponse,
    CreateResponse,
    HandleListResponse,
    SessionMode,
    SessionSetupResponse,
    VerifyResponse,
)
from protocol.bodies import ErrorBody, ReferralBody, ResolutionResponse
from protocol.codes import REFERRALS, OpCode, OpFlag, ResponseCode
from protocol.credential import SIGNED, credential_of, verify, verify_mac
from protocol.diffie_hellman import decode_public
from protocol.message import Message, matches_digest, split_digest
from protocol.site import Site
from protocol.value import HandleValue, ValueList
from protocol.valuetypes import PublicKey

STATUS_HANDLE: Final = b"0.SITE/status"
LIFE_MIN_S: Final = 3_600  # of an answer, so that clients with another clock take it
UUID_OCTETS: Final = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What clients know of the server that answers."""

    key: PublicKey
    serial: int
    wall_s: float
    """When it answered, or before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One request, and what a server said to it; encrypted messages are decrypted, and still marked so."""

    request: Message | None
    """None for octets that cannot be read."""
    request_id: int
    answers: tuple[Message, ...]
    challenged: Message | None = None
    """The request that was challenged, when this one answers the challenge."""
    session_key: bytes | None = None


def aspects(heard: Heard, server: Server) -> dict[str, object]:
    """What was heard, by aspect; each has one entry for each message of the answer."""
    every: dict[str, Callable[[Heard, Message, Server], object]] = {
        "rc": lambda _, answer, __: answer.header.response_code,
        "operation": lambda _, answer, __: answer.header.op_code,
        "version": lambda _, answer, __: (answer.envelope.version, answer.envelope.suggested),
        "flags": lambda _, answer, __: answer.header.op_flags,
        "recursion": lambda _, answer, __: answer.header.recursion_count,
        "expiration": lambda _, answer, server: answer.header.expiration > server.wall_s + LIFE_MIN_S,
        "serial": lambda _, answer, server: "own" if answer.header.site_serial == server.serial else "other",
        "request id": _request_id,
        "session id": _session_id,
        "encryption": lambda _, answer, __: answer.envelope.encrypted,
        "credential": _credential,
        "digest": _digest,
        "body": _body,
    }
    found: dict[str, object] = {"messages": len(heard.answers)}
    for name, read in every.items():
        found[name] = [read(heard, answer, server) for answer in heard.answers]
    return found


def differing(ours: dict[str, object], recorded: dict[str, object]) -> set[str]:
    """The aspects that differ; of answers with another response code not the body, which is another one too."""
    if ours["messages"] != recorded["messages"]:
        return {"silence" if not ours["messages"] else "messages"}
    found = {name for name in ours if ours[name] != recorded[name]}
    return found - {"body"} if "rc" in found else found


def _request_id(heard: Heard, answer: Message, _: Server) -> str:
    return "echoed" if answer.envelope.request_id == heard.request_id else "unknown"


def _session_id(heard: Heard, answer: Message, _: Server) -> str:
    asked = 0 if heard.request is None else heard.request.envelope.session_id
    if not answer.envelope.session_id:
        return "none"
    return "echoed" if answer.envelope.session_id == asked else "new"


def _credential(heard: Heard, answer: Message, server: Server) -> object:
    """Kind, algorithm and counter. Raises BadSignature, BadMac for a signature or MAC that is wrong."""
    if not answer.credential:
        return None
    credential = credential_of(answer)
    if credential.kind == SIGNED:
        verify(answer, server.key)
        return credential.kind, credential.algorithm, credential.counter
    assert heard.session_key is not None
    return credential.kind, credential.algorithm, verify_mac(answer, heard.session_key)


def _digest(heard: Heard, answer: Message, _: Server) -> object:
    """The algorithm, and which message the digest is of."""
    if heard.request is None:
        return None
    digest, _rest = split_digest(answer)
    if digest is None:
        return None
    known = {"this request": heard.request, "the challenged request": heard.challenged}
    of = [name for name, message in known.items() if message is not None and matches_digest(message, digest)]
    return digest.algorithm, of


def _body(heard: Heard, answer: Message, _: Server) -> object:
    body = split_digest(answer)[1]
    code = answer.header.response_code
    if code == ResponseCode.AUTHENTICATION_NEEDED:
        return len(ChallengeResponse.decode(body).nonce)
    if code in REFERRALS:
        referral = ReferralBody.decode(body)
        return referral.handle, _untimed(referral.values or ValueList.of([]))
    if code != ResponseCode.SUCCESS:
        ErrorBody.decode(body)
        return "an error in words, or without"
    return _success(answer, body, heard)


def _success(answer: Message, body: bytes, heard: Heard) -> object:
    match answer.header.op_code:
        case OpCode.RESOLUTION:
            response = ResolutionResponse.decode(body)
            values = _untimed(response.values)
            if response.handle.octets == STATUS_HANDLE:
                values = [replace(value, data=b"") for value in values]
            return response.handle.octets, values
        case OpCode.GET_SITE_INFO:
            return _shape(Site.decode(body))
        case OpCode.CREATE_HANDLE:
            name = CreateResponse.decode(body).handle
            asked = heard.challenged or heard.request
            minted = asked is not None and asked.has(OpFlag.MINT)
            return name and (name.octets[:-UUID_OCTETS] if minted else name.octets)
        case OpCode.LIST_HANDLES | OpCode.LIST_HOMED_PREFIXES:
            return HandleListResponse.decode(body).names
        case OpCode.VERIFY_CHALLENGE:
            return VerifyResponse.decode(body).valid
        case OpCode.SESSION_SETUP:
            return _agreed(SessionSetupResponse.decode(body))
        case _:
            return body


def _agreed(response: SessionSetupResponse) -> object:
    if response.mode != SessionMode.DIFFIE_HELLMAN:
        return response.mode
    group, _ = decode_public(response.data[4:])
    return response.mode, response.data[:4], group, response.stray


def _untimed(values: ValueList) -> list[HandleValue]:
    return [replace(value, timestamp=0) for value in values]


def _shape(site: Site) -> object:
    """What a site record says, without addresses, keys and ports."""
    interfaces = {
        (interface.protocol, interface.admin, interface.query)
        for server in site.servers
        for interface in server.interfaces
    }
    algorithms = [PublicKey.decode(server.public_key).algorithm for server in site.servers]
    return (
        (site.format_version, site.protocol_major, site.protocol_minor),
        (site.primary, site.multi_primary, site.hash_option, site.hash_filter),
        [server.server_id for server in site.servers],
        sorted(interfaces),
        algorithms,
    )
