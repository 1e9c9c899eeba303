"""Challenges and their answers: what is signed, by a secret key or a private key, and how an answer is checked.

The sender proves a key by signing the nonce and the digest of its own request. Source: PROTOCOL.md §4.9, §5.2.
"""

import hashlib
import hmac
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from protocol.admin_bodies import ChallengeResponse
from protocol.codes import OpFlag, ResponseCode
from protocol.errors import BadSignature, Malformed, TooLarge
from protocol.message import (
    Digest,
    DigestAlgorithm,
    Envelope,
    Message,
    Version,
    answer_version,
    matches_digest,
    request_digest,
    split_digest,
)
from protocol.signature import (
    HASH_NAMES,
    MAX_NAME_OCTETS,
    MAX_SIGNATURE_OCTETS,
    PrivateKey,
    check_signature,
    hash_name,
    sign_octets,
)
from protocol.valuetypes.hs_pubkey import PublicKey
from protocol.wire import Reader, Writer, encode_text, text

NONCE_OCTETS: Final = 16
SALT_OCTETS: Final = 16
ITERATIONS: Final = 10_000  # as deployed clients; the sender chooses and the server computes
MAX_ITERATIONS: Final = 100_000  # some 50 ms of work for one small message; deployed clients ask for 10000
MAX_SALT_OCTETS: Final = 1_024  # deployed clients send 16
KEY_BITS: Final = 160
MIN_KEY_BITS: Final = 128  # the sender chooses: of a shorter key the MAC could be guessed without the secret
MAX_KEY_BITS: Final = 320  # every 160 bits cost the iterations once more, and count as more of them

_DIGEST_SINCE: Final[Version] = (2, 1)
_PBKDF2_SINCE: Final[Version] = (2, 7)
_MD5_OCTETS: Final = 16


class SecretCode(IntEnum):
    """The octet in front of a secret key's answer: how its MAC is made."""

    MD5 = 0x01
    SHA1 = 0x02
    SHA256 = 0x03
    HMAC_SHA1 = 0x12
    HMAC_SHA256 = 0x13
    PBKDF2_HMAC_SHA1 = 0x22


_DERIVED: Final = bytes((SecretCode.PBKDF2_HMAC_SHA1,))
ACCEPTED_CODES: Final = frozenset(SecretCode) - {SecretCode.MD5}
"""What is accepted unless a setting says otherwise."""

_SANDWICHES: Final = {
    SecretCode.MD5: hashlib.md5,
    SecretCode.SHA1: hashlib.sha1,
    SecretCode.SHA256: hashlib.sha256,
}
_HMACS: Final = {SecretCode.HMAC_SHA1: hashlib.sha1, SecretCode.HMAC_SHA256: hashlib.sha256}


@dataclass(frozen=True, slots=True)
class Challenge:
    """What is to be signed: 16 unpredictable octets, and the digest of the request that they are about."""

    nonce: bytes
    digest: bytes
    """Raw, without the octet of its algorithm."""

    @property
    def octets(self) -> bytes:
        """The octets that an answer signs."""
        return self.nonce + self.digest

    @classmethod
    def to(cls, request: Message, nonce: bytes) -> "Challenge":
        """The challenge with which a server meets this request, with the digest that suits the client's version."""
        return cls(nonce, request_digest(request, answer_version(request.envelope)).octets)


@dataclass(frozen=True, slots=True)
class Derivation:
    """How PBKDF2 makes a key of a secret."""

    salt: bytes
    iterations: int
    key_bits: int

    @property
    def cost(self) -> int:
        """Iterations, once for each part of the key."""
        return self.iterations * -(-self.key_bits // KEY_BITS)


def derive_key(derivation: Derivation, secret: bytes) -> bytes:
    """The key that PBKDF2 makes of a secret; milliseconds, without the interpreter's lock."""
    octets = derivation.key_bits // 8
    return hashlib.pbkdf2_hmac("sha1", secret, derivation.salt, derivation.iterations, octets)


Derive = Callable[[Derivation, bytes], bytes]
"""What derive_key() gives, perhaps from memory."""


def challenge_response(
    request: Message, nonce: bytes, *, session_id: int, authoritative: bool, site_serial: int, wall_s: float
) -> Message:
    """The response that challenges the sender of a request: RC 402, with the digest whether asked for or not.

    session_id: names the challenge, or is that of the session. wall_s: Unix seconds. The answer is to be checked
    against Challenge.to(request, nonce). Source: PROTOCOL.md §4.9, §10.16, vector V17.
    """
    version = answer_version(request.envelope)
    old_digest = b"" if version >= _DIGEST_SINCE else request_digest(request, version).octets
    asked = replace(
        request,
        header=replace(request.header, op_flags=request.header.op_flags | OpFlag.RRDG),
        signed_octets=request.header_and_body,
    )
    response = asked.answer(
        ResponseCode.AUTHENTICATION_NEEDED,
        ChallengeResponse(nonce=nonce, old_digest=old_digest).encode(),
        authoritative=authoritative,
        site_serial=site_serial,
        wall_s=wall_s,
        clear=OpFlag.RRDG if old_digest else 0,
    )
    return replace(response, envelope=replace(response.envelope, session_id=session_id))


def read_challenge(response: Message, request: Message) -> Challenge:
    """The challenge that a server sent to our request.

    Raises BadSignature when it carries the digest of another request, which we would sign unseen; WireError.
    """
    digest, rest = split_digest(response)
    body = ChallengeResponse.decode(rest)
    if digest is None and body.old_digest:
        digest = Digest(algorithm=DigestAlgorithm.MD5, octets=body.old_digest, old=True)
    if digest is None or not matches_digest(request, digest):
        raise BadSignature("the challenge is about another request than ours, so it is not answered")
    return Challenge(body.nonce, digest.octets)


def secret_code(challenge: Envelope) -> SecretCode:
    """The code with which clients answer a challenge in this envelope; a suggestion below 2.7 asks for the old one."""
    spoken = challenge.suggested if challenge.suggested[0] else challenge.version
    modern = min(challenge.version, spoken) >= _PBKDF2_SINCE
    return SecretCode.PBKDF2_HMAC_SHA1 if modern else SecretCode.SHA1


def answer_with_secret(
    challenge: Challenge,
    secret: bytes,
    code: SecretCode = SecretCode.PBKDF2_HMAC_SHA1,
    *,
    salt: bytes = b"",
    iterations: int = ITERATIONS,
    derive: Derive = derive_key,
) -> bytes:
    """The answer of whoever knows the secret. salt: 16 unpredictable octets, for PBKDF2 alone. Vectors V18 and V19."""
    if code is not SecretCode.PBKDF2_HMAC_SHA1:
        return bytes((code,)) + _plain_mac(challenge, secret, code)
    key = derive(Derivation(salt, iterations, KEY_BITS), deployed_octets(secret))
    code_mac = hmac.digest(key, challenge.octets, hashlib.sha1)
    writer = Writer().u8(code).counted(salt).u32(iterations).u32(KEY_BITS)
    return writer.counted(code_mac).octets()


def check_secret_answer(
    challenge: Challenge,
    answer: bytes,
    secret: bytes,
    *,
    accepted: Set[int] = ACCEPTED_CODES,
    iterations_max: int = MAX_ITERATIONS,
    derive: Derive = derive_key,
) -> bool:
    """Whether an answer was made with the secret; False for a code that is not accepted. Compares in constant time.

    PBKDF2 takes milliseconds and leaves the interpreter's lock meanwhile: call it in a thread. Raises WireError for
    octets that are no answer, TooLarge for more iterations or longer keys than are allowed, and what derive raises.
    """
    code = SecretCode.MD5 if len(answer) == _MD5_OCTETS else answer[0] if answer else 0
    if code not in accepted:
        return False
    if code == SecretCode.PBKDF2_HMAC_SHA1:
        return _check_derived(challenge, answer[1:], secret, iterations_max, derive)
    sent = (
        answer if len(answer) == _MD5_OCTETS else answer[1:]
    )  # before version 2.1 without the octet of the code
    return hmac.compare_digest(_plain_mac(challenge, secret, SecretCode(code)), sent)


def _plain_mac(challenge: Challenge, secret: bytes, code: SecretCode) -> bytes:
    if code in _HMACS:
        return hmac.digest(secret, challenge.octets, _HMACS[code])
    return _SANDWICHES[code](secret + challenge.octets + secret).digest()


def iterations_of(answer: bytes) -> int:
    """Iterations that checking an answer with one secret takes, those for a longer key included; 0 without PBKDF2.

    Raises WireError for octets that are no answer.
    """
    return _read_derived(answer[1:])[0].cost if answer[:1] == _DERIVED else 0


def _read_derived(octets: bytes) -> tuple[Derivation, bytes]:
    """How the key was made, and the MAC that was made with it."""
    reader = Reader(octets)
    salt, iterations, key_bits = reader.counted(MAX_SALT_OCTETS), reader.u32(), reader.u32()
    sent = reader.counted(MAX_SIGNATURE_OCTETS)
    reader.expect_end()
    if not iterations or key_bits % 8 or not MIN_KEY_BITS <= key_bits <= MAX_KEY_BITS:
        raise Malformed(f"PBKDF2 with {iterations} iterations for a key of {key_bits} bits")
    return Derivation(salt, iterations, key_bits), sent


def _check_derived(
    challenge: Challenge, octets: bytes, secret: bytes, iterations_max: int, derive: Derive
) -> bool:
    derivation, sent = _read_derived(octets)
    if derivation.cost > iterations_max:
        raise TooLarge(f"PBKDF2 with {derivation.cost} iterations, {iterations_max} allowed")
    deployed = deployed_octets(secret)
    return any(
        hmac.compare_digest(hmac.digest(derive(derivation, octets), challenge.octets, hashlib.sha1), sent)
        for octets in dict.fromkeys((deployed, secret))
    )


def deployed_octets(secret: bytes) -> bytes:
    """The octets that deployed peers put into PBKDF2: each octet of the secret as a Latin-1 letter, and that as UTF-8.

    Source: PROTOCOL.md §5.2, §10.31, vector V37.
    """
    return secret.decode("latin-1").encode()


def answer_with_key(challenge: Challenge, key: PrivateKey, version: Version) -> bytes:
    """The answer of whoever holds the private key; version: of the challenge. Vector V20."""
    name = hash_name(key, version)
    return Writer().counted(encode_text(name)).counted(sign_octets(challenge.octets, key, name)).octets()


def check_key_answer(
    challenge: Challenge, answer: bytes, key: PublicKey, *, accepted: Set[str] = HASH_NAMES
) -> bool:
    """Whether an answer was made with the private half of this key; False for a hash that is not accepted.

    Raises WireError for octets that are no answer.
    """
    reader = Reader(answer)
    name, signature = text(reader.counted(MAX_NAME_OCTETS)), reader.counted(MAX_SIGNATURE_OCTETS)
    reader.expect_end()
    if name not in accepted:
        return False
    try:
        check_signature(signature, challenge.octets, key, name)
    except BadSignature:
        return False
    return True
