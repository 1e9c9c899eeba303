"""The record API of a running node, seen from the network only."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from protocol.codes import DEFAULT_FLAGS, OpCode, ResponseCode
from protocol.message import Message, decode_message
from registry.operations import READING
from tests.support.asking import ask_tcp, ask_udp, read_answer, resolution
from tests.support.registries import HttpAnswer, RunningRegistry, basic, running_registry

PUMP = "/api/handles/88.1/pump-7"
URL = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://plant.example/pump-7"}}
SECRET = {"index": 2, "type": "NOTE", "data": "for administrators", "permissions": "1100"}
ADMIN = {
    "index": 100,
    "type": "HS_ADMIN",
    "data": {
        "format": "admin",
        "value": {"handle": "88.1/ADMIN", "index": 300, "permissions": "111111111111"},
    },
}


@pytest.fixture(params=[0, 2**24], ids=["framework", "cache"])
async def plant(
    request: pytest.FixtureRequest, database: str, scratch: Path
) -> AsyncIterator[RunningRegistry]:
    async with running_registry(database, scratch, http_cache_octets_max=request.param) as registry:
        yield registry


def data(answer: HttpAnswer) -> dict[int, Any]:
    return {value["index"]: value["data"]["value"] for value in answer.json["values"]}


async def raw(registry: RunningRegistry, octets: bytes) -> bytes:
    """Send octets to the HTTP port and return everything until the node closes the connection."""
    reader, writer = await asyncio.open_connection(*registry.node.addresses.http[0])
    try:
        writer.write(octets)
        async with asyncio.timeout(15):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_record_is_created_read_replaced_and_deleted(plant: RunningRegistry) -> None:
    created = await plant.put(PUMP, [ADMIN, URL])
    assert (created.status, created.json) == (201, {"responseCode": 1, "handle": "88.1/pump-7"})

    read = await plant.get(PUMP)
    assert (read.status, read.rc, read.json["handle"]) == (200, 1, "88.1/pump-7")
    assert [value["index"] for value in read.json["values"]] == [1, 100]
    assert read.json["values"][0]["data"] == URL["data"]
    assert read.json["values"][0]["timestamp"].endswith("Z")

    replaced = await plant.put(PUMP, {"values": [{**URL, "data": "https://plant.example/new"}, ADMIN]})
    assert (replaced.status, replaced.rc) == (200, 1)
    assert data(await plant.get(PUMP))[1] == "https://plant.example/new"

    assert (await plant.delete(PUMP)).json == {"responseCode": 1, "handle": "88.1/pump-7"}
    gone = await plant.get(PUMP)
    assert (gone.status, gone.rc) == (404, 100)
    assert (await plant.delete(PUMP)).status == 404


async def test_a_record_without_an_administrator_gets_that_of_its_prefix(plant: RunningRegistry) -> None:
    """Nobody could ever change it otherwise."""
    await plant.put(PUMP, [URL])

    assert [value["type"] for value in (await plant.get(PUMP)).json["values"]] == ["URL", "HS_ADMIN"]
    assert (await plant.put(PUMP, [{**URL, "data": "https://plant.example/new"}])).status == 200
    assert (await plant.delete(PUMP)).status == 200


async def test_overwrite_false_never_replaces(plant: RunningRegistry) -> None:
    assert (await plant.put(PUMP + "?overwrite=false", [URL, ADMIN])).status == 201
    for values in ([URL, ADMIN], [{**URL, "data": "other"}, ADMIN]):
        again = await plant.put(PUMP + "?overwrite=false", values)
        assert (again.status, again.rc) == (409, 101)
    assert data(await plant.get(PUMP))[1] == "https://plant.example/pump-7"


async def test_single_values_are_added_replaced_and_removed(plant: RunningRegistry) -> None:
    await plant.put(PUMP, [URL, ADMIN])

    added = await plant.put(PUMP + "?index=various", {"index": 3, "type": "DESC", "data": "a pump"})
    assert (added.status, added.rc) == (201, 1)
    replaced = await plant.put(PUMP + "?index=3", [{"index": 3, "type": "DESC", "data": "the pump"}])
    assert (replaced.status, replaced.rc) == (200, 1)
    kept = await plant.put(
        PUMP + "?index=3&overwrite=false", [{"index": 3, "type": "DESC", "data": "no pump"}]
    )
    assert (kept.status, kept.rc) == (409, 201)
    assert data(await plant.get(PUMP + "?index=3")) == {3: "the pump"}

    assert (await plant.delete(PUMP + "?index=3&index=1")).status == 200
    missing = await plant.delete(PUMP + "?index=3")
    assert (missing.status, missing.rc) == (400, 200)
    assert [value["index"] for value in (await plant.get(PUMP)).json["values"]] == [100]


async def test_a_put_whose_indexes_are_not_those_of_the_body_is_refused(plant: RunningRegistry) -> None:
    await plant.put(PUMP, [URL, ADMIN])

    answer = await plant.put(PUMP + "?index=7", [URL])

    assert (answer.status, answer.rc) == (400, 4)


async def test_index_and_type_select_values(plant: RunningRegistry) -> None:
    mirror = {"index": 2, "type": "URL.MIRROR", "data": "https://mirror.example/"}
    await plant.put(PUMP, [ADMIN, mirror, URL, {"index": 4, "type": "EMAIL", "data": "p@plant.example"}])

    async def selected(query: str) -> list[int]:
        return [value["index"] for value in (await plant.get(PUMP + query)).json["values"]]

    assert await selected("?type=url") == [1]
    assert await selected("?type=URL.") == [1, 2]
    assert await selected("?index=4&index=100") == [4, 100]
    assert await selected("?index=4&type=URL") == [1, 4]
    nothing = await plant.get(PUMP + "?index=99")
    assert (nothing.status, nothing.json) == (
        200,
        {"responseCode": 200, "handle": "88.1/pump-7", "values": []},
    )


async def test_restricted_values_are_for_administrators(plant: RunningRegistry) -> None:
    await plant.put(PUMP, [URL, SECRET, ADMIN])

    assert set(data(await plant.get(PUMP))) == {1, 100}
    asked = await plant.get(PUMP + "?publicOnly=false")
    assert (asked.status, asked.rc) == (401, 402)
    assert set(data(await plant.get(PUMP + "?publicOnly=false&type=URL&type=HS_ADMIN"))) == {1, 100}
    assert (await plant.get(PUMP + "?index=2")).rc == 200
    own = await plant.ask("GET", PUMP, headers=plant.authorization)
    assert data(own)[2] == "for administrators"
    assert own.headers["Cache-Control"] == "no-store"
    public = await plant.ask("GET", PUMP + "?publicOnly=true", headers=plant.authorization)
    assert set(data(public)) == {1, 100}


async def test_who_is_told_what_is_not_public_is_in_the_audit(plant: RunningRegistry) -> None:
    await plant.put(PUMP, [URL, SECRET, ADMIN])
    before = await readings(plant)

    await plant.get(PUMP)
    await plant.ask("GET", PUMP + "?publicOnly=true", headers=plant.authorization)
    await plant.ask("GET", PUMP + "?index=1", headers=plant.authorization)
    assert await readings(plant) == before == []

    request = {**plant.authorization, "X-Request-Id": "reading-2026"}
    await plant.ask("GET", PUMP, headers=request)
    assert await readings(plant) == [(plant.user, "rest", "88.1/pump-7", "reading-2026")]


async def readings(registry: RunningRegistry) -> list[tuple[str, str, str, str]]:
    """Who read what is not public, by the audit: actor, front end, handle, request."""
    query = "SELECT actor, via, target, request_id FROM audit_log WHERE action = $1"
    async with registry.node.services.store.connection() as connection:
        return [tuple(record) for record in await connection.fetch(query, READING)]


async def test_names_are_octets_and_prefixes_know_no_case(plant: RunningRegistry) -> None:
    assert (await plant.put("/api/handles/88.1/%C3%84%2Fb%20c+d%23%3F", [URL, ADMIN])).status == 201

    read = await plant.get("/api/handles/88.1%2F%C3%84/B%20C+D%23%3F")
    assert (read.status, read.json["handle"]) == (200, "88.1/Ä/B C+D#?")
    assert (await plant.get("/api/handles/88.1/%C3%A4/b%20c+d%23%3F")).status == 404


async def test_pretty_is_indented_and_head_has_the_same_header(plant: RunningRegistry) -> None:
    await plant.put(PUMP, [URL, ADMIN])

    pretty, plain = await plant.get(PUMP + "?pretty"), await plant.get(PUMP + "?auth=true")
    assert pretty.json == plain.json
    assert b'\n  "responseCode": 1' in pretty.body
    assert b"\n" not in plain.body
    head = await plant.ask("HEAD", PUMP)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(plain.body))


async def test_where_a_name_does_not_live_is_said(plant: RunningRegistry) -> None:
    answer = await plant.get("/api/handles/99.1/x")

    assert (answer.status, answer.rc) == (400, 301)


async def test_the_site_record_says_what_operation_2_says(plant: RunningRegistry) -> None:
    site = (await plant.get("/api/site")).json["site"]

    assert site["serialNumber"] == plant.node.site.serial
    ports = {(one["protocol"], one["port"]) for one in site["servers"][0]["interfaces"]}
    assert ("UDP", plant.node.addresses.udp[0][1]) in ports
    assert ("HTTP", plant.node.addresses.http[0][1]) in ports


async def test_writing_needs_credentials(plant: RunningRegistry) -> None:
    for method in ("PUT", "DELETE"):
        answer = await plant.ask(method, PUMP, body=[URL])
        assert (answer.status, answer.rc) == (401, 402)
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert (await plant.get(PUMP)).status == 404


async def test_credentials_that_prove_nothing_are_refused_without_echo(plant: RunningRegistry) -> None:
    secret = plant.secret
    for user, password in (
        ("300%3A88.1/ADMIN", "wrong-secret"),
        ("300%3A88.1/ADMIN", ""),
        ("301%3A88.1/ADMIN", secret),
        ("300%3A88.1/NOBODY", secret),
        ("300%3A99.1/ADMIN", secret),
    ):
        answer = await plant.ask("PUT", PUMP, body=[URL], headers=basic(user, password))
        assert (answer.status, answer.rc) == (401, 403), user
        assert not password or password.encode() not in answer.body
        assert (await plant.ask("GET", PUMP, headers=basic(user, password))).status == 401


async def test_credentials_that_cannot_be_read_are_refused(plant: RunningRegistry) -> None:
    for header in ("Basic", "Basic !", "Bearer x", 'Handle clientCert="true"', "\t", "Basic ää"):
        answer = await plant.ask("PUT", PUMP, body=[URL], headers={"Authorization": header})
        assert (answer.status, answer.rc) == (401, 402), header


async def test_every_spelling_of_the_user_name_is_understood(plant: RunningRegistry) -> None:
    for user in (
        "300%3A88.1/ADMIN",
        "300%3A88.1%2FADMIN",
        "300:88.1/ADMIN",
        "300%3a88.1/admin",
        "0%3A88.1/ADMIN",
    ):
        answer = await plant.ask("PUT", PUMP, body=[URL, ADMIN], headers=basic(user, plant.secret))
        assert answer.status in (200, 201), user


async def test_an_identity_without_rights_gets_403(plant: RunningRegistry) -> None:
    key = {"index": 300, "type": "HS_SECKEY", "data": "mallory's", "permissions": "1100"}
    await plant.put("/api/handles/88.1/mallory", [key, ADMIN])
    await plant.put(PUMP, [URL, ADMIN])
    mallory = basic("300%3A88.1/mallory", "mallory's")

    for method in ("PUT", "DELETE"):
        answer = await plant.ask(method, PUMP, body=[{**URL, "data": "x"}, ADMIN], headers=mallory)
        assert (answer.status, answer.rc) == (403, 400)
    assert data(await plant.get(PUMP))[1] == "https://plant.example/pump-7"


async def test_a_password_over_plain_http_is_refused_with_cause_and_remedy(
    database: str, scratch: Path
) -> None:
    async with running_registry(database, scratch, plain_http_credentials="refuse") as registry:
        for method in ("GET", "PUT", "DELETE"):
            answer = await registry.ask(method, PUMP, body=[URL], headers=registry.authorization)
            assert (answer.status, answer.rc) == (403, 402)
            assert "https://" in answer.json["message"]
            assert "plain_http_credentials" in answer.json["message"]
            assert registry.secret not in answer.json["message"]
        assert (await registry.ask("PUT", PUMP, body=[URL])).status == 403
        assert (await registry.get(PUMP)).status == 404


ODD_REQUESTS: Final = (
    ("GET", "/", 404, 4),
    ("GET", "/api", 404, 4),
    ("GET", "/api/none", 404, 4),
    ("PUT", "/88.1/pump-7", 404, 4),
    ("GET", "//88.1/pump-7", 404, 4),
    ("POST", "/anything", 404, 4),
    ("PATCH", "/api/handlesx", 404, 4),
    ("GET", "/api/handles", 400, 102),
    ("GET", "/api/handles/", 400, 102),
    ("GET", "/api/handles?prefix=88.1", 401, 402),
    ("GET", "/api/handles?prefix=", 400, 102),
    ("POST", "/api/handles?prefix=88.1", 405, 5),
    ("POST", "/api/handles/88.1/x", 404, 100),
    ("PATCH", "/api/handles/88.1/x", 405, 5),
    ("DELETE", "/api/site", 405, 5),
    ("GET", "/api/handles/88.1/x?index=abc", 400, 4),
    ("GET", "/api/handles/88.1/x?index=99999999999999999999", 400, 4),
    ("GET", "/api/handles/88.1/x?index=" + "9" * 6_000, 400, 4),
    ("GET", "/api/handles/88.1/x?type=%ff", 400, 4),
    ("GET", "/api/handles/88.1/%zz", 400, 4),
    ("GET", "/api/handles/88.1/%", 400, 4),
    ("GET", "/api/handles/88.1/" + "x" * 3_000, 400, 102),
    ("GET", "/api/handles/88.1/x%00y", 404, 100),
    ("GET", "/api/handles/88.1/x%0d%0aSet-Cookie:%20a=b", 404, 100),
    ("GET", "/api/handles/88.1/%ff%fe", 404, 100),
    ("GET", "/api/handles/88.1/x?" + "a&" * 300, 400, 4),
)
"""Method, target, and what must come: status and response code."""


async def test_odd_requests_get_a_defined_answer_in_json(plant: RunningRegistry) -> None:
    for method, target, status, rc in ODD_REQUESTS:
        answer = await plant.ask(method, target)
        assert (answer.status, answer.rc) == (status, rc), (method, target[:80])
        assert "Set-Cookie" not in answer.headers
        assert ("Allow" in answer.headers) is (status == 405)


ODD_BODIES: Final = (
    (b"[]", "text/plain", 400, 4),
    (b"[]", "", 400, 4),
    (b"{nonsense", "application/json", 400, 4),
    (b"\xff", "application/json", 400, 4),
    (b"[" * 500_000, "application/json", 400, 4),
    (b'{"index":0,"type":"URL","data":"x"}', "application/json", 400, 202),
    (
        b'[{"index":1,"type":"URL","data":"x"},{"index":1,"type":"B","data":"y"}]',
        "application/json",
        409,
        201,
    ),
    (b"[" + b" " * 1_048_576 + b"]", "application/json", 413, 4),
)
"""Body, its media type, and what must come: status and response code."""


async def test_odd_bodies_get_a_defined_answer_in_json(plant: RunningRegistry) -> None:
    for octets, content_type, status, rc in ODD_BODIES:
        headers = {**plant.authorization, "Content-Type": content_type}
        answer = await plant.ask("PUT", PUMP, octets=octets, headers=headers)
        assert (answer.status, answer.rc) == (status, rc), octets[:80]
    assert (await plant.get(PUMP)).status == 404


async def test_names_that_are_no_text_cannot_be_created(plant: RunningRegistry) -> None:
    answer = await plant.put("/api/handles/88.1/%ff", [URL, ADMIN])

    assert (answer.status, answer.rc) == (400, 102)


NO_HTTP: Final = (
    b"GET /api/site HTTP/9.9\r\n\r\n",
    b"\x00\x01\x02\x03\r\n\r\n",
    b"GET /api/handles/88.1/a b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/site HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/site HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
)


async def test_what_is_no_http_gets_a_400_and_the_node_lives_on(plant: RunningRegistry) -> None:
    for octets in NO_HTTP:
        answer = await raw(plant, octets)
        assert answer.split(b" ")[1][:1] == b"4", octets[:80]
    assert (await plant.get("/api/site")).status == 200


async def test_scripts_in_values_come_back_as_data_only(plant: RunningRegistry) -> None:
    evil = "javascript:alert(1)\r\nLocation: https://evil.example/"
    await plant.put(PUMP, [{**URL, "data": evil}, ADMIN])

    answer = await plant.get(PUMP)

    assert data(answer)[1] == evil
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Location" not in answer.headers


async def test_what_is_registered_over_http_is_resolved_over_every_transport(plant: RunningRegistry) -> None:
    unknown = await ask_udp(plant.node.addresses.udp[0], resolution("88.1/pump-7"))
    assert unknown.rc == ResponseCode.HANDLE_NOT_FOUND

    await plant.put(PUMP, [URL, SECRET, ADMIN])
    for address, ask in ((plant.node.addresses.udp[0], ask_udp), (plant.node.addresses.tcp[0], ask_tcp)):
        answer = await ask(address, resolution("88.1/PUMP-7"))
        assert answer.url == "https://plant.example/pump-7"
        assert [value.index for value in answer.values] == [1, 100]
        assert answer.authoritative
    tunnelled = await plant.ask(
        "POST",
        "/88.1/pump-7",
        octets=resolution("88.1/pump-7").encode(),
        headers={"Content-Type": "application/x-hdl-message"},
    )
    assert read_answer(decode_message(tunnelled.body)).url == "https://plant.example/pump-7"


async def test_a_cached_answer_ends_with_the_write_that_changes_it(plant: RunningRegistry) -> None:
    address = plant.node.addresses.udp[0]
    for number in range(3):
        await plant.put(PUMP, [{**URL, "data": f"https://plant.example/{number}"}, ADMIN])
        for _ in range(2):
            assert (
                await ask_udp(address, resolution("88.1/pump-7"))
            ).url == f"https://plant.example/{number}"
    await plant.delete(PUMP)
    assert (await ask_udp(address, resolution("88.1/pump-7"))).rc == ResponseCode.HANDLE_NOT_FOUND


async def test_site_information_over_the_wire_is_the_published_record(plant: RunningRegistry) -> None:
    request = Message.request(
        OpCode.GET_SITE_INFO, b"\0\0\0\1/", request_id=5, expiration=0, flags=DEFAULT_FLAGS
    )

    answer = await ask_udp(plant.node.addresses.udp[0], request)

    assert answer.message.body == plant.node.site.encode()


async def test_metrics_and_health_are_told_on_the_admin_listener_only(plant: RunningRegistry) -> None:
    await plant.put(PUMP, [URL, ADMIN])
    await ask_udp(plant.node.addresses.udp[0], resolution("88.1/pump-7"))
    await ask_udp(plant.node.addresses.udp[0], resolution("88.1/pump-7"))
    await plant.get("/nothing-here")
    await plant.get("/api/site")

    async with plant.session.get(plant.admin_base + "/metrics") as response:
        text = await response.text()
    assert (
        'handlegrid_requests_total{op="resolution",rc="success",role="registry",transport="udp"} 2.0' in text
    )
    assert 'handlegrid_cache_lookups_total{cache="answers",result="hit",tier="memory"} 1.0' in text
    assert 'handlegrid_registrations_total{result="created",via="rest"} 1.0' in text
    assert 'handlegrid_auth_total{result="success",scheme="basic"} 1.0' in text
    assert "handlegrid_db_up 1.0" in text
    assert "handlegrid_udp_socket_drops_total 0.0" in text
    assert 'op="other",rc="protocol_error",role="registry",transport="http"} 1.0' in text
    assert 'op="get_site_info",rc="success",role="registry",transport="http"} 1.0' in text
    assert 'op="resolution",rc="success",role="registry",transport="http"' not in text
    for path in ("/health/live", "/health/ready"):
        async with plant.session.get(plant.admin_base + path) as response:
            assert response.status == 200
        assert (await plant.get(path)).status == 404


async def test_scripts_of_any_origin_may_do_what_they_have_a_key_for(plant: RunningRegistry) -> None:
    """A browser adds no credentials of its own where the origin is any."""
    answers = [await plant.get(path) for path in (PUMP, "/api/site", "/nowhere", "/88.1/x")]
    answers += [await plant.put(PUMP, [URL, ADMIN]), await plant.ask("DELETE", PUMP)]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        exposed = answer.headers["Access-Control-Expose-Headers"]
        assert {"Content-Length", "Location", "WWW-Authenticate"} <= set(exposed.split(", "))

    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "PUT"}
    async with plant.session.options(plant.base + PUMP, headers=asked) as preflight:
        assert preflight.status == 204
        assert preflight.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST, PUT, DELETE, OPTIONS"
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"].split(", ")


async def test_https_and_http_share_a_port(
    database: str, scratch: Path, certificate: tuple[Path, Path]
) -> None:
    certificate_file, key_file = certificate
    async with running_registry(
        database,
        scratch,
        scheme="https",
        plain_http_credentials="refuse",
        tls_certificate_file=str(certificate_file),
        tls_key_file=str(key_file),
    ) as registry:
        assert (await registry.put(PUMP, [URL, ADMIN])).status == 201
        assert data(await registry.get(PUMP))[1] == "https://plant.example/pump-7"
        unauthenticated = await registry.ask("PUT", PUMP, body=[URL])
        assert (unauthenticated.status, unauthenticated.rc) == (401, 402)

        registry.scheme = "http"
        assert (await registry.get(PUMP)).status == 200
        assert (await registry.put(PUMP, [URL, ADMIN])).status == 403

        context = ssl.create_default_context(cafile=str(certificate_file))
        async with aiohttp.ClientSession() as session:
            url = f"https://127.0.0.1:{registry.node.addresses.http[0][1]}/api/site"
            async with session.get(url, ssl=context) as response:
                assert json.loads(await response.read())["responseCode"] == 1


async def test_a_started_node_is_found_as_it_was_after_a_restart(database: str, scratch: Path) -> None:
    async with running_registry(database, scratch) as registry:
        await registry.put(PUMP, [URL, SECRET, ADMIN])
        before = registry.node.site, registry.secret, registry.node.settings
    ports = {name: getattr(before[2], name) for name in ("handle_port", "http_port", "admin_port")}
    async with running_registry(database, scratch, **ports) as registry:
        assert (registry.node.site, registry.secret) == before[:2]
        own = await registry.ask("GET", PUMP, headers=registry.authorization)
        assert data(own)[2] == "for administrators"
