"""The Authorization header: who says to be whom, by the Basic and the Handle scheme (PROTOCOL §8.3).

Basic: the user name is `index:handle`, the password the secret of that HS_SECKEY value.
Handle: a session by its id, and perhaps the proof that opens it. Whether a secret or a proof is right is decided by
the registry's operations, not here.
"""

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import HandleError
from protocol.handle import Handle
from protocol.transport.http_target import BadTarget, percent_decode
from registry.rest.proof import (
    CredentialsUnreadable,
    SessionClaim,
    parse_identity,
    read_session_claim,
)

MAX_CREDENTIAL_OCTETS: Final = 16_384  # a name of 2048 octets, percent-encoded, a secret, and base64 of both
PARAMETERS_MAX: Final = 16  # of the Handle scheme, which knows eleven

USER_NAME_FORM: Final = "The user name must be index%3Ahandle, such as 300%3A88.100%2FADMIN."

_PARAMETER: Final = re.compile(r'[ \t,]*([A-Za-z]{1,20})=(?:"([^"\\]*)"|([^ \t,"\\]+))[ \t]*(?=,|\Z)')
_END: Final = re.compile(r"[ \t,]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An identity that somebody claims, with the secret that shall prove it."""

    index: int
    """Index of the HS_SECKEY value; 0 stands for any."""
    handle: Handle
    secret: bytes = field(repr=False)


def parse_authorization(header: str) -> Credentials | SessionClaim:
    """Read the value of an Authorization header.

    Accepted by Basic are `index%3Ahandle:secret` (percent-encoded to any extent) and, as some clients send it,
    `index:handle:secret`, which is cut at the last colon: a first part of digits alone cannot be a whole user name.
    Raises CredentialsUnreadable.
    """
    if len(header) > MAX_CREDENTIAL_OCTETS:
        raise CredentialsUnreadable(f"The Authorization header has more than {MAX_CREDENTIAL_OCTETS} octets.")
    scheme, _, rest = header.strip().partition(" ")
    match scheme.lower():
        case "basic":
            return _basic(rest.strip())
        case "handle":
            return read_session_claim(_parameters(rest), is_header=True)
        case _:
            raise CredentialsUnreadable("Only the Basic and the Handle scheme are understood.")


def _basic(encoded: str) -> Credentials:
    user, secret = _split(_decode(encoded))
    try:
        identity = parse_identity(user)
    except HandleError:
        raise CredentialsUnreadable(USER_NAME_FORM) from None
    return Credentials(index=identity.index, handle=identity.handle, secret=secret)


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


def _parameters(text: str) -> dict[str, object]:
    """`name="value"` and `name=value`, separated by commas. Raises CredentialsUnreadable."""
    found: dict[str, object] = {}
    position = 0
    while not _END.match(text, position):
        match = _PARAMETER.match(text, position)
        if match is None or match[1] in found or len(found) == PARAMETERS_MAX:
            raise CredentialsUnreadable("The parameters of the Handle scheme cannot be read.")
        found[match[1]] = match[3] if match[2] is None else match[2]
        position = match.end()
    return found
