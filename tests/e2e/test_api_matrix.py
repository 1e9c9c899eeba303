"""Every role asks for every operation, about its own organisation, another one and one that is not there.

Made from the table of routes: a route without an example fails. Writes are dry runs, so that all of them find the same
node.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from registry.accounts.roles import NODE_ROLES, ORGANISATION_ROLES, ROLE_RIGHTS, Role
from registry.api.openapi import problems_of
from registry.api.route import Access, Route
from registry.api.table import ROUTES
from tests.support.api_examples import EXAMPLES, Example
from tests.support.api_world import ApiWorld, Side, api_world, path_of
from tests.support.postgres import TestPostgres
from tests.support.registries import HttpAnswer
from tests.support.scratch import scratch_directory

MEMBERS: Final = sorted(ORGANISATION_ROLES)
LEVEL: Final = sorted(NODE_ROLES)
VERSIONLESS: Final = {"identity.assign", "prefix.assign"}
"""Writes that make something beside the object in their path, or give it its first version."""


def routes(*access: Access) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "route", [route for route in ROUTES if route.access in access], ids=lambda route: route.name
    )


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def world(runner: asyncio.Runner, postgres: TestPostgres) -> Iterator[ApiWorld]:
    """One node for all: nothing that is asked here is kept."""
    dsn = postgres.database()
    with scratch_directory() as directory:
        made = api_world(dsn, directory)
        yield runner.run(made.__aenter__())
        runner.run(made.__aexit__(None, None, None))
    postgres.drop(dsn)


def changes_of_what_has_versions() -> list[Route]:
    """The writes about an object whose reading gives an ETag, at its path or as one word below."""
    objects = {route.path for route in ROUTES if not route.is_write and route.etag and route.parameters}
    return [
        route
        for route in ROUTES
        if route.is_write
        and route.name not in VERSIONLESS
        and objects & {route.path, route.path.rpartition("/")[0]}
    ]


async def ask(
    world: ApiWorld, route: Route, token: str | None, side: Side, *, if_match: str | None = None
) -> HttpAnswer:
    """Ask for the example of a route about a side. if_match: where it is not any version that is needed."""
    example = EXAMPLES[route.name]
    query = example.query(side)
    if route.is_write:
        query = f"{query}&dry_run=true" if query else "dry_run=true"
    path = path_of(route.path, example.path(side)) + (f"?{query}" if query else "")
    body = None if example.body is None else example.body(side)
    tag = if_match or ("*" if route.if_match else None)
    return await world.ask(token, route.method, path, body, {"If-Match": tag} if tag else None)


def slug(answer: HttpAnswer) -> str:
    if answer.headers.get("Content-Type") != "application/problem+json":
        return ""
    return str(json.loads(answer.body)["type"]).rpartition("/")[2]


def is_success(route: Route, answer: HttpAnswer) -> bool:
    return answer.status in (route.status, *route.also)


def refusal_of(answer: HttpAnswer) -> Mapping[str, Any]:
    """A refusal without what differs from request to request."""
    problem = json.loads(answer.body)
    return {name: value for name, value in problem.items() if name not in ("instance", "request_id")}


def tell(route: Route, role: Role, answer: HttpAnswer) -> str:
    return f"{role.value} asks {route.name}: {answer.status} {answer.body[:400]!r}"


def check_allowed(route: Route, role: Role, answer: HttpAnswer, example: Example) -> None:
    """Whoever has the right is let through, unless a rule of the domain says no."""
    if role in example.refused:
        assert answer.status == 403, tell(route, role, answer)
        return
    assert is_success(route, answer) or answer.status in example.expected, tell(route, role, answer)


def test_every_route_has_an_example_and_every_example_a_route() -> None:
    assert {route.name for route in ROUTES} == set(EXAMPLES)


@routes(Access.RIGHT, Access.SIGNED_IN, Access.NODE)
def test_nobody_asks_without_a_credential(runner: asyncio.Runner, world: ApiWorld, route: Route) -> None:
    for token in (None, "hg_live_aaaaaaaaaaaa_" + "0" * 43 + "_000000", "nonsense"):
        answer = runner.run(ask(world, route, token, world.own))
        assert answer.status == 401, answer.body


@routes(Access.NODE)
def test_no_role_asks_in_the_name_of_a_node(runner: asyncio.Runner, world: ApiWorld, route: Route) -> None:
    for token in (*world.own.tokens.values(), *world.tokens.values()):
        answer = runner.run(ask(world, route, token, world.own))
        assert answer.status == 401, answer.body


@pytest.mark.parametrize("role", MEMBERS)
@routes(Access.RIGHT, Access.SIGNED_IN)
def test_a_member_asks_about_the_own_organisation(
    runner: asyncio.Runner, world: ApiWorld, route: Route, role: Role
) -> None:
    answer = runner.run(ask(world, route, world.own.tokens[role], world.own))

    check_documented(route, answer)
    if route.right is not None and route.right not in ROLE_RIGHTS[role]:
        assert (answer.status, slug(answer)) == (403, "forbidden"), tell(route, role, answer)
    else:
        check_allowed(route, role, answer, EXAMPLES[route.name])
    check_nothing_leaks(world, route, role, answer)


@pytest.mark.parametrize("role", MEMBERS)
@routes(Access.RIGHT, Access.SIGNED_IN)
def test_a_member_learns_nothing_of_another_organisation(
    runner: asyncio.Runner, world: ApiWorld, route: Route, role: Role
) -> None:
    """What is foreign is answered as what is not there: to the octet, but for the request id."""
    token, example = world.own.tokens[role], EXAMPLES[route.name]
    if example.foreign is None:
        return
    foreign = runner.run(ask(world, route, token, world.foreign))
    unknown = runner.run(ask(world, route, token, world.nobody()))

    check_documented(route, foreign)
    if route.right is not None and route.right not in ROLE_RIGHTS[role]:
        assert (foreign.status, slug(foreign)) == (403, "forbidden"), tell(route, role, foreign)
    else:
        expected = 403 if role in example.refused else example.foreign
        assert foreign.status == expected, tell(route, role, foreign)
    assert (foreign.status, refusal_of(foreign)) == (unknown.status, refusal_of(unknown))
    assert set(foreign.headers) == set(unknown.headers)


@pytest.mark.parametrize("role", LEVEL)
@routes(Access.RIGHT, Access.SIGNED_IN)
def test_the_node_level_asks_about_any_organisation(
    runner: asyncio.Runner, world: ApiWorld, route: Route, role: Role
) -> None:
    example = EXAMPLES[route.name]
    for side in (world.own, world.foreign):
        answer = runner.run(ask(world, route, world.tokens[role], side))
        check_documented(route, answer)
        if route.right is not None and route.right not in ROLE_RIGHTS[role]:
            assert (answer.status, slug(answer)) == (403, "forbidden"), tell(route, role, answer)
        else:
            check_allowed(route, role, answer, example)


@pytest.mark.parametrize("role", LEVEL)
@routes(Access.RIGHT, Access.SIGNED_IN)
def test_the_node_level_is_told_what_is_not_there(
    runner: asyncio.Runner, world: ApiWorld, route: Route, role: Role
) -> None:
    if EXAMPLES[route.name].foreign != 404 or (
        route.right is not None and route.right not in ROLE_RIGHTS[role]
    ):
        return
    answer = runner.run(ask(world, route, world.tokens[role], world.nobody()))
    assert answer.status in (403, 404, *EXAMPLES[route.name].expected), tell(route, role, answer)


@pytest.mark.parametrize("route", changes_of_what_has_versions(), ids=lambda route: route.name)
def test_no_change_ignores_the_version_that_it_is_meant_for(
    runner: asyncio.Runner, world: ApiWorld, route: Route
) -> None:
    """Whoever sends If-Match has read a version; acting on another one is what he wants to prevent."""
    assert route.if_match or route.heeds_match
    answer = runner.run(ask(world, route, somebody_with(world, route), world.own, if_match='"0"'))
    allowed = {412} if route.heeds_match else {412, *EXAMPLES[route.name].expected}
    assert answer.status in allowed, (route.name, answer.status, answer.body)


def somebody_with(world: ApiWorld, route: Route) -> str:
    """The token of who may: of the organisation, or of the node where nobody there may."""
    for role, token in [*world.own.tokens.items(), *world.tokens.items()]:
        is_refused = role in EXAMPLES[route.name].refused
        if not is_refused and (route.right is None or route.right in ROLE_RIGHTS[role]):
            return token
    raise AssertionError(f"nobody may {route.name}")


@routes(Access.PUBLIC)
def test_what_is_public_is_open_to_everybody(runner: asyncio.Runner, world: ApiWorld, route: Route) -> None:
    answer = runner.run(ask(world, route, None, world.own))

    check_documented(route, answer)
    assert is_success(route, answer) or answer.status in EXAMPLES[route.name].expected, answer.body


def check_documented(route: Route, answer: HttpAnswer) -> None:
    """No answer that the document does not describe."""
    known = {kind.slug for kind in problems_of(route)}
    assert answer.status < 500, (route.name, answer.body)
    assert is_success(route, answer) or slug(answer) in known, (route.name, answer.status, answer.body)


def check_nothing_leaks(world: ApiWorld, route: Route, role: Role, answer: HttpAnswer) -> None:
    text = answer.body.decode("utf-8", "replace")
    leaked = {mark for mark in world.foreign.marks() if mark in text}
    assert not leaked, tell(route, role, answer)


def test_the_matrix_leaves_nothing_behind(runner: asyncio.Runner, world: ApiWorld) -> None:
    """All of it were dry runs: both organisations are still what they were."""
    for side in (world.own, world.foreign):
        token = side.tokens[Role.ENTERPRISE_ADMINISTRATOR]
        answer = runner.run(world.ask(token, "GET", f"/api/v1/organisations/{side.organisation}"))
        assert json.loads(answer.body)["version"] == 2, answer.body
