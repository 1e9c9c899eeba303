"""The document of the API describes every route, completely and in valid OpenAPI 3.1."""

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from registry.api import reference
from registry.api.openapi import make_document, problems_of
from registry.api.pages import Pages
from registry.api.response_codes import EXPLANATIONS
from registry.api.route import Route
from registry.api.table import ROUTES
from registry.problem_types import ALL, ProblemType

DOCUMENT = json.loads(json.dumps(make_document(ROUTES)))


def operation(route: Route) -> dict[str, Any]:
    described = DOCUMENT["paths"][route.path][route.method.lower()]
    assert isinstance(described, dict)
    return described


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_names_of_routes_are_unique() -> None:
    names = [route.name for route in ROUTES]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_status_of_a_route_is_described(route: Route) -> None:
    responses = operation(route)["responses"]

    assert {str(kind.status) for kind in problems_of(route)} <= set(responses)
    assert {str(status) for status in (route.status, *route.also)} <= set(responses)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_handler_and_every_parameter_says_what_it_is(route: Route) -> None:
    described = operation(route)

    assert described["description"]
    own = [each for each in described["parameters"] if "$ref" not in each]
    assert not [each["name"] for each in own if not each.get("description")]


def test_every_shape_says_what_it_is() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    silent = [name for name, schema in schemas.items() if not schema.get("description")]
    assert not silent


def test_shapes_and_operations_have_names_that_generators_of_clients_understand() -> None:
    assert all(name.isidentifier() for name in DOCUMENT["components"]["schemas"])
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", route.name) for route in ROUTES)


def test_a_field_carries_its_docstring() -> None:
    problem = DOCUMENT["components"]["schemas"]["ProblemBody"]
    assert problem["properties"]["remedy"]["description"] == "What the client can do."


def test_the_reference_shows_every_operation_and_runs_nothing() -> None:
    page = Pages().reference(DOCUMENT).decode()

    assert all(f'id="{route.name}"' in page for route in ROUTES)
    assert "<script" not in page
    assert "default-src 'none'" in Pages().headers["Content-Security-Policy"]


def test_the_reference_explains_every_type_that_it_names() -> None:
    page = Pages().reference(DOCUMENT).decode()

    assert "<p>one of active, draft, retired, suspended</p>" in page
    assert '<td>list of <a href="#shape-ValueForm">ValueForm</a></td>' in page
    targets = set(re.findall('href="#([^"]+)"', page))
    assert targets <= set(re.findall('id="([^"]+)"', page))


def test_backticks_are_code_and_markup_stays_text() -> None:
    environment = Pages()._environment
    shown = environment.from_string("{{ text | marked }}").render(text="`<b>` & `c`")
    assert shown == "<code>&lt;b&gt;</code> &amp; <code>c</code>"


def test_slugs_of_problems_are_unique() -> None:
    slugs = [kind.slug for kind in ALL]
    assert sorted(slugs) == sorted(set(slugs))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.slug)
def test_a_problem_says_cause_and_remedy_in_whole_sentences(kind: ProblemType) -> None:
    assert 400 <= kind.status < 600
    assert kind.title
    assert not kind.title.endswith(".")
    assert kind.title_zh
    assert kind.cause.endswith(".")
    assert kind.remedy.endswith(".")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.slug)
def test_a_problem_has_a_page(kind: ProblemType) -> None:
    assert kind.title in Pages().problem(kind).decode().replace("&#39;", "'")


def test_response_codes_are_explained_in_whole_sentences() -> None:
    for explained in EXPLANATIONS.values():
        assert explained.cause.endswith(".")
        assert explained.remedy.endswith(".")


def test_the_table_of_problems_is_up_to_date() -> None:
    assert reference.PATH.read_text(encoding="utf-8") == reference.markdown(), (
        "run python -m registry.api.reference"
    )
