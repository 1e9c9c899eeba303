"""What is dangerous elsewhere, in every field of every operation: refused or taken as mere text, never a fault.

Each field of each body and each parameter is given each of these in turn, while the rest of the request is right.
"""

import asyncio
import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec
import pytest

from registry.accounts.roles import ROLE_RIGHTS, Role
from registry.api.call import cursor_of
from registry.api.openapi import make_document, problems_of
from registry.api.route import Access, Route
from registry.api.table import ROUTES
from tests.support.api_examples import EXAMPLES
from tests.support.api_world import ApiWorld, api_world, path_of
from tests.support.postgres import TestPostgres
from tests.support.registries import HttpAnswer
from tests.support.scratch import scratch_directory

NASTY: Final[Sequence[Any]] = (
    "'; DROP TABLE handles; --",
    "{{7*7}}${7*7}%s%n",
    "<script>alert(1)</script>",
    "../../../../etc/passwd",
    "a\r\nSet-Cookie: x=1",
    "\u202e\u200b\ufeff\u2066",
    "\x00",
    "\x1b[31m",
    "٣" * 5,
    "x" * 10_000,
    "",
    " ",
    -1,
    2**63,
    2**70,
    -(2**70),
    1e308,
    True,
    None,
    [],
    {},
    [[[[[[]]]]]],
)
TEXTS: Final = (*(value for value in NASTY if isinstance(value, str)), str(2**63), str(2**70), "-1")
CURSORS: Final = [
    cursor_of(position)
    for position in (
        b"\x00",
        b"\xff" * 8,
        b"\x7f" + b"\xff" * 7,
        b"a'b",
        b"[]",
        b'["2026-01-01","\\u0000"]',
        b"x" * 3_000,
    )
]
"""Of other lists, or made up."""
DOCUMENT: Final = msgspec.json.decode(msgspec.json.encode(make_document(ROUTES)))
ASKED: Final = [route for route in ROUTES if route.access is not Access.NODE]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def world(runner: asyncio.Runner, postgres: TestPostgres) -> Iterator[ApiWorld]:
    dsn = postgres.database()
    with scratch_directory() as directory:
        made = api_world(dsn, directory)
        yield runner.run(made.__aenter__())
        runner.run(made.__aexit__(None, None, None))
    postgres.drop(dsn)


def token_for(world: ApiWorld, route: Route) -> str:
    if route.right is None or route.right in ROLE_RIGHTS[Role.ENTERPRISE_ADMINISTRATOR]:
        return world.own.tokens[Role.ENTERPRISE_ADMINISTRATOR]
    return next(token for role, token in world.tokens.items() if route.right in ROLE_RIGHTS[role])


async def send(
    world: ApiWorld,
    route: Route,
    values: dict[str, str],
    query: str,
    body: Any,
    *,
    octets: bytes | None = None,
) -> HttpAnswer:
    """Send a dry run and look at the answer: one that the document describes, without an echo in its headers."""
    query = "&".join(part for part in (query, "dry_run=true" if route.is_write else "") if part)
    target = path_of(route.path, values) + (f"?{query}" if query else "")
    headers = {"Authorization": f"Bearer {token_for(world, route)}"}
    if route.if_match:
        headers["If-Match"] = "*"
    if octets is not None:
        headers["Content-Type"] = "application/json"
    answer = await world.plant.ask(route.method, target, body=body, octets=octets, headers=headers)
    known = {kind.slug for kind in problems_of(route)}
    described = answer.status in (route.status, *route.also, 304)
    if not described:
        problem = json.loads(answer.body)
        described = answer.status < 500 and problem["type"].rpartition("/")[2] in known
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert described, (route.name, target, body, answer.status, answer.body[:500])
    assert "Set-Cookie" not in answer.headers
    return answer


def places(schema: dict[str, Any], value: Any, depth: int = 0) -> Iterator[tuple[Any, ...]]:
    """Every field of a body: those that its example has, and those that its shape describes."""
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for option in schema.get("anyOf", ()):
        if "$ref" in option and isinstance(value, dict):
            yield from places(option, value, depth)
            return
    names = dict.fromkeys([*schema.get("properties", {}), *(value if isinstance(value, dict) else {})])
    for name in names:
        yield (name,)
        inner = value.get(name) if isinstance(value, dict) else None
        if depth < 3 and isinstance(inner, dict):
            described = schema.get("properties", {}).get(name, {})
            yield from ((name, *rest) for rest in places(described, inner, depth + 1))
        if depth < 3 and isinstance(inner, list) and inner and isinstance(inner[0], dict):
            yield from ((name, 0, *rest) for rest in places({}, inner[0], depth + 1))


def with_value(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(body)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("route", [r for r in ASKED if r.body is not None], ids=lambda route: route.name)
def test_nothing_that_a_field_holds_is_a_fault(runner: asyncio.Runner, world: ApiWorld, route: Route) -> None:
    example = EXAMPLES[route.name]
    assert example.body is not None
    body = example.body(world.own)
    schema = DOCUMENT["paths"][route.path][route.method.lower()]["requestBody"]["content"]

    async def send_all() -> None:
        for place in places(schema["application/json"]["schema"], body):
            if place == ("url",) and route.name == "enrolment.create":
                continue  # where it would be asked
            for value in NASTY:
                await send(world, route, dict(example.path(world.own)), "", with_value(body, place, value))

    runner.run(send_all())


@pytest.mark.slow
@pytest.mark.parametrize("route", ASKED, ids=lambda route: route.name)
def test_nothing_in_a_path_or_a_parameter_is_a_fault(
    runner: asyncio.Runner, world: ApiWorld, route: Route
) -> None:
    example = EXAMPLES[route.name]
    body = None if example.body is None else example.body(world.own)
    described = DOCUMENT["paths"][route.path][route.method.lower()]["parameters"]
    queries = [each["name"] for each in described if each.get("in") == "query"]
    right = dict(example.path(world.own))

    async def send_all() -> None:
        for name in right:
            for text in filter(None, TEXTS):
                if len(text) < 1_000:
                    await send(world, route, right | {name: text}, example.query(world.own), body)
        for name in queries:
            others = "&".join(part for part in (example.query(world.own),) if not part.startswith(name))
            for text in [*TEXTS, *(CURSORS if name == "cursor" else ())]:
                if len(text) < 5_000:
                    await send(world, route, right, f"{others}&{name}={quote(text)}".strip("&"), body)

    runner.run(send_all())


@pytest.mark.parametrize("route", [r for r in ASKED if r.body is not None], ids=lambda route: route.name)
@pytest.mark.parametrize(
    "octets", [b"[" * 100_000, b'{"a":' * 50_000, b"{", b"\xff\xfe", b'{"\\u0000":1}', b"null", b"1e999999"]
)
def test_no_body_is_a_fault(runner: asyncio.Runner, world: ApiWorld, route: Route, octets: bytes) -> None:
    values = dict(EXAMPLES[route.name].path(world.own))

    answer = runner.run(send(world, route, values, "", None, octets=octets))

    assert answer.status == 400, answer.body
