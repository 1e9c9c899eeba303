"""Signed messages between nodes: HTTP message signatures with the key of the node's site record.

Pure. A request is bound to its method, target, body and recipient, to a time, and to a nonce that counts once; a
response is bound to the request that it answers. What proves a peer is the signature, whatever carried it.

Source: RFC 9421 (a fixed subset of it), RFC 9530 for the digest of the body.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from protocol.errors import HandleError
from registry.peers.node_key import KEY_ID_CHARACTERS, KeyUnusable, NodeKey, is_signed
from registry.peers.structured_fields import (
    Bare,
    Component,
    FieldUnreadable,
    InnerList,
    format_octets,
    format_string,
    parse_lists,
    parse_octets,
)

LABEL: Final = "node"
"""The name of our signature among those that a message may carry."""
TAG: Final = "handlegrid-node"
ALGORITHM: Final = "rsa-v1_5-sha256"
DIGEST: Final = "sha-256"
RECIPIENT_HEADER: Final = "Node-To"
"""Names the key id of the node that a request is for, so that nobody can pass it on to another one."""
SKEW_MAX_S: Final = 300
"""How far two clocks may differ; more, and one of them is wrong."""
LIFE_S: Final = 300
"""How long a signature is valid by the signer's clock; as long as a nonce must be remembered, with the skew."""
NONCE: Final = re.compile(r"[A-Za-z0-9_\-]{16,64}")
_KEY_ID: Final = re.compile(rf"[0-9a-f]{{{KEY_ID_CHARACTERS}}}")
_RESPONSE_REQUEST: Final[Mapping[str, Bare]] = {"req": True, "key": LABEL}
REQUEST_COMPONENTS: Final = tuple(
    Component(name, {}) for name in ("@method", "@path", "@query", "content-digest", RECIPIENT_HEADER.lower())
)
RESPONSE_COMPONENTS: Final = (
    Component("@status", {}),
    Component("content-digest", {}),
    Component("signature", _RESPONSE_REQUEST),
)


class SignatureRefused(HandleError):
    """A message that does not prove who sent it; the text says why and may be sent back."""


class ClocksDiffer(SignatureRefused):
    """The signature would be fine at another time; the text names both clocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """What a signature of a request covers, as it was sent or received."""

    method: str
    target: str
    """The raw request target: path and, behind a question mark, the query."""
    headers: Mapping[str, str]
    """By any spelling of their names."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A well-formed signature whose key is not looked at yet."""

    key_id: str
    nonce: str
    created_s: int
    expires_s: int
    base: bytes
    """What was signed."""
    signature: bytes


def content_digest(body: bytes) -> str:
    """The Content-Digest field of a body. Source: RFC 9530 §2."""
    return f"{DIGEST}={format_octets(hashlib.sha256(body).digest())}"


def sign_request(
    key: NodeKey, *, method: str, target: str, body: bytes, recipient: str, now_s: int, nonce: str
) -> dict[str, str]:
    """The headers that prove a request.

    target: as it will stand in the request line. recipient: key id of the node that it is for. now_s: Unix seconds.
    nonce: text that this key has never used before, 16 to 64 letters, digits, hyphens and underscores.
    """
    headers = {"Content-Digest": content_digest(body), RECIPIENT_HEADER: recipient}
    request = SignedRequest(method=method, target=target, headers=headers, body=body)
    parameters = _parameters(key, now_s) | {"nonce": nonce}
    signed = InnerList(REQUEST_COMPONENTS, _ordered(parameters))
    return headers | _signed(key, signed, _request_lines(request))


def sign_response(
    key: NodeKey, *, status: int, body: bytes, request_signature: bytes, now_s: int
) -> dict[str, str]:
    """The headers that prove a response to a request whose signature was this. now_s: Unix seconds."""
    headers = {"Content-Digest": content_digest(body)}
    signed = InnerList(RESPONSE_COMPONENTS, _ordered(_parameters(key, now_s)))
    return headers | _signed(
        key, signed, _response_lines(status, headers["Content-Digest"], request_signature)
    )


def read_claim(request: SignedRequest, *, recipient: str, now_s: float) -> Claim:
    """The signature of a request that came in, with everything checked that takes no key.

    recipient: our own key id. Raises SignatureRefused: no signature of ours, other components than we ask for, another
    recipient, a body that is not the one that was signed; ClocksDiffer.
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    signed, signature = _read_fields(headers, REQUEST_COMPONENTS)
    if headers.get(RECIPIENT_HEADER.lower()) != recipient:
        raise SignatureRefused(
            f"{RECIPIENT_HEADER} names another node; the key id of this one is {recipient}"
        )
    _check_digest(headers, request.body)
    nonce = signed.parameters.get("nonce")
    if not isinstance(nonce, str) or NONCE.fullmatch(nonce) is None:
        raise SignatureRefused(
            "the signature lacks a nonce of 16 to 64 letters, digits, hyphens and underscores"
        )
    lowered = SignedRequest(method=request.method, target=request.target, headers=headers, body=request.body)
    return _claim(signed, signature, _request_lines(lowered), nonce, now_s)


def read_response_claim(
    *, status: int, headers: Mapping[str, str], body: bytes, request_signature: bytes, now_s: float
) -> Claim:
    """The signature of a response to our request with this signature. Raises as read_claim does."""
    lowered = {name.lower(): value for name, value in headers.items()}
    signed, signature = _read_fields(lowered, RESPONSE_COMPONENTS)
    _check_digest(lowered, body)
    lines = _response_lines(status, lowered["content-digest"], request_signature)
    return _claim(signed, signature, lines, "", now_s)


def check_key(claim: Claim, public_key: bytes) -> None:
    """Raises SignatureRefused unless the claim was signed with this key."""
    try:
        if is_signed(public_key, claim.signature, claim.base):
            return
    except KeyUnusable as error:
        raise SignatureRefused(str(error)) from None
    raise SignatureRefused(
        f"the signature was not made with the key {claim.key_id}, or the message was changed"
    )


def signature_of(headers: Mapping[str, str]) -> bytes:
    """The octets of our signature in the headers of a message. Raises SignatureRefused."""
    for name, value in headers.items():
        if name.lower() == "signature":
            try:
                return parse_octets(value)[LABEL]
            except (FieldUnreadable, KeyError):
                break
    raise SignatureRefused(f"the message carries no Signature with the label {LABEL!r}")


def _parameters(key: NodeKey, now_s: int) -> dict[str, Bare]:
    return {
        "created": now_s,
        "expires": now_s + LIFE_S,
        "keyid": key.id,
        "alg": ALGORITHM,
        "tag": TAG,
    }


def _ordered(parameters: Mapping[str, Bare]) -> dict[str, Bare]:
    order = ("created", "expires", "nonce", "keyid", "alg", "tag")
    return {name: parameters[name] for name in order if name in parameters}


def _signed(key: NodeKey, signed: InnerList, lines: list[str]) -> dict[str, str]:
    signature = key.sign(_base(signed, lines))
    return {
        "Signature-Input": f"{LABEL}={signed}",
        "Signature": f"{LABEL}={format_octets(signature)}",
    }


def _base(signed: InnerList, lines: list[str]) -> bytes:
    """The octets that are signed. Source: RFC 9421 §2.5."""
    named = [f"{component}: {line}" for component, line in zip(signed.components, lines, strict=True)]
    return "\n".join([*named, f'"@signature-params": {signed}']).encode("utf-8", "surrogateescape")


def _request_lines(request: SignedRequest) -> list[str]:
    path, _, query = request.target.partition("?")
    headers = {name.lower(): value for name, value in request.headers.items()}
    return [
        request.method,
        path,
        f"?{query}",
        headers["content-digest"].strip(" "),
        headers[RECIPIENT_HEADER.lower()].strip(" "),
    ]


def _response_lines(status: int, digest: str, request_signature: bytes) -> list[str]:
    return [str(status), digest.strip(" "), format_octets(request_signature)]


def _read_fields(headers: Mapping[str, str], components: tuple[Component, ...]) -> tuple[InnerList, bytes]:
    try:
        signed = parse_lists(headers.get("signature-input", "")).get(LABEL)
        signature = parse_octets(headers.get("signature", "")).get(LABEL)
    except FieldUnreadable as error:
        raise SignatureRefused(f"Signature-Input or Signature {error}") from None
    if signed is None or signature is None:
        raise SignatureRefused(f"Signature-Input and Signature need a member with the label {LABEL!r}")
    if signed.components != components:
        wanted = " ".join(map(str, components))
        raise SignatureRefused(f"the signature must cover exactly, in this order: {wanted}")
    return signed, signature


def _check_digest(headers: Mapping[str, str], body: bytes) -> None:
    try:
        digests = parse_octets(headers.get("content-digest", ""))
    except FieldUnreadable as error:
        raise SignatureRefused(f"Content-Digest {error}") from None
    if digests.get(DIGEST) != hashlib.sha256(body).digest():
        raise SignatureRefused(f"Content-Digest lacks a {DIGEST} that is that of the body")


def _claim(signed: InnerList, signature: bytes, lines: list[str], nonce: str, now_s: float) -> Claim:
    parameters = signed.parameters
    if parameters.get("tag") != TAG or parameters.get("alg") != ALGORITHM:
        wanted = f"tag={format_string(TAG)} and alg={format_string(ALGORITHM)}"
        raise SignatureRefused(f"the signature must have {wanted}")
    key_id, created_s, expires_s = (parameters.get(name) for name in ("keyid", "created", "expires"))
    if not isinstance(key_id, str) or _KEY_ID.fullmatch(key_id) is None:
        raise SignatureRefused("keyid must be the SHA-256 of the node's public key, in hexadecimal")
    if not _is_time(created_s) or not _is_time(expires_s):
        raise SignatureRefused("created and expires must be Unix seconds")
    assert isinstance(created_s, int)
    assert isinstance(expires_s, int)
    if any("\n" in line for line in lines):
        raise SignatureRefused("what is signed must hold no line ends")
    _check_time(created_s, expires_s, now_s)
    return Claim(
        key_id=key_id,
        nonce=nonce,
        created_s=created_s,
        expires_s=expires_s,
        base=_base(signed, lines),
        signature=signature,
    )


def _is_time(value: Bare | None) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 33


def _check_time(created_s: int, expires_s: int, now_s: float) -> None:
    if not 0 < expires_s - created_s <= LIFE_S:
        raise SignatureRefused(f"a signature is valid for 1 to {LIFE_S} seconds")
    if created_s - SKEW_MAX_S <= now_s <= expires_s + SKEW_MAX_S:
        return
    raise ClocksDiffer(
        f"the message was signed at {_spell(created_s)} by the sender's clock, and by the clock here it is "
        f"{_spell(now_s)}; more than {SKEW_MAX_S} seconds lie between: set the clock that is wrong"
    )


def _spell(wall_s: float) -> str:
    return datetime.fromtimestamp(int(wall_s), UTC).isoformat().replace("+00:00", "Z")
