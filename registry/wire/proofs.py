"""Proofs of identity: is the answer to a challenge by the key that the identity names?

Which kinds of answers are believed is the operator's to say; what is weaker is refused and counted. Work that takes
milliseconds is done at the desk, in its few threads; what takes no longer than to wake one is done at once. Whose keys
are known, and who else holds them, is the question of a Keys.
"""

import time
from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from protocol.admin_bodies import ChallengeAnswerRequest
from protocol.challenge import (
    MAX_ITERATIONS,
    Challenge,
    Derivation,
    Derive,
    SecretCode,
    check_key_answer,
    check_secret_answer,
    deployed_octets,
    derive_key,
    iterations_of,
)
from protocol.codes import ResponseCode
from protocol.errors import HandleError, WireError
from protocol.handle import Handle
from protocol.signature import HASH_NAMES
from protocol.value import ValueReference
from protocol.valuetypes.hs_pubkey import DSA, RSA, PublicKey
from registry.authenticate import is_believable
from registry.context import RECORD_KEY_START, Context
from registry.elsewhere import Elsewhere
from registry.outcomes import Identity
from registry.record import HS_SECKEY, data_of, parse_stored, type_of
from registry.wire.derived_keys import DerivedKeys, NotDerived
from registry.wire.desk import Desk

HS_PUBKEY: Final = b"HS_PUBKEY"
KEYS_MAX: Final = 8
"""Keys of one handle that an answer for index 0, which stands for any of them, is checked with."""
RSA_BITS_MIN: Final = 1_024
"""Shorter keys have been factored in public."""
QUICK_BITS_MAX: Final = 4_096
"""Of all keys together that an answer is checked with at once: 0.1 ms. A thread costs as much, and its wake-ups."""
_PEM: Final = b"-----BEGIN "
_MD5_OCTETS: Final = 16
_SCHEMES: Final = {int(code): f"secret_{code.name.lower()}" for code in SecretCode}

OnResult = Callable[[str, str], None]
"""Counts a check: scheme, and success, failed, refused (too weak, or not believed here) or unreadable."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an identity, as its record holds it."""

    index: int
    data: bytes = field(repr=False)


class Keys(Protocol):
    """Finds the keys of identities."""

    async def find_keys(self, identity: Identity, kind: bytes) -> Sequence[Key]:
        """The values of this type, HS_SECKEY or HS_PUBKEY, that may be meant: for index 0 any of the handle.

        None where the handle, or such a value of it, is not known. One that is not believable is none. Raises
        HandleError when nobody could be asked.
        """

    async def holder(self, identity: Identity) -> Elsewhere | None:
        """Who asks the node that holds the keys of an identity, where that is another one than ours."""


class KnownKeys:
    """Keys of records that are stored here, and the public keys of other nodes, where the node looks for them.

    Of a prefix record also those in the copy by which writers are authorised.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    async def find_keys(self, identity: Identity, kind: bytes) -> Sequence[Key]:
        """See Keys."""
        record = await self._stored(identity.handle)
        if record is None and kind == HS_PUBKEY:
            holder = await self._elsewhere(identity.handle)
            record = None if holder is None else await holder.find(identity.handle)
        return [
            Key(index, data_of(value))
            for index, value in sorted((record or {}).items())
            if type_of(value) == kind and identity.index in (0, index) and is_believable(value)
        ]

    async def holder(self, identity: Identity) -> Elsewhere | None:
        """See Keys."""
        holder = await self._elsewhere(identity.handle)
        return holder if holder is not None and await self._stored(identity.handle) is None else None

    async def _elsewhere(self, handle: Handle) -> Elsewhere | None:
        context = self._context
        return None if await context.is_homed(handle) else context.elsewhere

    async def _stored(self, handle: Handle) -> dict[int, bytes] | None:
        record = await self._context.read_record(handle)
        return await self._copy(handle) if record is None else record

    async def _copy(self, handle: Handle) -> dict[int, bytes] | None:
        if not handle.is_prefix_record:
            return None
        table = await self._context.prefixes.around(handle)
        copy = table.authorisation(handle.key[len(RECORD_KEY_START) :])
        return None if copy is None else parse_stored(copy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """What is believed at least; see RegistrySettings, where each has its setting."""

    secret_codes: Set[int] = frozenset({SecretCode.PBKDF2_HMAC_SHA1, SecretCode.SHA1})
    hashes: Set[str] = HASH_NAMES
    dsa: bool = False
    iterations_max: int = MAX_ITERATIONS


class Unreadable(HandleError):
    """A proof that could not be checked: no answer by any form, or nobody could be asked for the key."""

    code = ResponseCode.AUTHENTICATION_ERROR


class Proofs:
    """Checks proofs at one node."""

    def __init__(
        self,
        keys: Keys,
        desk: Desk,
        floors: Floors,
        *,
        on_result: OnResult,
        is_barred: Callable[[Identity], Awaitable[bool]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """is_barred: tells identities whose owner is suspended, who prove nothing, and have proved nothing.

        clock: monotonic seconds.
        """
        self._keys = keys
        self._desk = desk
        self._floors = floors
        self._on_result = on_result
        self.is_barred = is_barred
        self._derived = DerivedKeys(clock)

    async def prove(
        self, challenge: Challenge, proof: ChallengeAnswerRequest, *, network: str
    ) -> Identity | None:
        """Who has answered a challenge, with the index of the key that matched; None for a wrong answer.

        network: where the answer came from, whose turn at the desk it takes. Raises Unreadable, DeskBusy, and what the
        look for the key raises.
        """
        claimed = Identity(index=proof.key.index, handle=Handle(proof.key.handle))
        kind = proof.kind.encode("utf-8", "replace")
        if kind == HS_SECKEY:
            holder = await self._keys.holder(claimed)
            if holder is not None:
                return await self._prove_elsewhere(holder, challenge, claimed, proof.answer)
            return await self.prove_secret(challenge, claimed, proof.answer, network=network)
        if kind == HS_PUBKEY:
            return await self._prove_key(challenge, claimed, proof.answer, network=network)
        self._on_result("other", "refused")
        raise Unreadable("a proof is by HS_SECKEY or HS_PUBKEY")

    async def prove_secret(
        self, challenge: Challenge, claimed: Identity, answer: bytes, *, network: str
    ) -> Identity | None:
        """Who has answered a challenge with a secret that is stored here; see prove. Never asks another node."""
        floors = self._floors
        scheme = self._believed_scheme(answer)
        if scheme is None:
            return None
        keys = [key for key in await self._keys.find_keys(claimed, HS_SECKEY) if key.data]
        secrets = keys[: self._secrets_max(answer)] or [Key(0, b"")]  # an unknown one takes as long

        def check(derive: Derive) -> list[int]:
            return [
                key.index
                for key in secrets
                if check_secret_answer(
                    challenge,
                    answer,
                    key.data,
                    accepted=floors.secret_codes,
                    iterations_max=floors.iterations_max,
                    derive=derive,
                )
                and key.data
            ]

        return await self._check(scheme, claimed, self._derive_and(check, secrets, network))

    async def _derive_and(
        self, check: Callable[[Derive], list[int]], keys: Sequence[Key], network: str
    ) -> list[int]:
        """What check gives: at once from derived keys that are known, else at the desk."""
        try:
            return check(self._derived.known)
        except NotDerived:
            pass
        made: dict[tuple[Derivation, bytes], bytes] = {}

        def derive(derivation: Derivation, secret: bytes) -> bytes:
            key = made[derivation, secret] = derive_key(derivation, secret)
            return key

        matching = await self._desk.run(network, partial(check, derive))
        proven = {
            secret
            for key in keys
            if key.index in matching
            for secret in (key.data, deployed_octets(key.data))
        }
        self._derived.keep({how: key for how, key in made.items() if how[1] in proven})
        return matching

    def _secrets_max(self, answer: bytes) -> int:
        """How many secrets an answer for index 0 is checked with: all together take no more than one may."""
        try:
            iterations = iterations_of(answer)
        except WireError:
            return 1
        return max(1, min(KEYS_MAX, self._floors.iterations_max // max(1, iterations)))

    def _believed_scheme(self, answer: bytes) -> str | None:
        """How an answer was made with a secret; None, and counted, for a way that is not believed."""
        scheme = _scheme_of(answer)
        if scheme is None or _code_of(answer) not in self._floors.secret_codes:
            self._on_result(scheme or "other", "refused")
            return None
        return scheme

    async def _prove_elsewhere(
        self, holder: Elsewhere, challenge: Challenge, claimed: Identity, answer: bytes
    ) -> Identity | None:
        """What the node that holds the secret says of an answer. Source: PROTOCOL.md §5.3."""
        scheme = self._believed_scheme(answer)
        if scheme is None:
            return None
        key = ValueReference(claimed.handle.octets, claimed.index)
        return await self._conclude(scheme, claimed if await holder.verify(key, challenge, answer) else None)

    async def _prove_key(
        self, challenge: Challenge, claimed: Identity, answer: bytes, *, network: str
    ) -> Identity | None:
        found = await self._keys.find_keys(claimed, HS_PUBKEY)
        keys = [
            (key.index, public) for key in found[:KEYS_MAX] if (public := _public_key(key.data)) is not None
        ]
        scheme = "dsa" if any(key.algorithm == DSA for _, key in keys) else "rsa"
        believed = [(index, key) for index, key in keys if self._is_believed(key)]
        if keys and not believed:
            self._on_result(scheme, "refused")
            return None

        def check() -> list[int]:
            return [
                index
                for index, key in believed
                if check_key_answer(challenge, answer, key, accepted=self._floors.hashes)
            ]

        async def check_now() -> list[int]:
            return check()

        quick = sum(map(_bits, (key for _, key in believed))) <= QUICK_BITS_MAX
        return await self._check(scheme, claimed, check_now() if quick else self._desk.run(network, check))

    def _is_believed(self, key: PublicKey) -> bool:
        if key.algorithm == RSA:
            return key.numbers[1].bit_length() >= RSA_BITS_MIN
        return key.algorithm == DSA and self._floors.dsa

    async def _check(self, scheme: str, claimed: Identity, matches: Awaitable[list[int]]) -> Identity | None:
        try:
            matching = await matches
        except WireError as error:
            self._on_result(scheme, "unreadable")
            raise Unreadable(str(error)) from error
        return await self._conclude(
            scheme, Identity(index=matching[0], handle=claimed.handle) if matching else None
        )

    async def _conclude(self, scheme: str, identity: Identity | None) -> Identity | None:
        """Count a check, and its outcome unless the identity's owner is suspended."""
        if identity is not None and await self.is_barred(identity):
            identity = None
        self._on_result(scheme, "failed" if identity is None else "success")
        return identity


def _code_of(answer: bytes) -> int:
    if len(answer) == _MD5_OCTETS:  # before version 2.1, without the octet of the code
        return SecretCode.MD5
    return answer[0] if answer else 0


def _scheme_of(answer: bytes) -> str | None:
    return _SCHEMES.get(_code_of(answer))


def _bits(key: PublicKey) -> int:
    return max(number.bit_length() for number in key.numbers)


def _public_key(data: bytes) -> PublicKey | None:
    """The key of an HS_PUBKEY value: a blob, or the text that the IDIS SDK writes; None for one that is neither."""
    try:
        if not data.startswith(_PEM):
            return PublicKey.decode(data)
        key = load_pem_public_key(data)
    except (WireError, ValueError, UnsupportedAlgorithm):
        return None
    return PublicKey.of_rsa(key) if isinstance(key, RSAPublicKey) else None
