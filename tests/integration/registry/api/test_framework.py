"""What the framework does for every route: credentials, limits, dry runs, idempotency, requests ids, problems."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from protocol.errors import InvalidHandle, StoreUnavailable
from registry.accounts.roles import Right
from registry.api import reading, usage
from registry.api.call import Call, Reply
from registry.api.idempotency import Claim
from registry.api.route import Access, Route
from registry.api.schemas.base import Body, Query, Shape
from registry.problem_types import CONFLICT, ApiProblem
from tests.integration.registry.api.harness import ORGANISATION, Front, running_front


class NewNote(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A note to keep."""

    text: str
    then: str = ""


class Note(Shape, frozen=True, kw_only=True):
    """A note."""

    id: int
    text: str


class Mood(Query, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to fail."""

    then: str = ""


READ = Right.IDENTIFIER_READ


class Gate:
    """Where a request waits until the test lets it go on."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.opened = asyncio.Event()


GATES: list[Gate] = []


async def add(call: Call) -> Reply:
    """Keep a note."""
    new = call.body_as(NewNote)
    tx = await call.begin()
    number = await tx.connection.fetchval("INSERT INTO notes (text) VALUES ($1) RETURNING id", new.text)
    tx.audit("note.create", str(number))
    if new.then == "refuse":
        raise ApiProblem(CONFLICT, "Refused after it was written.")
    if new.then == "fail":
        raise RuntimeError("told to fail")
    if new.then == "wait":
        GATES[-1].arrived.set()
        await GATES[-1].opened.wait()
    if new.then == "identifiers":
        call.count_identifiers(3)
    return Reply(body=Note(id=number, text=new.text), etag="1", location=f"/api/v1/sessions/{number}")


async def share(call: Call) -> Reply:
    """Keep a note in a transaction that is not the framework's."""
    new = call.body_as(NewNote)
    async with call.services.operations.transaction(call.origin) as tx:
        query = "INSERT INTO notes (text) VALUES ($1) RETURNING id"
        number = await tx.connection.fetchval(query, new.text)
        return await call.settle(tx, Reply(body=Note(id=number, text=new.text)))


async def read(call: Call) -> Reply:
    """Read, or fail as told."""
    match call.query_as(Mood).then:
        case "store":
            raise StoreUnavailable("it is away")
        case "handle":
            raise InvalidHandle("no handle")
        case "fail":
            raise RuntimeError("the secret is 12345")
        case _:
            pass
    return Reply(body=Note(id=1, text=call.path["session"]), etag="7")


async def replace(call: Call) -> Reply:
    """Replace what was read."""
    call.require_match("7")
    return Reply()


async def public(call: Call) -> Reply:
    """For everybody."""
    return Reply(body=Note(id=0, text=call.request_id))


def route(method: str, path: str, name: str, handler: Any, **more: Any) -> Route:
    more = {"right": Right.IDENTIFIER_WRITE, "reply": Note, **more}
    return Route(
        method=method, path="/api/v1" + path, name=name, summary="", tag="Notes", handler=handler, **more
    )


ROUTES = (
    route("POST", "/sessions", "note.create", add, body=NewNote, status=201),
    route("POST", "/users", "note.late", add, body=NewNote, status=201, eager=False),
    route("POST", "/nodes", "note.share", share, body=NewNote, status=201, eager=False, shared=True),
    route("POST", "/keys", "note.secret", add, body=NewNote, status=201, secret_reply=True),
    route("GET", "/sessions/{session}", "note.read", read, query=Mood, right=READ, etag=True),
    route("PUT", "/sessions/{session}", "note.replace", replace, reply=None, status=204, if_match=True),
    route("GET", "/users/{session}", "note.peek", read, query=Mood, right=READ, audited_read=True),
    route("GET", "/site", "note.public", public, right=None, access=Access.PUBLIC),
)
WRITES = ("/api/v1/sessions", "/api/v1/users", "/api/v1/nodes")
KEY = {"Idempotency-Key": "order-0001"}


@pytest.fixture
async def front(database: str, scratch: Path) -> AsyncIterator[Front]:
    GATES.append(Gate())
    async with running_front(database, scratch, ROUTES) as running:
        async with running.services.store.connection() as connection:
            await connection.execute("CREATE TABLE notes (id bigserial PRIMARY KEY, text text NOT NULL)")
        yield running


async def fetch(front: Front, query: str, *arguments: object) -> list[Any]:
    async with front.services.store.connection() as connection:
        return list(await connection.fetch(query, *arguments))


async def notes(front: Front) -> list[str]:
    return [record[0] for record in await fetch(front, "SELECT text FROM notes ORDER BY id")]


async def test_a_write_is_committed_audited_and_located(front: Front) -> None:
    answer = await front.ask(
        "POST", "/api/v1/sessions", {"text": "a"}, headers={"X-Request-Id": "order-4711"}
    )

    assert (answer.status, answer.json) == (201, {"id": 1, "text": "a"})
    assert answer.headers["location"] == "/api/v1/sessions/1"
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["x-request-id"] == "order-4711"
    entries = await fetch(
        front,
        "SELECT actor, organisation, via, action, request_id FROM audit_log WHERE action = 'note.create'",
    )
    assert [tuple(entry) for entry in entries] == [
        ("key_one", ORGANISATION, "api", "note.create", "order-4711")
    ]


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "bad id with blanks"])
async def test_a_request_id_of_another_form_is_replaced(front: Front, given: str) -> None:
    answer = await front.ask("GET", "/api/v1/site", headers={"X-Request-Id": given} if given else {})

    assert len(answer.headers["x-request-id"]) == 16
    assert answer.json["text"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("then", ["refuse", "fail"])
async def test_a_write_that_raises_leaves_nothing_behind(front: Front, then: str) -> None:
    answer = await front.ask("POST", "/api/v1/sessions", {"text": "a", "then": then}, headers=KEY)

    assert answer.slug == {"refuse": "conflict", "fail": "internal"}[then]
    assert await notes(front) == []
    assert await fetch(front, "SELECT FROM audit_log WHERE action = 'note.create'") == []
    assert (await front.ask("POST", "/api/v1/sessions", {"text": "a"}, headers=KEY)).status == 201


@pytest.mark.parametrize("path", WRITES[:2])
async def test_a_dry_run_answers_alike_and_keeps_nothing(front: Front, path: str) -> None:
    answer = await front.ask("POST", path + "?dry_run=true", {"text": "a"}, headers=KEY)

    assert (answer.status, answer.json["text"]) == (201, "a")
    assert answer.headers["dry-run"] == "true"
    assert await notes(front) == []
    assert await fetch(front, "SELECT FROM idempotency_keys") == []


async def test_a_test_key_may_only_try(front: Front) -> None:
    refused = await front.ask("POST", "/api/v1/sessions", {"text": "a"}, token="test")
    tried = await front.ask("POST", "/api/v1/sessions?dry_run=true", {"text": "a"}, token="test")

    assert (refused.status, refused.slug, tried.status) == (403, "test-key", 201)
    assert (await front.ask("GET", "/api/v1/sessions/1", token="test")).status == 200


@pytest.mark.parametrize("path", WRITES)
async def test_a_repeated_request_happens_once_and_is_answered_alike(front: Front, path: str) -> None:
    answers = [await front.ask("POST", path, {"text": "a"}, headers=KEY) for _ in range(3)]

    assert {answer.status for answer in answers} == {201}, answers
    assert {answer.body for answer in answers} == {answers[0].body}
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", "true"]
    assert {answer.headers.get("location") for answer in answers} == {answers[0].headers.get("location")}
    assert await notes(front) == ["a"]


@pytest.mark.parametrize("path", WRITES)
async def test_a_key_with_another_request_is_refused(front: Front, path: str) -> None:
    await front.ask("POST", path, {"text": "a"}, headers=KEY)

    for method, target, body in (
        ("POST", path, {"text": "b"}),
        ("POST", path + "?dry_run=false", {"text": "a"}),
        ("PUT", "/api/v1/sessions/1", None),
    ):
        other = await front.ask(method, target, body, headers={**KEY, "If-Match": '"7"'})
        assert (other.status, other.slug) == (422, "idempotency-key-reused")
    assert await notes(front) == ["a"]


async def test_the_key_of_another_caller_is_another_key(front: Front) -> None:
    for token in ("one", "two", "other"):
        answer = await front.ask("POST", "/api/v1/sessions", {"text": token}, token=token, headers=KEY)
        assert (answer.status, answer.json["text"]) == (201, token)


@pytest.mark.parametrize("path", WRITES[:2])
async def test_the_same_request_at_the_same_time_is_a_conflict(front: Front, path: str) -> None:
    body = {"text": "a", "then": "wait"}
    first = asyncio.create_task(front.ask("POST", path, body, headers=KEY))
    await GATES[-1].arrived.wait()

    second = await front.ask("POST", path, body, headers=KEY)

    assert (second.status, second.slug, second.json["retry"]) == (409, "in-progress", True)
    assert second.headers["retry-after"] == "1"
    GATES[-1].opened.set()
    assert (await first).status == 201
    assert (await front.ask("POST", path, body, headers=KEY)).headers["idempotency-replayed"] == "true"
    assert await notes(front) == ["a"]


async def test_the_same_request_in_another_process_is_a_conflict_too(front: Front) -> None:
    """The lock is the database's: taken here as another process would take it."""
    async with front.services.store.writing() as other:
        lock = Claim(caller="key_one", key=KEY["Idempotency-Key"], digest=b"").lock
        await other.connection.execute("SELECT pg_advisory_xact_lock($1)", lock)
        answer = await front.ask("POST", "/api/v1/sessions", {"text": "a"}, headers=KEY)

    assert (answer.status, answer.slug) == (409, "in-progress")


async def test_an_answer_is_kept_for_a_day(front: Front) -> None:
    await front.ask("POST", "/api/v1/sessions", {"text": "a"}, headers=KEY)
    await front.app.idempotency.purge()
    assert len(await fetch(front, "SELECT FROM idempotency_keys")) == 1
    await fetch(
        front, "UPDATE idempotency_keys SET created = now() - interval '24 hours 1 second' RETURNING 1"
    )

    late = await front.ask("POST", "/api/v1/sessions", {"text": "a"}, headers=KEY)
    assert "idempotency-replayed" not in late.headers
    assert await notes(front) == ["a", "a"]

    await fetch(front, "UPDATE idempotency_keys SET created = now() - interval '25 hours' RETURNING 1")
    await front.app.idempotency.purge()
    assert await fetch(front, "SELECT FROM idempotency_keys") == []


async def test_a_secret_in_a_kept_answer_is_sealed(front: Front) -> None:
    first = await front.ask("POST", "/api/v1/keys", {"text": "planted-secret"}, headers=KEY)
    again = await front.ask("POST", "/api/v1/keys", {"text": "planted-secret"}, headers=KEY)

    assert first.body == again.body
    assert first.headers["cache-control"] == again.headers["cache-control"] == "no-store"
    ((body,),) = await fetch(front, "SELECT body FROM idempotency_keys")
    assert b"planted-secret" not in body


@pytest.mark.parametrize("key", ["short", "x" * 256, "with blank", "ümlaut-key"])
async def test_an_idempotency_key_of_another_form_is_refused(front: Front, key: str) -> None:
    answer = await front.ask("POST", "/api/v1/sessions", {"text": "a"}, headers={"Idempotency-Key": key})

    assert (answer.status, answer.json["errors"][0]["pointer"]) == (400, "header Idempotency-Key")


async def test_who_has_no_credential_or_no_right_is_told_so(front: Front) -> None:
    missing = await front.ask("GET", "/api/v1/sessions/1", token="")
    wrong = await front.ask("GET", "/api/v1/sessions/1", token="wrong")
    basic = await front.ask("GET", "/api/v1/sessions/1", headers={"Authorization": "Basic eDp5"})
    powerless = await front.ask("GET", "/api/v1/sessions/1", token="nobody")

    for answer in (missing, wrong, basic):
        assert (answer.status, answer.slug) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (powerless.status, powerless.slug) == (403, "forbidden")
    assert "identifier:read" in powerless.json["detail"]


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/sessions/1?access_token=hg_live_abc",
        "/api/v1/sessions/1?then=hg_session_abcdef",
        "/api/v1/sessions/hg_test_abcdef",
        "/api/v1/sessions/1?Token=x",
    ],
)
async def test_a_credential_in_the_target_is_refused(front: Front, target: str) -> None:
    answer = await front.ask("GET", target)

    assert (answer.status, answer.slug) == (400, "credential-in-target")
    assert "abc" not in answer.body.decode()
    labels = {"scheme": "bearer", "result": "refused"}
    assert front.metrics.registry.get_sample_value("handlegrid_auth_total", labels) == 1


async def test_credentials_need_tls_unless_the_operator_says_otherwise(database: str, scratch: Path) -> None:
    async with running_front(database, scratch, ROUTES, plain_http_credentials="refuse") as front:
        answer = await front.ask("GET", "/api/v1/sessions/1")

    assert (answer.status, answer.slug) == (403, "https-required")


async def test_a_problem_says_all_that_a_client_needs(front: Front) -> None:
    answer = await front.ask("GET", "/api/v1/nothing")

    assert answer.json == {
        "type": "/api/v1/problems/not-found",
        "title": "There is no such thing",
        "status": 404,
        "detail": "There is nothing at this path.",
        "instance": f"urn:request:{answer.headers['x-request-id']}",
        "request_id": answer.headers["x-request-id"],
        "remedy": "See /api/v1/docs for what there is.",
        "retry": False,
        "response_code": 100,
    }


async def test_faults_of_ours_tell_nothing_and_outages_say_when_to_come_back(front: Front) -> None:
    bug = await front.ask("GET", "/api/v1/sessions/1?then=fail")
    outage = await front.ask("GET", "/api/v1/sessions/1?then=store")
    handle = await front.ask("GET", "/api/v1/sessions/1?then=handle")

    assert (bug.status, bug.json["detail"]) == (500, "Internal error.")
    assert (outage.status, outage.headers["retry-after"]) == (503, "5")
    assert "it is away" not in outage.body.decode()
    assert (handle.status, handle.slug) == (422, "unprocessable")


async def test_entity_tags_spare_reading_and_guard_writing(front: Front) -> None:
    target = "/api/v1/sessions/1"
    known = await front.ask("GET", target, headers={"If-None-Match": '"6", "7"'})
    assert (known.status, known.body, known.headers["etag"]) == (304, b"", '"7"')
    assert (await front.ask("GET", target, headers={"If-None-Match": '"6"'})).status == 200

    blind = await front.ask("PUT", target)
    stale = await front.ask("PUT", target, headers={"If-Match": '"6"'})
    right = await front.ask("PUT", target, headers={"If-Match": '"7"'})
    assert [answer.status for answer in (blind, stale, right)] == [428, 412, 204]
    assert 'If-Match: "7"' in blind.json["remedy"]


async def test_head_and_options_are_answered_everywhere(front: Front) -> None:
    head = await front.ask("HEAD", "/api/v1/sessions/1")
    options = await front.ask("OPTIONS", "/api/v1/sessions/1", token="")

    assert (head.status, head.body, head.headers["etag"]) == (200, b"", '"7"')
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PUT")


async def test_bodies_are_bounded_typed_and_wanted(front: Front) -> None:
    path = "/api/v1/sessions"
    large = await front.ask("POST", path, octets=b" " * 1_048_577)
    chunked = await front.ask("POST", path, octets=None, headers={"Transfer-Encoding": "chunked"})
    text = await front.ask("POST", path, octets=b"{}", headers={"Content-Type": "text/plain"})
    packed = await front.ask("POST", path, octets=b"{}", headers={"Content-Encoding": "gzip"})
    useless = await front.ask("PUT", "/api/v1/sessions/1", {"text": "a"}, headers={"If-Match": "*"})

    assert (large.status, large.slug) == (413, "too-large")
    assert chunked.status in (400, 415)
    assert (text.status, text.slug) == (415, "unsupported-media-type")
    assert (packed.status, packed.slug) == (415, "unsupported-media-type")
    assert (useless.status, useless.slug) == (400, "invalid-request")


async def test_a_body_without_a_length_is_bounded_as_it_comes(front: Front) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b" " * 8_192

    headers = {"Authorization": "Bearer one", "Content-Type": "application/json"}
    url = front.base / "api/v1/sessions"
    try:
        async with front.session.post(url, data=endless(), headers=headers) as response:
            assert response.status == 413
    except aiohttp.ClientConnectionError:
        pass  # it was told no while it was still sending


async def test_a_body_that_never_ends_is_given_up(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BODY_WAIT_S", 0.1)
    stream, writer = await asyncio.open_connection(front.base.host, front.base.port)
    writer.write(
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer one\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    status = await stream.readline()
    writer.close()

    assert b" 408 " in status


async def test_every_organisation_has_its_own_rate(front: Front) -> None:
    await fetch(
        front, "UPDATE organisations SET requests_per_minute = 3 WHERE id = $1 RETURNING 1", ORGANISATION
    )

    answers = [
        await front.ask("GET", "/api/v1/sessions/1", token=token) for token in ("one", "two", "one", "two")
    ]

    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"requests";q=3;w=60'
    assert answers[0].headers["ratelimit"].startswith('"requests";r=2;')
    assert (answers[3].slug, answers[3].headers["retry-after"]) == ("too-many-requests", "20")
    assert (await front.ask("GET", "/api/v1/sessions/1", token="other")).status == 200
    assert (
        front.metrics.registry.get_sample_value(
            "handlegrid_limit_reached_total", {"limit": "organisation_rate"}
        )
        == 1
    )


async def test_use_is_counted_per_day_and_identifiers_against_a_quota(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "STANDING_S", 0.0)
    await fetch(
        front, "UPDATE organisations SET identifiers_per_day = 7 WHERE id = $1 RETURNING 1", ORGANISATION
    )
    body = {"text": "a", "then": "identifiers"}

    answers = [await front.ask("POST", "/api/v1/sessions", body) for _ in range(3)]
    tried = await front.ask("POST", "/api/v1/sessions?dry_run=true", {"text": "a"})
    await front.services.usage.flush()
    after = await front.ask("POST", "/api/v1/sessions", body)

    assert [answer.status for answer in answers] == [201, 201, 429]
    assert (answers[2].slug, tried.status, after.status) == ("quota-exceeded", 201, 429)
    await front.services.usage.flush()
    ((requests, failures, created),) = await fetch(
        front,
        "SELECT requests, failures, identifiers_created FROM usage_days WHERE organisation = $1",
        ORGANISATION,
    )
    assert (requests, failures, created) == (5, 2, 6)


async def test_a_privileged_read_is_audited_before_it_is_answered(front: Front) -> None:
    assert (await front.ask("GET", "/api/v1/users/per_1")).status == 200
    assert (await front.ask("GET", "/api/v1/users/per_2?then=handle")).status == 422

    entries = await fetch(front, "SELECT actor, target FROM audit_log WHERE action = 'note.peek'")
    assert [tuple(entry) for entry in entries] == [("key_one", "per_1")]


async def test_requests_are_counted_by_operation_and_status(front: Front) -> None:
    await front.ask("GET", "/api/v1/sessions/1")
    await front.ask("GET", "/api/v1/sessions/1", token="")
    await front.ask("GET", "/api/v1/elsewhere")

    counted = {
        (sample.labels["operation"], sample.labels["status"]): sample.value
        for metric in front.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "handlegrid_api_requests_total"
    }
    assert counted == {("note.read", "200"): 1, ("note.read", "401"): 1, ("none", "404"): 1}


async def test_the_document_describes_what_is_served(front: Front) -> None:
    document = msgspec.json.decode(front.services.documents.openapi)

    assert set(document["paths"]["/api/v1/sessions/{session}"]) == {"get", "put"}
    responses = document["paths"]["/api/v1/sessions"]["post"]["responses"]
    assert {"201", "400", "401", "403", "408", "409", "413", "415", "422", "429", "500", "503"} <= set(
        responses
    )
