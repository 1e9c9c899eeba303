"""Proofs: which keys and which forms of answers are believed, and how each check is counted."""

from collections.abc import AsyncIterator, Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from protocol.admin_bodies import ChallengeAnswerRequest
from protocol.challenge import (
    Challenge,
    Derivation,
    SecretCode,
    answer_with_key,
    answer_with_secret,
    derive_key,
)
from protocol.handle import Handle
from protocol.signature import PrivateKey
from protocol.value import ValueReference
from protocol.valuetypes import PublicKey
from registry.outcomes import Identity
from registry.wire.desk import Desk
from registry.wire.proofs import HS_PUBKEY, KEYS_MAX, QUICK_BITS_MAX, Floors, Key, Proofs, Unreadable

CHALLENGE = Challenge(bytes(range(16)), bytes(32))
NAME = b"88.1/ADMIN"
RSA_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
DSA_KEY = dsa.generate_private_key(key_size=1_024)  # noqa: S505 - what deployed servers have
NETWORK = "192.0.2.0/24"
PBKDF2 = SecretCode.PBKDF2_HMAC_SHA1


class Keyring:
    """The keys of one identity."""

    def __init__(self, *keys: tuple[int, bytes, bytes]) -> None:
        self.keys = keys

    async def find_keys(self, identity: Identity, kind: bytes) -> Sequence[Key]:
        return [
            Key(index, data)
            for index, of_kind, data in self.keys
            if of_kind == kind and identity.index in (0, index) and identity.handle.octets == NAME
        ]

    async def holder(self, identity: Identity) -> None:
        return None


class Bench:
    """Proofs against a keyring, with what they count."""

    def __init__(self) -> None:
        self.desk = Desk(1, on_limit=list[str]().append)
        self.counted: list[tuple[str, str]] = []
        self.barred = False

    def proofs(self, *keys: tuple[int, bytes, bytes], floors: Floors | None = None) -> Proofs:
        return self.proofs_of(Keyring(*keys), floors)

    def proofs_of(self, keyring: Keyring, floors: Floors | None = None) -> Proofs:
        return Proofs(
            keyring,
            self.desk,
            floors or Floors(),
            on_result=lambda scheme, result: self.counted.append((scheme, result)),
            is_barred=self._is_barred,
        )

    async def _is_barred(self, _: Identity) -> bool:
        return self.barred


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.desk.close()


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The secrets of which keys are derived, one after the other."""
    seen: list[bytes] = []

    def derive(derivation: Derivation, secret: bytes) -> bytes:
        seen.append(secret)
        return derive_key(derivation, secret)

    monkeypatch.setattr("registry.wire.proofs.derive_key", derive)
    return seen


def by_key(key: PrivateKey, index: int = 301, version: tuple[int, int] = (2, 11)) -> ChallengeAnswerRequest:
    answer = answer_with_key(CHALLENGE, key, version)
    return ChallengeAnswerRequest(kind="HS_PUBKEY", key=ValueReference(NAME, index), answer=answer)


def by_secret(
    secret: bytes, index: int = 300, code: SecretCode = SecretCode.SHA1, iterations: int = 10
) -> ChallengeAnswerRequest:
    answer = answer_with_secret(CHALLENGE, secret, code, salt=bytes(16), iterations=iterations)
    return ChallengeAnswerRequest(kind="HS_SECKEY", key=ValueReference(NAME, index), answer=answer)


def public(key: PrivateKey, index: int = 301) -> tuple[int, bytes, bytes]:
    blob = (
        PublicKey.of_dsa(key.public_key())
        if isinstance(key, dsa.DSAPrivateKey)
        else PublicKey.of_rsa(key.public_key())
    )
    return index, HS_PUBKEY, blob.encode()


def secret(text: bytes, index: int = 300) -> tuple[int, bytes, bytes]:
    return index, b"HS_SECKEY", text


async def test_the_index_of_the_key_that_matched_is_told(bench: Bench) -> None:
    proofs = bench.proofs(secret(b"one", 5), secret(b"two", 7), public(RSA_KEY, 9))

    assert await _proven(proofs, by_secret(b"two", 0)) == Identity(index=7, handle=Handle(NAME))
    assert await _proven(proofs, by_key(RSA_KEY, 0)) == Identity(index=9, handle=Handle(NAME))
    assert await _proven(proofs, by_secret(b"two", 5)) is None
    assert bench.counted == [("secret_sha1", "success"), ("rsa", "success"), ("secret_sha1", "failed")]


@pytest.mark.parametrize("believed", [True, False])
async def test_dsa_is_believed_by_setting(bench: Bench, believed: bool) -> None:
    proofs = bench.proofs(public(DSA_KEY), floors=Floors(dsa=believed))

    assert (await _proven(proofs, by_key(DSA_KEY)) is not None) is believed
    assert bench.counted == [("dsa", "success" if believed else "refused")]


@pytest.mark.parametrize(("version", "believed"), [((2, 6), False), ((2, 11), True)])
async def test_hashes_are_believed_by_setting(bench: Bench, version: tuple[int, int], believed: bool) -> None:
    proofs = bench.proofs(public(RSA_KEY), floors=Floors(hashes=frozenset({"SHA-256"})))

    assert (await _proven(proofs, by_key(RSA_KEY, version=version)) is not None) is believed


@pytest.mark.parametrize("code", [SecretCode.MD5, SecretCode.SHA256, SecretCode.HMAC_SHA1])
async def test_a_weak_form_of_answer_is_refused_unseen_and_believed_by_setting(
    bench: Bench, code: SecretCode
) -> None:
    floors = Floors(secret_codes=frozenset({code}))

    assert await _proven(bench.proofs(secret(b"one")), by_secret(b"one", code=code)) is None
    assert await _proven(bench.proofs(secret(b"one"), floors=floors), by_secret(b"one", code=code))
    scheme = f"secret_{code.name.lower()}"
    assert bench.counted == [(scheme, "refused"), (scheme, "success")]


async def test_more_iterations_than_the_limit_are_not_computed(bench: Bench) -> None:
    proofs = bench.proofs(secret(b"one"), floors=Floors(iterations_max=10))
    pbkdf2 = SecretCode.PBKDF2_HMAC_SHA1

    assert await _proven(proofs, by_secret(b"one", code=pbkdf2, iterations=10))
    with pytest.raises(Unreadable):
        await _proven(proofs, by_secret(b"one", code=pbkdf2, iterations=11))
    assert bench.counted[-1] == ("secret_pbkdf2_hmac_sha1", "unreadable")


async def test_all_secrets_of_a_handle_together_cost_no_more_iterations_than_the_limit(bench: Bench) -> None:
    pbkdf2 = SecretCode.PBKDF2_HMAC_SHA1
    proofs = bench.proofs(
        secret(b"one", 1), secret(b"two", 2), secret(b"three", 3), floors=Floors(iterations_max=20)
    )

    assert await _proven(proofs, by_secret(b"two", 0, pbkdf2, 10))
    assert await _proven(proofs, by_secret(b"three", 0, pbkdf2, 10)) is None
    assert await _proven(proofs, by_secret(b"three", 3, pbkdf2, 20))


async def test_an_empty_secret_and_an_unknown_identity_prove_nothing(bench: Bench) -> None:
    assert await _proven(bench.proofs(secret(b"")), by_secret(b"")) is None
    assert await _proven(bench.proofs(), by_secret(b"")) is None
    assert await _proven(bench.proofs(), by_key(RSA_KEY)) is None


@pytest.mark.parametrize(
    "data", [b"", b"\0\0\0\x03abc", b"-----BEGIN PUBLIC KEY-----\n", b"-----BEGIN rubbish"]
)
async def test_what_is_no_key_proves_nothing(bench: Bench, data: bytes) -> None:
    assert await _proven(bench.proofs((301, HS_PUBKEY, data)), by_key(RSA_KEY)) is None


async def test_a_client_that_keeps_its_salt_costs_one_derivation(bench: Bench, derived: list[bytes]) -> None:
    proofs = bench.proofs(secret(b"one"))

    for _ in range(3):
        assert await _proven(proofs, by_secret(b"one", code=PBKDF2))
    assert derived == [b"one"]
    assert bench.counted == [("secret_pbkdf2_hmac_sha1", "success")] * 3


async def test_every_guess_costs_a_derivation_and_is_not_kept(bench: Bench, derived: list[bytes]) -> None:
    proofs = bench.proofs(secret(b"one"))

    for _ in range(3):
        assert await _proven(proofs, by_secret(b"two", code=PBKDF2)) is None
    assert derived == [b"one"] * 3


async def test_who_proves_one_of_several_secrets_makes_no_guess_at_another_cheaper(
    bench: Bench, derived: list[bytes]
) -> None:
    proofs = bench.proofs(secret(b"mine", 5), secret(b"yours", 7))
    assert await _proven(proofs, by_secret(b"mine", 0, PBKDF2))
    derived.clear()

    assert await _proven(proofs, by_secret(b"guess", 7, PBKDF2)) is None
    assert derived == [b"yours"]


async def test_a_secret_that_was_changed_is_not_proved_by_its_old_key(bench: Bench) -> None:
    keyring = Keyring(secret(b"one"))
    proofs = bench.proofs_of(keyring)
    assert await _proven(proofs, by_secret(b"one", code=PBKDF2))

    keyring.keys = (secret(b"two"),)

    assert await _proven(proofs, by_secret(b"one", code=PBKDF2)) is None
    assert await _proven(proofs, by_secret(b"two", code=PBKDF2))


async def test_a_known_salt_proves_nothing_with_a_wrong_mac(bench: Bench) -> None:
    proofs = bench.proofs(secret(b"one"))
    proof = by_secret(b"one", code=PBKDF2)
    assert await _proven(proofs, proof)

    other = Challenge(bytes(16), bytes(32))

    assert await proofs.prove(other, proof, network=NETWORK) is None


@pytest.mark.parametrize("bits", [2_048, QUICK_BITS_MAX + 1])
async def test_what_takes_longer_than_a_thread_is_checked_at_the_desk(bench: Bench, bits: int) -> None:
    number = (1 << bits) - 1 if bits > QUICK_BITS_MAX else RSA_KEY.public_key().public_numbers().n
    blob = PublicKey(b"RSA_PUB_KEY", (65_537, number)).encode()
    bench.desk.close()
    proving = _proven(bench.proofs((301, HS_PUBKEY, blob)), by_key(RSA_KEY))

    if bits > QUICK_BITS_MAX:
        with pytest.raises(RuntimeError, match="shutdown"):
            await proving
    else:
        assert await proving


async def test_a_key_that_can_be_factored_proves_nothing(bench: Bench) -> None:
    short = PublicKey(b"RSA_PUB_KEY", (65_537, (1 << 767) + 1)).encode()

    assert await _proven(bench.proofs((301, HS_PUBKEY, short)), by_key(RSA_KEY)) is None
    assert bench.counted == [("rsa", "refused")]


async def test_no_more_keys_of_a_handle_are_tried_than_the_limit(bench: Bench) -> None:
    others = [secret(b"other", index) for index in range(1, KEYS_MAX + 1)]

    assert await _proven(bench.proofs(*others, secret(b"one", 99)), by_secret(b"one", 0)) is None


async def test_who_is_suspended_proves_nothing(bench: Bench) -> None:
    bench.barred = True

    assert await _proven(bench.proofs(secret(b"one")), by_secret(b"one")) is None
    assert bench.counted == [("secret_sha1", "failed")]


async def test_a_key_is_not_shown() -> None:
    assert "sesame" not in repr(Key(300, b"sesame"))


async def _proven(proofs: Proofs, proof: ChallengeAnswerRequest) -> Identity | None:
    return await proofs.prove(CHALLENGE, proof, network=NETWORK)
