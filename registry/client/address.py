"""Addresses: the URL of a node, and the targets of requests. Pure."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from protocol.errors import SettingsError
from registry.plain_http import is_loopback

API_PATH: Final = "/api/v1"

Query = Mapping[str, str | int | bool | None]
"""Parameters of a request; None and the empty text leave one out."""


def checked_url(url: str, *, has_credential: bool) -> str:
    """Scheme, host and port of a URL. Raises SettingsError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError([f"the URL of the node cannot be read: {error}"]) from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise SettingsError(
            ["the URL of the node holds more than scheme, host and port; no secret belongs there"]
        )
    if parts.scheme not in ("http", "https") or not host or parts.path.rstrip("/"):
        raise SettingsError([f"the URL of the node is {url}; it should be like https://node.example:8000"])
    if parts.scheme == "http" and has_credential and not (host == "localhost" or is_loopback(host)):
        raise SettingsError(
            [
                f"{url}: anybody on the way could read the key; over http:// it goes to this host only, so use https://"
            ]
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")


def path_of(*segments: str) -> str:
    """The path of a resource, such as /identifiers/88.100.1%2FPUMP-7: each segment percent-encoded by itself."""
    return "".join("/" + _segment(segment) for segment in segments)


def _segment(text: str) -> str:
    encoded = quote(text, safe="", errors="surrogateescape")
    return encoded.replace(".", "%2E") if encoded in (".", "..") else encoded


def query_text(query: Query) -> str:
    """The part of a target from the question mark on; empty without parameters."""
    given = {
        name: ("true" if value else "false") if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None and value != ""
    }
    return "?" + urlencode(given, quote_via=quote) if given else ""
