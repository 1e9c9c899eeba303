"""The pages that people see: templates, and the headers that go with them."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from protocol.handle import Handle
from protocol.jsonform import value_to_json
from protocol.statuses import parse_status
from protocol.value import HandleValue, TtlType, ValueList
from protocol.valuetypes.url import REDIRECT_SCHEMES
from resolver.locations import LOC_TYPE, Location
from resolver.targets import local_path, redirect_target, safe_location

SHOWN_CHARACTERS_MAX: Final = 4_000  # of one value on a page; the JSON form has all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One value as a page shows it."""

    index: int
    type: str
    text: str
    link: str
    """Where a click on it leads; empty for nowhere."""
    structured: bool
    ttl: str
    changed: str


class Pages:
    """Renders every page; the style is part of the page, so that one hash in the policy allows it and nothing else."""

    def __init__(self, *, node: str, schemes: Set[str] = REDIRECT_SCHEMES) -> None:
        """node: the name that pages show at their foot. schemes: of the addresses that they link to."""
        self._schemes = schemes
        style = files("resolver").joinpath("templates", "style.css").read_text(encoding="utf-8")
        self._environment = Environment(
            loader=PackageLoader("resolver"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {"node": node, "style": Markup(style)}  # noqa: S704 - our own file
        self.headers: Mapping[str, str] = _security_headers(style)
        """What every page is sent with."""

    def index(self) -> str:
        """The page with the one field."""
        return self._render("index.html")

    def record(
        self, handle: Handle, values: ValueList, *, fetched_wall_s: float, expires_wall_s: float
    ) -> str:
        """The values of a handle, and where its URL leads.

        Both times are Unix seconds: an age would change the page, and with it its entity tag, from second to second.
        """
        return self._render(
            "record.html",
            handle=_printable(str(handle)),
            path=local_path(handle),
            rows=[_row(value, self._schemes) for value in values],
            target=redirect_target(values, self._schemes),
            has_locations=values.select(types=(LOC_TYPE,)).count > 0,
            fetched=_time(round(fetched_wall_s)),
            expires=_time(round(expires_wall_s)),
        )

    def locations(self, handle: Handle, places: Sequence[Location]) -> str:
        """Every place that a record may redirect to, and what its owner says of each."""
        return self._render(
            "locations.html",
            handle=_printable(str(handle)),
            path=local_path(handle),
            places=[(place.target, _attributes(place)) for place in places],
        )

    def moved(self, target: str) -> str:
        """The small page behind a redirect, for clients that do not follow."""
        return self._render("moved.html", target=target)

    def denied(self, handle: Handle, *, message: str, exists: bool) -> str:
        """There is no such handle, or it has nothing to show. message: the authority's own words."""
        told = parse_status(message)
        return self._render(
            "denied.html",
            handle=_printable(str(handle)),
            message=_printable(message),
            exists=exists,
            status="" if told is None else str(told.status),
        )

    def tangled(self, handle: Handle, *, last: Handle, circular: bool) -> str:
        """A chain of aliases ends nowhere; last is the handle at which it was given up."""
        return self._render(
            "tangled.html", handle=_printable(str(handle)), last=_printable(str(last)), circular=circular
        )

    def refused(self, name: str, *, cause: str) -> str:
        """What was asked for is no handle."""
        return self._render("refused.html", handle=_printable(name), cause=_printable(cause))

    def failed(self, handle: Handle, *, cause: str, remedy: str, busy: bool) -> str:
        """No answer could be had; cause names the node, what happened there and since when."""
        return self._render(
            "failed.html",
            handle=_printable(str(handle)),
            path=local_path(handle),
            cause=_printable(cause),
            remedy=_printable(remedy),
            busy=busy,
        )

    def _render(self, template: str, **names: object) -> str:
        return self._environment.get_template(template).render(**names)


def _security_headers(style: str) -> dict[str, str]:
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{allowed}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


def _row(value: HandleValue, schemes: Set[str]) -> Row:
    data = value_to_json(value)["data"]
    structured = data["format"] not in ("string", "base64")
    content = data["value"]
    text = json.dumps(content, ensure_ascii=False, indent=2) if structured else str(content)
    return Row(
        index=value.index,
        type=_printable(value.type),
        text=_shortened(text if structured else _printable(text)),
        link=_link(value, schemes),
        structured=structured,
        ttl=_ttl(value),
        changed=_time(value.timestamp) if value.timestamp else "",
    )


def _link(value: HandleValue, schemes: Set[str]) -> str:
    kind = value.type.upper()
    if kind == "URL" or kind.startswith("URL."):
        return safe_location(value.data, schemes) or ""
    if kind in ("HS_ALIAS", "HS_SERV", "HS_SERV.PREFIX") and 0 < len(value.data) <= 2048:
        return f"{local_path(Handle(value.data))}?noredirect"
    return ""


def _attributes(place: Location) -> list[tuple[str, str]]:
    """Names and contents of a place's attributes, without the address itself."""
    shown = ((name, text) for name, text in sorted(place.attributes.items()) if name != "href")
    return [(_printable(name), _shortened(_printable(text))) for name, text in shown]


def _ttl(value: HandleValue) -> str:
    return f"{value.ttl} s" if value.ttl_type == TtlType.RELATIVE else _time(value.ttl)


def _time(wall_s: int) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + " …"


def _printable(text: str | Iterable[str]) -> str:
    """Text without what a page cannot carry or a reader cannot see: controls, lone surrogates, direction marks."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
