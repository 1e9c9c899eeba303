"""HS_ALIAS: from the handle that was asked for to the one that holds what is meant. Source: PROTOCOL.md §8.5."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocol.errors import InvalidHandle, Unreachable
from protocol.handle import Handle
from resolver.cache.policy import Denial, Entry, cache_key
from resolver.http_headers import Life
from resolver.recursor import GRACE_S, Origin, Recursor

MAX_ALIASES: Final = 20  # as deployed gateways; real chains have one or two
_ALIAS: Final = "HS_ALIAS"


class Tangle(StrEnum):
    """Why a chain of aliases ends nowhere."""

    LOOP = "loop"
    TOO_LONG = "too long"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """Where a chain of aliases ended."""

    life: Life
    """As old as the oldest record of the chain, and over with the first of them."""
    handle: Handle
    """The last handle of the chain: the one that was asked for, where it is no alias."""
    entry: Entry
    """What is known of it."""
    origin: Origin
    """HIT when no record of the chain had to be fetched."""
    tangle: Tangle | None = None


async def follow(
    recursor: Recursor, handle: Handle, *, authoritative: bool, follow_aliases: bool = True
) -> Followed:
    """Resolve a handle, and those that it is an alias of, all within the time of one question.

    Raises TooBusy, RecursionLimit or ResolutionFailed as Recursor.resolve() does.
    """
    budget_s = recursor.bounds.resolution_time_s
    try:
        async with asyncio.timeout(budget_s + 2 * GRACE_S):  # a single question ends before, and says why
            return await _follow(recursor, handle, authoritative, MAX_ALIASES if follow_aliases else 0)
    except TimeoutError:
        raise Unreachable(f"the aliases did not end within resolution_time_s = {budget_s:g}") from None


async def _follow(recursor: Recursor, handle: Handle, authoritative: bool, aliases_max: int) -> Followed:
    seen: set[bytes] = set()
    life, origin = Life(), Origin.HIT
    while True:
        resolved = await recursor.resolve(handle, authoritative=authoritative)
        entry = resolved.entry
        life = life.with_part(entry)
        origin = origin if resolved.origin is Origin.HIT else resolved.origin
        seen.add(cache_key(handle))
        following = alias_of(entry) if aliases_max else None
        tangle = None
        if following is not None and cache_key(following) in seen:
            tangle = Tangle.LOOP
        elif following is not None and len(seen) > aliases_max:
            tangle = Tangle.TOO_LONG
            recursor.observer.limit_reached("aliases")
        if following is None or tangle is not None:
            return Followed(life=life, handle=handle, entry=entry, origin=origin, tangle=tangle)
        handle = following


def alias_of(entry: Entry) -> Handle | None:
    """The handle that a record is an alias of: its first HS_ALIAS value; None for any other record."""
    if isinstance(entry, Denial):
        return None
    first = next(iter(entry.values.select(types=(_ALIAS,))), None)
    try:
        return None if first is None else Handle.parse(first.data)
    except InvalidHandle:
        return None
