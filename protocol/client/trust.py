"""Trust: is an answer of a certified walk signed by the server key that the level above certifies? Pure.

The walk begins with the root service of the bundle, whose sites name their keys. Every exchange asks for a signature
(CERT) and the digest of the request (RRDG); what an answer says of the next level, keys included, counts only once its
own signature was found good. So nothing is believed that does not go back to the bundle, but what comes from the
levels that the operator excepts. Source: PROTOCOL.md §3.3, §3.8, pitfall 29 of §10.
"""

from collections.abc import Container
from typing import Final

from protocol.client.resolution import Ask
from protocol.client.selection import Target
from protocol.codes import OpFlag
from protocol.credential import credential_of, verify
from protocol.errors import BadSignature, InvalidValue, NotCertified, WireError
from protocol.message import Message, Version
from protocol.valuetypes import PublicKey
from protocol.valuetypes.hs_pubkey import DSA

CERTIFIED_FLAGS: Final = OpFlag.CERT | OpFlag.RRDG
"""What every request of a certified walk asks for: a signature alone does not tie an answer to its request."""
STRONG: Final = frozenset(
    {"SHA-256", "SHA256"}
)  # no other hash is due with these versions, but to DSA before 2.11
OLDEST_VERSION: Final[Version] = (2, 7)  # below, signatures are over SHA-1 and leave out the request id


def check_certified(ask: Ask, target: Target, response: Message, unsigned: Container[bytes]) -> None:
    """Raises NotCertified, with what to do, unless the server that was asked signed the response with its key.

    unsigned: keys of the prefixes whose services need not sign; a signature that can be checked must be good even so.
    """
    public_key = target.site.responsible_server(ask.handle).public_key
    excepted = ask.level.key in unsigned
    if excepted and not (public_key and response.credential):
        return
    if not public_key:
        raise _no_key(ask)
    if not response.credential:
        raise _stripped(ask)
    if response.envelope.version < OLDEST_VERSION:
        raise _too_old(ask, response.envelope.version)
    try:
        key = PublicKey.decode(public_key)
        verify(response, key)
        if key.algorithm != DSA and credential_of(response).algorithm not in STRONG:
            raise BadSignature("made over SHA-1")
    except (BadSignature, WireError, InvalidValue) as error:
        raise _forged(ask, error) from None


def _no_key(ask: Ask) -> NotCertified:
    return NotCertified(
        f"{ask.service.name} names no server key, so that nothing signed by it could be believed",
        remedy=f"{_publish(ask)}, or except {ask.level} in unsigned_prefixes",
    )


def _stripped(ask: Ask) -> NotCertified:
    return NotCertified(
        "its answer is not signed, or somebody on the way took the signature away",
        remedy=f"let that node sign its answers, or except {ask.level} in unsigned_prefixes",
    )


def _too_old(ask: Ask, version: Version) -> NotCertified:
    return NotCertified(
        f"its answer is written in version {version[0]}.{version[1]}, whose signatures prove too little",
        remedy=f"update that node, or except {ask.level} in unsigned_prefixes and have it answer unsigned",
    )


def _forged(ask: Ask, error: Exception) -> NotCertified:
    return NotCertified(
        f"its answer is not signed by the key that {ask.service.name} certifies ({error})",
        remedy=f"if the key of that node has changed, {_publish(ask)}; else look for who is in between",
    )


def _publish(ask: Ask) -> str:
    if ask.service.name.startswith("the "):
        return "take a new root bundle from who runs the root"
    return f"have the site record of that node, which tells its key, published in {ask.service.name}"
