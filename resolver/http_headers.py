"""Headers of HTTP answers: how long they may be kept, where they came from, which form a client wants. Pure."""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from resolver.cache.policy import Entry
from resolver.cache.records import Clocks
from resolver.recursor import Origin

STATIC_LIFE_S: Final = 300  # pages of our own change only with a new version
_QUALITY: Final = re.compile(r"[01](?:\.[0-9]{0,3})?")
_ENTITY_TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def freshness(
    entry: Entry, origin: Origin, *, authoritative: bool, node: str, clocks: Clocks
) -> dict[str, str]:
    """Say how long an answer made from an entry may be kept, how old it is, and whose work it was.

    An answer past all caches, or one that must not be kept, says so. Source: RFC 9111 §5, RFC 9211.
    """
    if authoritative or int(entry.expires_s - clocks.now_s) <= 0:
        reason = "request" if authoritative else "uri-miss"
        return {
            "Cache-Control": "no-store",
            "Vary": "Accept",
            "Cache-Status": f"{_quoted(node)}; fwd={reason}",
        }
    timed, _ = TimedHeaders(entry.stored_s, entry.expires_s, work_told(node, origin))(clocks.now_s)
    return {**timed, "Vary": "Accept"}


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
    json, html = _quality(accept, "application/json"), _quality(accept, "text/html")
    return json > 0 and json >= html


def _quality(accept: str, media_type: str) -> float:
    """The weight that a header gives to exactly this media type; 0 when it does not name it."""
    best = 0.0
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        if name == media_type:
            weights = [part[2:] for part in parameters if part.startswith("q=")]
            weight = weights[0] if weights else "1"
            best = max(best, min(1.0, float(weight)) if _QUALITY.fullmatch(weight) else 0.0)
    return best


def _quoted(text: str) -> str:
    """A structured-field string (RFC 8941 §3.3.3): printable ASCII, quotes and backslashes escaped."""
    ascii_only = "".join(character if " " <= character <= "~" else "?" for character in text)
    return '"' + ascii_only.replace("\\", "\\\\").replace('"', '\\"') + '"'
