"""Lists of places that a prefix shares with its handles: `locs` of its HS_NAMESPACE. Source: PROTOCOL.md §1.6, §8.6."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from protocol.errors import HandleError, InvalidHandle, WireError
from protocol.handle import Handle
from protocol.valuetypes.hs_namespace import Namespace
from protocol.valuetypes.loc import Locations
from resolver.cache.policy import Denial, Entry
from resolver.http_headers import Life
from resolver.locations import read_lists
from resolver.recursor import Recursor

LISTS_MAX: Final = 4  # handles named by one prefix; real ones name one
WAIT_S: Final = 1.0  # for all of it; without it the record's own places do
_NAMESPACE: Final = "HS_NAMESPACE"


@dataclass(frozen=True, slots=True)
class SharedLists:
    """The lists of a prefix."""

    lists: tuple[Locations, ...] = ()
    life: Life = Life()  # noqa: RUF009 - frozen
    complete: bool = True
    """False when something did not answer in time: such an answer is not to be kept."""


async def shared_lists(recursor: Recursor, handle: Handle) -> SharedLists:
    """The lists that the prefix of a handle shares; never raises, and takes WAIT_S at most.

    A prefix record has none of its own prefix's.
    """
    if handle.is_prefix_record:
        return SharedLists()
    lists: list[Locations] = []
    life = Life()
    try:
        async with asyncio.timeout(WAIT_S):
            prefix_record = (await recursor.resolve(handle.authority)).entry
            life = life.with_part(prefix_record)
            for name in _named_lists(prefix_record, recursor):
                entry = (await recursor.resolve(name)).entry
                life = life.with_part(entry)
                if not isinstance(entry, Denial):
                    lists += read_lists(entry.values).lists
    except (HandleError, TimeoutError):
        return SharedLists(tuple(lists), life, complete=False)
    return SharedLists(tuple(lists), life)


def _named_lists(entry: Entry, recursor: Recursor) -> Iterator[Handle]:
    """The handles that the first HS_NAMESPACE value of a prefix record names, as far as it can be read."""
    if isinstance(entry, Denial):
        return
    for value in entry.values.select(types=(_NAMESPACE,)):
        try:
            names = Namespace.decode(value.data).location_handles
            handles = [Handle.parse(name) for name in names]
        except (WireError, InvalidHandle):
            continue
        if len(handles) > LISTS_MAX:
            recursor.observer.limit_reached("shared_locations")
        yield from handles[:LISTS_MAX]
        return
