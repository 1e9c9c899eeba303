"""Headers of HTTP answers: how long they may be kept, where they came from, which form a client wants. Pure."""

import re
from dataclasses import dataclass
from email.utils import formatdate
from hashlib import sha256
from math import inf
from typing import Final

from resolver.cache.policy import Entry
from resolver.cache.records import Clocks
from resolver.recursor import Origin

STATIC_LIFE_S: Final = 300  # pages of our own change only with a new version
_QUALITY: Final = re.compile(r"[01](?:\.[0-9]{0,3})?")
_ENTITY_TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


@dataclass(frozen=True, slots=True)
class Life:
    """From when to when what an answer was made from is true, monotonic; of nothing yet, always."""

    stored_s: float = inf
    expires_s: float = inf

    def with_part(self, part: "Entry | Life") -> "Life":
        """The life of an answer that this, too, is part of: as old as the oldest, and over with the first to end."""
        return Life(min(self.stored_s, part.stored_s), min(self.expires_s, part.expires_s))


def freshness(
    entry: Entry | Life, origin: Origin, *, authoritative: bool, node: str, clocks: Clocks
) -> dict[str, str]:
    """Say how long an answer made from an entry may be kept, how old it is, and whose work it was.

    An answer past all caches, or one that must not be kept, says so. Source: RFC 9111 §5, RFC 9211.
    """
    if authoritative or int(entry.expires_s - clocks.now_s) <= 0:
        return not_stored(f"{_quoted(node)}; fwd={'request' if authoritative else 'uri-miss'}")
    timed, _ = TimedHeaders(entry.stored_s, entry.expires_s, work_told(node, origin))(clocks.now_s)
    return {**timed, "Vary": "Accept"}


def not_stored(work: str) -> dict[str, str]:
    """The same for an answer that nobody may keep. work: see work_told()."""
    return {"Cache-Control": "no-store", "Vary": "Accept", "Cache-Status": work}


def expiry(life: Life, clocks: Clocks) -> str:
    """The date of an Expires header. Source: PROTOCOL.md §8.5."""
    return formatdate(clocks.wall_of(life.expires_s), usegmt=True)


@dataclass(frozen=True, slots=True)
class TimedHeaders:
    """Those of these headers that change with time; the `timed` of protocol's Reuse."""

    stored_s: float
    expires_s: float
    work: str
    """See work_told()."""

    @property
    def until_s(self) -> float:
        """Until when an answer may be kept that says so; monotonic."""
        return self.expires_s - 1

    def __call__(self, now_s: float) -> tuple[dict[str, str], float]:
        """The headers at a time, and when they next change."""
        age_s, left_s = max(0, int(now_s - self.stored_s)), int(self.expires_s - now_s)
        headers = {
            "Cache-Control": f"public, max-age={age_s + left_s}",
            "Age": str(age_s),
            "Cache-Status": f"{self.work}; ttl={left_s}",
        }
        return headers, min(self.stored_s + age_s + 1, self.expires_s - left_s)


def work_told(node: str, origin: Origin) -> str:
    """A node's name and what it did, as Cache-Status tells."""
    return f"{_quoted(node)}; {_WORK[origin]}"


_WORK: Final = {
    Origin.HIT: "hit",
    Origin.FETCHED: "fwd=uri-miss; stored",
    Origin.SHARED: "fwd=uri-miss; stored; collapsed",
}


def static_freshness(node: str) -> dict[str, str]:
    """The same for a page that is our own."""
    return {
        "Cache-Control": f"public, max-age={STATIC_LIFE_S}",
        "Age": "0",
        "Vary": "Accept",
        "Cache-Status": f"{_quoted(node)}; hit; ttl={STATIC_LIFE_S}",
    }


def entity_tag(body: bytes) -> str:
    """A strong entity tag of a body."""
    return f'"{sha256(body).hexdigest()[:32]}"'


def matches(if_none_match: str, tag: str) -> bool:
    """Whether a client already holds what the tag names. Source: RFC 9110 §13.1.2, weak comparison."""
    return if_none_match.strip() == "*" or tag in _ENTITY_TAG.findall(if_none_match)


def wants_json(accept: str) -> bool:
    """Whether a client that sends this Accept header asks for the record instead of a redirect.

    It must name application/json, and not prefer text/html to it; a browser, which accepts everything, never does.
    """
    weights = qualities(accept)
    json, html = weights.get("application/json", 0.0), weights.get("text/html", 0.0)
    return json > 0 and json >= html


def qualities(accept: str) -> dict[str, float]:
    """The weight that an Accept header gives to each media type or range that it names, in lower case."""
    weights: dict[str, float] = {}
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        told = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        weight = min(1.0, float(told)) if _QUALITY.fullmatch(told) else 0.0
        weights[name] = max(weight, weights.get(name, 0.0))
    return weights


def _quoted(text: str) -> str:
    """A structured-field string (RFC 8941 §3.3.3): printable ASCII, quotes and backslashes escaped."""
    ascii_only = "".join(character if " " <= character <= "~" else "?" for character in text)
    return '"' + ascii_only.replace("\\", "\\\\").replace('"', '\\"') + '"'
