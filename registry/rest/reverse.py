"""GET /hrls/handles?TYPE=pattern: which handles have these values, as pyhandle's search asks.

Parameters are named by types and hold patterns, in which `*` stands for anything; all of them must match. `limit`
(1,000 unless given) and `page` (from 0 on) part the matches; /hrls/handles/<prefix> searches below one prefix.
The answer is a JSON list of handles, or with `retrieverecords=true` an object of their public values by handle. The
header Search-Complete says whether everything was looked at, Search-Note why not; a Link leads to the next page.
Source: the public interface of the EUDAT reverse look-up service, and pyhandle/searcher.py.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from protocol.codes import ResponseCode
from protocol.errors import InvalidHandle
from protocol.handle import Prefix
from protocol.jsonform.output import printable, value_to_json
from protocol.transport.http_target import Target
from registry.lookup_building import unbuilt
from registry.lookups import DATA_OCTETS_MAX, LookupTypes, Pattern
from registry.metrics import RegistryMetrics
from registry.operations import Operations
from registry.rest.callers import Callers
from registry.rest.problem import CODE_KEY, CONTENT_TYPE, Problem
from registry.rest.request import RestRequest
from registry.searching import SCANNED_MAX, Match, Matches, Search, Searching

PATH: Final = b"/hrls/handles"
LIMIT_USUAL: Final = 1_000
LIMIT_MAX: Final = 10_000
"""Handles of one answer, about half a megabyte; a higher limit is lowered to it."""
RECORDS_MAX: Final = 1_000
"""The same where their values are told too."""
PATTERNS_MAX: Final = 8
"""Each is compared with the values of every candidate; real clients send two."""
SEARCHES_MAX: Final = 4
"""At once in one process: each keeps a database connection and a core busy, and registrations have the others."""
BUSY: Final = "reverse_searches"
STOPPED: Final = "reverse_scanned_rows"

_NO_FIELDS: Final = frozenset({"limit", "page", "retrieverecords", "enforcesql"})
"""Parameters that are no types; the last chooses an engine elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseApi:
    """Reverse look-up at one node. Answers or raises HandleError."""

    operations: Operations
    searching: Searching
    types: LookupTypes
    is_open: bool
    """Whether everybody may search; otherwise who proves an identity."""
    callers: Callers
    metrics: RegistryMetrics
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SEARCHES_MAX))

    async def get(self, request: RestRequest) -> web.Response:
        """Answer a request for a path that belongs_here."""
        identity = await self.callers.known(request)
        if identity is None and not self.is_open:
            await self.callers.required(request)
        target = request.target
        search = _parse(target, self.types)
        if self._turns.locked():
            self.metrics.limit_reached(BUSY)
            raise Problem(
                ResponseCode.SERVER_TOO_BUSY, "Too many searches are running.", headers={"Retry-After": "1"}
            )
        async with self._turns:
            matches = await self.searching.search(search)
            missing = await unbuilt(self.operations.context.store, self.types)
        notes = []
        if matches.stopped:
            self.metrics.limit_reached(STOPPED)
            notes.append(f"the search stopped {matches.stopped}")
        notes += [
            f"records from before {printable(name)} was searched for are not all found"
            for name in sorted(missing & search.conditions.keys())
        ]
        return _response(target, search, matches, notes)


def belongs_here(path: bytes) -> bool:
    """Whether a decoded path is one of reverse look-up."""
    return path == PATH or path.startswith(PATH + b"/")


def _parse(target: Target, types: LookupTypes) -> Search:
    """Read what is searched for. Raises Problem."""
    conditions: dict[bytes, list[Pattern]] = {}
    for name, texts in target.parameters.items():
        if name not in _NO_FIELDS:
            kind = name.encode().upper()
            if kind not in types.folded:
                raise _unusable(f"Only {_names(types)} can be searched for (setting reverse_lookup_types).")
            conditions[kind] = [_pattern(text) for text in texts]
    count = sum(map(len, conditions.values()))
    if not count:
        raise _unusable(f"Say what to search for, such as ?{_names(types).partition(',')[0]}=*.")
    if count > PATTERNS_MAX:
        raise _unusable(f"At most {PATTERNS_MAX} patterns.")
    with_values = target.flag("retrieverecords")
    most = RECORDS_MAX if with_values else LIMIT_MAX
    limit = min(_number(target, "limit", LIMIT_USUAL, least=1), most)
    skip = _number(target, "page", 0, least=0) * limit
    if skip + limit > SCANNED_MAX:
        raise _unusable(f"Pages end at {SCANNED_MAX:,} matches; make the pattern narrower.")
    return Search(
        conditions=conditions, limit=limit, with_values=with_values, skip=skip, prefix=_prefix(target.path)
    )


def _pattern(text: str) -> Pattern:
    octets = text.encode()
    if len(octets) > DATA_OCTETS_MAX:
        raise _unusable(f"A pattern has at most {DATA_OCTETS_MAX} octets, as long as values that are found.")
    return Pattern.parse(octets)


def _number(target: Target, name: str, usual: int, *, least: int) -> int:
    text = target.parameters.get(name, [str(usual)])[-1]
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < least:
        raise _unusable(f"{name} is a number from {least} on.")
    return int(text)


def _prefix(path: bytes) -> bytes | None:
    name = path[len(PATH) :].strip(b"/")
    if not name:
        return None
    try:
        return Prefix.parse(name).key
    except InvalidHandle as error:
        raise _unusable(f"Behind {PATH.decode()}/ stands a prefix: {error}") from None


def _names(types: LookupTypes) -> str:
    return ", ".join(printable(name) for name in sorted(types.folded, reverse=True))


def _unusable(message: str) -> Problem:
    return Problem(ResponseCode.PROTOCOL_ERROR, message, status=400)


def _response(target: Target, search: Search, matches: Matches, notes: list[str]) -> web.Response:
    body: Any = [printable(match.name) for match in matches.found]
    if target.flag("retrieverecords"):
        body = {printable(match.name): _values(match) for match in matches.found}
    text = json.dumps(body, ensure_ascii=False, indent=2 if target.flag("pretty") else None)
    headers = {
        "Content-Type": CONTENT_TYPE,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Search-Complete": "false" if notes else "true",
    }
    if notes:
        headers["Search-Note"] = "; ".join(notes).encode("ascii", "backslashreplace").decode()
    if matches.more:
        headers["Link"] = f'<{_next_page(target, search)}>; rel="next"'
    response = web.Response(body=text.encode("utf-8", "replace"), headers=headers)
    response[CODE_KEY] = int(ResponseCode.SUCCESS)
    return response


def _values(match: Match) -> list[dict[str, Any]]:
    """What is told of a record: public values, each with its data as plain as they are."""
    told = []
    for value in match.public:
        form = value_to_json(value)
        told.append({**form, "value": form.pop("data")["value"]})
    return told


def _next_page(target: Target, search: Search) -> str:
    """The target of the next page; the page goes by the limit that was in force."""
    given = {name: texts for name, texts in target.parameters.items() if name not in {"page", "limit"}}
    parts = [f"{quote(name)}={quote(text, safe='*')}" for name, texts in given.items() for text in texts]
    page = search.skip // search.limit + 1
    return "&".join([f"{quote(target.path)}?limit={search.limit}&page={page}", *parts])
