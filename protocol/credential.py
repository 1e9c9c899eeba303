"""The credential behind a body: a signature by a key, or a MAC by a session, of one message.

What is covered depends on the version of the message (PROTOCOL.md §3.3, §12): from 2.7 on the version, the session and
request id and the counter stand in front of header and body, from 2.8 on the suggested version too.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass, replace
from typing import Final

from protocol.errors import BadMac, BadSignature, Unsigned
from protocol.message import Message, Version
from protocol.signature import (
    MAX_NAME_OCTETS,
    MAX_SIGNATURE_OCTETS,
    PrivateKey,
    check_signature,
    hash_name,
    sign_octets,
)
from protocol.valuetypes.hs_pubkey import PublicKey
from protocol.wire import MAX_HANDLE_OCTETS, Reader, Writer, encode_text, text

SIGNED: Final = "HS_SIGNED"
MAC: Final = "HS_MAC"
OLD_SIGNED: Final = "HS_DSAPUBKEY"  # what servers called a signature of theirs before; read, never written
HMAC_SHA256: Final = "HMAC-SHA256"
HMAC_SHA1: Final = "HMAC-SHA1"

_COUNTED_SINCE: Final[Version] = (2, 7)
_SUGGESTION_SINCE: Final[Version] = (2, 8)
_DEFECTIVE: Final[Version] = (2, 6)
_NO_MAC: Final = frozenset({(2, 5), (2, 6)})
_SHA1_OCTET: Final = "\x02"
_PREFIX_2_8: Final = struct.Struct(">BBBBIII")
_PREFIX_2_7: Final = struct.Struct(">BBIII")
_HMACS: Final = {HMAC_SHA256: hashlib.sha256, HMAC_SHA1: hashlib.sha1}
_SHA1: Final = hashlib.sha1
_SANDWICHES: Final = frozenset({"SHA1", "SHA-1", _SHA1_OCTET})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A signature or MAC, and what it is; the octets that it covers are the message's."""

    kind: str
    """HS_SIGNED or HS_MAC."""
    algorithm: str
    """The name of a hash or HMAC; one octet in messages of old sessions."""
    signature: bytes
    counter: int = 0
    """Of the messages of a session, from 1; 0 outside sessions."""
    version: int = 0
    reserved: int = 0
    options: int = 0
    signer: bytes = b""

    def encode(self) -> bytes:
        """The octets behind the credential's length word. Source: PROTOCOL.md §3.3, vectors V27 and V28."""
        section = Writer().counted(encode_text(self.algorithm)).counted(self.signature).octets()
        head = Writer().u8(self.version).u8(self.reserved).u16(self.options).counted(self.signer)
        return head.u32(self.counter).counted(encode_text(self.kind)).counted(section).octets()

    @classmethod
    def decode(cls, octets: bytes) -> "Credential":
        """The credential that octets hold. Raises WireError."""
        reader = Reader(octets)
        version, reserved, options = reader.u8(), reader.u8(), reader.u16()
        signer, counter = reader.counted(MAX_HANDLE_OCTETS), reader.u32()
        kind = text(reader.counted(MAX_NAME_OCTETS))
        section = Reader(reader.counted(MAX_NAME_OCTETS + MAX_SIGNATURE_OCTETS + 8))
        reader.expect_end()
        algorithm = text(section.counted(MAX_NAME_OCTETS))
        signature = section.counted(MAX_SIGNATURE_OCTETS)
        section.expect_end()
        return cls(
            kind=kind,
            algorithm=algorithm,
            signature=signature,
            counter=counter,
            version=version,
            reserved=reserved,
            options=options,
            signer=signer,
        )


def _version(message: Message) -> Version:
    version = message.envelope.version
    return (2, 0) if version[0] == 5 else version  # an ancient mistake (PROTOCOL.md §3.4)


def credential_of(message: Message) -> Credential:
    """The credential of a message. Raises Unsigned when it has none, WireError for octets that are none."""
    if not message.credential:
        raise Unsigned("a message without a credential, where one is needed")
    return Credential.decode(message.credential)


def signed_octets(message: Message, counter: int) -> bytes:
    """The octets that a signature or MAC of this message covers, by the version that it is written in."""
    envelope = message.envelope
    version = (
        (2, 0) if envelope.version[0] == 5 else envelope.version
    )  # an ancient mistake (PROTOCOL.md §3.4)
    prefix = b""
    if version >= _SUGGESTION_SINCE:
        prefix = _PREFIX_2_8.pack(
            *version, *envelope.suggested, envelope.session_id, envelope.request_id, counter
        )
    elif version >= _COUNTED_SINCE:
        prefix = _PREFIX_2_7.pack(*version, envelope.session_id, envelope.request_id, counter)
    elif version == _DEFECTIVE:  # the numbers overwrite each other, and all deployed peers agree on that
        prefix = bytes(version) + struct.pack(">I", envelope.session_id)[:2] + struct.pack(">I6x", counter)
    return prefix + message.header_and_body


def sign(message: Message, key: PrivateKey, counter: int = 0) -> Message:
    """The message with a signature; its ids and flags are covered, so they must be the last ones."""
    name = hash_name(key, message.envelope.version)
    signature = sign_octets(signed_octets(message, counter), key, name)
    credential = Credential(kind=SIGNED, algorithm=name, signature=signature, counter=counter)
    return replace(message, credential=credential.encode())


def verify(message: Message, key: PublicKey) -> None:
    """Raises BadSignature unless the message is signed with this key; Unsigned, WireError.

    Constant work for a key of a given size: numbers too large to compute with are refused first.
    """
    credential = credential_of(message)
    if credential.kind not in (SIGNED, OLD_SIGNED):
        raise BadSignature(f"a credential of kind {credential.kind[:16]!r} where a signature is needed")
    octets = signed_octets(message, credential.counter)
    check_signature(credential.signature, octets, key, credential.algorithm)


def mac(message: Message, session_key: bytes, counter: int) -> Message:
    """The message with the MAC of a session. counter: from 1, each once. Raises BadMac where there is no form for it.

    session_key: all of its octets. Source: PROTOCOL.md §3.3, vector V27.
    """
    name = HMAC_SHA256 if _version(message) >= _COUNTED_SINCE else _SHA1_OCTET
    code = _mac(message, session_key, counter, name)
    credential = Credential(kind=MAC, algorithm=name, signature=code, counter=counter)
    return replace(message, credential=credential.encode())


def verify_mac(message: Message, session_key: bytes) -> int:
    """The counter of a message of a session, whose MAC is right. Raises BadMac, Unsigned, WireError.

    Whether the counter was used before is for a CounterWindow to say. Compares in constant time.
    """
    credential = credential_of(message)
    if credential.kind != MAC:
        raise Unsigned(f"a credential of kind {credential.kind[:16]!r} where a MAC is needed")
    expected = _mac(message, session_key, credential.counter, credential.algorithm)
    if not hmac.compare_digest(expected, credential.signature):
        raise BadMac("the MAC was not made with the key of this session, or not over this message")
    return credential.counter


def _mac(message: Message, key: bytes, counter: int, name: str) -> bytes:
    version = _version(message)
    if version in _NO_MAC:
        raise BadMac("versions 2.5 and 2.6 have no MAC that covers what it should")
    octets = signed_octets(message, counter)
    if name in _HMACS:
        return hmac.digest(key, octets, _HMACS[name])
    if name in _SANDWICHES and version < _COUNTED_SINCE:
        return _SHA1(key + octets + key).digest()
    raise BadMac(
        f"a MAC of the algorithm {name[:16]!r}, which version {version[0]}.{version[1]} does not have"
    )
