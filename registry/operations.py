"""The registry's operations: permission, then storage and log in one transaction, then generations, then the answer.

Every front end (Handle protocol, REST, import, commands) calls these and nothing below them.
A single creation is a batch of one. Results come in the order of the batch.
"""

from collections.abc import Callable, Sequence

from protocol.generations import Generations
from protocol.handle import Handle
from protocol.value import ValueList
from registry.authenticate import check_secret
from registry.changes import Changes, Edit, deletion, put_values, removal
from registry.context import Context
from registry.creation import Creations
from registry.outcomes import (
    Actor,
    Answer,
    Creation,
    Identity,
    Rejected,
    Result,
)
from registry.prefixes import Prefixes
from registry.record import Refusal, stamp_octets, take_in
from registry.resolution import Query, Reading
from registry.seal import Sealer
from registry.store import Store


class Operations:
    """What this node can do with handles. Safe for concurrent use by many tasks of one event loop.

    Every method raises StoreUnavailable when the database cannot be reached or does not confirm; a write
    that raised may or may not have happened, a write that returned is committed.
    """

    def __init__(
        self,
        *,
        store: Store,
        prefixes: Prefixes,
        sealer: Sealer,
        generations: Generations,
        wall_clock: Callable[[], float],
        case_sensitive: bool = False,
    ) -> None:
        context = Context(
            store=store,
            prefixes=prefixes,
            sealer=sealer,
            generations=generations,
            wall_clock=wall_clock,
            case_sensitive=case_sensitive,
        )
        self._context = context
        self._reading = Reading(context)
        self._creations = Creations(context)
        self._changes = Changes(context)

    async def resolve(
        self,
        handle: Handle,
        *,
        indexes: Sequence[int] = (),
        types: Sequence[str] = (),
        refer: bool = True,
        reader: Actor | None = None,
    ) -> Answer:
        """Answer a resolution from what this node stores; never from its authorisation copies.

        refer: False for a request with DNRF: 100 or 301 in place of a referral.
        reader: None selects publicly readable values only; an authenticated identity also gets the restricted ones
            if it has READ_VALUE, and 400 if it asks for them without.
        """
        query = Query(handle=handle, indexes=indexes, types=types, refer=refer, reader=reader)
        return await self._reading.resolve(query)

    async def create(
        self,
        batch: Sequence[Creation],
        *,
        by: Actor,
        replace: bool = False,
        inherit_admin: bool = False,
    ) -> list[Result]:
        """Create records; with replace an existing record becomes the given one.

        Gives per item Created, Replaced, Unchanged (it exists alike, timestamps aside, with or without replace)
        or Rejected: 101 it exists and differs, 102 the handle is no UTF-8, 201 an index twice, 202 a value is
        invalid or the record fits no message, 301 the prefix is not homed here, 400 and 401 not permitted.
        The same handle twice in one batch: the later one is judged after the earlier one, in a transaction of its own.
        inherit_admin: a record without HS_ADMIN gets those of its prefix, at the first free indexes from 100 on.
        Raises ValueError for more than BATCH_ITEMS_MAX items.
        """
        return await self._creations.create(batch, by=by, replace=replace, inherit_admin=inherit_admin)

    async def put_values(
        self, handle: Handle, values: ValueList, *, by: Actor, overwrite: bool = True
    ) -> Result:
        """Add values to an existing handle; with overwrite, values whose index exists are replaced.

        Gives Replaced, Unchanged, or Rejected: 100 unknown handle, 201 index exists (without overwrite) or twice,
        202, 301, 400, 401 a value without admin-write.
        """
        try:
            taken, _ = take_in(values, stamp_octets(self._context.wall_clock()))
        except Refusal as refusal:
            return Rejected(handle, refusal.code, refusal.message)
        return await self._one(handle, put_values(taken, overwrite=overwrite), by)

    async def remove_values(self, handle: Handle, indexes: Sequence[int], *, by: Actor) -> Result:
        """Remove values by index; Rejected with 100, 200 (an index is missing; nothing is removed), 301, 400."""
        return await self._one(handle, removal(indexes), by)

    async def delete(self, batch: Sequence[Handle], *, by: Actor) -> list[Result]:
        """Delete handles: Deleted, or Rejected with 100, 301, 400. Raises ValueError above BATCH_ITEMS_MAX."""
        return await self._changes.apply(batch, deletion, by=by)

    async def authenticate(self, claimed: Identity, secret: bytes) -> Identity | None:
        """Check a secret against the HS_SECKEY value that claimed names, in records stored here only.

        Gives the identity with the index that matched (claimed index 0: any HS_SECKEY value), or None.
        """
        return check_secret(claimed, await self._context.read_record(claimed.handle), secret)

    async def _one(self, handle: Handle, edit: Edit, by: Actor) -> Result:
        (result,) = await self._changes.apply([handle], edit, by=by)
        return result
