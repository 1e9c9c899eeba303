"""Changing handles that exist: put values, remove values, delete; batches of rows locked in ascending order of keys."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.valuetypes import AdminPermission
from registry.context import Context, check_homed
from registry.outcomes import BATCH_ITEMS_MAX, Actor, Deleted, Rejected, Replaced, Result, Unchanged
from registry.permission import Need, difference, grants_in, right_to_remove
from registry.prefixes import PrefixTable
from registry.record import Refusal, Values, check_total, keep_timestamps, same_record
from registry.rows import changed_row, log_entry, renew_authorisations, rounds
from registry.writing import Action, Row, Writing


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of a record."""

    values: Values | None
    """All values afterwards; None deletes the handle."""
    rights: AdminPermission
    """What it takes on the record."""
    overwritten: bool = True
    changes: bool = True
    """False when the record is as it should be already."""


Edit = Callable[[Values], Plan]
"""From the values of a record to the plan; raises Refusal."""


def put_values(new: Values, *, overwrite: bool) -> Edit:
    """Add values, and replace those whose index exists if overwrite (else 201)."""

    def edit(old: Values) -> Plan:
        existing = sorted(index for index in new if index in old)
        if existing and not overwrite:
            raise Refusal(ResponseCode.VALUE_ALREADY_EXISTS, f"index {existing[0]} exists")
        merged = old | keep_timestamps(new, old)
        check_total(merged)
        change = difference({index: old[index] for index in existing}, new)
        if same_record(old, merged):
            return Plan(merged, change.rights, changes=False)
        if change.protected:
            message = f"value {change.protected[0]} has no admin-write permission"
            raise Refusal(ResponseCode.ACCESS_DENIED, message)
        return Plan(merged, change.rights, overwritten=change.overwritten)

    return edit


def removal(indexes: Sequence[int]) -> Edit:
    """Remove values by index; all of them or, when one is missing, none (200)."""

    def edit(old: Values) -> Plan:
        missing = [index for index in indexes if index not in old]
        if missing or not indexes:
            message = f"there is no value {missing[0]}" if missing else "no index is given"
            raise Refusal(ResponseCode.VALUES_NOT_FOUND, message)
        gone = set(indexes)
        kept = {index: value for index, value in old.items() if index not in gone}
        return Plan(kept, right_to_remove(old[index] for index in gone))

    return edit


def deletion(_: Values) -> Plan:
    """Delete the handle."""
    return Plan(None, AdminPermission.DELETE_HANDLE)


class Changes:
    """Changes at one node."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def apply(self, handles: Sequence[Handle], edit: Edit, *, by: Actor) -> list[Result]:
        """Apply one edit to each handle, in one transaction; a handle given twice is edited twice."""
        if len(handles) > BATCH_ITEMS_MAX:
            raise ValueError(f"{len(handles)} items in a batch; at most {BATCH_ITEMS_MAX}")
        results: list[Result | None] = [None] * len(handles)
        table = await self._context.prefixes.table()
        for positions in rounds([self._context.key_of(handle) for handle in handles]):
            for position, result in await self._round(handles, positions, edit, by, table):
                results[position] = result
        done = [result for result in results if result is not None]
        assert len(done) == len(handles)
        return done

    async def _round(
        self, handles: Sequence[Handle], positions: Iterable[int], edit: Edit, by: Actor, table: PrefixTable
    ) -> list[tuple[int, Result]]:
        results: list[tuple[int, Result]] = []
        changed: list[tuple[Row, Action]] = []
        placed = [position for position in positions if _place(handles[position], table, position, results)]
        try:
            async with self._context.store.writing() as writing:
                rows = await writing.lock(self._context.key_of(handles[position]) for position in placed)
                for position in placed:
                    handle = handles[position]
                    row = rows.get(self._context.key_of(handle))
                    try:
                        new, result = await self._edit(writing, handle, row, edit, by)
                    except Refusal as refusal:
                        new, result = None, Rejected(handle, refusal.code, refusal.message)
                    results.append((position, result))
                    if new is not None:
                        changed.append((new, Action.UPDATE if new.stored else Action.DELETE))
                await self._write(writing, changed)
        finally:  # a commit whose confirmation was lost may have happened
            self._context.announce([row.key for row, _ in changed])
        return results

    async def _write(self, writing: Writing, changed: Sequence[tuple[Row, Action]]) -> None:
        if not changed:
            return
        await writing.update([row for row, _ in changed])
        await writing.log([log_entry(row, action) for row, action in changed])
        await renew_authorisations(writing, [row.key for row, _ in changed])

    async def _edit(
        self, writing: Writing, handle: Handle, row: Row | None, edit: Edit, by: Actor
    ) -> tuple[Row | None, Result]:
        """The new row, None when nothing changes, and the result. Raises Refusal."""
        if row is None or not row.stored:
            raise Refusal(ResponseCode.HANDLE_NOT_FOUND, "the handle does not exist")
        old = self._context.values_of(row)
        grants = grants_in(old.values())
        stranger = Refusal(
            ResponseCode.INVALID_ADMINISTRATOR,
            f"the operation takes rights on the handle that {by} does not have",
        )
        try:
            plan = edit(old)
        except Refusal:  # its words tell which values there are, the hidden ones too
            if not await self._context.is_administrator(by, grants, writing.find):
                raise stranger from None
            raise
        if not await self._context.is_allowed(by, Need(plan.rights), grants, (), writing.find):
            raise stranger
        if not plan.changes:
            return None, Unchanged(handle, row.version)
        new = changed_row(self._context, row, plan.values, self._context.now_ms())
        if plan.values is None:
            return new, Deleted(handle, new.version)
        return new, Replaced(handle, new.version, overwritten=plan.overwritten)


def _place(handle: Handle, table: PrefixTable, position: int, results: list[tuple[int, Result]]) -> bool:
    try:
        check_homed(handle, table)
    except Refusal as refusal:
        results.append((position, Rejected(handle, refusal.code, refusal.message)))
        return False
    return True
