"""Searching: handles by their values. Exact values and beginnings by the look-ups' index, other patterns by looking.

What an entry of the index says is checked against the record, and only handles are told whose prefix this node serves
and whose values everybody may read. Every search is bounded in rows and time, and says when it stopped before its end.
"""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from protocol.value import ValueList
from registry.lookups import Conditions, Pattern, after_prefix, fulfils, most_telling
from registry.store import Store
from registry.writing import IN_FORCE

SCANNED_MAX: Final = 100_000
"""Rows that one search looks at: entries of the index in all, or records of each prefix."""
SEARCH_WAIT_S: Final = 10.0
"""How long a search of many prefixes goes on; clients wait for about half a minute."""
CHUNK_ROWS: Final = 250
"""Rows of one statement: a millisecond or two, and 64 MB where every record is as large as it may be."""
PREFIXES_CHUNK: Final = 1_000
FOUND_OCTETS_MAX: Final = 16_777_216
"""Of the values that are found; as JSON they take several times as much, and one record may have 262,144."""

_STATES: Final = ", ".join(str(int(state)) for state in sorted(IN_FORCE))
_RECORD: Final = f"""
    LEFT JOIN LATERAL (
        SELECT h.name, h.public_values, h.public_count FROM handles AS h
        JOIN prefixes AS p ON p.prefix = h.prefix
        WHERE h.key = l.key AND h.state IN ({_STATES}) AND p.homed AND p.status = 0
            AND ($1::bytea IS NULL OR h.prefix = $1)
        OFFSET 0) AS h ON true"""  # noqa: S608 - numbers of our own
_EXACT: Final = f"""
    SELECT l.data, l.key, h.name, h.public_values, h.public_count
    FROM (SELECT data, key FROM handle_lookups WHERE type = $2 AND data = $3 AND key > $4
          ORDER BY key LIMIT {CHUNK_ROWS}) AS l {_RECORD}
    ORDER BY l.key"""  # noqa: S608 - statements of our own
_FROM: Final = f"""
    SELECT l.data, l.key, h.name, h.public_values, h.public_count
    FROM (SELECT data, key FROM handle_lookups WHERE type = $2 AND (data, key) > ($4, $5)
          AND data >= $3 AND ($6::bytea IS NULL OR data < $6)
          ORDER BY data, key LIMIT {CHUNK_ROWS}) AS l {_RECORD}
    ORDER BY l.data, l.key"""  # noqa: S608 - statements of our own
_SCAN: Final = f"""
    WITH seen AS MATERIALIZED (
        SELECT key, name, public_values, public_count, state FROM handles
        WHERE prefix = $1 AND key > $2 AND key < $1 || '0'::bytea ORDER BY key LIMIT $4
    ), reach AS (
        SELECT (SELECT count(*) FROM seen) AS rows, (SELECT key FROM seen ORDER BY key DESC LIMIT 1) AS last
    )
    SELECT reach.rows, reach.last, h.name, h.public_values, h.public_count
    FROM reach LEFT JOIN seen AS h ON h.state IN ({_STATES}) AND position($3::bytea IN h.public_values) > 0
    ORDER BY h.key"""  # noqa: S608 - statements of our own
_PREFIXES: Final = f"""
    SELECT prefix FROM prefixes WHERE homed AND status = 0 AND prefix > $1 AND ($2::bytea IS NULL OR prefix = $2)
    ORDER BY prefix LIMIT {PREFIXES_CHUNK}"""  # noqa: S608 - a number of our own


_NOTHING: Final = ValueList(b"", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is searched for."""

    conditions: Conditions
    """By types that have entries; at least one."""
    limit: int
    with_values: bool = False
    """Whether the values of what is found are wanted."""
    skip: int = 0
    """Matches that are left out at the beginning."""
    prefix: bytes | None = None
    """Folded; None for all prefixes of the node."""


@dataclass(slots=True, kw_only=True)
class Match:
    """A handle that was found, with what everybody may read of it."""

    name: bytes
    public: ValueList
    """No values, where they are not wanted."""


@dataclass(slots=True, kw_only=True)
class Matches:
    """What a search has found."""

    found: list[Match] = field(default_factory=list)
    more: bool = False
    """Whether there are matches behind these."""
    stopped: str = ""
    """Why the search ended before everything was looked at; empty when it did not."""


@dataclass(slots=True)
class _Reach:
    """How far a search has come."""

    stopped: str = ""


class Searching:
    """Searches in the database of one node."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock

    async def search(self, search: Search) -> Matches:
        """Find handles, in an order that stays while nothing is written. Raises StoreUnavailable."""
        kind, pattern = most_telling(search.conditions)
        reach, matches = _Reach(), Matches()
        skip, seen, octets = search.skip, set[bytes](), 0
        if pattern.is_exact or pattern.start or pattern.is_everything:
            walk = self._by_index(kind, pattern, search, reach)
        else:
            walk = self._by_looking(pattern, search, reach)
        async with aclosing(walk) as rows:
            async for name, public in rows:
                if name in seen or not fulfils(public, search.conditions):
                    continue
                if len(matches.found) == search.limit:
                    matches.more = True
                    return matches
                seen.add(name)
                if skip:
                    skip -= 1
                    continue
                kept = public if search.with_values else _NOTHING
                octets += len(kept.octets)
                if octets > FOUND_OCTETS_MAX:
                    matches.stopped = (
                        f"before more than {FOUND_OCTETS_MAX:,} octets of values; ask for fewer records"
                    )
                    return matches
                matches.found.append(Match(name=name, public=kept))
        matches.stopped = reach.stopped
        return matches

    async def _by_index(
        self, kind: bytes, pattern: Pattern, search: Search, reach: _Reach
    ) -> AsyncGenerator[tuple[bytes, ValueList], None]:
        """Records of entries with this beginning, or exactly this value."""
        start, end = pattern.start, after_prefix(pattern.start)
        data, key = start, b""
        for _ in range(SCANNED_MAX // CHUNK_ROWS):
            async with self._store.connection() as connection:
                if pattern.is_exact:
                    rows = await connection.fetch(_EXACT, search.prefix, kind, start, key)
                else:
                    rows = await connection.fetch(_FROM, search.prefix, kind, start, data, key, end)
            for record in rows:
                if record["name"] is not None:
                    yield record["name"], ValueList(record["public_values"], record["public_count"])
            if len(rows) < CHUNK_ROWS:
                return
            data, key = rows[-1]["data"], rows[-1]["key"]
        reach.stopped = f"after {SCANNED_MAX:,} values that begin alike"

    async def _by_looking(
        self, pattern: Pattern, search: Search, reach: _Reach
    ) -> AsyncGenerator[tuple[bytes, ValueList], None]:
        """Records of one prefix after the other in which the octets of the pattern stand."""
        end_s = self._clock() + SEARCH_WAIT_S
        async for prefix in self._prefixes(search.prefix):  # holds nothing that needs closing
            key, scanned = b"", 0
            while True:
                async with self._store.connection() as connection:
                    rows = await connection.fetch(_SCAN, prefix, key, pattern.longest, CHUNK_ROWS)
                for record in rows:
                    if record["name"] is not None:
                        yield record["name"], ValueList(record["public_values"], record["public_count"])
                scanned += rows[0]["rows"]
                if rows[0]["rows"] < CHUNK_ROWS:
                    break
                if scanned >= SCANNED_MAX:
                    reach.stopped = f"after {SCANNED_MAX:,} records of a prefix"
                    break
                if self._clock() > end_s:
                    break
                key = rows[0]["last"]
            if self._clock() > end_s:
                reach.stopped = f"after {SEARCH_WAIT_S:.0f} seconds"
                return

    async def _prefixes(self, only: bytes | None) -> AsyncGenerator[bytes, None]:
        """Folded prefixes that the node serves."""
        after = b""
        while True:
            async with self._store.connection() as connection:
                rows: list[Any] = await connection.fetch(_PREFIXES, after, only)
            for (prefix,) in rows:
                yield prefix
            if len(rows) < PREFIXES_CHUNK:
                return
            after = rows[-1][0]
