"""What attackers put into fields, parameters and paths of the API: generated from the table of routes, so that a new
operation is attacked too. Nothing is an error of ours, nothing foreign is told or touched, nobody gains a right.
"""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import asyncpg
import pytest

from registry.accounts.roles import ROLE_RIGHTS, Right, Role
from registry.api.route import Access, Route
from registry.api.schemas.base import Paging
from registry.api.table import ROUTES
from tests.support.api_examples import EXAMPLES
from tests.support.api_world import ApiWorld, Side, api_world, path_of, plain
from tests.support.postgres import TestPostgres
from tests.support.registries import HttpAnswer, basic
from tests.support.scratch import scratch_directory

ANSWERED_WITHIN_S: Final = 20.0  # two busy cores; what is quadratic takes minutes
BY_USERS: Final = [route for route in ROUTES if route.access is not Access.NODE]
WITH_BODY: Final = [route for route in BY_USERS if route.body is not None]
LISTS: Final = [route for route in BY_USERS if route.query is not None and issubclass(route.query, Paging)]

PAYLOADS: Final = (
    "'; DROP TABLE handles; --",
    "$1); DELETE FROM audit_log; --",
    "%00",
    "\x00",
    "\ud800",
    "pump\r\nSet-Cookie: session=1",
    "<script>alert(1)</script>",
    "{{7*7}}${7*7}",
    "../../../../etc/passwd",
    "\u202egnp.pump",
    "pu\u200bmp",
    "\U000e0001",
    "x" * 100_000,
    "9" * 400,
    "",
    " ",
)
"""What breaks statements, headers, pages, templates, paths, names, memory and numbers."""

BODIES: Final = (
    b"",
    b"null",
    b"[]",
    b"0",
    b'"x"',
    b"{",
    b"{}",
    b"[" * 200_000,
    b"[" * 200_000 + b"]" * 200_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b"[{" * 65 + b"}]" * 65,
    b"[" + b"9" * 500_000 + b"]",
    b'{"count":1' + b"0" * 400 + b"}",
    b'{"count":1e999999}',
    b'{"count":NaN}',
    b'{"reason":"\xff\xfe"}',
    b'\xef\xbb\xbf{"reason":"x"}',
    b'{"reason":"a","reason":"b"}',
    b'{"reason":' + b'"\\u0041' * 50_000 + b'"}',
    b'{"' + b"k" * 500_000 + b'":1}',
    b"{" + b",".join(b'"k%d":1' % number for number in range(50_000)) + b"}",
)

MAYBE_FINE: Final = (b"{}", b'{"reason":"a","reason":"b"}')
"""What some operation may take: the last of two fields counts."""

SMUGGLED: Final[Mapping[str, Any]] = {
    "actor": "operator",
    "admin": True,
    "created_by": "operator",
    "id": "org_aaaaaaaaaaaaaaaaaaaa",
    "permissions": 4095,
    "review": "approved",
    "version": 1_000_000,
    "__proto__": {"role": "operator"},
}
"""Fields that no body has: whoever accepted one would let its sender write what is not his."""


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def world(runner: asyncio.Runner, postgres: TestPostgres) -> Iterator[ApiWorld]:
    """One node for all, which must be the same after every attack."""
    dsn = postgres.database()
    with scratch_directory() as directory:
        made = api_world(dsn, directory)
        yield runner.run(made.__aenter__())
        runner.run(made.__aexit__(None, None, None))
    postgres.drop(dsn)


def named(routes: Sequence[Route]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", routes, ids=lambda route: route.name)


def token_for(world: ApiWorld, route: Route) -> str | None:
    """Somebody who has the right of a route: of the own organisation, if that is possible."""
    if route.access is Access.PUBLIC:
        return None
    for role, token in {**world.own.tokens, **world.tokens}.items():
        has_right = route.right is None or route.right in ROLE_RIGHTS[role]
        if has_right and role is not Role.READER and role not in EXAMPLES[route.name].refused:
            return token
    raise AssertionError(f"nobody may ask for {route.name}")


def target(route: Route, values: Mapping[str, str], *parameters: str) -> str:
    """A target with parameters; a write is only tried."""
    given = [*parameters, *(["dry_run=true"] if route.is_write else [])]
    return path_of(route.path, values) + ("?" + "&".join(given) if given else "")


def headers_of(route: Route) -> dict[str, str]:
    return {"If-Match": "*"} if route.if_match else {}


def slug(answer: HttpAnswer) -> str:
    is_problem = answer.headers.get("Content-Type") == "application/problem+json"
    return str(plain(answer)["type"]).rpartition("/")[2] if is_problem else ""


async def send(world: ApiWorld, route: Route, path: str, octets: bytes) -> HttpAnswer:
    given = {"Content-Type": "application/json", **headers_of(route)}
    token = token_for(world, route)
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    return await world.plant.ask(route.method, path, octets=octets, headers=given)


def replaced(document: Any, payload: Any) -> Iterator[tuple[str, Any]]:
    """The document with one text or number after the other replaced by something else, and where."""
    children = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, child in children:
        is_inner = isinstance(child, dict | list)
        variants = replaced(child, payload) if is_inner else iter([("", payload)])
        for place, variant in variants:
            copy = document.copy()
            copy[key] = variant
            yield f"/{key}{place}", copy


async def counts(world: ApiWorld) -> dict[str, int]:
    """How many rows each table has that an attack could have reached."""
    async with world.services.store.connection() as connection:
        names = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        )
        quiet = {name for (name,) in names} - {"usage_days", "daily_statistics", "daily_sources", "node"}
        return {
            name: await connection.fetchval(f'SELECT count(*) FROM "{name}"')  # noqa: S608 - its own names
            for name in sorted(quiet)
        }


@named(WITH_BODY)
def test_no_body_is_an_error_of_ours_or_keeps_the_node_busy(
    runner: asyncio.Runner, world: ApiWorld, route: Route
) -> None:
    path = target(route, EXAMPLES[route.name].path(world.own))
    for octets in BODIES:
        started_s = time.monotonic()
        answer = runner.run(send(world, route, path, octets))
        assert time.monotonic() - started_s < ANSWERED_WITHIN_S, octets[:40]
        assert answer.status < 500, (octets[:40], answer.body)
        if octets not in MAYBE_FINE:
            assert answer.status in {400, 401, 403, 404, 409, 413, 422, 429}, (octets[:40], answer.status)


@named(WITH_BODY)
def test_no_field_takes_what_breaks_something(runner: asyncio.Runner, world: ApiWorld, route: Route) -> None:
    example = EXAMPLES[route.name]
    assert example.body is not None
    before = runner.run(counts(world))
    path = target(route, example.path(world.own))
    for payload in PAYLOADS:
        for place, document in replaced(example.body(world.own), payload):
            octets = json.dumps(document).encode("utf-8", "surrogatepass")
            answer = runner.run(send(world, route, path, octets))
            assert answer.status < 500, (place, payload[:40], answer.body)
            assert "Set-Cookie" not in answer.headers
            assert not echoed(answer, payload), (place, payload[:40], answer.body)
    after = runner.run(counts(world))
    assert {name for name in before if after[name] < before[name]} == set()


def echoed(answer: HttpAnswer, payload: str) -> bool:
    """Whether a refusal repeats what steers or deceives whoever it is shown to, or is as long as what was sent."""
    deceives = len(payload) > 200 or not payload.isprintable()
    return deceives and answer.status >= 400 and payload in answer.body.decode("utf-8", "replace")


@named([route for route in BY_USERS if route.parameters])
def test_no_name_in_a_path_is_anything_but_unknown(
    runner: asyncio.Runner, world: ApiWorld, route: Route
) -> None:
    example = EXAMPLES[route.name]
    body = None if example.body is None else example.body(world.own)
    values = example.path(world.own)
    for payload in PAYLOADS:
        if payload in ("", "\ud800") or len(payload) > 1_000:
            continue
        for name in route.parameters:
            path = target(route, {**values, name: payload})
            answer = runner.run(
                world.ask(token_for(world, route), route.method, path, body, headers_of(route))
            )
            assert answer.status in {400, 403, 404, 409, 422}, (name, payload, answer.status, answer.body)


@named(LISTS)
def test_no_page_is_larger_than_its_bound_and_no_cursor_leads_astray(
    runner: asyncio.Runner, world: ApiWorld, route: Route
) -> None:
    example, token = EXAMPLES[route.name], token_for(world, route)
    query = example.query(world.own)
    for limit in ("0", "-1", "201", "999999999999999999999999", "1e9", "NaN", "0x10", "%F0%9F%92%A3", ""):
        path = target(route, example.path(world.own), *filter(None, [query]), f"limit={limit}")
        assert slug(runner.run(world.ask(token, "GET", path))) == "invalid-request", limit
    for cursor in ("AA", "_" * 4_000, "A" * 400, "..%2F", "%00", "MA", "////", "gA", "%27%3B--", "fw" * 7):
        path = target(route, example.path(world.own), *filter(None, [query]), f"cursor={cursor}")
        answer = runner.run(world.ask(token, "GET", path))
        assert answer.status in {200, 400}, (cursor, answer.body)


@named([route for route in WITH_BODY if route.access is not Access.PUBLIC])
def test_no_body_takes_a_field_that_is_not_its_own(
    runner: asyncio.Runner, world: ApiWorld, route: Route
) -> None:
    example = EXAMPLES[route.name]
    assert example.body is not None
    assert route.body is not None
    body = example.body(world.own)
    path = target(route, example.path(world.own))
    for name, value in SMUGGLED.items():
        if name in route.body.__struct_encode_fields__:
            continue
        octets = json.dumps({**body, name: value}).encode()
        answer = runner.run(send(world, route, path, octets))
        assert (answer.status, slug(answer)) == (400, "invalid-request"), (name, answer.body)


@named(WITH_BODY)
def test_what_is_foreign_in_a_body_is_what_is_unknown(
    runner: asyncio.Runner, world: ApiWorld, route: Route
) -> None:
    """Ids, prefixes and names of another organisation, where they stand in a body that is about the own one."""
    example = EXAMPLES[route.name]
    assert example.body is not None
    nobody = world.nobody()
    if example.body(world.own) == example.body(world.foreign) or route.access is Access.PUBLIC:
        return
    token = world.own.tokens[Role.ENTERPRISE_ADMINISTRATOR]
    path = target(route, example.path(world.own))
    told = [
        runner.run(world.ask(token, route.method, path, example.body(side), headers_of(route)))
        for side in (world.foreign, nobody)
    ]
    assert told[0].status >= 400, told[0].body
    assert anonymous(told[0], world.foreign) == anonymous(told[1], nobody)


def anonymous(answer: HttpAnswer, side: Side) -> tuple[int, str]:
    """A refusal without the names that were sent, and without what differs from request to request."""
    problem = {name: value for name, value in plain(answer).items() if name not in {"instance", "request_id"}}
    text = json.dumps(problem)
    for mark in sorted(side.marks(), key=len, reverse=True):
        text = text.replace(mark, "it")
    return answer.status, text


def test_a_batch_tells_of_foreign_identifiers_what_it_tells_of_unknown_ones(
    runner: asyncio.Runner, world: ApiWorld
) -> None:
    nobody = world.nobody()
    value = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://plant.example/"}}

    def items(side: Side) -> list[dict[str, Any]]:
        return [
            {"action": "create", "identifier": f"{side.prefix}/NEW", "values": [value]},
            {"action": "create", "prefix": side.prefix, "mint": "random", "values": [value]},
            {"action": "update", "identifier": side.identifier, "version": 1, "values": [value]},
            {"action": "state", "identifier": f"{side.prefix}/PUMP-7", "state": "retired", "reason": "x"},
            {"action": "delete", "identifier": f"{side.prefix}/LINE4-000001"},
        ]

    async def results(side: Side) -> list[tuple[str, ...]]:
        body = {"mode": "best_effort", "items": items(side)}
        token = world.own.tokens[Role.ENTERPRISE_EDITOR]
        answer = await world.ask(token, "POST", "/api/v1/identifiers/batch", body)
        told = plain(answer)
        assert (answer.status, told["done"], told["refused"]) == (200, 0, 5), told
        return [
            (str(one["problem"]["status"]), str(one["problem"]["type"]), str(one["problem"]["detail"]))
            for one in told["items"]
        ]

    assert runner.run(results(world.foreign)) == runner.run(results(nobody))


def test_a_cursor_of_one_organisation_shows_another_nothing(runner: asyncio.Runner, world: ApiWorld) -> None:
    """Cursors are positions, no permissions."""

    async def walk() -> None:
        theirs = world.foreign.tokens[Role.ENTERPRISE_ADMINISTRATOR]
        ours = world.own.tokens[Role.ENTERPRISE_ADMINISTRATOR]
        for path in ("/api/v1/users", "/api/v1/api-keys", "/api/v1/prefixes", "/api/v1/audit"):
            page = plain(await world.ask(theirs, "GET", f"{path}?limit=1"))
            if page["next"] is None:
                continue
            answer = await world.ask(ours, "GET", f"{path}?limit=200&cursor={page['next']}")
            leaked = [mark for mark in world.foreign.marks() if mark in answer.body.decode()]
            assert leaked == [], path

    runner.run(walk())


def test_a_credential_counts_in_one_place_only(runner: asyncio.Runner, world: ApiWorld) -> None:
    token = world.own.tokens[Role.ENTERPRISE_ADMINISTRATOR]

    async def check() -> None:
        for headers in (
            {"Cookie": f"token={token}"},
            {"X-Api-Key": token},
            {"Proxy-Authorization": f"Bearer {token}"},
            {"Authorization": token},
            {"Authorization": f"Basic {token}"},
            basic("token", token),
            {"Authorization": f"Bearer {token[:-1]}"},
            {"Authorization": f"Bearer {token} {token}"},
            {"Authorization": f'Bearer "{token}"'},
            {"Authorization": "Bearer " + "x" * 8_000},
        ):
            answer = await world.ask(None, "GET", "/api/v1/whoami", headers=headers)
            assert answer.status in {400, 401}, (headers, answer.body)
            assert token not in answer.body.decode()
        for query in (f"token={token}", f"access_token={token}", f"x={token}", token, f"{token}=1"):
            answer = await world.ask(None, "GET", f"/api/v1/whoami?{query}")
            assert (answer.status, slug(answer)) == (400, "credential-in-target"), (query, answer.body)
            assert token not in answer.body.decode(), query

    runner.run(check())


def test_no_spelling_of_a_target_goes_around_the_check_of_credentials(
    runner: asyncio.Runner, world: ApiWorld
) -> None:
    async def check() -> None:
        for path in (
            "/api/v1//organisations",
            "//api/v1/organisations",
            "/api/v1/./organisations",
            "/api/v1/docs/../organisations",
            "/api/v1/docs/%2e%2e/organisations",
            "/api/v1/organisations/",
            "/api/v1/organisations;a=b",
            "/api/v1/organisations%00",
            "/api/v1/Organisations",
            "/API/v1/organisations",
            "/api/v1/organisations%2F" + world.own.organisation,
            "/api/v1/organisations/..%2f..%2fwhoami",
            "/api/v1/organisations?method=DELETE",
            "/api/v1/%6frganisations",
        ):
            for headers in ({}, {"X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/api/v1/docs"}):
                answer = await world.ask(None, "GET", path, headers=headers)
                assert answer.status in {400, 401, 404}, (path, answer.status, answer.body[:200])
                assert world.own.organisation not in answer.body.decode()

    runner.run(check())


def test_no_method_but_those_of_the_table_does_anything(runner: asyncio.Runner, world: ApiWorld) -> None:
    token = world.tokens[Role.OPERATOR]
    before = runner.run(counts(world))
    for method in ("TRACE", "CONNECT", "PROPFIND", "MOVE", "PURGE", "X"):
        path = f"/api/v1/organisations/{world.own.organisation}"
        answer = runner.run(world.ask(token, method, path))
        assert answer.status in {400, 404, 405, 501}, (method, answer.status)
    assert runner.run(counts(world)) == before


def test_nobody_climbs_by_a_chain_of_keys(runner: asyncio.Runner, world: ApiWorld) -> None:
    """A key makes keys, users and identities with no more than it has itself."""

    async def climb() -> None:
        maker = ["key:read", "key:write", "user:write"]
        administrator = world.own.tokens[Role.ENTERPRISE_ADMINISTRATOR]
        new = {"name": "maker", "rights": maker, "prefixes": [world.own.prefix]}
        made = plain(await world.ask(administrator, "POST", "/api/v1/api-keys", new))
        token = made["token"]
        wishes: list[tuple[str, dict[str, Any]]] = [
            ("/api/v1/api-keys", {"name": "all", "rights": maker}),
            (
                "/api/v1/api-keys",
                {"name": "more", "rights": ["identifier:write"], "prefixes": new["prefixes"]},
            ),
            *(
                ("/api/v1/api-keys", {"name": "node", "rights": [right.value]})
                for right in (Right.NODE_OPERATE, Right.PREFIX_OPERATE, Right.ORGANISATION_REVIEW)
            ),
            *(
                (
                    "/api/v1/users",
                    {
                        "role": role.value,
                        "login": f"climber-{role.value}",
                        "password": "a ladder of forty rungs",
                        "name": "Climber",
                    },
                )
                for role in Role
            ),
        ]
        for path, body in wishes:
            answer = await world.ask(token, "POST", path, body)
            assert answer.status in {403, 422}, (path, body, answer.status, answer.body)

    runner.run(climb())


def test_after_all_of_it_the_audit_is_whole_and_the_tables_stand(
    runner: asyncio.Runner, world: ApiWorld
) -> None:
    from registry.audit.verify import verify_node

    async def check() -> None:
        report = await verify_node(world.plant.node.settings, lambda progress: None)
        assert report.intact, report
        connection = await asyncpg.connect(world.plant.node.settings.dsn())
        try:
            texts = await connection.fetch("SELECT detail FROM audit_log WHERE detail LIKE '%DROP TABLE%'")
        finally:
            await connection.close()
        assert texts == []

    runner.run(check())
