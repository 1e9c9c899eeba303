"""Reserving ranges, reading them, and releasing what of them was not used."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from typing import Final

from msgspec import UNSET

from protocol.handle import Handle, fold
from registry.accounts.roles import Caller
from registry.context import Context
from registry.identifiers.access import NO_PREFIX, NO_RANGE, check_here, held_prefix
from registry.identifiers.drafting import name_octets, prefix_octets, series_on
from registry.identifiers.forms import NewRange, Release
from registry.identifiers.minting import draw, series_key
from registry.identifiers.patterns import Series
from registry.identifiers.ranges import (
    SHAPES_MAX,
    Extent,
    Range,
    add_shape,
    advance_series,
    highest_registered,
    insert_range,
    list_ranges,
    lock_series,
    overlapping,
    read_ranges,
    shrink_range,
)
from registry.ids import new_id
from registry.problem_types import NOT_FOUND, ApiProblem, FieldFault
from registry.problem_types.identifiers import (
    PATTERN_REFUSED,
    RANGE_OVERLAP,
    RANGE_SHAPES,
    SERIES_EXHAUSTED,
)
from registry.transaction import Transaction
from registry.work import Connection

JUMPS_MAX: Final = 100
"""Ranges and identifiers that a search for free numbers jumps over."""
_MARK: Final = "UPDATE prefixes SET has_ranges = true WHERE prefix = $1 AND NOT has_ranges"


class Reserver:
    """Ranges at one node. Every method raises ApiProblem 404 for what the caller may not see."""

    def __init__(self, context: Context, day: Callable[[datetime], date]) -> None:
        """day: what the date in a pattern is, at a time."""
        self._context = context
        self._day = day

    async def reserve(self, tx: Transaction, form: NewRange, caller: Caller) -> Range:
        """Reserve suffixes of a pattern: the next free numbers, or those that are asked for."""
        spelled = prefix_octets(form.prefix)
        handle = Handle(spelled + b"/")
        table = await tx.table(handle)
        held = held_prefix(table, handle.prefix.key, caller, words=NO_PREFIX)
        check_here(table, handle, caller.actor())
        series = series_on(form.pattern, self._day(tx.now))
        extent = self._extent(spelled, series)
        key = series_key(series, case_sensitive=self._context.case_sensitive)
        first = await _choose(
            tx.connection, form, extent, await lock_series(tx.connection, extent.prefix, key)
        )
        made = Range(
            id=new_id("rng"),
            extent=extent,
            first=first,
            last=first + form.count - 1,
            reserved=form.count,
            pattern=series.text,
            organisation=held.organisation,
            actor=caller.id,
            created=tx.now,
        )
        await self._store(tx, made, key, chosen=form.first is not UNSET)
        return made

    async def read(self, identity: str, caller: Caller) -> tuple[Range, int | None]:
        """A range, and the highest of its numbers that is registered; None when none is."""
        async with self._context.store.connection() as connection:
            found = (await read_ranges(connection, [identity])).get(identity)
        if found is None:
            raise ApiProblem(NOT_FOUND, NO_RANGE)
        handle = Handle(found.extent.prefix + b"/")
        held_prefix(await self._context.prefixes.around(handle), handle.prefix.key, caller, words=NO_RANGE)
        async with self._context.store.connection() as connection:
            return found, await highest_registered(connection, found.extent, found.first, found.last)

    async def list(self, prefix: str, caller: Caller, *, after: str, limit: int) -> list[Range]:
        """Ranges of a prefix in order of their ids, one more than limit where more follow."""
        handle = Handle(prefix_octets(prefix) + b"/")
        table = await self._context.prefixes.around(handle)
        held_prefix(table, handle.prefix.key, caller, words=NO_PREFIX)
        async with self._context.store.connection() as connection:
            return await list_ranges(connection, handle.prefix.key, after=after, limit=limit + 1)

    async def release(self, tx: Transaction, identity: str, form: Release, caller: Caller) -> Range:
        """Give back the numbers of a range from one on, none of which may be registered; again, it changes nothing."""
        found = (await read_ranges(tx.connection, [identity], lock="FOR UPDATE")).get(identity)
        if found is None:
            raise ApiProblem(NOT_FOUND, NO_RANGE)
        handle = Handle(found.extent.prefix + b"/")
        table = await tx.table(handle)
        held_prefix(table, handle.prefix.key, caller, words=NO_RANGE)
        check_here(table, handle, caller.actor())
        used = await highest_registered(tx.connection, found.extent, found.first, found.last)
        behind = found.first if used is None else used + 1
        start = behind if form.first is UNSET else max(form.first, found.first)
        if start < behind:
            raise ApiProblem(RANGE_OVERLAP, f"The number {used} of the range is registered.")
        if start > found.last:
            return found
        await shrink_range(tx.connection, identity, start - 1, tx.now)
        detail: dict[str, str | int] = {"prefix": str(handle.prefix), "first": start, "last": found.last}
        tx.audit("range.release", identity, detail=detail)
        return replace(found, last=start - 1, released=tx.now)

    def _extent(self, prefix: bytes, series: Series) -> Extent:
        """The suffixes of a series as storage keys. Raises ApiProblem 422."""
        if series.extent is None:
            reason = "takes exactly one {seq:n} beside literal text and dates, to reserve by"
            fault = FieldFault("/pattern", reason)
            raise ApiProblem(PATTERN_REFUSED, f"The pattern {reason}.", errors=[fault])
        name = prefix.decode() + "/" + series.suffix(0, draw)
        key = self._context.key_of(Handle(name_octets(name, "pattern")))
        start, tail_octets = len(prefix) + 1, len(series.extent[1].encode())
        end = len(key) - tail_octets
        head = key[start : end - series.digits]
        return Extent(prefix=fold(prefix), head=head, tail=key[end:], digits=series.digits)

    async def _store(self, tx: Transaction, made: Range, key: str, *, chosen: bool) -> None:
        extent = made.extent
        if not await add_shape(tx.connection, extent):
            raise ApiProblem(RANGE_SHAPES, f"The prefix has ranges of {SHAPES_MAX} shapes already.")
        await insert_range(tx.connection, made)
        if not chosen:
            await advance_series(tx.connection, extent.prefix, key, made.last + 1)
        if await tx.connection.execute(_MARK, extent.prefix) != "UPDATE 0":
            tx.announce_prefix(extent.prefix)
        detail: dict[str, str | int] = {
            "prefix": extent.prefix.decode(),
            "pattern": made.pattern,
            "first": made.first,
            "last": made.last,
        }
        tx.audit("range.reserve", made.id, detail=detail)


async def _choose(connection: Connection, form: NewRange, extent: Extent, following: int) -> int:
    """The first number of a new range. Raises ApiProblem 409 when there is no room for it.

    following: the number that the series goes on with.
    """
    first = following if form.first is UNSET else form.first
    for _ in range(JUMPS_MAX):
        last = first + form.count - 1
        if last >= 10**extent.digits:
            raise ApiProblem(
                SERIES_EXHAUSTED,
                f"From {first} on there are no {form.count} numbers of {extent.digits} digits.",
            )
        other = await overlapping(connection, extent, first, last)
        taken = None if other is not None else await highest_registered(connection, extent, first, last)
        if other is None and taken is None:
            return first
        words = (
            f"{taken} is registered"
            if other is None
            else f"the range {other.id} has {other.first} to {other.last}"
        )
        if form.first is not UNSET:
            fault = FieldFault("/first", words)
            raise ApiProblem(RANGE_OVERLAP, f"Of the numbers {first} to {last}, {words}.", errors=[fault])
        first = (other.last if other is not None else taken or 0) + 1
    raise ApiProblem(SERIES_EXHAUSTED, f"No {form.count} free numbers in a row were found; give `first`.")
