"""Changing identifiers that exist: their values, their state, or that they exist; batches, each row locked once.

Version and state are looked at under the lock under which the change is made: of two editors the second is told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.value import Permission, ValueList
from protocol.valuetypes import AdminPermission
from registry.accounts.roles import Caller
from registry.changes import Edit, Plan, deletion, put_values, removal
from registry.context import Context
from registry.identifiers.access import NO_IDENTIFIER, check_here, held_prefix, problem_of
from registry.identifiers.states import (
    ACTS,
    BY_REGISTRANT,
    NEEDS_REASON,
    STATE_OF,
    STORED_AS,
    IdentifierState,
    TransitionRefused,
    check_transition,
    retirement,
    status_change,
)
from registry.outcomes import Deleted, Principal, Rejected, Replaced, Result, Unchanged
from registry.permission import difference
from registry.problem_types import NOT_FOUND, ApiProblem, FieldFault
from registry.problem_types.identifiers import ITEM_REPEATED, STATE_INCOMPLETE, STATE_REFUSED
from registry.record import (
    HS_ADMIN,
    Refusal,
    Values,
    check_total,
    keep_timestamps,
    permissions_of,
    same_record,
    stamp_octets,
    take_in,
    type_of,
)
from registry.transaction import Transaction
from registry.writing import Row, State

Check = Callable[[int], None]
"""Told the present version; raises ApiProblem when it is not the one that was read."""

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_PUT_STATES: Final = """
    INSERT INTO handle_states (key, reason, successor, actor, since_ms)
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::text[], $5::bigint[])
    ON CONFLICT (key) DO UPDATE SET reason = excluded.reason, successor = excluded.successor, actor = excluded.actor,
        since_ms = excluded.since_ms"""
_END_STATES: Final = "DELETE FROM handle_states WHERE key = ANY ($1::bytea[])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state that an identifier shall have, and why."""

    state: IdentifierState
    reason: str | None = None
    successor: Handle | None = None
    redirect: bool = False
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What shall become of one identifier: what an edit makes of its values, or a new state."""

    handle: Handle
    check: Check
    edit: Edit | Status


Changed = Replaced | Unchanged | Deleted
Outcome = Changed | ApiProblem


def replacement(values: ValueList, now_s: float) -> Edit:
    """Give a record these values; restricted values stay unless one of the same index is given, and so do
    administrators unless others are given. Raises ApiProblem for values that cannot be stored.
    """
    new, administered = _taken(values, now_s)

    def edit(old: Values) -> Plan:
        kept = {
            index: value
            for index, value in old.items()
            if not permissions_of(value) & Permission.PUBLIC_READ
            or (not administered and type_of(value) == HS_ADMIN)
        }
        merged = kept | keep_timestamps(new, old)
        check_total(merged)
        if same_record(old, merged):
            return Plan(merged, AdminPermission.MODIFY_VALUE, changes=False)
        change = difference(old, merged)
        if change.protected:
            message = f"value {change.protected[0]} may not be changed"
            raise Refusal(ResponseCode.ACCESS_DENIED, message)
        return Plan(merged, change.rights, overwritten=change.overwritten)

    return edit


def placing(values: ValueList, now_s: float) -> Edit:
    """Add values, or replace those of the same index. Raises ApiProblem for values that cannot be stored."""
    return put_values(_taken(values, now_s)[0], overwrite=True)


def removing(index: int) -> Edit:
    """Remove a value."""
    return removal([index])


class Changer:
    """Changes identifiers at one node."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def change(
        self, tx: Transaction, changes: Sequence[Change | ApiProblem], caller: Caller
    ) -> list[Outcome]:
        """Change identifiers; gives for each what became of it, or why not. The others stay in force.

        changes: a problem among them is passed on.
        """
        outcomes: list[Outcome | None] = [None] * len(changes)
        by = caller.actor()
        admitted = await self._admitted(tx, changes, caller, by, outcomes)
        rows = await tx.writing.lock(admitted)
        edits: list[tuple[int, bytes, Edit]] = []
        for key, (place, change) in admitted.items():
            try:
                edits.append((place, key, _edit_of(change, rows.get(key), tx)))
            except ApiProblem as problem:
                outcomes[place] = problem
        results = await tx.edit_each([(admitted[key][1].handle, edit) for _, key, edit in edits], by=by)
        done = []
        for (place, key, _), result in zip(edits, results, strict=True):
            outcomes[place] = _outcome(result)
            if not isinstance(result, Rejected):
                done.append((admitted[key][1], rows[key]))
        await _write_states(tx, done)
        return [outcome for outcome in outcomes if outcome is not None]

    async def _admitted(
        self,
        tx: Transaction,
        changes: Sequence[Change | ApiProblem],
        caller: Caller,
        by: Principal,
        outcomes: list[Outcome | None],
    ) -> dict[bytes, tuple[int, Change]]:
        """The changes that the caller may ask for, by storage key."""
        admitted: dict[bytes, tuple[int, Change]] = {}
        for place, change in enumerate(changes):
            if isinstance(change, ApiProblem):
                outcomes[place] = change
                continue
            key = self._context.key_of(change.handle)
            try:
                table = await tx.table(change.handle)
                held_prefix(table, change.handle.prefix.key, caller)
                check_here(table, change.handle, by)
                if key in admitted:
                    raise ApiProblem(ITEM_REPEATED, f"{change.handle} stands in the batch before.")
            except ApiProblem as problem:
                outcomes[place] = problem
            else:
                admitted[key] = (place, change)
        return admitted


def _edit_of(change: Change, row: Row | None, tx: Transaction) -> Edit:
    """The edit that a change takes. Raises ApiProblem when the row is not one that can be changed so."""
    if row is None or not row.stored:
        raise ApiProblem(NOT_FOUND, NO_IDENTIFIER)
    change.check(row.version)
    state = STATE_OF[row.state]
    if isinstance(change.edit, Status):
        return _status_edit(change.handle, change.edit, state, tx)
    if state is IdentifierState.RETIRED:
        raise ApiProblem(STATE_REFUSED, "A retired identifier stays as it is for good.")
    return change.edit


def _status_edit(handle: Handle, status: Status, old: IdentifierState, tx: Transaction) -> Edit:
    try:
        check_transition(old, status.state)
    except TransitionRefused as refused:
        sentence = str(refused)
        raise ApiProblem(STATE_REFUSED, sentence[:1].upper() + sentence[1:] + ".") from None
    _check_complete(handle, status, tx.now)
    if status.state is not IdentifierState.RETIRED:
        return status_change(STORED_AS[status.state])
    assert status.reason is not None
    return retirement(
        now_s=tx.now_ms / 1_000,
        since_s=_since_ms(status, tx) // 1_000,
        reason=status.reason,
        successor=status.successor,
        redirect=status.redirect,
    )


def _check_complete(handle: Handle, status: Status, now: datetime) -> None:
    retired = status.state is IdentifierState.RETIRED
    faults = []
    if status.reason is None and status.state in NEEDS_REASON:
        faults.append(FieldFault("/reason", f"is needed: why it is {status.state}"))
    if status.successor is not None and not retired:
        faults.append(FieldFault("/successor", "is for retired identifiers only"))
    if status.successor is not None and status.successor == handle:
        faults.append(FieldFault("/successor", "is the identifier itself"))
    if status.redirect and status.successor is None:
        faults.append(FieldFault("/redirect", "takes a successor to go to"))
    if status.since is not None and not _EPOCH <= status.since <= now:
        faults.append(FieldFault("/since", "lies in the future, or before 1970"))
    if faults:
        words = "; ".join(f"{fault.pointer[1:]} {fault.detail}" for fault in faults)
        raise ApiProblem(STATE_INCOMPLETE, f"{words}.", errors=faults)


async def _write_states(tx: Transaction, done: Sequence[tuple[Change, Row]]) -> None:
    """Keep why identifiers are suspended or retired, forget why others were, and enter it into the audit log."""
    begun = [
        (row.key, status.reason or "", None if status.successor is None else status.successor.octets,
         BY_REGISTRANT, _since_ms(status, tx))
        for change, row in done
        if isinstance(status := change.edit, Status) and status.state in NEEDS_REASON
    ]  # fmt: skip
    kept = {row[0] for row in begun}
    ended = [row.key for change, row in done if _ends_state(change, row) and row.key not in kept]
    if begun:
        columns = [[row[column] for row in begun] for column in range(5)]
        await tx.connection.execute(_PUT_STATES, *columns)
    if ended:
        await tx.connection.execute(_END_STATES, ended)
    for change, row in done:
        if isinstance(change.edit, Status):
            _audit_status(tx, change.edit, row)


def _ends_state(change: Change, row: Row) -> bool:
    """Whether a suspended identifier is so no longer: it has another state, or is deleted."""
    return row.state == State.SUSPENDED and (isinstance(change.edit, Status) or change.edit is deletion)


def _audit_status(tx: Transaction, status: Status, row: Row) -> None:
    detail: dict[str, str | int | bool] = {"version": row.version + 1}
    if status.reason is not None:
        detail["reason"] = status.reason
    if status.successor is not None:
        detail |= {"successor": str(status.successor), "redirect": status.redirect}
    tx.audit(ACTS[STATE_OF[row.state], status.state], str(Handle(row.name)), detail=detail)


def _since_ms(status: Status, tx: Transaction) -> int:
    return tx.now_ms if status.since is None else int(status.since.timestamp() * 1_000)


def _taken(values: ValueList, now_s: float) -> tuple[Values, bool]:
    try:
        return take_in(values, stamp_octets(now_s))
    except Refusal as refusal:
        raise problem_of(refusal) from None


def _outcome(result: Result) -> Outcome:
    if isinstance(result, Rejected):
        return problem_of(result)
    assert isinstance(result, Replaced | Unchanged | Deleted)
    return result
