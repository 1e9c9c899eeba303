"""Transaction: several operations that happen together or not at all, with what else belongs to them.

What is no handle, such as an organisation or an allocation, is written through `connection` by the package that owns
it, in the same transaction as the handles and the entries of the audit log.
"""

from collections.abc import Callable, Sequence

from protocol.handle import Handle
from protocol.value import ValueList
from registry.changes import Changes, Edit, deletion, modification, put_values, removal
from registry.creation import Creations
from registry.outcomes import Actor, Creation, Origin, Rejected, Result
from registry.record import Refusal, Values, stamp_octets, take_in
from registry.work import Work
from registry.writing import State


class Transaction(Work):
    """One write transaction, open until the block of Operations.transaction ends.

    Every method raises StoreUnavailable when the database does not answer. Results of single items that are Rejected
    leave the rest in force: who wants all or nothing raises.
    """

    async def create(
        self,
        batch: Sequence[Creation],
        *,
        by: Actor | Sequence[Actor],
        replace: bool | Sequence[bool] = False,
        inherit_admin: bool = False,
        state: State = State.STORED,
        origins: Sequence[Origin] = (),
    ) -> list[Result]:
        """Create records; see Operations.create.

        by, replace: for all items, or for each. state: STORED or DRAFT. origins: who asked for each item, where not the
        transaction's own origin holds for all.
        """
        return await Creations(self.context).create(
            self, batch, by=by, replace=replace, inherit_admin=inherit_admin, state=state, origins=origins
        )

    async def put_values(
        self, handle: Handle, values: ValueList, *, by: Actor, overwrite: bool = True
    ) -> Result:
        """Add values, or replace those whose index exists; see Operations.put_values."""
        return await self._edit_values(handle, values, lambda new: put_values(new, overwrite=overwrite), by)

    async def modify_values(self, handle: Handle, values: ValueList, *, by: Actor) -> Result:
        """Replace values that exist; see Operations.modify_values."""
        return await self._edit_values(handle, values, modification, by)

    async def remove_values(self, handle: Handle, indexes: Sequence[int], *, by: Actor) -> Result:
        """Remove values by index; see Operations.remove_values."""
        (result,) = await self.edit([handle], removal(indexes), by=by)
        return result

    async def delete(self, batch: Sequence[Handle], *, by: Actor) -> list[Result]:
        """Delete handles; see Operations.delete."""
        return await self.edit(batch, deletion, by=by)

    async def edit(self, handles: Sequence[Handle], edit: Edit, *, by: Actor) -> list[Result]:
        """Apply one edit to each handle."""
        return await Changes(self.context).apply(self, handles, edit, by=by)

    async def edit_each(self, edits: Sequence[tuple[Handle, Edit]], *, by: Actor) -> list[Result]:
        """Apply to each handle an edit of its own."""
        return await Changes(self.context).apply_each(self, edits, by=by)

    async def _edit_values(
        self, handle: Handle, values: ValueList, make_edit: Callable[[Values], Edit], by: Actor
    ) -> Result:
        try:
            taken, _ = take_in(values, stamp_octets(self.now_ms / 1_000))
        except Refusal as refusal:
            return Rejected(handle, refusal.code, refusal.message)
        (result,) = await self.edit([handle], make_edit(taken), by=by)
        return result
