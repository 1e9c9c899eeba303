"""Hops: what happened on the way to an answer, for `--trace` and for programs. Pure: records in, text out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from protocol.client.resolution import Purpose
from protocol.codes import rc_name
from protocol.message import Version

CACHED: Final = "(cached)"
NO_ANSWER: Final = "no answer"
_TITLES: Final = ("hop", "asked", "for", "purpose", "answer", "serial", "version", "cache for", "time")
_GAP: Final = "  "
_MAX_CELL: Final = 60  # characters; handles may have 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One exchange, one failed attempt at one, or one step that memory answered."""

    purpose: Purpose
    service: str
    """Who named the server: a record such as 0.NA/88, or the root service."""
    server: str
    """Address, port and transport; empty for a step that memory answered."""
    asked: str
    """The handle that the request named."""
    rc: int | None
    """The response code; None when no usable answer came."""
    site_serial: int | None = None
    """As the answer carries it."""
    version: Version | None = None
    """The protocol version that the server answered in."""
    elapsed_s: float = 0.0
    cached: bool = False
    ttl_s: int | None = None
    """For how long what the answer brought may be cached, its smallest TTL; None when it brought no values."""
    cause: str = ""
    """What went wrong, when something did."""


def format_hops(hops: Sequence[Hop]) -> str:
    """The hops as an aligned table, one line each under a line of titles; causes follow indented. Empty for no hops."""
    if not hops:
        return ""
    rows = [_TITLES, *(_cells(number, hop) for number, hop in enumerate(hops, start=1))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = [_aligned(rows[0], widths)]
    for row, hop in zip(rows[1:], hops, strict=True):
        lines.append(_aligned(row, widths))
        if hop.cause:
            lines.append(" " * (widths[0] + len(_GAP)) + printable(hop.cause))
    return "\n".join(lines)


def hop_to_json(hop: Hop) -> dict[str, Any]:
    """A hop as JSON members; what is not known is left out."""
    members: dict[str, Any] = {
        "purpose": str(hop.purpose),
        "service": hop.service,
        "server": hop.server or None,
        "asked": hop.asked,
        "responseCode": hop.rc,
        "responseName": None if hop.rc is None else rc_name(hop.rc),
        "siteSerial": hop.site_serial,
        "protocolVersion": None if hop.version is None else _version(hop.version),
        "elapsedMs": round(hop.elapsed_s * 1000, 3),
        "cached": hop.cached,
        "ttl": hop.ttl_s,
        "cause": hop.cause or None,
    }
    return {name: member for name, member in members.items() if member is not None}


def printable(string: str) -> str:
    """The text with everything that could steer a terminal replaced; names and messages come from strangers."""
    return "".join(character if character.isprintable() else "?" for character in string)


def _cells(number: int, hop: Hop) -> tuple[str, ...]:
    return (
        str(number),
        CACHED if hop.cached else hop.server,
        _short(hop.asked),
        str(hop.purpose),
        NO_ANSWER if hop.rc is None else f"{hop.rc} {rc_name(hop.rc)}",
        "" if hop.site_serial is None else str(hop.site_serial),
        "" if hop.version is None else _version(hop.version),
        "" if hop.ttl_s is None else f"{hop.ttl_s} s",
        "" if hop.cached else f"{hop.elapsed_s * 1000:.1f} ms",
    )


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line: the last column to the right, since it holds times, the others to the left."""
    padded = [cell.ljust(width) for cell, width in zip(cells[:-1], widths[:-1], strict=True)]
    return _GAP.join([*padded, cells[-1].rjust(widths[-1])]).rstrip()


def _short(string: str) -> str:
    shown = printable(string)
    return shown if len(shown) <= _MAX_CELL else shown[: _MAX_CELL - 1] + "…"


def _version(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
