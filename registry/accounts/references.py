"""References: the records that still name somebody's identities, for when he leaves.

Suspending bars an identity at once, here. What names it in HS_ADMIN, or in a group (HS_VLIST) that an HS_ADMIN may
name, counts again once it is resumed, and at every node that asks for the record: so it is listed, to be rewritten.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from protocol.errors import WireError
from protocol.handle import Handle
from protocol.valuetypes import ValueReferences
from registry.authenticate import HS_VLIST
from registry.context import Context
from registry.permission import Reference, grants_in, reference_of
from registry.record import HS_ADMIN, data_of, values_of_type
from registry.writing import Row

EXAMINED_MAX: Final = 2_000
"""Records that one part of the report looks at: some tens of milliseconds of work."""
ROWS_AT_ONCE: Final = 200
IDENTITIES_MAX: Final = 10_000
"""Identities of one organisation that the report looks for."""

_OF_SUBJECT: Final = """
    SELECT handle, index FROM identities
    WHERE organisation = $1 AND ($2::text IS NULL OR subject = $2) ORDER BY handle, index LIMIT $3"""
_PREFIXES: Final = """
    SELECT prefix FROM prefixes WHERE organisation = $1 AND homed AND prefix >= $2 ORDER BY prefix"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedIn:
    """A value that names one of the identities that were looked for."""

    handle: Handle
    value: int
    """Index of the HS_ADMIN or HS_VLIST value."""
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """A part of the report."""

    found: list[NamedIn]
    examined: int
    next: bytes | None
    """Storage key of the last record that was looked at; None when there are no more."""


async def find_references(
    context: Context, organisation: str, *, subject: str | None, after: bytes | None, limit: int
) -> References:
    """What still names identities of an organisation, or of one subject of it, in the records it holds here.

    Looks at EXAMINED_MAX records at most, and ends after the record in which it found the limit; an empty part may
    have a next one.
    """
    start = b"" if after is None else after.partition(b"/")[0]
    async with context.store.connection() as connection:
        rows = await connection.fetch(_OF_SUBJECT, organisation, subject, IDENTITIES_MAX)
        prefixes = [record[0] for record in await connection.fetch(_PREFIXES, organisation, start)]
    search = _Search(context, [(handle, index) for handle, index in rows], limit)
    for prefix in prefixes if rows else []:
        if not await search.walk(prefix, after if prefix == start else None):
            return References(found=search.found, examined=search.examined, next=search.last)
    return References(found=search.found, examined=search.examined, next=None)


class _Search:
    """Walks through records and keeps what names one of the identities."""

    def __init__(self, context: Context, identities: Iterable[tuple[bytes, int]], limit: int) -> None:
        self._context = context
        self._limit = limit
        self._identities = frozenset(identities)
        self._handles = frozenset(handle for handle, _ in self._identities)
        self.found: list[NamedIn] = []
        self.examined = 0
        self.last: bytes | None = None

    async def walk(self, prefix: bytes, after: bytes | None) -> bool:
        """Look at the records of one prefix; False when there is enough for one part."""
        while True:
            rows = await self._context.store.list_prefix(prefix, after=after, limit=ROWS_AT_ONCE)
            for row in rows:
                self._examine(row)
                if len(self.found) >= self._limit or self.examined >= EXAMINED_MAX:
                    return False
            if len(rows) < ROWS_AT_ONCE:
                return True
            after = rows[-1].key

    def _examine(self, row: Row) -> None:
        self.examined += 1
        self.last = row.key
        if not row.stored or not _may_name(row):
            return
        for index, value in sorted(self._context.values_of(row).items()):
            for reference in _named_by(value):
                if self._is_wanted(reference):
                    named = f"{reference[1]}:{Handle(reference[0])}"
                    self.found.append(NamedIn(handle=Handle(row.name), value=index, identity=named))

    def _is_wanted(self, reference: Reference) -> bool:
        """Whether a reference names one of them; index 0 there stands for any key of the record."""
        key, index = self._context.key_of(Handle(reference[0])), reference[1]
        return (key, index) in self._identities or (index == 0 and key in self._handles)


def _may_name(row: Row) -> bool:
    """Whether the row can hold such a value at all; most name nobody but their prefix's administrator."""
    octets = (row.public_values + row.restricted.octets).upper()
    return HS_ADMIN in octets or HS_VLIST in octets


def _named_by(value: bytes) -> Iterator[Reference]:
    yield from (grant.administrator for grant in grants_in([value]))
    for group in values_of_type([value], HS_VLIST):
        try:
            members = ValueReferences.decode(data_of(group)).members
        except WireError:
            continue
        yield from map(reference_of, members)
