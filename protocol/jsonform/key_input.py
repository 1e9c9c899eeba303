"""From JSON objects to public-key blobs, and from base64 to octets."""

import base64
import binascii

from protocol.errors import InvalidValue
from protocol.jsonform.checks import a_string, an_object
from protocol.jsonform.output import JWK_ALGORITHMS, JWK_NUMBERS
from protocol.valuetypes.hs_pubkey import PublicKey


def octets_from_base64(form: object) -> bytes:
    """The octets of a base64 string. Raises InvalidValue."""
    try:
        return base64.b64decode(a_string(form, "data.value"), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue("data.value: is no base64") from None


def key_from_json(form: object) -> bytes:
    """The blob of a JSON web key, RSA or DSA. Raises InvalidValue."""
    members = an_object(form, "data.value")
    kind = a_string(members.get("kty"), "data.value.kty")
    if kind not in JWK_NUMBERS:
        raise InvalidValue(f"data.value.kty: {kind[:20]!r} is neither RSA nor DSA")
    numbers = tuple(_jwk_number(members.get(name), name) for name in JWK_NUMBERS[kind])
    return PublicKey(JWK_ALGORITHMS[kind], numbers).encode()


def _jwk_number(form: object, name: str) -> int:
    octets = a_string(form, f"data.value.{name}").encode("ascii", "replace")
    try:
        return int.from_bytes(base64.b64decode(octets + b"==", altchars=b"-_"), "big")
    except (binascii.Error, ValueError):
        raise InvalidValue(f"data.value.{name}: is no base64url") from None
