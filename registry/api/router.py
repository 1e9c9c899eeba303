"""Which route a request means: a tree of segments, built once.

The raw target is cut at its slashes before anything is decoded, so that an encoded slash belongs to a name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from protocol.transport.http_target import BadTarget, percent_decode
from registry.api.parameters import PARAMETERS, SEGMENT_CHARACTERS_MAX, Parameter
from registry.api.route import Route
from registry.problem_types import INVALID_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, ApiProblem

_IDENTIFIERS: Final = "/api/v1/identifiers/"
NOTHING_HERE: Final = "There is nothing at this path."


@dataclass(slots=True)
class _Node:
    """A place in the tree."""

    routes: dict[str, Route] = field(default_factory=dict)
    """By method."""
    names: tuple[str, ...] = ()
    words: "dict[str, _Node]" = field(default_factory=dict)
    any: "_Node | None" = None
    """What follows a segment in braces."""


@dataclass(frozen=True, slots=True)
class Match:
    """A route and the segments that its names stand for."""

    route: Route
    path: Mapping[str, str]


class Router:
    """Finds routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """routes: every one once; asserts that no two are alike."""
        self._root = _Node()
        for route in routes:
            self._add(route)

    def match(self, method: str, raw_path: str) -> Match:
        """The route of a request; HEAD means GET.

        raw_path: as it came, without the query. Raises ApiProblem: 404, 405, or 400 for a path that cannot be read.
        """
        node = self._root
        values: list[str] = []
        for segment in raw_path.split("/")[1:]:
            text = _decode(segment)
            child = node.words.get(text)
            if child is None:
                child = node.any
                values.append(text)
            if child is None or not text:
                raise _nothing_at(raw_path)
            node = child
        if not node.routes:
            raise _nothing_at(raw_path)
        route = node.routes.get("GET" if method == "HEAD" else method)
        if route is None:
            raise _wrong_method(method, node.routes)
        return Match(route, _named(node.names, values))

    def methods(self, raw_path: str) -> str:
        """What is allowed at a path, as the field Allow says it. Raises ApiProblem as match does."""
        try:
            self.match("", raw_path)
        except ApiProblem as problem:
            if problem.type is METHOD_NOT_ALLOWED:
                return problem.headers["Allow"]
            raise
        raise AssertionError

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.path.split("/")[1:]:
            if segment.startswith("{"):
                node.any = node = node.any or _Node()
            else:
                node = node.words.setdefault(segment, _Node())
        names = route.parameters
        assert all(name in PARAMETERS for name in names), f"{route.path}: describe its names in PARAMETERS"
        assert not node.routes or node.names == names, f"{route.path}: other names than another route"
        assert route.method not in node.routes, f"{route.method} {route.path} stands twice"
        node.names = names
        node.routes[route.method] = route


def _decode(segment: str) -> str:
    if "%" not in segment and segment.isascii():
        text = segment
    else:
        try:
            text = percent_decode(segment).decode("utf-8")
        except BadTarget as error:
            raise ApiProblem(INVALID_REQUEST, str(error)) from None
        except UnicodeDecodeError:
            raise ApiProblem(INVALID_REQUEST, "The path is not valid UTF-8.") from None
    if len(text) > SEGMENT_CHARACTERS_MAX:
        raise ApiProblem(NOT_FOUND, NOTHING_HERE)
    return text


def _named(names: tuple[str, ...], values: list[str]) -> dict[str, str]:
    """The values by name; one that cannot be such a name is unknown."""
    for name, value in zip(names, values, strict=True):
        parameter: Parameter = PARAMETERS[name]
        if not parameter.fits(value):
            raise ApiProblem(NOT_FOUND, f"There is no such {name}.")
    return dict(zip(names, values, strict=True))


def _nothing_at(raw_path: str) -> ApiProblem:
    remedy = None
    if raw_path.startswith(_IDENTIFIERS) and "/" in (rest := raw_path[len(_IDENTIFIERS) :]):
        try:
            name = percent_decode(rest).decode("utf-8")
        except (BadTarget, UnicodeDecodeError):
            name = ""
        if name:
            spelled = _IDENTIFIERS + quote(name, safe="")
            remedy = f"An identifier is one segment, its slash encoded as %2F: {spelled}"
    return ApiProblem(NOT_FOUND, NOTHING_HERE, remedy=remedy or "See /api/v1/docs for what there is.")


def _wrong_method(method: str, routes: Mapping[str, Route]) -> ApiProblem:
    allowed = set(routes) | {"OPTIONS"} | ({"HEAD"} if "GET" in routes else set())
    text = ", ".join(sorted(allowed))
    return ApiProblem(METHOD_NOT_ALLOWED, f"Allowed here: {text}.", headers={"Allow": text})
