"""Identifiers: everything that the API does with identifiers and ranges; the front ends call nothing below it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET, UnsetType

from protocol.handle import Handle
from registry.accounts.roles import Caller
from registry.changes import deletion
from registry.gathering import Gathering, Waiting
from registry.identifiers.access import handle_of
from registry.identifiers.changing import Change, Changed, Changer, Status, placing, removing, replacement
from registry.identifiers.drafting import name_octets, wire_values
from registry.identifiers.forms import (
    BatchForm,
    BatchItem,
    ChangeItem,
    CreateItem,
    DeleteItem,
    NewIdentifier,
    StateChange,
    StateItem,
    UpdateItem,
)
from registry.identifiers.reading import IdentifierReader
from registry.identifiers.registering import Registrar
from registry.identifiers.reserving import Reserver
from registry.identifiers.states import IdentifierState
from registry.identifiers.values import ValueForm
from registry.operations import Operations
from registry.outcomes import Created
from registry.problem_types import PRECONDITION_FAILED, ApiProblem, FieldFault
from registry.problem_types.identifiers import BATCH_REFUSED
from registry.transaction import Transaction

ERRORS_MAX: Final = 100
"""Items that the refusal of a batch names; who has corrected so many looks at the rest in the next answer."""

Match = Callable[[str], None]
"""Told the present ETag; raises ApiProblem when the client has read another version."""
Done = Created | Changed
Asked = tuple[NewIdentifier, Caller]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifiers:
    """Identifiers and ranges of one node."""

    reader: IdentifierReader
    registrar: Registrar
    changer: Changer
    ranges: Reserver
    gathering: Gathering[Asked, Created | ApiProblem]
    """For single registrations, which share transactions under load; asked for by form and caller."""
    default_ttl_s: int

    async def create(self, tx: Transaction, form: NewIdentifier, caller: Caller) -> Created:
        """Register one identifier. Raises ApiProblem."""
        (outcome,) = await self.registrar.register(tx, [form], caller)
        if isinstance(outcome, ApiProblem):
            raise outcome
        return outcome

    async def replace(
        self, tx: Transaction, name: str, values: Sequence[ValueForm], caller: Caller, *, match: Match
    ) -> Done:
        """Give an identifier these values; see forms.NewValues. Raises ApiProblem."""
        wire = wire_values(values, default_ttl_s=self.default_ttl_s)
        edit = replacement(wire, tx.now_ms / 1_000)
        return await self._change(
            tx, Change(handle=handle_of(name), check=_checked(match), edit=edit), caller
        )

    async def put_value(
        self, tx: Transaction, name: str, value: ValueForm, caller: Caller, *, match: Match
    ) -> Done:
        """Add a value to an identifier, or replace the one of the same index. Raises ApiProblem."""
        wire = wire_values([value], default_ttl_s=self.default_ttl_s)
        edit = placing(wire, tx.now_ms / 1_000)
        return await self._change(
            tx, Change(handle=handle_of(name), check=_checked(match), edit=edit), caller
        )

    async def remove_value(
        self, tx: Transaction, name: str, index: int, caller: Caller, *, match: Match
    ) -> Done:
        """Remove a value of an identifier. Raises ApiProblem."""
        edit = removing(index)
        return await self._change(
            tx, Change(handle=handle_of(name), check=_checked(match), edit=edit), caller
        )

    async def delete(self, tx: Transaction, name: str, caller: Caller, *, match: Match) -> Done:
        """Delete an identifier. Raises ApiProblem."""
        change = Change(handle=handle_of(name), check=_checked(match), edit=deletion)
        return await self._change(tx, change, caller)

    async def set_state(
        self, tx: Transaction, name: str, form: StateChange, caller: Caller, *, match: Match
    ) -> Done:
        """Change the state of an identifier. Raises ApiProblem."""
        change = Change(handle=handle_of(name), check=_checked(match), edit=_status(form))
        return await self._change(tx, change, caller)

    async def batch(self, tx: Transaction, form: BatchForm, caller: Caller) -> list[Done | ApiProblem]:
        """Do what the items ask for; gives what became of each.

        Raises ApiProblem in the mode `transactional` when one of them cannot be done.
        """
        outcomes: list[Done | ApiProblem | None] = [None] * len(form.items)
        creations = [(place, item) for place, item in enumerate(form.items) if isinstance(item, CreateItem)]
        if creations:
            created = await self.registrar.register(tx, [item for _, item in creations], caller)
            for (place, _), outcome in zip(creations, created, strict=True):
                outcomes[place] = outcome
        changes = [(place, item) for place, item in enumerate(form.items) if not isinstance(item, CreateItem)]
        if changes:
            now_s = tx.now_ms / 1_000
            asked = [self._asked(item, now_s) for _, item in changes]
            for (place, _), changed in zip(
                changes, await self.changer.change(tx, asked, caller), strict=True
            ):
                outcomes[place] = changed
        done = [outcome for outcome in outcomes if outcome is not None]
        assert len(done) == len(form.items)
        if form.mode == "transactional":
            _refuse_partial(form.items, done)
        return done

    def _asked(self, item: ChangeItem, now_s: float) -> Change | ApiProblem:
        """The change that an item asks for, or why there can be none."""
        try:
            handle = Handle(name_octets(item.identifier))
            match item:
                case UpdateItem():
                    wire = wire_values(item.values, default_ttl_s=self.default_ttl_s)
                    return Change(handle=handle, check=_version(item.version), edit=replacement(wire, now_s))
                case DeleteItem():
                    return Change(handle=handle, check=_version(item.version), edit=deletion)
                case StateItem():
                    return Change(handle=handle, check=_version(item.version), edit=_status(item))
        except ApiProblem as problem:
            return problem

    async def _change(self, tx: Transaction, change: Change, caller: Caller) -> Changed:
        (outcome,) = await self.changer.change(tx, [change], caller)
        if isinstance(outcome, ApiProblem):
            raise outcome
        return outcome


def make_identifiers(operations: Operations, *, default_ttl_s: int, utc_offset_s: int = 0) -> Identifiers:
    """Put the parts together.

    default_ttl_s: of a value that names none. utc_offset_s: where the day of a pattern begins, in seconds east of
    Greenwich.
    """
    context = operations.context
    registrar = Registrar(context, default_ttl_s=default_ttl_s, utc_offset_s=utc_offset_s)

    async def register(tx: Transaction, group: Sequence[Waiting[Asked]]) -> list[Created | ApiProblem]:
        """Register what a group asks for, each caller's in one go."""
        places: dict[Caller, list[int]] = {}
        for place, waiting in enumerate(group):
            places.setdefault(waiting.asked[1], []).append(place)
        outcomes: dict[int, Created | ApiProblem] = {}
        for caller, own in sorted(
            places.items(), key=_by_id
        ):  # so that groups wait for each other in one order
            forms = [group[place].asked[0] for place in own]
            origins = [group[place].origin for place in own]
            done = await registrar.register(tx, forms, caller, origins=origins)
            outcomes.update(zip(own, done, strict=True))
        return [outcomes[place] for place in range(len(group))]

    return Identifiers(
        gathering=Gathering(operations, register),
        reader=IdentifierReader(context),
        registrar=registrar,
        changer=Changer(context),
        ranges=Reserver(context, registrar.day),
        default_ttl_s=default_ttl_s,
    )


def _by_id(entry: tuple[Caller, list[int]]) -> str:
    return entry[0].id


def _status(form: StateChange) -> Status:
    successor = None if form.successor is None else Handle(name_octets(form.successor, "successor"))
    return Status(
        state=IdentifierState(form.state),
        reason=form.reason,
        successor=successor,
        redirect=form.redirect,
        since=form.since,
    )


def _checked(match: Match) -> Callable[[int], None]:
    return lambda version: match(str(version))


def _version(wanted: int | UnsetType) -> Callable[[int], None]:
    def check(present: int) -> None:
        if wanted is not UNSET and wanted != present:
            raise ApiProblem(PRECONDITION_FAILED, f"The present version is {present}, not {wanted}.")

    return check


def _refuse_partial(items: Sequence[BatchItem], outcomes: Sequence[Done | ApiProblem]) -> None:
    """Raises ApiProblem when not all of a batch was done."""
    failed = [(place, outcome) for place, outcome in enumerate(outcomes) if isinstance(outcome, ApiProblem)]
    if not failed:
        return
    faults: list[FieldFault] = []
    for place, problem in failed[:ERRORS_MAX]:
        at = f"/items/{place}"
        details = problem.errors or (FieldFault("", problem.detail),)
        faults += [FieldFault(at + fault.pointer, fault.detail) for fault in details]
    raise ApiProblem(
        BATCH_REFUSED,
        f"{len(failed)} of {len(items)} items cannot be done; the first is item {failed[0][0]}: {failed[0][1].detail}",
        errors=faults,
    )
