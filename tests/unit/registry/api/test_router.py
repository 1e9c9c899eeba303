"""Which route a target means."""

import pytest

from registry.accounts.roles import Right
from registry.api.call import Call, Reply
from registry.api.route import Route
from registry.api.router import Router
from registry.problem_types import INVALID_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, ApiProblem


async def handler(call: Call) -> Reply:
    return Reply()


def route(method: str, path: str) -> Route:
    return Route(
        method=method,
        path="/api/v1" + path,
        name=f"{method} {path}",
        summary="",
        tag="",
        handler=handler,
        right=Right.IDENTIFIER_READ,
    )


ROUTER = Router(
    [
        route("GET", "/identifiers"),
        route("GET", "/identifiers/{identifier}"),
        route("DELETE", "/identifiers/{identifier}"),
        route("GET", "/identifiers/{identifier}/values/{index}"),
        route("POST", "/identifiers/batch"),
    ]
)


def refusal(method: str, path: str) -> ApiProblem:
    with pytest.raises(ApiProblem) as caught:
        ROUTER.match(method, path)
    return caught.value


@pytest.mark.parametrize(
    ("path", "identifier"),
    [
        ("/api/v1/identifiers/88.100.1%2FPUMP-7", "88.100.1/PUMP-7"),
        ("/api/v1/identifiers/88.100.1%2fa%20b%3F", "88.100.1/a b?"),
        ("/api/v1/identifiers/%E6%B3%B5", "泵"),
        ("/api/v1/identifiers/泵", "泵"),
        ("/api/v1/identifiers/a%252Fb", "a%2Fb"),
    ],
)
def test_a_segment_is_decoded_once_after_the_path_is_cut(path: str, identifier: str) -> None:
    match = ROUTER.match("GET", path)

    assert match.route.path == "/api/v1/identifiers/{identifier}"
    assert match.path == {"identifier": identifier}


def test_several_names_of_a_path_are_told_apart() -> None:
    match = ROUTER.match("GET", "/api/v1/identifiers/88.1%2Fx/values/7")

    assert match.path == {"identifier": "88.1/x", "index": "7"}


def test_a_word_goes_before_a_name() -> None:
    assert ROUTER.match("POST", "/api/v1/identifiers/batch").route.name == "POST /identifiers/batch"


def test_head_means_get() -> None:
    assert ROUTER.match("HEAD", "/api/v1/identifiers").route.method == "GET"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/",
        "/api/v1/nothing",
        "/api/v1/identifiers/",
        "/api/v1//identifiers",
        "/api/v1/identifiers//values/1",
        "/api/v1/identifiers/x/values",
        "/api/v1/identifiers/x/values/one",  # no index
        "/api/v1/identifiers/a%00b",  # no such name
        "/api/v1/identifiers/" + "x" * 2_049,
    ],
)
def test_what_is_nowhere_is_not_found(path: str) -> None:
    assert refusal("GET", path).type is NOT_FOUND


@pytest.mark.parametrize(
    "path", ["/api/v1/identifiers/%", "/api/v1/identifiers/%zz", "/api/v1/identifiers/%ff"]
)
def test_a_path_that_cannot_be_decoded_is_invalid(path: str) -> None:
    assert refusal("GET", path).type is INVALID_REQUEST


def test_a_wrong_method_is_told_the_right_ones() -> None:
    problem = refusal("PUT", "/api/v1/identifiers/x")

    assert problem.type is METHOD_NOT_ALLOWED
    assert problem.headers == {"Allow": "DELETE, GET, HEAD, OPTIONS"}
    assert ROUTER.methods("/api/v1/identifiers/x") == "DELETE, GET, HEAD, OPTIONS"


def test_an_identifier_with_a_plain_slash_is_told_its_right_spelling() -> None:
    problem = refusal("GET", "/api/v1/identifiers/88.100.1/PUMP 7/x")

    assert problem.type is NOT_FOUND
    assert "/api/v1/identifiers/88.100.1%2FPUMP%207%2Fx" in problem.remedy


def test_a_path_stands_in_the_table_once() -> None:
    with pytest.raises(AssertionError, match="twice"):
        Router([route("GET", "/identifiers"), route("GET", "/identifiers")])


def test_a_name_that_is_not_described_is_a_mistake_in_the_table() -> None:
    with pytest.raises(AssertionError, match="PARAMETERS"):
        Router([route("GET", "/things/{undescribed}")])
