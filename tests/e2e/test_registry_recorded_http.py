"""Recorded HTTP pairs of a deployed server: ours, holding the same records, answers them alike.

Left out: what this node does not have (sessions, listings, minting, redirects, JSONP, CORS).
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from protocol.handle import Handle
from protocol.jsonform import value_from_json
from protocol.value import ValueList
from registry.outcomes import OPERATOR, Creation
from tests.support.registries import RunningRegistry, running_registry
from tests.support.tree import ROOT

PAIRS: Final = {
    pair["name"]: pair
    for pair in json.loads((ROOT / "tests/vectors/cnri/http_api.json").read_text(encoding="utf-8"))
}
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
    "get_auth",
    "get_empty",
    "get_collection_no_prefix",
    "get_unknown_api",
    "head_found",
)
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
)
"""In the order of the recording: each one builds on those before it."""
SHOWN: Final = ("get_found", "get_typed_all", "get_nonascii", "get_restricted_auth")
"""Answers that show whole records."""
SECRET: Final = {"index": 300, "type": "HS_SECKEY", "data": "lab-secret-1", "permissions": "1100"}


@pytest.fixture
async def lab(database: str, scratch: Path) -> AsyncIterator[RunningRegistry]:
    async with running_registry(database, scratch, homes=["20.500.12345"]) as registry:
        records = [json.loads(PAIRS[name]["response"]["body"]) for name in SHOWN]
        admin = next(value for value in records[0]["values"] if value["type"] == "HS_ADMIN")
        records.append({"handle": "20.500.12345/ADMIN", "values": [admin, SECRET]})
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
    answer = json.loads(body)
    answer.pop("message", None)
    for value in answer.get("values", ()):
        value.pop("timestamp", None)
    return answer


async def compare(lab: RunningRegistry, name: str) -> None:
    """Send a recorded request and compare the answer."""
    pair = PAIRS[name]
    asked, expected = pair["request"], pair["response"]
    octets = None if asked["body"] is None else asked["body"].encode()
    answer = await lab.ask(asked["method"], asked["path"], octets=octets, headers=asked["headers"])

    assert answer.status == expected["status"], name
    if expected["body"]:
        assert comparable(answer.body.decode()) == comparable(expected["body"]), name


async def test_recorded_reads_are_answered_alike(lab: RunningRegistry) -> None:
    for name in READS:
        await compare(lab, name)


async def test_recorded_writes_are_answered_alike(lab: RunningRegistry) -> None:
    for name in WRITES:
        await compare(lab, name)


async def test_a_recorded_password_over_plain_http_is_refused_alike(database: str, scratch: Path) -> None:
    async with running_registry(
        database, scratch, homes=["20.500.12345"], plain_http_credentials="refuse"
    ) as lab:
        await compare(lab, "put_plain_http")
