"""The heads of HTTP requests that are simple enough to be answered from the cache. Pure.

What is understood is understood strictly; everything else is left to the web framework, untouched.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

HEAD_OCTETS_MAX: Final = 4_096  # five times what browsers send; a longer head is left to the framework
FIELDS_MAX: Final = 32
BLOCKS_MAX: Final = 1_024  # header blocks remembered: one for each kind of client
BLOCK_OCTETS_MAX: Final = 1_024
END: Final = b"\r\n\r\n"
EOL: Final = b"\r\n"
VERSION: Final = " HTTP/1.1"

KEY: Final = b"\n"
"""What the class begins with of a head that may be answered from the cache; it is the end of the key."""
ALONE: Final = b""
"""The class of a head that the framework answers, and that has no body."""
BODY: Final = b"+"
"""What the class begins with of a head that has one; the number of its octets follows."""
UNKNOWN: Final = b"unknown"
"""Stands for a header block that was not classified yet."""

_METHODS: Final = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS")
_LINE: Final = re.compile(rb"(?:%b) [!-~]+ HTTP/1\.1" % b"|".join(_METHODS))
_LINE_START: Final = re.compile(rb"(?:%b) /[ -~]*\r?" % b"|".join(_METHODS))
_FIRST: Final = tuple(method + b" /" for method in _METHODS)
_COUNT: Final = re.compile(rb"[0-9]{1,9}")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*+((?:[!-~](?:[\t -~]*[!-~])?)?)[ \t]*+")
"""Blanks are taken once and for all (*+): trying every way to part four thousand of them takes a tenth of a second."""
_FRAGMENT: Final = re.compile(rb"[\t -~]*\r?")

_ENDLESS: Final = frozenset(
    {b"expect", b"http2-settings", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
"""Where one of these stands, only a parser of everything knows where the request ends, or what comes after it."""
_NEUTRAL: Final = frozenset(
    {
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"dnt",
        b"forwarded",
        b"from",
        b"keep-alive",
        b"origin",
        b"pragma",
        b"priority",
        b"referer",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"sec-gpc",
        b"traceparent",
        b"tracestate",
        b"upgrade-insecure-requests",
        b"user-agent",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"x-requested-with",
    }
)
"""What no application of ours looks at. Whoever reads one of these in an answer that may be given again takes it out:
every other field, known or not, sends a request to the framework."""

Fields = Iterable[tuple[bytes, bytes]]
AcceptClass = Callable[[str], bool]
"""From the Accept fields, joined, to whether the answer is of the other kind."""


def classify(fields: Fields, accept_class: AcceptClass | None) -> bytes | None:
    """What of a head's fields belongs to the key of its answer; ALONE or BODY when it has none; None: not understood.

    fields: names and values, stripped, of a well-formed head.
    """
    host, octets, accept, simple = None, None, [], True
    for spelled, value in fields:
        name = spelled.lower()
        if name == b"host" and host is None:
            host = value
        elif name == b"content-length" and octets is None and _COUNT.fullmatch(value):
            octets = value
        elif name == b"accept":
            accept.append(value.decode("utf-8", "surrogateescape"))
        elif name == b"connection" and value.lower() in (b"keep-alive", b"close"):
            simple = simple and value.lower() == b"keep-alive"
        elif name in _ENDLESS or name in (b"host", b"connection", b"content-length"):
            return None
        elif name not in _NEUTRAL:
            simple = False
    if host is None:
        return None
    if octets is not None:
        return BODY + octets
    if not simple:
        return ALONE
    other = accept_class is not None and accept_class(",".join(accept))
    return b"%b%b\n%d" % (KEY, host, other)


def is_request_line(line: bytes) -> bool:
    """Whether the fields of a request that starts so tell whether it has a body."""
    return _LINE.fullmatch(line) is not None


def may_become_head(octets: bytes) -> bool:
    """Whether these can be the beginning of a well-formed head, so that it is worth waiting for the rest."""
    if len(octets) > HEAD_OCTETS_MAX:
        return False
    line, *fields = octets.split(EOL)
    if len(fields) > FIELDS_MAX + 1:
        return False  # nothing would be made of it later
    if not fields:
        return _LINE_START.fullmatch(line) is not None or any(word.startswith(line) for word in _FIRST)
    *whole, fragment = fields
    return (
        is_request_line(line)
        and all(_FIELD.fullmatch(field) for field in whole)
        and _FRAGMENT.fullmatch(fragment) is not None
    )


class HeaderBlocks:
    """Classes of header blocks as they come, remembered: a client sends the same block again and again."""

    def __init__(self, accept_class: AcceptClass | None) -> None:
        self._accept_class = accept_class
        self.known: dict[bytes, bytes | None] = {}

    def learn(self, block: bytes) -> bytes | None:
        """The class of a block, from the end of the request line to that of the last field; see classify()."""
        if block in self.known:
            return self.known[block]
        found = self._classify(block)
        if len(block) <= BLOCK_OCTETS_MAX:
            if len(self.known) >= BLOCKS_MAX:
                self.known.clear()  # clients that never repeat themselves; the others are soon known again
            self.known[block] = found
        return found

    def _classify(self, block: bytes) -> bytes | None:
        if len(block) > HEAD_OCTETS_MAX:
            return None
        lines = block.split(EOL)[1:]
        matches = [_FIELD.fullmatch(line) for line in lines]
        if len(lines) > FIELDS_MAX or not all(matches):
            return None
        return classify(((match[1], match[2]) for match in matches if match), self._accept_class)
