"""Challenges and sessions of the record API, seen from the network, by a client of this file's own."""

import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from protocol.challenge import Challenge, SecretCode, answer_with_secret
from protocol.valuetypes import PublicKey
from registry.outcomes import Identity
from registry.rest.sessions import CHALLENGE_S, IDLE, SESSIONS_MAX, HttpSessions
from tests.support.keys import admin_key
from tests.support.registries import HttpAnswer, RunningRegistry, running_registry

PUMP: Final = "/api/handles/88.1/pump-7"
THIS: Final = "/api/sessions/this"
URL: Final = {"index": 1, "type": "URL", "data": "https://plant.example/pump-7"}
CNONCE: Final = bytes(range(16))
JSON: Final = {"Content-Type": "application/json"}
_FIELD: Final = re.compile(r'(\w+)="([^"]*)"')


@pytest.fixture
async def plant(database: str, scratch: Path) -> AsyncIterator[RunningRegistry]:
    async with running_registry(
        database, scratch, secret_key_answers=["pbkdf2-hmac-sha1", "sha1", "sha256"]
    ) as registry:
        yield registry


@dataclass(frozen=True, slots=True)
class Given:
    """A challenge that the node has given."""

    session_id: str
    nonce: bytes

    def proof(self, plant: RunningRegistry, secret: str = "") -> dict[str, Any]:
        """Answer it with the administrator's secret, or another one."""
        challenge = Challenge(self.nonce, CNONCE)
        mac = answer_with_secret(challenge, (secret or plant.secret).encode(), SecretCode.SHA1)[1:]
        return self.members(plant.user, "HS_SECKEY", "SHA1", mac)

    def members(self, user: str, kind: str, algorithm: str, signature: bytes) -> dict[str, Any]:
        return {
            "sessionId": self.session_id,
            "id": user,
            "type": kind,
            "cnonce": b64encode(CNONCE).decode(),
            "alg": algorithm,
            "signature": b64encode(signature).decode(),
        }

    @property
    def header(self) -> dict[str, str]:
        """The header that refers to the session."""
        return scheme({"sessionId": self.session_id})


def scheme(members: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": "Handle " + ", ".join(f'{name}="{value}"' for name, value in members.items())}


def challenge_of(answer: HttpAnswer) -> dict[str, str]:
    return dict(_FIELD.findall(answer.headers["WWW-Authenticate"]))


async def given(plant: RunningRegistry) -> Given:
    answer = await plant.ask("POST", "/api/sessions")
    assert (answer.status, answer.headers["Location"]) == (201, THIS)
    return Given(answer.json["sessionId"], b64decode(answer.json["nonce"]))


async def test_a_challenge_in_a_401_is_answered_with_the_request_itself(plant: RunningRegistry) -> None:
    asked = await plant.ask("PUT", PUMP, body=[URL], headers={"X-Requested-With": "XMLHttpRequest"})
    assert (asked.status, asked.rc) == (401, 402)
    fields = challenge_of(asked)
    challenge = Given(fields["sessionId"], b64decode(fields["nonce"]))

    done = await plant.ask("PUT", PUMP, body=[URL], headers=scheme(challenge.proof(plant)))
    assert (done.status, done.rc) == (201, 1)

    again = await plant.ask("DELETE", PUMP, headers=challenge.header)
    assert (again.status, again.rc) == (200, 1)


async def test_every_kind_of_proof_opens_a_session(plant: RunningRegistry) -> None:
    key = {"kind": "HS_PUBKEY", "algorithm": "SHA256"}
    public = b64encode(PublicKey.of_rsa(admin_key().public_key()).encode()).decode()
    await plant.put(
        "/api/handles/88.1/ADMIN?index=various",
        [{"index": 301, "type": "HS_PUBKEY", "data": {"format": "base64", "value": public}}],
    )
    secret = plant.secret.encode()
    for user, kind, algorithm in (
        (plant.user, "HS_SECKEY", "SHA1"),
        (plant.user, "HS_SECKEY", "SHA-256"),
        ("0:88.1/admin", "HS_SECKEY", "PBKDF2-HMAC-SHA1"),
        ("301:88.1/ADMIN", "HS_PUBKEY", "SHA256"),
        ("0:88.1/ADMIN", key["kind"], key["algorithm"]),
    ):
        challenge = await given(plant)
        signed = Challenge(challenge.nonce, CNONCE)
        extra: dict[str, Any] = {}
        match algorithm:
            case "SHA1":
                mac = answer_with_secret(signed, secret, SecretCode.SHA1)[1:]
            case "SHA-256":
                mac = answer_with_secret(signed, secret, SecretCode.SHA256)[1:]
            case "SHA256":
                mac = admin_key().sign(signed.octets, PKCS1v15(), SHA256())
            case _:
                mac = answer_with_secret(signed, secret, salt=CNONCE, iterations=1_000)[-20:]
                extra = {"salt": b64encode(CNONCE).decode(), "iterations": 1_000, "length": 160}
        members = challenge.members(user, kind, algorithm, mac) | extra
        answer = await plant.ask("PUT", THIS, body=members)
        assert (answer.status, answer.json["authenticated"]) == (200, True), (user, algorithm)
        assert (await plant.ask("GET", THIS, headers=challenge.header)).json["id"] == answer.json["id"]
        assert answer.json["id"].startswith("301:" if kind == "HS_PUBKEY" else "300:")


async def test_the_node_signs_what_the_client_adds_to_the_challenge(plant: RunningRegistry) -> None:
    key = PublicKey.decode(plant.node.site.servers[0].public_key).rsa()
    cnonce = b64encode(CNONCE).decode()
    opened = (await plant.ask("POST", "/api/sessions", body={"cnonce": cnonce})).json
    refused = challenge_of(await plant.ask("PUT", PUMP, body=[URL], headers=scheme({"cnonce": cnonce})))

    for fields in (opened, refused):
        assert fields["serverAlg"] == "SHA-256"
        signed = b64decode(fields["nonce"]) + CNONCE
        key.verify(b64decode(fields["serverSignature"]), signed, PKCS1v15(), SHA256())


async def test_a_session_that_was_ended_is_not_opened_again_by_the_same_proof(plant: RunningRegistry) -> None:
    challenge = await given(plant)
    proof = challenge.proof(plant)
    assert (await plant.ask("PUT", THIS, body=proof)).status == 200
    assert (await plant.ask("PUT", THIS, body=proof)).status == 200  # alive, it may be proved again
    assert (await plant.ask("DELETE", THIS, headers=challenge.header)).status == 204

    for method, target, body in (
        ("PUT", THIS, proof),
        ("PUT", THIS, {"sessionId": challenge.session_id}),
        ("GET", THIS, None),
        ("GET", PUMP, None),
        ("DELETE", PUMP, None),
    ):
        answer = await plant.ask(method, target, body=body, headers=challenge.header)
        assert answer.status in (401, 403), (method, target)
        assert answer.rc == 402
    replayed = await plant.ask("PUT", PUMP, body=[URL], headers=scheme(proof))
    assert (replayed.status, replayed.rc) == (401, 402)


async def test_a_proof_for_another_challenge_or_by_another_secret_opens_nothing(
    plant: RunningRegistry,
) -> None:
    first, second = await given(plant), await given(plant)
    for proof in (
        {**first.proof(plant), "sessionId": second.session_id},
        first.proof(plant, "wrong"),
        {**first.proof(plant), "id": "300:88.1/NOBODY"},
        {**first.proof(plant), "id": "301:88.1/ADMIN"},
        {**first.proof(plant), "cnonce": b64encode(bytes(16)).decode()},
        {**first.proof(plant), "signature": ""},
    ):
        answer = await plant.ask("PUT", THIS, body=proof, headers={"X-Requested-With": "XMLHttpRequest"})
        assert (answer.status, answer.rc) == (401, 403), proof
        assert challenge_of(answer)["error"] == "Identity not verified"
    for forged in ("", "A" * 43, first.session_id[:-1] + "A", first.session_id + "=", "node0abc"):
        answer = await plant.ask("PUT", THIS, body={**first.proof(plant), "sessionId": forged})
        assert answer.status in (400, 403), forged
        assert (await plant.ask("GET", THIS, headers=scheme({"sessionId": forged}))).status == 403


async def test_a_challenge_and_a_session_end_with_time(plant: RunningRegistry) -> None:
    now_s = plant.node.operations.context.wall_clock()
    store, sealer = plant.node.services.store, plant.node.operations.context.sealer
    late = HttpSessions(store, sealer, lambda: now_s)
    challenge = late.challenge()
    old = Given(challenge.session_id, challenge.nonce)
    now_s += CHALLENGE_S + 1
    identity = await plant.node.operations.authenticate(Identity.parse(plant.user), plant.secret.encode())
    assert identity is not None
    assert not await late.open(challenge, identity)

    proved = late.challenge()
    assert await late.open(proved, identity)
    assert await late.holder(proved) == identity
    now_s += CHALLENGE_S
    assert await late.holder(proved) == identity
    assert await late.open(proved, identity)  # alive, so that a proof is believed again
    now_s += IDLE.total_seconds() + 1
    assert await late.holder(proved) is None
    assert not await late.open(proved, identity)
    await late.clean()
    assert not await late.open(proved, identity)
    assert late.read(old.session_id) == challenge


async def test_the_header_carries_a_proof_to_the_session_as_well(plant: RunningRegistry) -> None:
    challenge = await given(plant)
    wrong = await plant.ask("PUT", THIS, headers=scheme(challenge.proof(plant, "wrong")))
    opened = await plant.ask("PUT", THIS, headers=scheme(challenge.proof(plant)))

    assert (wrong.status, wrong.rc) == (401, 403)
    assert (opened.status, opened.json["id"]) == (200, plant.user)


async def test_a_session_belongs_to_who_opened_it(plant: RunningRegistry) -> None:
    key = {"index": 301, "type": "HS_SECKEY", "data": "another secret", "permissions": "1100"}
    await plant.put("/api/handles/88.1/ADMIN?index=301", [key])
    challenge = await given(plant)
    assert (await plant.ask("PUT", THIS, body=challenge.proof(plant))).status == 200

    other = {**challenge.proof(plant, "another secret"), "id": "301:88.1/ADMIN"}
    refused = await plant.ask("PUT", THIS, body=other)

    assert (refused.status, refused.rc) == (401, 402)
    assert (await plant.ask("GET", THIS, headers=challenge.header)).json["id"] == plant.user


async def test_an_identity_has_a_bounded_number_of_sessions(plant: RunningRegistry) -> None:
    now_s = plant.node.operations.context.wall_clock()
    sessions = HttpSessions(plant.node.services.store, plant.node.operations.context.sealer, lambda: now_s)
    identity = Identity.parse(plant.user)
    opened = []
    for _ in range(SESSIONS_MAX + 2):
        now_s += 0.001
        opened.append(sessions.challenge())
        assert await sessions.open(opened[-1], identity)

    assert [await sessions.holder(one) is None for one in opened[:3]] == [True, True, False]
    assert not await sessions.open(opened[0], identity)
    assert await sessions.holder(opened[-1]) == identity


async def test_challenges_that_nobody_answers_are_kept_nowhere(plant: RunningRegistry) -> None:
    for _ in range(20):
        await given(plant)
        await plant.ask("PUT", PUMP, body=[URL])

    async with plant.node.services.store.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM http_sessions") == 0


async def test_sessions_are_for_connections_that_may_carry_credentials(database: str, scratch: Path) -> None:
    async with running_registry(database, scratch, plain_http_credentials="refuse") as registry:
        for method, target in (("POST", "/api/sessions"), ("GET", THIS), ("PUT", THIS), ("DELETE", THIS)):
            answer = await registry.ask(method, target, headers=JSON)
            assert (answer.status, answer.rc) == (403, 402)


async def test_restricted_values_read_in_a_session_are_never_given_to_others(plant: RunningRegistry) -> None:
    secret = {"index": 2, "type": "NOTE", "data": "for administrators", "permissions": "1100"}
    await plant.put(PUMP, [URL, secret])
    challenge = await given(plant)
    await plant.ask("PUT", THIS, body=challenge.proof(plant))

    for _ in range(3):
        own = await plant.ask("GET", PUMP, headers=challenge.header)
        assert b"for administrators" in own.body
        assert b"for administrators" not in (await plant.get(PUMP)).body
    jsonp = await plant.ask("GET", PUMP + "?callback=cb", headers=challenge.header)
    assert jsonp.headers["Content-Type"].startswith("application/json")


async def test_work_that_a_proof_may_ask_for_is_bounded(plant: RunningRegistry) -> None:
    challenge = await given(plant)
    costly = {"alg": "PBKDF2-HMAC-SHA1", "salt": "AAAA", "iterations": 3_000_000, "length": 160}
    answer = await plant.ask("PUT", THIS, body=challenge.proof(plant) | costly)
    assert (answer.status, answer.rc) == (400, 4)

    wide = {**costly, "iterations": 1, "length": 0xFFFF_FFF8}
    assert (await plant.ask("PUT", THIS, body=challenge.proof(plant) | wide)).status == 400


ODD_HEADERS: Final = (
    "Handle " + "a" * 7_000,
    'Handle sessionId="\\"',
    'Handle sessionId="' + "é" * 40 + '"',
    "Handle id=300:88.1/ADMIN, type=HS_SECKEY, cnonce=AAAA, alg=SHA1, signature=AAAA",
    'Handle sessionId="x", signature="%%%"',
    'Handle clientCert="true"',
    "Basic " + "A" * 7_000,
)


async def test_odd_credentials_are_answered_with_a_challenge(plant: RunningRegistry) -> None:
    for text in ODD_HEADERS:
        for method in ("GET", "PUT"):
            answer = await plant.ask(method, PUMP, headers={"Authorization": text, **JSON})
            assert (answer.status, answer.rc) == (401, 402), text[:60]
            assert text[8:40] not in answer.json["message"]


ODD_BODIES: Final = (
    b"[]",
    b"{",
    b"[" * 15_000,
    b'{"a":' * 3_000,
    b"\xff",
    b'"x"',
    b"{" + b" " * 20_000,
)


async def test_odd_bodies_about_sessions_are_refused(plant: RunningRegistry) -> None:
    for body in ODD_BODIES:
        answer = await plant.ask("PUT", THIS, octets=body, headers=JSON)
        assert (answer.status, answer.rc) in ((400, 4), (413, 4)), body[:40]
