"""The pages that people see: templates, the headers that go with them, and where a record's URL may lead."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from protocol.errors import WireError
from protocol.handle import Handle
from protocol.jsonform import value_to_json
from protocol.statuses import parse_status
from protocol.value import HandleValue, TtlType, ValueList
from protocol.valuetypes.url import Url

LOCATION_CHARACTERS_MAX: Final = 8_192  # longer ones are cut or refused by browsers and proxies alike
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


def redirect_target(values: ValueList) -> str | None:
    """Where a browser that asks for the record is sent: the first URL value, else the first of a subtype URL.x.

    The result is an absolute http or https address in ASCII, safe in a header. None when the record has no URL value,
    or when that value is anything else: no other scheme, no control character, no blank is ever redirected to.
    Source: PROTOCOL.md §8.5.
    """
    wanted = list(values.select(types=("URL.",)))
    plain = [value for value in wanted if value.type.upper() == "URL"]
    first = next(iter([*plain, *wanted]), None)
    return None if first is None else safe_location(first.data)


def safe_location(octets: bytes) -> str | None:
    """An address from a value's data, encoded for a Location header or a link; None when it may not be used as one."""
    try:
        location = Url.decode(octets).redirect_target()
    except WireError:
        return None
    return location if location is not None and len(location) <= LOCATION_CHARACTERS_MAX else None


def local_path(handle: Handle) -> str:
    """The path of a handle on this host; never one that a browser takes for another host, such as //x."""
    path = handle.percent_encode()
    return f"/%2F{path[1:]}" if path.startswith("/") else f"/{path}"


class Pages:
    """Renders every page; the style is part of the page, so that one hash in the policy allows it and nothing else."""

    def __init__(self, *, node: str) -> None:
        """node: the name that pages show at their foot."""
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
            rows=[_row(value) for value in values],
            target=redirect_target(values),
            fetched=_time(round(fetched_wall_s)),
            expires=_time(round(expires_wall_s)),
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


def _row(value: HandleValue) -> Row:
    data = value_to_json(value)["data"]
    structured = data["format"] not in ("string", "base64")
    content = data["value"]
    text = json.dumps(content, ensure_ascii=False, indent=2) if structured else str(content)
    return Row(
        index=value.index,
        type=_printable(value.type),
        text=_shortened(text if structured else _printable(text)),
        link=_link(value),
        structured=structured,
        ttl=_ttl(value),
        changed=_time(value.timestamp) if value.timestamp else "",
    )


def _link(value: HandleValue) -> str:
    kind = value.type.upper()
    if kind == "URL" or kind.startswith("URL."):
        return safe_location(value.data) or ""
    if kind in ("HS_ALIAS", "HS_SERV", "HS_SERV.PREFIX") and 0 < len(value.data) <= 2048:
        return f"{local_path(Handle(value.data))}?noredirect"
    return ""


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
