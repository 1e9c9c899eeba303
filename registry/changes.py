"""Changing handles that exist: put values, remove values, delete; batches of rows locked in ascending order of keys."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.valuetypes import AdminPermission
from registry.context import RETIRED, Context, check_homed, check_writable
from registry.outcomes import (
    BATCH_ITEMS_MAX,
    Actor,
    Deleted,
    Operator,
    Principal,
    Rejected,
    Replaced,
    Result,
    Unchanged,
)
from registry.permission import Need, difference, grants_in, right_over_keys, right_to_remove
from registry.record import Refusal, Values, check_total, keep_timestamps, same_record
from registry.rows import changed_row, log_entry, renew_authorisations, rounds
from registry.work import Work
from registry.writing import Action, LogEntry, Row, State


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
    state: State | None = None
    """The state afterwards; None leaves it as it is."""


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


def modification(new: Values) -> Edit:
    """Replace values that exist; when one is missing, none (200)."""

    def edit(old: Values) -> Plan:
        missing = [index for index in new if index not in old]
        if missing or not new:
            message = f"there is no value {missing[0]}" if missing else "no value is given"
            raise Refusal(ResponseCode.VALUES_NOT_FOUND, message)
        return put_values(new, overwrite=True)(old)

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

    async def apply(self, work: Work, handles: Sequence[Handle], edit: Edit, *, by: Actor) -> list[Result]:
        """Apply one edit to each handle; a handle given twice is edited twice."""
        if len(handles) > BATCH_ITEMS_MAX:
            raise ValueError(f"{len(handles)} items in a batch; at most {BATCH_ITEMS_MAX}")
        return await self.apply_each(work, [(handle, edit) for handle in handles], by=by)

    async def apply_each(
        self, work: Work, edits: Sequence[tuple[Handle, Edit]], *, by: Actor
    ) -> list[Result]:
        """Apply to each handle an edit of its own; see apply."""
        results: list[Result | None] = [None] * len(edits)
        for positions in rounds([self._context.key_of(handle) for handle, _ in edits]):
            for position, result in await self._round(work, edits, positions, by):
                results[position] = result
        done = [result for result in results if result is not None]
        assert len(done) == len(edits)
        return done

    async def _round(
        self, work: Work, edits: Sequence[tuple[Handle, Edit]], positions: Iterable[int], by: Actor
    ) -> list[tuple[int, Result]]:
        results: list[tuple[int, Result]] = []
        changed: list[tuple[Row, Action]] = []
        placed = [position for position in positions if await _place(work, edits, position, by, results)]
        rows = await work.writing.lock(self._context.key_of(edits[position][0]) for position in placed)
        for position in placed:
            handle, edit = edits[position]
            row = rows.get(self._context.key_of(handle))
            try:
                new, result = await self._edit(work, handle, row, edit, by)
            except Refusal as refusal:
                new, result = None, Rejected(handle, refusal.code, refusal.message)
            results.append((position, result))
            if new is not None:
                changed.append((new, Action.UPDATE if new.stored else Action.DELETE))
        await self._write(work, changed)
        return results

    async def _write(self, work: Work, changed: Sequence[tuple[Row, Action]]) -> None:
        if not changed:
            return
        await work.writing.update([row for row, _ in changed])
        by_holder: dict[str | None, list[LogEntry]] = {}
        for row, action in changed:
            name = Handle(row.name)
            held = (await work.table(name)).rows.get(name.prefix.key)
            holder = None if held is None else held.organisation
            by_holder.setdefault(holder, []).append(log_entry(row, action))
        for holder, rows in by_holder.items():
            work.record(rows, holder=holder)
        await renew_authorisations(work, [row.key for row, _ in changed])

    async def _edit(
        self, work: Work, handle: Handle, row: Row | None, edit: Edit, by: Actor
    ) -> tuple[Row | None, Result]:
        """The new row, None when nothing changes, and the result. Raises Refusal."""
        unknown = Refusal(ResponseCode.HANDLE_NOT_FOUND, "the handle does not exist")
        if row is None or not row.stored:
            raise unknown
        held = (await work.table(handle)).rows.get(handle.prefix.key)
        old = self._context.values_of(row)
        grants = grants_in(old.values())
        if row.state == State.DRAFT and not await self._context.is_administrator(
            by, grants, work.writing, held=held
        ):
            raise unknown  # nobody but its owner knows of it yet
        stranger = Refusal(
            ResponseCode.INVALID_ADMINISTRATOR,
            f"the operation takes rights on the handle that {by} does not have",
        )
        try:
            plan = edit(old)
        except Refusal:  # its words tell which values there are, the hidden ones too
            if not await self._context.is_administrator(by, grants, work.writing, held=held):
                raise stranger from None
            raise
        need = Need(plan.rights)
        if isinstance(by, Principal):
            in_force = plan.values if plan.state is None else None  # a state can end what its keys prove
            need = Need(plan.rights | right_over_keys(old, in_force or {}))
        if not await self._context.is_allowed(by, need, grants, (), work.writing, held=held):
            raise stranger
        if row.state == State.RETIRED and not isinstance(by, Operator):
            raise Refusal(ResponseCode.ACCESS_DENIED, RETIRED)
        state = State(row.state) if plan.state is None else plan.state
        if not plan.changes and state == row.state:
            return None, Unchanged(handle, row.version)
        new = changed_row(self._context, row, plan.values, work.now_ms, state=state)
        if plan.values is None:
            return new, Deleted(handle, new.version)
        return new, Replaced(handle, new.version, overwritten=plan.overwritten)


async def _place(
    work: Work,
    edits: Sequence[tuple[Handle, Edit]],
    position: int,
    by: Actor,
    results: list[tuple[int, Result]],
) -> bool:
    """Whether the handle is one that may be written here; if not, the result says why."""
    handle = edits[position][0]
    table = await work.table(handle)
    try:
        check_homed(handle, table)
        check_writable(handle, table, by, moving=work.moving)
    except Refusal as refusal:
        results.append((position, Rejected(handle, refusal.code, refusal.message)))
        return False
    return True
