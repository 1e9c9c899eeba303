"""Listing: which handles a prefix has, which prefixes lie below it, and which the node homes; page by page.

A page is one statement over a bounded number of rows, whatever the prefix holds. Names come as they were created, in
ascending order of their keys; drafts and deleted handles are not told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.codes import ResponseCode
from protocol.handle import ROOT_PREFIX_OCTETS, Prefix
from protocol.valuetypes import AdminPermission
from registry.context import RECORD_KEY_START, Context
from registry.outcomes import Actor, Rejected
from registry.permission import Need, grants_in

PAGE_MAX: Final = 1_000
"""Names of one page; 200 octets each, say, are what a message holds."""
COUNT_MAX: Final = 1_000_000
"""Names that are counted; more would keep the database busy for seconds, and is told as "at least"."""

_LIST: Final = """
    SELECT key, name, state FROM handles
    WHERE prefix = $1 AND key > $2 AND key < $3 ORDER BY key LIMIT $4"""
_COUNT: Final = """
    SELECT count(*) FROM (
        SELECT FROM handles WHERE prefix = $1 AND key > $2 AND key < $3 AND state NOT IN (1, 2) LIMIT $4) AS counted"""
_HOMED: Final = "SELECT prefix, name FROM prefixes WHERE homed AND prefix > $1 ORDER BY prefix LIMIT $2"
_UNTOLD: Final = (1, 2)  # deleted, draft
_LIST_HANDLES: Final = (Need(prefix=AdminPermission.LIST_HANDLES),)
_LIST_DERIVED: Final = (*_LIST_HANDLES, Need(prefix=AdminPermission.LIST_DERIVED_PREFIXES))
"""Deployed records seldom have the right to list prefixes, which deployed servers do not know."""


@dataclass(frozen=True, slots=True)
class Page:
    """Names, and where the next page begins; `after` is None on the last one. A page may be empty and not the last."""

    names: tuple[bytes, ...]
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are; at least so many, where it is not exact."""

    number: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class _Span:
    """The keys of what is listed: those of one folded prefix from start (not itself) up to end (not itself)."""

    prefix: bytes
    start: bytes
    end: bytes


class Listing:
    """Listing at one node."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def handles(self, prefix: Prefix, *, by: Actor, after: bytes, limit: int) -> Page | Rejected:
        """A page of the handles of a prefix; see Operations.list_handles."""
        refused = await self._refuse(prefix, _LIST_HANDLES, by)
        return refused or await self._page(_handles_of(prefix), after, limit)

    async def derived(self, prefix: Prefix, *, by: Actor, after: bytes, limit: int) -> Page | Rejected:
        """A page of the prefix records below a prefix; see Operations.list_derived."""
        refused = await self._refuse(prefix, _LIST_DERIVED, by)
        return refused or await self._page(_records_below(prefix), after, limit)

    async def count(self, prefix: Prefix, *, by: Actor) -> Count | Rejected:
        """How many handles a prefix has; see Operations.count_handles."""
        refused = await self._refuse(prefix, _LIST_HANDLES, by)
        if refused is not None:
            return refused
        span = _handles_of(prefix)
        async with self._context.store.connection() as connection:
            number = await connection.fetchval(_COUNT, span.prefix, span.start, span.end, COUNT_MAX + 1)
        return Count(min(number, COUNT_MAX), number <= COUNT_MAX)

    async def homed(self, *, after: bytes, limit: int) -> Page:
        """A page of the prefixes that the node homes."""
        limit = min(limit, PAGE_MAX)
        async with self._context.store.connection() as connection:
            rows = await connection.fetch(_HOMED, after, limit)
        names = tuple(row[1] for row in rows)
        return Page(names, rows[-1][0] if len(rows) == limit else None)

    async def _page(self, span: _Span, after: bytes, limit: int) -> Page:
        limit = min(limit, PAGE_MAX)
        async with self._context.store.connection() as connection:
            rows = await connection.fetch(_LIST, span.prefix, max(after, span.start), span.end, limit)
        names = tuple(row[1] for row in rows if row[2] not in _UNTOLD)
        return Page(names, rows[-1][0] if len(rows) == limit else None)

    async def _refuse(self, prefix: Prefix, needs: Sequence[Need], by: Actor) -> Rejected | None:
        """301 for a prefix that is not homed here, 400 for who may not list it."""
        context, record = self._context, prefix.record
        table = await context.prefixes.around(record)
        row = table.rows.get(prefix.key)
        if row is None or not row.homed:
            message = f"this node does not home the prefix {prefix}"
            return Rejected(record, ResponseCode.SERVER_NOT_RESPONSIBLE, message)
        grants = grants_in(row.authorisation.slices())
        for need in needs:
            if await context.is_allowed(by, need, (), grants, context.store, held=row):
                return None
        message = f"listing takes LIST_HANDLES on the prefix, which {by} does not have"
        return Rejected(record, ResponseCode.INVALID_ADMINISTRATOR, message)


def _handles_of(prefix: Prefix) -> _Span:
    return _Span(prefix.key, prefix.key + b"/", prefix.key + b"0")  # 0 follows the slash


def _records_below(prefix: Prefix) -> _Span:
    if prefix.key == ROOT_PREFIX_OCTETS:
        return _handles_of(prefix)
    below = RECORD_KEY_START + prefix.key
    return _Span(ROOT_PREFIX_OCTETS, below + b".", below + b"/")  # the slash follows the dot
