"""Requests of the client against a real server: what is sent, when it is sent again, what an answer becomes."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocol.errors import SettingsError
from registry.api.schemas.base import Body, Page, Shape
from registry.client import ONCE, Connection, Credential, NoAnswer, Refused, Retries, UnexpectedAnswer, Write
from registry.client.address import path_of
from registry.client.connection import ANSWER_OCTETS_MAX
from registry.client.pages import every_item
from registry.problem_types import CONFLICT, IN_PROGRESS
from tests.support.scratch import free_port
from tests.unit.registry.client.scripted import (
    TOKEN,
    Scripted,
    ScriptedServer,
    page,
    problem,
    scripted_server,
)

QUICK = Retries(repeats_max=3, pause_s=0.001)


class Thing(Shape, frozen=True, kw_only=True):
    """What the server is asked for."""

    name: str = ""


class NewThing(Body, frozen=True, kw_only=True):
    """What it is asked to make."""

    name: str


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server


@pytest.fixture
async def connection(server: ScriptedServer) -> AsyncIterator[Connection]:
    async with Connection(server.url, credential=Credential(TOKEN), retries=QUICK) as connection:
        yield connection


async def make(connection: Connection, how: Write = ONCE) -> str:
    answer = await connection.write("POST", path_of("things"), Thing, body=NewThing(name="a"), how=how)
    return answer.body.name


async def test_a_credential_travels_in_its_header_alone(
    server: ScriptedServer, connection: Connection
) -> None:
    server.script(Scripted(body=b'{"name":"a"}'))

    await connection.get(path_of("things", "88.100.1/PUMP 7"), Thing, {"limit": 3, "cursor": "", "x": None})

    (asked,) = server.asked
    assert asked.target == "/api/v1/things/88.100.1%2FPUMP%207?limit=3"
    assert asked.headers.pop("Authorization") == f"Bearer {TOKEN}"
    assert TOKEN not in repr(asked)
    assert "Idempotency-Key" not in asked.headers


async def test_an_answer_tells_version_replay_and_request(
    server: ScriptedServer, connection: Connection
) -> None:
    headers = {"ETag": '"7"', "Idempotency-Replayed": "true", "X-Request-Id": "abcdefgh"}
    server.script(Scripted(status=201, body=b'{"name":"a","later":1}', headers=headers))

    answer = await connection.write(
        "PUT", "/things/a", Thing, body=NewThing(name="a"), if_match="6", how=Write(idempotency_key="k" * 8)
    )

    assert (answer.body.name, answer.etag, answer.replayed, answer.dry_run) == ("a", "7", True, False)
    assert answer.request_id == "abcdefgh"
    (asked,) = server.asked
    assert asked.headers["If-Match"] == '"6"'
    assert asked.headers["Idempotency-Key"] == "k" * 8
    assert json.loads(asked.body) == {"name": "a"}


async def test_a_dry_run_says_so_both_ways(server: ScriptedServer, connection: Connection) -> None:
    server.script(Scripted(headers={"Dry-Run": "true"}))

    answer = await connection.write("DELETE", "/things/a", Thing, how=Write(dry_run=True))

    assert answer.dry_run
    assert server.asked[0].target == "/api/v1/things/a?dry_run=true"


async def test_an_answer_without_a_body_is_none(server: ScriptedServer, connection: Connection) -> None:
    server.script(Scripted(status=204, body=b""))
    assert (await connection.write("DELETE", "/things/a", type(None))).body is None
    with pytest.raises(UnexpectedAnswer, match="does not understand"):
        await connection.get("/things/a", Thing)


async def test_a_write_whose_connection_was_lost_is_repeated_under_the_same_key(
    server: ScriptedServer, connection: Connection
) -> None:
    server.script(Scripted(drop=True), Scripted(drop=True), Scripted(body=b'{"name":"made once"}'))

    assert await make(connection) == "made once"

    keys = [asked.headers["Idempotency-Key"] for asked in server.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len({asked.headers["X-Request-Id"] for asked in server.asked}) == 1
    assert len({asked.body for asked in server.asked}) == 1


async def test_every_write_has_a_key_of_its_own(server: ScriptedServer, connection: Connection) -> None:
    server.script(Scripted())
    await make(connection)
    await make(connection)
    first, second = (asked.headers["Idempotency-Key"] for asked in server.asked)
    assert first != second


async def test_a_write_that_stays_lost_tells_the_key_under_which_it_may_be_repeated(
    server: ScriptedServer, connection: Connection
) -> None:
    server.script(Scripted(drop=True))

    with pytest.raises(NoAnswer, match="not known") as caught:
        await make(connection, Write(idempotency_key="mine-0001"))

    assert caught.value.idempotency_key == "mine-0001"
    assert "mine-0001" in str(caught.value)
    assert len(server.asked) == 1 + QUICK.repeats_max


async def test_a_refused_write_that_may_be_repeated_tells_its_key(
    server: ScriptedServer, connection: Connection
) -> None:
    server.script(problem(503, "store-unavailable", retry=True))
    with pytest.raises(Refused) as caught:
        await make(connection, Write(idempotency_key="mine-0001"))
    assert "mine-0001" in caught.value.explain()

    server.script(problem(409, "conflict"))
    with pytest.raises(Refused) as caught:
        await make(connection, Write(idempotency_key="mine-0001"))
    assert "mine-0001" not in caught.value.explain()


async def test_the_port_of_another_protocol_is_told_at_once_and_without_what_it_said() -> None:
    asked = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1))
        writer.write(b"\x02\x0b no HTTP\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        async with Connection(f"http://127.0.0.1:{port}", retries=QUICK) as connection:
            with pytest.raises(NoAnswer, match=r"speaks no HTTP\. Is this") as caught:
                await connection.get("/things/a", Thing)
    assert "x02" not in str(caught.value)
    assert len(asked) == 1


async def test_https_at_a_port_without_it_is_told_at_once(server: ScriptedServer) -> None:
    async with Connection(server.url.replace("http:", "https:"), retries=QUICK) as connection:
        with pytest.raises(NoAnswer, match=r"no TLS: .* Does the node speak HTTPS"):
            await connection.get("/things/a", Thing)


async def test_a_node_that_is_not_there_was_never_told(server: ScriptedServer) -> None:
    async with Connection(f"http://127.0.0.1:{free_port('127.0.0.1')}", retries=QUICK) as nowhere:
        with pytest.raises(NoAnswer, match="no connection") as caught:
            await make(nowhere)
    assert caught.value.idempotency_key is None


@pytest.mark.parametrize(
    "refusal",
    [
        problem(503, "store-unavailable", retry=True),
        problem(429, "too-many-requests", retry=True),
        problem(409, "in-progress", retry=True),
        problem(408, "request-timeout", retry=True),
        Scripted(status=502, body=b"<html>", headers={"Content-Type": "text/html"}),
        Scripted(status=503, body=b"busy", headers={"Content-Type": "text/plain"}),
    ],
)
async def test_what_may_pass_is_tried_again(
    server: ScriptedServer, connection: Connection, refusal: Scripted
) -> None:
    server.script(refusal, Scripted(body=b'{"name":"a"}'))
    assert await make(connection) == "a"
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        problem(429, "quota-exceeded"),
        problem(409, "conflict"),
        problem(500, "internal"),
        problem(404, "not-found"),
        problem(422, "unprocessable"),
    ],
)
async def test_what_stays_is_told_at_once(
    server: ScriptedServer, connection: Connection, refusal: Scripted
) -> None:
    server.script(refusal)
    with pytest.raises(Refused):
        await make(connection)
    assert len(server.asked) == 1


async def test_retry_after_is_honoured(server: ScriptedServer, connection: Connection) -> None:
    busy = problem(503, "store-unavailable", retry=True, headers={"Retry-After": "1"})
    server.script(busy, Scripted())
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await make(connection)
    assert loop.time() - began_s >= 1.0


async def test_a_wait_beyond_the_deadline_is_not_begun(server: ScriptedServer) -> None:
    server.script(problem(429, "too-many-requests", retry=True, headers={"Retry-After": "60"}))
    async with Connection(server.url, retries=QUICK, deadline_s=20) as connection:
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(Refused) as caught:
            await connection.get("/things", Thing)
        assert asyncio.get_running_loop().time() - began_s < 10
    assert caught.value.retry_after_s == 60


async def test_a_problem_carries_detail_remedy_fields_and_request(
    server: ScriptedServer, connection: Connection
) -> None:
    errors = [("/values/0/type", "is empty"), ("", "is short")]
    server.script(problem(409, "conflict", detail="it exists", remedy="Use PUT.", errors=errors))

    with pytest.raises(Refused) as caught:
        await make(connection)

    refused = caught.value
    assert (refused.status, refused.slug, refused.detail, refused.remedy) == (
        409,
        "conflict",
        "it exists",
        "Use PUT.",
    )
    assert refused.is_(CONFLICT)
    assert not refused.is_(IN_PROGRESS)
    assert refused.explain().splitlines() == [
        "It cannot be done: it exists",
        "  /values/0/type: is empty",
        "  the body: is short",
        "What to do: Use PUT.",
        "(HTTP 409, conflict, request 0123456789abcdef)",
    ]


async def test_the_only_field_that_is_wrong_is_told_once(
    server: ScriptedServer, connection: Connection
) -> None:
    server.script(problem(400, "invalid-request", detail="/a: is empty", errors=[("/a", "is empty")]))
    with pytest.raises(Refused) as caught:
        await make(connection)
    assert caught.value.explain().count("is empty") == 1


async def test_an_answer_that_repeats_the_credential_does_not_spread_it(
    server: ScriptedServer, connection: Connection
) -> None:
    server.script(problem(400, "invalid-request", detail=f"what is {TOKEN}?", errors=[("/a", TOKEN)]))
    with pytest.raises(Refused) as caught:
        await make(connection)
    assert TOKEN not in str(caught.value) + caught.value.explain() + repr(caught.value.problem)
    assert "what is ***?" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Scripted(status=404, body=b"<html>not here", headers={"Content-Type": "text/html"}), "HTTP 404"),
        (Scripted(status=302, body=b"", headers={"Location": "https://elsewhere.example/"}), "HTTP 302"),
        (Scripted(body=b'{"name": 1}'), "does not understand"),
        (Scripted(body=b"[" * 100_000), "does not understand"),
        (Scripted(body=b"\xff\xfe"), "does not understand"),
        (problem(400, "x"), "it will not do"),
        (Scripted(status=400, body=b"[]", headers={"Content-Type": "application/problem+json"}), "HTTP 400"),
    ],
)
async def test_an_answer_that_is_none_is_told(
    server: ScriptedServer, connection: Connection, answer: Scripted, said: str
) -> None:
    server.script(answer)
    with pytest.raises((UnexpectedAnswer, Refused), match=said):
        await connection.get("/things/a", Thing)
    assert len(server.asked) == 1  # in particular, the redirect was not followed


async def test_an_answer_without_end_is_cut(server: ScriptedServer, connection: Connection) -> None:
    server.script(Scripted(body=b" " * (ANSWER_OCTETS_MAX + 1)))
    with pytest.raises(UnexpectedAnswer, match="more than"):
        await connection.get("/things/a", Thing)


async def test_a_list_is_read_page_by_page(server: ScriptedServer, connection: Connection) -> None:
    server.script(page([{"name": "a"}, {"name": "b"}], "c1"), page([], "c2"), page([{"name": "c"}], None))

    async def fetch(cursor: str) -> Page[Thing]:
        answer = await connection.get("/things", Page[Thing], {"cursor": cursor, "limit": 2})
        return answer.body

    assert [item.name async for item in every_item(connection.url, fetch)] == ["a", "b", "c"]
    assert [asked.target.partition("?")[2] for asked in server.asked] == [
        "limit=2",
        "cursor=c1&limit=2",
        "cursor=c2&limit=2",
    ]


async def test_pages_that_go_in_a_circle_end(server: ScriptedServer, connection: Connection) -> None:
    server.script(page([], "c1"))

    async def fetch(cursor: str) -> Page[Thing]:
        return (await connection.get("/things", Page[Thing], {"cursor": cursor})).body

    with pytest.raises(UnexpectedAnswer, match="itself"):
        assert [item async for item in every_item(connection.url, fetch)] == []


@pytest.mark.parametrize("key", ["short", "with blanks in it", "x" * 256, "line\nend-of-it"])
def test_an_idempotency_key_that_no_node_takes_is_refused_here(key: str) -> None:
    with pytest.raises(ValueError, match="8 to 255"):
        Write(idempotency_key=key)


def test_a_file_of_authorities_must_hold_some(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificates")
    for wrong in (path, tmp_path / "missing.pem"):
        with pytest.raises(SettingsError, match="certificates of authorities"):
            Connection("https://node.example", ca_file=wrong)


def test_certificates_are_checked_by_default() -> None:
    connection = Connection("https://node.example")
    assert connection._tls is not None
    assert connection._tls.verify_mode is ssl.CERT_REQUIRED
    assert connection._tls.check_hostname
