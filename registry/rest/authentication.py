"""Basic authentication over HTTP: who says to be whom.

The user name is `index:handle`, the password the secret of that HS_SECKEY value (PROTOCOL §8.3).
Whether the secret is right is decided by the registry's operations, not here.
"""

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import HandleError
from protocol.handle import Handle
from protocol.transport.http_target import BadTarget, percent_decode
from protocol.value import MAX_INDEX

MAX_CREDENTIAL_OCTETS: Final = 16_384  # a name of 2048 octets, percent-encoded, a secret, and base64 of both

USER_NAME_FORM: Final = "The user name must be index%3Ahandle, such as 300%3A88.100%2FADMIN."

_USER: Final = re.compile(rb"([0-9]{1,10}):(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An identity that somebody claims, with the secret that shall prove it."""

    index: int
    """Index of the HS_SECKEY value; 0 stands for any."""
    handle: Handle
    secret: bytes = field(repr=False)


class CredentialsUnreadable(HandleError):
    """An Authorization header that names nobody; the message repeats nothing of it."""


def parse_authorization(header: str) -> Credentials:
    """Read the value of an Authorization header.

    Accepted are `index%3Ahandle:secret` (percent-encoded to any extent) and, as some clients send it,
    `index:handle:secret`, which is cut at the last colon: a first part of digits alone cannot be a whole user name.
    Raises CredentialsUnreadable.
    """
    if len(header) > MAX_CREDENTIAL_OCTETS:
        raise CredentialsUnreadable(f"The Authorization header has more than {MAX_CREDENTIAL_OCTETS} octets.")
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        raise CredentialsUnreadable("Only the Basic scheme is understood.")
    user, secret = _split(_decode(encoded.strip()))
    match = _USER.fullmatch(user)
    if match is None or int(match[1]) > MAX_INDEX:
        raise CredentialsUnreadable(USER_NAME_FORM)
    return Credentials(index=int(match[1]), handle=_parse_handle(match[2]), secret=secret)


def _decode(encoded: str) -> bytes:
    try:
        return b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise CredentialsUnreadable("The credentials are not valid base64.") from None


def _split(octets: bytes) -> tuple[bytes, bytes]:
    left, colon, right = octets.partition(b":")
    if left.isdigit():
        left, colon, right = octets.rpartition(b":")
    if not colon:
        raise CredentialsUnreadable("The credentials hold no colon between user name and password.")
    try:
        return percent_decode(left.decode("utf-8", "surrogateescape")), right
    except BadTarget:
        raise CredentialsUnreadable("The user name is not percent-encoded correctly.") from None


def _parse_handle(octets: bytes) -> Handle:
    try:
        return Handle.parse(octets)
    except HandleError:
        raise CredentialsUnreadable("The user name holds no handle.") from None
