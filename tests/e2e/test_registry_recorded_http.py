"""Recorded HTTP pairs of a deployed server: ours, holding the same records, answers them alike.

Every pair is asked, or stands with its reason among the exceptions.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from protocol.challenge import Challenge, SecretCode, answer_with_key, answer_with_secret
from protocol.handle import Handle
from protocol.jsonform import value_from_json
from protocol.value import ValueList
from protocol.wire import Reader
from registry.outcomes import OPERATOR, Creation
from tests.support.keys import admin_key
from tests.support.registries import HttpAnswer, RunningRegistry, running_registry
from tests.support.vectors import RECORDINGS, keys

PAIRS: Final = {
    pair["name"]: pair for pair in json.loads((RECORDINGS / "http_api.json").read_text(encoding="utf-8"))
}
ADMIN_SECRET: Final[str] = keys()["secret_key"]["value"]
READS: Final = (
    "get_found",
    "get_not_found",
    "get_not_responsible",
    "get_index",
    "get_type",
    "get_type_prefix",
    "get_index_and_type",
    "get_values_not_found",
    "get_bad_index",
    "get_pretty",
    "get_typed_all",
    "get_case",
    "get_percent_encoded_slash",
    "get_nonascii",
    "get_restricted_default",
    "get_admin_key",
    "get_auth",
    "get_empty",
    "get_collection_no_prefix",
    "get_unknown_api",
    "get_jsonp",
    "get_cors",
    "get_gzip",
    "head_found",
    "post_handles",
)
PLAIN_HTTP: Final = (
    "put_plain_http",
    "get_prefixes_unauth",
    "list_unauth",
    "get_restricted_publiconly_false",
)
"""Refused because of the connection."""
WRITES: Final = (
    "put_unauth",
    "put_bad_password",
    "put_create",
    "put_create_again_overwrite_false",
    "put_overwrite",
    "get_after_put",
    "put_index_various",
    "put_index_mismatch",
    "put_bad_json",
    "delete_index",
    "delete_index_missing",
    "get_restricted_auth",
    "delete_http1",
    "delete_http1_again",
    "verifications_get",
    "prefixes",
)
"""In the order of the recording: each one builds on those before it."""
SESSIONS: Final = (
    "session_post",
    "session_put_sha1",
    "session_get",
    "session_get_restricted",
    "session_delete",
    "session_get_after_delete",
    "session_post_2",
    "session_put_pbkdf2",
    "session_post_3",
    "session_put_rsa_sha256",
    "session_rsa_put_handle",
    "session_rsa_delete_handle",
    "put_challenge_with_cnonce",
)
"""Likewise, with the ids and nonces that we give, and answers to them."""
OTHERWISE: Final = {
    "put_mint": "the new name is random",
    "delete_minted": "likewise",
    "get_site": "another site; its members are compared",
    "list_page": "names as they were created, where the recorded server tells them in capitals",
    "list_count": "another number of handles",
    "options_cors": "any origin is told as such, with 204, and HEAD and OPTIONS are named",
    "proxy_redirect": "a registry redirects to its own API; gateways lead to the URL of a record",
    "proxy_noredirect": "likewise",
    "proxy_not_found": "likewise",
}
"""Pairs that are answered otherwise by design, each with a test of its own here or in the record API's."""
SHOWN: Final = ("get_found", "get_typed_all", "get_nonascii", "get_restricted_auth", "get_admin_key")
"""Answers that show whole records."""
SECRET: Final = {"index": 300, "type": "HS_SECKEY", "data": ADMIN_SECRET, "permissions": "1100"}
PREFIX: Final = "20.500.12345"


@pytest.fixture
async def lab(database: str, scratch: Path) -> AsyncIterator[RunningRegistry]:
    admins = [f"300:{PREFIX}/ADMIN", f"301:{PREFIX}/ADMIN"]
    async with running_registry(database, scratch, homes=[PREFIX], server_admins=admins) as registry:
        records = [json.loads(PAIRS[name]["response"]["body"]) for name in SHOWN]
        records[-1]["values"].append(SECRET)
        batch = [
            Creation(
                Handle.parse(record["handle"]),
                ValueList.of(value_from_json(value) for value in record["values"]),
            )
            for record in records
        ]
        await registry.node.operations.create(batch, by=OPERATOR, replace=True)
        yield registry


def comparable(body: str) -> Any:
    """Return an answer without what differs by design: times, and the words of messages."""
    if not body.startswith("{"):
        return body[:3] + body[-2:], comparable(body[3:-2])
    answer = json.loads(body)
    answer.pop("message", None)
    for value in answer.get("values", ()):
        value.pop("timestamp", None)
    return answer


async def ask(lab: RunningRegistry, name: str) -> HttpAnswer:
    """Send a recorded request."""
    asked = PAIRS[name]["request"]
    octets = None if asked["body"] is None else asked["body"].encode()
    return await lab.ask(asked["method"], asked["path"], octets=octets, headers=asked["headers"])


async def compare(lab: RunningRegistry, name: str) -> None:
    """Send a recorded request and compare the answer."""
    expected = PAIRS[name]["response"]
    answer = await ask(lab, name)

    assert answer.status == expected["status"], name
    if expected["body"]:
        assert answer.headers["Content-Type"] == dict(expected["headers"])["Content-Type"], name
        assert comparable(answer.body.decode()) == comparable(expected["body"]), name


def test_every_recorded_pair_is_compared_or_excepted_for_a_reason() -> None:
    compared = [*READS, *PLAIN_HTTP, *WRITES, *SESSIONS, *OTHERWISE]

    assert sorted(compared) == sorted(PAIRS)


async def test_recorded_reads_are_answered_alike(lab: RunningRegistry) -> None:
    for name in READS:
        await compare(lab, name)


async def test_our_site_is_told_with_the_members_of_the_recorded_one(lab: RunningRegistry) -> None:
    answer, expected = (await ask(lab, "get_site")).json, json.loads(PAIRS["get_site"]["response"]["body"])

    assert answer.keys() == expected.keys()
    assert answer["site"].keys() == expected["site"].keys()
    (ours,), (theirs,) = answer["site"]["servers"], expected["site"]["servers"]
    assert ours.keys() == theirs.keys()
    assert ours["publicKey"]["value"].keys() == theirs["publicKey"]["value"].keys()
    assert ours["interfaces"][0].keys() == theirs["interfaces"][0].keys()


async def test_recorded_writes_are_answered_alike(lab: RunningRegistry) -> None:
    for name in WRITES:
        await compare(lab, name)


async def test_what_a_recorded_connection_could_not_carry_is_refused_alike(
    database: str, scratch: Path
) -> None:
    async with running_registry(
        database, scratch, homes=[PREFIX], plain_http_credentials="refuse"
    ) as registry:
        record = json.loads(PAIRS["get_restricted_auth"]["response"]["body"])
        values = ValueList.of(value_from_json(value) for value in record["values"])
        await registry.node.operations.create([Creation(Handle.parse(record["handle"]), values)], by=OPERATOR)
        for name in PLAIN_HTTP:
            await compare(registry, name)


@dataclass
class Conversation:
    """Recorded requests about a session, said again with the session and nonce that our node has given."""

    lab: RunningRegistry
    session_id: str = ""
    nonce: bytes = b""
    recorded: dict[str, str] = field(default_factory=dict)

    async def say(self, name: str) -> HttpAnswer:
        asked, expected = PAIRS[name]["request"], PAIRS[name]["response"]
        headers = {field: self.mended(value) for field, value in asked["headers"].items()}
        octets = self.body(asked["body"]) if asked["body"] else None
        answer = await self.lab.ask(asked["method"], asked["path"], octets=octets, headers=headers)
        if expected["status"] == 201 and "sessionId" in expected["body"]:
            self.recorded["id"] = json.loads(expected["body"])["sessionId"]
            self.session_id = answer.json["sessionId"]
            self.nonce = b64decode(answer.json["nonce"])
        return answer

    def mended(self, text: str) -> str:
        recorded = self.recorded.get("id")
        return text.replace(recorded, self.session_id) if recorded else text

    def body(self, text: str) -> bytes:
        members = json.loads(self.mended(text))
        if isinstance(members, dict) and "signature" in members:
            members["signature"] = b64encode(self.signature(members)).decode()
        return json.dumps(members).encode()

    def signature(self, members: dict[str, Any]) -> bytes:
        challenge = Challenge(self.nonce, b64decode(members["cnonce"]))
        secret = ADMIN_SECRET.encode()
        if members["alg"] == "SHA1":
            return answer_with_secret(challenge, secret, SecretCode.SHA1)[1:]
        if members["alg"] == "PBKDF2-HMAC-SHA1":
            return answer_with_secret(challenge, secret, salt=b64decode(members["salt"]))[-20:]
        reader = Reader(answer_with_key(challenge, admin_key(), (2, 11)))
        assert reader.counted() == b"SHA-256"
        return reader.counted()


async def test_recorded_sessions_run_alike(lab: RunningRegistry) -> None:
    conversation = Conversation(lab)
    for name in SESSIONS:
        expected = PAIRS[name]["response"]
        answer = await conversation.say(name)
        assert answer.status == expected["status"], (name, answer)
        if expected["body"]:
            assert answer.json.keys() - {"message"} == json.loads(expected["body"]).keys(), name
            for member in ("responseCode", "authenticated", "id", "serverAlg"):
                assert answer.json.get(member) == json.loads(expected["body"]).get(member), name
