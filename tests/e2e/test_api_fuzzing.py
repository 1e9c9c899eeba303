"""Whatever is sent to any operation, the answer is one that the document describes, and never a fault of the server.

Requests are generated from the OpenAPI document, half of them against its rules, and sent to a real node as somebody
who has the right; half of them about things that exist. What would take the caller's own rights away is a dry run.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from registry.accounts.roles import ROLE_RIGHTS, Role
from registry.api.openapi import make_document
from registry.api.route import Route
from registry.api.table import ROUTES
from tests.support.api_examples import EXAMPLES
from tests.support.api_world import ApiWorld, api_world
from tests.support.postgres import TestPostgres
from tests.support.scratch import scratch_directory

EXAMPLES_EACH: Final = 7
"""Requests of each kind for every operation; with more than a hundred operations they take half a minute."""
WAIT_S: Final = 30.0
NOWHERE: Final = "http://127.0.0.1:9"
"""What would be asked for a site stays on this machine."""
NO_HTTP: Final = b"this is no HTTP request that is served here"
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run on an event loop in a thread of its own, since the requests are sent from this one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(WAIT_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def world(run: Callable[[Coroutine[Any, Any, Any]], Any], postgres: TestPostgres) -> Iterator[ApiWorld]:
    dsn = postgres.database()
    with scratch_directory() as directory:
        made = api_world(dsn, directory)
        yield run(made.__aenter__())
        run(made.__aexit__(None, None, None))
    postgres.drop(dsn)


@pytest.fixture(scope="module")
def schema() -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_dict(make_document(ROUTES))


def token_for(world: ApiWorld, route: Route) -> str:
    """Of somebody who has the right, of the enterprise if possible."""
    if route.right is None or route.right in ROLE_RIGHTS[Role.ENTERPRISE_ADMINISTRATOR]:
        return world.own.tokens[Role.ENTERPRISE_ADMINISTRATOR]
    role = next(role for role in world.tokens if route.right in ROLE_RIGHTS[role])
    return world.tokens[role]


def ask(case: "Case[Any]", world: ApiWorld, route: Route, session: requests.Session) -> None:
    """Send a request and look at the answer."""
    if route.is_write and (route.parameters or route.name == "session.create"):
        case.query = {**(case.query or {}), "dry_run": "true"}
    if route.name == "enrolment.create" and isinstance(case.body, dict) and "url" in case.body:
        case.body["url"] = NOWHERE
    headers = {"Authorization": f"Bearer {token_for(world, route)}"}
    response = case.call(base_url=world.plant.base, session=session, headers=headers)
    if NO_HTTP in response.content:  # such as a line that is too long: refused in front of the API
        return
    case.validate_response(response, checks=CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value
)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_answer_is_one_that_the_document_describes(
    world: ApiWorld, schema: schemathesis.BaseSchema, route: Route, mode: GenerationMode
) -> None:
    operation = schema[route.path][route.method]
    example = EXAMPLES[route.name]
    known = dict(example.path(world.own))
    cases = operation.as_strategy(generation_mode=mode)
    if known and mode is GenerationMode.POSITIVE:
        cases = st.one_of(cases, operation.as_strategy(generation_mode=mode, path_parameters=known))
    with requests.Session() as session:

        @settings(
            max_examples=EXAMPLES_EACH,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases)
        def send(case: "Case[Any]") -> None:
            ask(case, world, route, session)

        send()
