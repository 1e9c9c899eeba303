"""The record API beside single records: listing, homing, minting, verification, and other ways of asking."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from protocol.challenge import Challenge, answer_with_secret
from protocol.handle import Handle
from protocol.value import HandleValue, ValueList
from registry.outcomes import OPERATOR, Creation
from tests.support.registries import HttpAnswer, RunningRegistry, basic, running_registry

PUMP: Final = "/api/handles/88.1/pump-7"
LIST: Final = "/api/handles?prefix=88.1"
URL: Final = {"index": 1, "type": "URL", "data": "https://plant.example/pump-7"}
NOTE: Final = {"index": 2, "type": "NOTE", "data": "a note"}
NAMES: Final = [f"88.1/item-{number:05}" for number in range(2_300)]
"""More than two pages of a listing inside have."""
ADMIN: Final = "88.1/ADMIN"
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
JSON: Final = {"Content-Type": "application/json"}


@pytest.fixture
async def plant(database: str, scratch: Path) -> AsyncIterator[RunningRegistry]:
    async with running_registry(database, scratch, server_admins=["300:88.1/ADMIN"]) as registry:
        yield registry


async def fill(plant: RunningRegistry) -> None:
    values = ValueList.of([HandleValue(index=1, type="URL", data=b"https://plant.example/")])
    batch = [Creation(Handle.parse(name), values) for name in NAMES]
    await plant.node.operations.create(batch, by=OPERATOR)


async def own(plant: RunningRegistry, method: str, target: str, **options: Any) -> HttpAnswer:
    return await plant.ask(method, target, headers=plant.authorization, **options)


async def test_handles_are_listed_in_pages_and_all_together(plant: RunningRegistry) -> None:
    await fill(plant)
    every = [ADMIN, *NAMES]

    first = (await own(plant, "GET", LIST + "&page=0&pageSize=3")).json
    assert first == {
        "responseCode": 1,
        "prefix": "88.1",
        "totalCount": str(len(every)),
        "page": 0,
        "pageSize": 3,
        "handles": every[:3],
    }
    for page, size in ((1, 3), (1, 999), (2, 1_000), (1, 1_500), (9, 1_000), (0, 5_000)):
        answer = await own(plant, "GET", f"{LIST}&page={page}&pageSize={size}")
        assert answer.json["handles"] == every[page * size :][:size], (page, size)
    count = await own(plant, "GET", LIST + "&page=0&pageSize=0")
    assert (count.json["totalCount"], count.json["handles"]) == (str(len(every)), [])

    for query in ("", "&page=0", "&page=0&pageSize=-1", "&pageSize=7"):
        answer = await own(plant, "GET", LIST + query)
        assert answer.json["handles"] == every, query
        assert "page" not in answer.json
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    head = await own(plant, "HEAD", LIST)
    assert (head.status, head.body) == (200, b"")
    named = await own(plant, "GET", "/api/handles?prefix=0.na/88.1&page=0&pageSize=1")
    assert (named.json["prefix"], named.json["handles"]) == ("0.na/88.1", [ADMIN])


async def test_who_may_not_list_is_refused_and_odd_pages_too(plant: RunningRegistry) -> None:
    await plant.put(
        "/api/handles/88.1/mallory",
        [{"index": 300, "type": "HS_SECKEY", "data": "mallory's", "permissions": "1100"}],
    )
    mallory = basic("300%3A88.1/mallory", "mallory's")

    assert (await plant.get(LIST)).rc == 402
    refused = await plant.ask("GET", LIST, headers=mallory)
    assert (refused.status, refused.rc) == (403, 400)
    elsewhere = await own(plant, "GET", "/api/handles?prefix=99.1")
    assert (elsewhere.status, elsewhere.rc) == (400, 301)
    for query in (
        "&page=x&pageSize=1",
        "&page=1&pageSize=99999999999",
        "&page=2147483647&pageSize=2",
        "&page=١&pageSize=1",
    ):
        answer = await own(plant, "GET", LIST + query)
        assert (answer.status, answer.rc) == (400, 4), query
    assert (await own(plant, "GET", "/api/handles?prefix=88..1")).rc == 102


async def test_prefixes_are_homed_unhomed_and_told_by_administrators_of_the_node(
    plant: RunningRegistry,
) -> None:
    assert (await own(plant, "GET", "/api/prefixes")).json == {
        "responseCode": 1,
        "totalCount": "1",
        "prefixes": ["0.NA/88.1"],
    }
    homed = await own(plant, "POST", "/api/prefixes?prefix=0.NA/88.7")
    assert (homed.status, homed.json) == (200, {"responseCode": 1, "handle": "0.NA/88.7"})
    assert (await own(plant, "GET", "/api/prefixes")).json["prefixes"] == ["0.NA/88.1", "0.NA/88.7"]
    assert (await own(plant, "PUT", "/api/handles/88.7/x", body=[URL])).status == 201

    assert (await own(plant, "DELETE", "/api/prefixes?prefix=88.7")).status == 200
    assert (await plant.get("/api/handles/88.7/x")).rc == 301
    assert (await own(plant, "DELETE", "/api/prefixes?prefix=88.7")).rc == 301
    assert (await own(plant, "GET", "/api/prefixes?prefix=88.1")).status == 405
    assert (await own(plant, "POST", "/api/prefixes")).status == 405
    for method, target in (("GET", "/api/prefixes"), ("POST", "/api/prefixes?prefix=88.8")):
        assert (await plant.ask(method, target)).rc == 402
        key = {"index": 301, "type": "HS_SECKEY", "data": "another", "permissions": "1100"}
        await plant.put("/api/handles/88.1/ADMIN?index=301", [key])
        other = await plant.ask(method, target, headers=basic("301%3A88.1/ADMIN", "another"))
        assert (other.status, other.rc) == (403, 400)


async def test_a_new_suffix_is_minted(plant: RunningRegistry) -> None:
    for start in ("88.1/", "88.1/item-"):
        made = await own(plant, "PUT", f"/api/handles/{start}?mintNewSuffix=true", body=[URL])
        assert (made.status, made.rc) == (201, 1)
        name = made.json["handle"]
        assert name.startswith(start)
        assert len(name) == len(start) + 36
        assert (await plant.get("/api/handles/" + name)).rc == 1
    bare = await own(plant, "PUT", "/api/handles/88.1?mintNewSuffix=true", body=[URL])
    assert (bare.status, bare.rc) == (400, 102)


async def test_a_record_is_asked_for_with_parameters_in_a_body(plant: RunningRegistry) -> None:
    await plant.put(PUMP, [URL, NOTE])

    async def asked(body: bytes, headers: dict[str, str], query: str = "") -> HttpAnswer:
        return await plant.ask("POST", PUMP + query, octets=body, headers=headers)

    for body, headers in (
        (b"index=1&type=NOTE", FORM),
        (json.dumps({"index": [1, 2]}).encode(), JSON),
        (json.dumps({"index": "2", "type": ["URL"], "pretty": False}).encode(), JSON),
    ):
        answer = await asked(body, headers)
        assert [value["index"] for value in answer.json["values"]] == [1, 2], body
    added = await asked(b"index=2", FORM, "?index=1")
    assert [value["index"] for value in added.json["values"]] == [1, 2]
    assert len((await asked(b"", {})).json["values"]) == 3
    for body, headers in (
        (b"index=%zz", FORM),
        (b"index=%ff", FORM),
        (b"a&" * 300, FORM),
        (b"a" * 20_000, FORM),
        (b"[]", JSON),
        (b"[" * 10_000, JSON),
        (b'{"index": {}}', JSON),
        (b'{"index": [[1]]}', JSON),
        (b'{"index": "x"}', JSON),
        (json.dumps({"index": [1] * 3_000}).encode(), JSON),
        (b"x", {"Content-Type": "text/plain"}),
    ):
        answer = await asked(body, headers)
        assert (answer.status, answer.rc) in ((400, 4), (413, 4)), body[:40]


async def test_a_script_gets_what_is_public_as_a_call(plant: RunningRegistry) -> None:
    await plant.put(PUMP, [{**URL, "data": "line\u2028end</script>"}])

    for _ in range(2):  # the second one may come from the cache
        answer = await plant.get(PUMP + "?callback=jQuery1.on_$2")
        assert answer.headers["Content-Type"] == "application/javascript;charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        text = answer.body.decode()
        assert text.startswith("jQuery1.on_$2({")
        assert text.endswith(");")
        assert "\u2028" not in text
        assert json.loads(text[len("jQuery1.on_$2(") : -2])["responseCode"] == 1
    missing = await plant.get("/api/handles/88.1/none?callback=cb")
    assert (missing.status, missing.body[:3]) == (404, b"cb(")
    for name in ("alert(1)", "a b", "a;b", "1a", "a[0]", "é", "a" * 101, "<x>"):
        answer = await plant.get(f"{PUMP}?{urlencode({'callback': name})}")
        assert (answer.status, answer.rc) == (400, 4), name
    put = await own(plant, "PUT", PUMP + "?callback=cb", body=[URL])
    assert put.rc == 1


async def test_an_answer_by_secret_is_verified_for_other_servers(plant: RunningRegistry) -> None:
    def query(secret: str, **changes: str) -> str:
        challenge = Challenge(b"n" * 16, b"d" * 32)
        mac = answer_with_secret(challenge, secret.encode(), salt=b"s" * 16, iterations=1_000)[-20:]
        fields = {
            "nonce": b64encode(challenge.nonce).decode(),
            "cnonce": b64encode(challenge.digest).decode(),
            "alg": "PBKDF2-HMAC-SHA1",
            "salt": b64encode(b"s" * 16).decode(),
            "iterations": "1000",
            "length": "160",
            "signature": b64encode(mac).decode(),
            **changes,
        }
        return urlencode({name: value for name, value in fields.items() if value})

    for path, is_valid in (
        (f"300:88.1/ADMIN?{query(plant.secret)}", True),
        (f"300%3A88.1%2FADMIN?{query(plant.secret)}", True),
        (f"88.1/ADMIN?index=300&{query(plant.secret)}", True),
        (f"300:88.1/ADMIN?{query('wrong')}", False),
        (f"301:88.1/ADMIN?{query(plant.secret)}", False),
        (f"300:88.1/NOBODY?{query(plant.secret)}", False),
        (f"300:99.1/ADMIN?{query(plant.secret)}", False),
    ):
        answer = await plant.get("/api/verifications/" + path)
        assert (answer.status, answer.json["isValid"]) == (200, is_valid), path
    for path in (
        f"88.1/ADMIN?{query(plant.secret)}",
        f"300:88.1/ADMIN?{query(plant.secret, iterations='3000000')}",
        f"300:88.1/ADMIN?{query(plant.secret, iterations='')}",
        f"300:88.1/ADMIN?{query(plant.secret, length='7')}",
        f"300:88.1/ADMIN?{query(plant.secret, nonce='')}",
        f"300:88.1/ADMIN?{query(plant.secret, cnonce='%%')}",
        f"300:88.1/ADMIN?{query(plant.secret, alg='rot13')}",
        "300:88.1/ADMIN",
    ):
        answer = await plant.get("/api/verifications/" + path)
        assert (answer.status, answer.rc) == (400, 4), path
    assert (await plant.ask("POST", "/api/verifications/300:88.1/ADMIN")).status == 405


async def test_a_name_alone_leads_to_its_record(plant: RunningRegistry) -> None:
    for path, place in (
        ("/88.1/pump-7", PUMP),
        ("/88.1/a%2Fb%20c?type=URL", "/api/handles/88.1/a/b%20c?type=URL"),
        ("/0.NA/88.1", "/api/handles/0.NA/88.1"),
        ("/88.1/%0d%0aSet-Cookie:x", "/api/handles/88.1/%0D%0ASet-Cookie%3Ax"),
    ):
        answer = await plant.get(path)
        assert (answer.status, answer.headers["Location"]) == (302, place)
        assert "Set-Cookie" not in answer.headers
    for path in ("//evil.example/x", "/evil.example/x", "/robots.txt", "/api/x"):
        answer = await plant.get(path)
        assert (answer.status, answer.rc) == (404, 4), path


async def test_a_name_without_a_slash_is_that_of_a_prefix_record(plant: RunningRegistry) -> None:
    slashless, full = await plant.get("/api/handles/88.1"), await plant.get("/api/handles/0.NA/88.1")

    assert (slashless.rc, full.rc) == (301, 301)
    assert slashless.json["handle"] == "88.1"


async def test_values_are_read_and_written_one_by_one(plant: RunningRegistry) -> None:
    await plant.put(PUMP, [URL])
    added = await plant.put(PUMP + "?index=2&overwrite=false", {"values": [NOTE]})
    assert (added.status, added.rc) == (201, 1)
    refused = await plant.put(PUMP + "?index=various&overwrite=false", [NOTE, {**NOTE, "index": 3}])
    assert (refused.status, refused.rc) == (409, 201)
    both = await plant.put(PUMP + "?index=various", [{**NOTE, "data": "b"}, {**NOTE, "index": 3}])
    assert (both.status, both.rc) == (200, 1)
    values = (await plant.get(PUMP + "?index=2&index=3")).json["values"]
    assert [value["data"]["value"] for value in values] == ["b", "a note"]
