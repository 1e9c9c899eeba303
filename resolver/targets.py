"""Where a record may send a browser: addresses that are safe in a header, and what may be put behind them. Pure.

Nothing here ever leads to another scheme or host than the one that the owner of the record wrote.
"""

import re
from collections.abc import Set
from typing import Final
from urllib.parse import quote_from_bytes, unquote

from protocol.errors import WireError
from protocol.handle import Handle
from protocol.value import ValueList
from protocol.valuetypes.url import REDIRECT_SCHEMES, Url, encode_iri
from resolver.scheme import strip_scheme

LOCATION_CHARACTERS_MAX: Final = 8_192  # longer ones are cut or refused by browsers and proxies alike
DECODED_TIMES: Final = 3  # some servers decode a path more than once; none was seen to do so more often

_OPEN_ENDS: Final = {"path": ("/",), "query": ("?", "&", "="), "fragment": ("#", "/", "&", "=")}
"""How an address ends whose owner left it open, by the part that it ends in."""
_OPENERS: Final = {"path": ("/", "?", "#"), "query": ("&", "#"), "fragment": ()}
"""What begins something new behind such a part, so that the part itself stays whole."""
_TAKEN: Final = (b"api", b"robots.txt", b"favicon.ico")
"""Names whose path is something else here; so is everything below api/."""
_HOST_COMPLETE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\\]+[/?#]")
"""How an address begins whose host is complete."""


def safe_location(octets: bytes, schemes: Set[str] = REDIRECT_SCHEMES) -> str | None:
    """An address from a value's data, encoded for a Location header or a link; None when it may not be used as one."""
    try:
        location = Url.decode(octets).redirect_target(schemes)
    except WireError:
        return None
    return location if location is not None and len(location) <= LOCATION_CHARACTERS_MAX else None


def redirect_target(values: ValueList, schemes: Set[str] = REDIRECT_SCHEMES) -> str | None:
    """Where a browser that asks for the record is sent: the first URL value, else the first of a subtype URL.x.

    The result is an absolute address of one of the schemes in ASCII, safe in a header. None when the record has no URL
    value, or when that value is anything else: no other scheme, no control character, no blank is ever redirected to.
    Source: PROTOCOL.md §8.5.
    """
    wanted = list(values.select(types=("URL.",)))
    plain = [value for value in wanted if value.type.upper() == "URL"]
    first = next(iter([*plain, *wanted]), None)
    return None if first is None else safe_location(first.data, schemes)


def appended(location: str, text: str) -> str:
    """A safe location with a visitor's text behind it, where the record permits that; else the location as it is.

    It does where the location ends openly (a path in a slash, a query in "=" or "&"), or where the text begins
    something below it (a deeper path, a query, a fragment). The text never climbs ("..", encoded or not), so that
    scheme, host and path of the record stay whole. text: without control characters.
    """
    addition = encode_iri(text)
    whole = location + addition
    if not addition or len(whole) > LOCATION_CHARACTERS_MAX:
        return location
    part = _last_part(location)
    if not location.endswith(_OPEN_ENDS[part]) and not addition.startswith(_OPENERS[part]):
        return location
    if part == "path" and _climbs(re.split(r"[?#]", addition, maxsplit=1)[0]):
        return location
    return whole


class Templates:
    """What templates make of one handle. Source: PROTOCOL.md §8.6."""

    def __init__(self, handle: Handle) -> None:
        self._encoded = {
            "{hdl}": quote_from_bytes(handle.octets, safe=""),
            "{hdl:path}": handle.percent_encode(),
        }
        self._climbs = _climbs(self._encoded["{hdl:path}"])

    def expand(self, template: str, schemes: Set[str] = REDIRECT_SCHEMES) -> str | None:
        """The address of the handle; None when it may not be used as one, or would be too long.

        {hdl} stands for the handle with its slashes encoded, {hdl:path} for the same with slashes: both behind the
        host only, and never for a name that climbs out of the path.
        """
        counts = {name: template.count(name) for name in self._encoded}
        length = len(template) + sum(counts[name] * len(text) for name, text in self._encoded.items())
        if length > LOCATION_CHARACTERS_MAX:
            return None
        if any(counts.values()) and (self._climbs or not _HOST_COMPLETE.match(template.partition("{")[0])):
            return None
        for name, text in self._encoded.items():
            template = template.replace(name, text)
        return safe_location(template.encode("utf-8", "replace"), schemes)


def local_path(handle: Handle) -> str:
    """The path of a handle on this host; never one that a browser takes for another host, such as //x."""
    path = handle.percent_encode()
    return f"/%2F{path[1:]}" if path.startswith("/") else f"/{path}"


def gateway_path(handle: Handle, query: str = "") -> str:
    """The gateway's own address of a handle, safe in a header. query: as it came in a request line.

    A name that would be read as something else, such as api/x or doi:x, gets a scheme in front.
    """
    name = handle.octets
    is_taken = name in _TAKEN or name.startswith(b"api/") or strip_scheme(name) != name
    path = f"/hdl:{handle.percent_encode()}" if is_taken else local_path(handle)
    return f"{path}?{encode_iri(query)}" if query else path


def _last_part(location: str) -> str:
    return "fragment" if "#" in location else "query" if "?" in location else "path"


def _climbs(path: str) -> bool:
    """Whether a path has a segment that leads upwards, or none, for a server or browser that decodes it."""
    for _ in range(DECODED_TIMES):
        path = unquote(path)
    return any(segment.partition(";")[0].strip() in (".", "..") for segment in re.split(r"[/\\]", path))
