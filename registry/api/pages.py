"""The pages of the API for people: the reference, made from the OpenAPI document, and the problems.

No script, no picture, nothing from elsewhere: one style sheet, part of each page, which the policy allows by its hash.
"""

import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from registry.api.catalogue import problem_types, problem_view
from registry.problem_types import ProblemType

HTML: Final = "text/html;charset=utf-8"
_CODE: Final = re.compile("`([^`]+)`")
_METHODS: Final = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """A parameter, or a field of a shape."""

    name: str
    where: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What an operation can answer with one status."""

    status: str
    text: str
    shape: str
    problems: list[str]


class Pages:
    """Renders the pages."""

    def __init__(self) -> None:
        style = files("registry").joinpath("templates", "api.css").read_text(encoding="utf-8")
        self._environment = Environment(
            loader=PackageLoader("registry"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["style"] = Markup(style)  # noqa: S704 - our own file
        self._environment.filters["marked"] = _marked
        self._environment.filters["linked"] = _linked
        self.headers: Mapping[str, str] = _security_headers(style)
        """What every page is sent with."""

    def reference(self, document: Mapping[str, Any]) -> bytes:
        """Every operation and every shape of an OpenAPI document."""
        operations = [
            _operation(method, path, _resolved(document, described))
            for path, methods in document["paths"].items()
            for method, described in methods.items()
            if method in _METHODS
        ]
        tags = [
            {
                "name": tag["name"],
                "anchor": tag["name"].lower().replace(" ", "-"),
                "operations": [each for each in operations if each["tag"] == tag["name"]],
            }
            for tag in document["tags"]
        ]
        return self._render(
            "api_reference.html",
            description=document["info"]["description"],
            tags=tags,
            names=frozenset(document["components"]["schemas"]),
            shapes=[
                {
                    "name": name,
                    "description": schema.get("description", ""),
                    "type": "" if "properties" in schema else _type(schema),
                    "fields": _fields(schema),
                }
                for name, schema in sorted(document["components"]["schemas"].items())
            ],
        )

    def problems(self) -> bytes:
        """Every problem type and response code."""
        listed = problem_types()
        return self._render("api_problems.html", kinds=listed.items, codes=listed.response_codes)

    def problem(self, kind: ProblemType) -> bytes:
        """One problem type."""
        return self._render("api_problem.html", kind=problem_view(kind))

    def _render(self, template: str, **names: object) -> bytes:
        return self._environment.get_template(template).render(**names).encode()


def _marked(text: str) -> Markup:
    """A text as HTML; what stands between backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


def _linked(text: str, names: Collection[str]) -> Markup:
    """A type in a few words as HTML; names of shapes lead to their descriptions."""

    def link(word: re.Match[str]) -> str:
        name = word[0]
        return f'<a href="#shape-{name}">{name}</a>' if name in names else name

    return Markup(re.sub(r"\w+", link, str(escape(text))))  # noqa: S704 - escaped


def _security_headers(style: str) -> dict[str, str]:
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{allowed}'; form-action 'none'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def _resolved(document: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """An operation with its parameters and answers in the place of references to them."""

    def whole(part: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in part:
            return part
        _, _, kind, name = part["$ref"].split("/")
        found: Mapping[str, Any] = document["components"][kind][name]
        return found

    return {
        **described,
        "parameters": [whole(part) for part in described["parameters"]],
        "responses": {status: whole(part) for status, part in described["responses"].items()},
    }


def _operation(method: str, path: str, described: Mapping[str, Any]) -> dict[str, Any]:
    body = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return {
        "name": described["operationId"],
        "tag": described["tags"][0],
        "method": method.upper(),
        "path": path,
        "summary": described["summary"],
        "description": described.get("description", ""),
        "proof": _proof(described),
        "parameters": [
            _Field(
                name=parameter["name"],
                where=parameter["in"],
                type=_type(parameter["schema"]),
                required=parameter.get("required", False),
                description=parameter.get("description", ""),
            )
            for parameter in described["parameters"]
        ],
        "body": _shape_name(body),
        "answers": [_answer(status, answer) for status, answer in described["responses"].items()],
    }


def _proof(described: Mapping[str, Any]) -> str:
    if "x-right" in described:
        return f"takes the right {described['x-right']}"
    return "takes a valid credential" if "security" in described else "open to everybody, or signed by a node"


def _answer(status: str, answer: Mapping[str, Any]) -> _Answer:
    problems = answer.get("x-problems", [])
    content = answer.get("content", {})
    shape = next((_shape_name(media.get("schema", {})) for media in content.values()), "")
    if problems:
        return _Answer(status=status, text="", shape="", problems=problems)
    return _Answer(status=status, text=answer["description"], shape=shape, problems=[])


def _fields(schema: Mapping[str, Any]) -> list[_Field]:
    required = schema.get("required", ())
    return [
        _Field(
            name=name,
            where="body",
            type=_type(described),
            required=name in required,
            description=described.get("description", ""),
        )
        for name, described in schema.get("properties", {}).items()
    ]


def _shape_name(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _type(schema: Mapping[str, Any]) -> str:
    """A type in a few words: string, 1 to 200 characters; list of Thing; one of a, b."""
    if name := _shape_name(schema):
        return name
    if options := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(_type(option) for option in options)
    if "enum" in schema:
        return "one of " + ", ".join(str(option) for option in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items') or {})}"
    kind = schema.get("format") or schema.get("type") or "any"
    bounds = [
        f"{word} {schema[key]}"
        for word, key in (
            ("from", "minimum"),
            ("to", "maximum"),
            ("at least", "minLength"),
            ("at most", "maxLength"),
        )
        if key in schema
    ]
    return ", ".join([str(kind), *bounds])
