"""What a client says of a session, in an Authorization header or as JSON, and the proof in it (PROTOCOL §8.3).

A proof answers a challenge as on the wire, with the client's nonce in the place of the request digest, and with the
parts of the answer as parameters of their own. It is put together here as the wire has it.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from protocol.admin_bodies import ChallengeAnswerRequest
from protocol.challenge import SecretCode
from protocol.errors import HandleError, InvalidHandle
from protocol.handle import Handle
from protocol.signature import MAX_SIGNATURE_OCTETS, SHA1, SHA256
from protocol.transport.http_target import BadTarget, percent_decode
from protocol.value import MAX_INDEX, ValueReference
from protocol.wire import Writer
from registry.outcomes import Identity

SESSION_ID_CHARACTERS_MAX: Final = 128  # ours have 43
CNONCE_OCTETS_MAX: Final = 64  # clients send 16; we sign it, so it is no room for a text of somebody's choice
SALT_OCTETS_MAX: Final = 64  # clients send 16
U32_MAX: Final = 0xFFFF_FFFF

_CODES: Final = {
    "MD5": SecretCode.MD5,
    "SHA1": SecretCode.SHA1,
    "SHA256": SecretCode.SHA256,
    "HMACSHA1": SecretCode.HMAC_SHA1,
    "HMACSHA256": SecretCode.HMAC_SHA256,
    "PBKDF2HMACSHA1": SecretCode.PBKDF2_HMAC_SHA1,
    "PBKDF2WITHHMACSHA1": SecretCode.PBKDF2_HMAC_SHA1,
}
"""The code octet of an answer with a secret key, by the name of its algorithm without hyphens (PROTOCOL §5.2)."""
_HASHES: Final = {"SHA1": SHA1, "SHA256": SHA256}
_IDENTITY: Final = re.compile(rb"([0-9]{1,10}):(.+)", re.DOTALL)
_DECIMAL: Final = re.compile(r"[0-9]{1,10}")
_TRUE: Final = ("true", "yes")


class CredentialsUnreadable(HandleError):
    """Credentials that name nobody; the message repeats nothing of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClaim:
    """A session that a client refers to, and what it says about it."""

    session_id: str = field(repr=False)
    """Empty when it names none."""
    cnonce: bytes
    """What the client has added to the challenge, and wants signed when there is no proof; may be empty."""
    proof: ChallengeAnswerRequest | None
    wants_certificate: bool
    """Whether it asks to be known by its TLS certificate."""


def read_session_claim(members: Mapping[str, object], *, is_header: bool) -> SessionClaim:
    """Read the parameters of the Handle scheme, or the members of a JSON object of the same names.

    is_header: in a header the identity is percent-encoded. Raises CredentialsUnreadable.
    """
    session_id = _text(members, "sessionId")
    if len(session_id) > SESSION_ID_CHARACTERS_MAX:
        raise CredentialsUnreadable("The sessionId is none of ours.")
    cnonce = _octets(members, "cnonce", CNONCE_OCTETS_MAX)
    is_proof = "signature" in members
    if is_proof and not (session_id and cnonce):
        raise CredentialsUnreadable("A signature needs the sessionId that it belongs to, and a cnonce.")
    return SessionClaim(
        session_id=session_id,
        cnonce=cnonce,
        proof=_proof(members, is_header=is_header) if is_proof else None,
        wants_certificate=str(members.get("clientCert", "")).lower() in _TRUE,
    )


def parse_identity(octets: bytes) -> Identity:
    """An identity from `index:handle`; index 0 stands for any key of the handle. Raises InvalidHandle."""
    match = _IDENTITY.fullmatch(octets)
    if match is None or int(match[1]) > MAX_INDEX:
        raise InvalidHandle("an identity is index:handle, such as 300:88.100/ADMIN")
    return Identity(index=int(match[1]), handle=Handle.parse(match[2]))


def secret_key_answer(members: Mapping[str, object]) -> bytes:
    """The answer with a secret key of members `alg`, `signature`, and `salt`, `iterations`, `length` for PBKDF2.

    Raises CredentialsUnreadable.
    """
    code = _CODES.get(_algorithm(members))
    if code is None:
        raise CredentialsUnreadable("The alg is none that a secret key is used with.")
    signature = _octets(members, "signature", MAX_SIGNATURE_OCTETS)
    writer = Writer().u8(code)
    if code is not SecretCode.PBKDF2_HMAC_SHA1:
        return writer.raw(signature).octets()
    writer.counted(_octets(members, "salt", SALT_OCTETS_MAX))
    writer.u32(_number(members, "iterations")).u32(_number(members, "length"))
    return writer.counted(signature).octets()


def _proof(members: Mapping[str, object], *, is_header: bool) -> ChallengeAnswerRequest:
    """The same as a challenge answer on the wire."""
    claimed = _identity(_text(members, "id"), is_header=is_header)
    key = ValueReference(claimed.handle.octets, claimed.index)
    kind = _text(members, "type").upper()
    read = {"HS_SECKEY": secret_key_answer, "HS_PUBKEY": _public_key_answer}.get(kind)
    if read is None:
        raise CredentialsUnreadable("The type must be HS_SECKEY or HS_PUBKEY.")
    return ChallengeAnswerRequest(kind=kind, key=key, answer=read(members))


def _public_key_answer(members: Mapping[str, object]) -> bytes:
    name = _HASHES.get(_algorithm(members))
    if name is None:
        raise CredentialsUnreadable("The alg is none that a public key is used with.")
    return (
        Writer().counted(name.encode()).counted(_octets(members, "signature", MAX_SIGNATURE_OCTETS)).octets()
    )


def _algorithm(members: Mapping[str, object]) -> str:
    return _text(members, "alg").upper().replace("-", "")


def _identity(text: str, *, is_header: bool) -> Identity:
    try:
        octets = percent_decode(text) if is_header else text.encode()
        return parse_identity(octets)
    except (BadTarget, InvalidHandle, UnicodeEncodeError):
        raise CredentialsUnreadable("The id must be index:handle, such as 300:88.100/ADMIN.") from None


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name, "")
    if not isinstance(value, str):
        raise CredentialsUnreadable(f"The {name} must be a text.")
    return value


def _octets(members: Mapping[str, object], name: str, octets_max: int) -> bytes:
    text = _text(members, name)
    try:
        octets = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CredentialsUnreadable(f"The {name} is not valid base64.") from None
    if len(octets) > octets_max:
        raise CredentialsUnreadable(f"The {name} has more than {octets_max} octets.")
    return octets


def _number(members: Mapping[str, object], name: str) -> int:
    value = members.get(name)
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= U32_MAX:
        raise CredentialsUnreadable(f"The {name} must be a number.")
    return value
