"""Creating records, and replacing whole ones: batches, from a single registration to an import.

A batch looks up what exists, inserts the rest, and touches rows that exist only where it must: a record that is there
alike is left alone without a lock, so that repeating an interrupted import writes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as dataclass_replace
from functools import lru_cache
from typing import Final

from protocol.codes import ResponseCode
from protocol.errors import InvalidHandle
from protocol.handle import Handle
from protocol.value import ValueList
from protocol.valuetypes import AdminPermission
from protocol.wire import MAX_VALUES
from registry.authority import BelowHome
from registry.context import (
    RECORD_KEY_START,
    RETIRED,
    Context,
    Reader,
    check_homed,
    check_writable,
    delegating,
)
from registry.outcomes import (
    BATCH_ITEMS_MAX,
    Actor,
    Created,
    Creation,
    Identity,
    Operator,
    Origin,
    Principal,
    Rejected,
    Replaced,
    Result,
    Unchanged,
)
from registry.permission import (
    Grant,
    Need,
    difference,
    grants_in,
    needs_to_replace,
    right_over_keys,
    right_to_create,
)
from registry.prefixes import PrefixRow, PrefixTable
from registry.record import (
    HS_ADMIN,
    RECORD_OCTETS_MAX,
    Refusal,
    Values,
    check_total,
    keep_timestamps,
    parse_stored,
    same_record,
    split,
    stamp_octets,
    take_in,
    values_of_type,
)
from registry.reservations import ranges_holding
from registry.rows import changed_row, log_entry, renew_authorisations, rounds
from registry.work import Work
from registry.writing import COPY_ROWS_MIN, Action, LogEntry, NewRow, Row, State, Writing

INHERITED_INDEX_MIN: Final = 100
"""Where administrators stand by custom; inherited ones take the first free indexes from here on."""
NO_VALUES: Final = ValueList(b"", 0)
_CREATE: Final = int(Action.CREATE)
_READ_RIGHT: Final = Need(AdminPermission.READ_VALUE)


@dataclass(frozen=True, slots=True)
class Gate:
    """What holds for every new record below one prefix."""

    refusal: Refusal | None
    held: PrefixRow | None = None
    """What is known of the prefix itself."""
    grants: tuple[Grant, ...] = ()
    may_create: bool = False
    administrators: tuple[bytes, ...] = ()
    """The prefix's HS_ADMIN values."""
    octets: int = 0
    """How long those values are together."""

    @property
    def holder(self) -> str | None:
        """The organisation that holds the prefix."""
        return None if self.held is None else self.held.organisation


@dataclass(slots=True)
class Draft:
    """One record on its way into the database."""

    position: int
    handle: Handle
    key: bytes
    name: bytes
    """The handle's octets, slashless completed."""
    by: Actor
    replace: bool
    gate: Gate
    values: Values


@dataclass(slots=True)
class Batch:
    """What is worked on, and what came of it."""

    work: Work
    state: State
    results: list[Result | None]
    log: list[tuple[int, str | None, LogEntry]]
    """With the position of the item that it is about, and who holds its prefix."""

    @property
    def now_ms(self) -> int:
        """The time of the transaction."""
        return self.work.now_ms

    def reject(self, draft: Draft, code: ResponseCode, message: str) -> None:
        """Note that nothing is written for this item."""
        self.results[draft.position] = Rejected(draft.handle, code, message)


class Creations:
    """Creation at one node."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def create(
        self,
        work: Work,
        items: Sequence[Creation],
        *,
        by: Actor | Sequence[Actor],
        replace: bool | Sequence[bool],
        inherit_admin: bool,
        state: State = State.STORED,
        origins: Sequence[Origin] = (),
    ) -> list[Result]:
        """Create or replace records; see Operations.create.

        by, replace: for all items, or for each. origins: who asked for each item, for the audit log; empty where the
        work's own holds for all.
        """
        if len(items) > BATCH_ITEMS_MAX:
            raise ValueError(f"{len(items)} items in a batch; at most {BATCH_ITEMS_MAX}")
        results: list[Result | None] = [None] * len(items)
        keys = [self._context.key_of(item.handle) for item in items]
        actors = by if isinstance(by, Sequence) else [by] * len(items)
        replaces = replace if isinstance(replace, Sequence) else [replace] * len(items)
        asked = list(zip(items, keys, actors, replaces, strict=True))
        batch = Batch(work, state, results, [])
        for positions in rounds(keys):
            drafts = await self._drafts(asked, positions, batch, inherit_admin=inherit_admin)
            drafts = await _without_reserved(drafts, batch)
            if drafts:
                await self._write(drafts, batch)
        _record(batch, origins)
        await renew_authorisations(work, (row[0] for _, _, row in batch.log))
        done = [result for result in results if result is not None]
        assert len(done) == len(items)
        return done

    async def _drafts(
        self,
        asked: Sequence[tuple[Creation, bytes, Actor, bool]],
        positions: Iterable[int],
        batch: Batch,
        *,
        inherit_admin: bool,
    ) -> list[Draft]:
        timestamp = stamp_octets(batch.now_ms / 1_000)
        gates: dict[tuple[bytes, object], Gate] = {}
        drafts = []
        for position in positions:
            item, key, by, replace = asked[position]
            handle = item.handle
            name = handle.octets if b"/" in handle.octets else handle.resolved.octets
            place = key if key.startswith(RECORD_KEY_START) else key[: key.index(b"/")]
            gate_key = place, _spelled(by)
            gate = gates.get(gate_key)
            if gate is None:
                gate = gates[gate_key] = await self._gate(handle, by, batch.work)
            try:
                values = _take_in(item, gate, timestamp, by, inherit_admin=inherit_admin)
            except Refusal as refusal:
                batch.results[position] = Rejected(handle, refusal.code, refusal.message)
                continue
            drafts.append(Draft(position, handle, key, name, by, replace, gate, values))
        return drafts

    async def _gate(self, handle: Handle, by: Actor, work: Work) -> Gate:
        table = await work.table(handle)
        reader = work.writing
        try:
            await self._check_place(handle, table, reader)
            check_writable(handle, table, by, moving=work.moving)
        except Refusal as refusal:
            return Gate(refusal)
        values = await self._context.prefix_values(handle, table, reader)
        administrators, grants = _administration(values or NO_VALUES)
        need = Need(prefix=right_to_create(handle))
        held = table.rows.get(handle.prefix.key)
        may_create = await self._context.is_allowed(by, need, (), grants, reader, held=held)
        return Gate(None, held, grants, may_create, administrators, sum(map(len, administrators)))

    async def _check_place(self, handle: Handle, table: PrefixTable, reader: Reader) -> None:
        place = check_homed(handle, table)
        if not handle.is_prefix_record:
            return
        try:
            subject = handle.subject
        except InvalidHandle as error:
            raise Refusal(ResponseCode.INVALID_HANDLE, str(error)) from None
        if isinstance(place, BelowHome) and place.between:
            rows = await reader.find([record.key for record in place.between])
            if delegating(rows, place.between) is not None:
                message = (
                    f"the prefixes above {subject} are delegated to another node; create its record there"
                )
                raise Refusal(ResponseCode.SERVER_NOT_RESPONSIBLE, message)

    async def _write(self, drafts: Sequence[Draft], batch: Batch) -> None:
        """Insert what is new, then see to the rest.

        A few are inserted without a look at what there is, which would be one more question, and mostly nothing.
        """
        writing = batch.work.writing
        few = len(drafts) < COPY_ROWS_MIN
        rows = {} if few else await writing.find([draft.key for draft in drafts])
        fresh = [draft for draft in drafts if draft.gate.may_create and draft.key not in rows]
        inserted = await writing.insert([self._new_row(draft, batch) for draft in fresh]) if fresh else set()
        for draft in fresh:
            if draft.key in inserted:
                _note_created(draft, 1, batch)
        left = [draft for draft in drafts if batch.results[draft.position] is None]
        if few and left:
            rows = await writing.find([draft.key for draft in left])
        for draft in left:
            if draft.key not in rows and not draft.gate.may_create:
                _reject_creation(draft, batch)
        contested = [draft for draft in left if batch.results[draft.position] is None]
        await self._write_existing(writing, contested, rows, batch)

    def _new_row(self, draft: Draft, batch: Batch) -> NewRow:
        key = draft.key
        public, restricted = split(draft.values)
        prefix = key[: key.index(b"/")]
        if not restricted:
            return (
                key,
                draft.name,
                prefix,
                public.octets,
                public.count,
                None,
                0,
                batch.state,
                1,
                batch.now_ms,
            )
        sealed = self._context.sealer.seal(key, restricted)
        return (
            key,
            draft.name,
            prefix,
            public.octets,
            public.count,
            sealed.octets,
            sealed.count,
            batch.state,
            1,
            batch.now_ms,
        )

    async def _write_existing(
        self, writing: Writing, drafts: Sequence[Draft], rows: dict[bytes, Row], batch: Batch
    ) -> None:
        """Settle what can be settled by looking; lock the rows that may have to change, and look again."""
        to_lock = []
        for draft in drafts:
            row = rows.get(draft.key)
            if row is None or not row.stored or not await self._settle(writing, draft, row, batch):
                to_lock.append(draft)
        if not to_lock:
            return
        locked = await writing.lock(draft.key for draft in to_lock)
        changed = []
        for draft in to_lock:
            row = locked[draft.key]
            new = await self._rewrite(writing, draft, row, batch)
            if new is not None:
                changed.append(new)
        if changed:
            await writing.update(changed)

    async def _settle(self, writing: Writing, draft: Draft, row: Row, batch: Batch) -> bool:
        """Whether an existing record needs no change: it is alike, or must not be replaced."""
        old = self._context.values_of(row)
        if row.state == State.DRAFT and not await self._may_know(writing, draft, old):
            _reject_creation(draft, batch)  # as if it were not there
        elif (
            same_record(old, draft.values)
            and row.state == batch.state
            and await self._may_compare(writing, row, old, draft)
        ):
            batch.results[draft.position] = Unchanged(draft.handle, row.version)
        elif not draft.replace:
            batch.reject(draft, ResponseCode.HANDLE_ALREADY_EXISTS, "the handle exists with other values")
        else:
            return False
        return True

    async def _may_know(self, writing: Writing, draft: Draft, old: Values) -> bool:
        """Whether the actor may learn that a name is taken by a draft."""
        gate = draft.gate
        return gate.may_create or await self._context.is_administrator(
            draft.by, grants_in(old.values()), writing, held=gate.held
        )

    async def _may_compare(self, writing: Writing, row: Row, old: Values, draft: Draft) -> bool:
        """Whether the actor may learn that its values are the stored ones: otherwise secrets could be guessed."""
        if not row.restricted_count:
            return True
        grants = grants_in(old.values())
        held = draft.gate.held
        return await self._context.is_allowed(draft.by, _READ_RIGHT, grants, (), writing, held=held)

    async def _rewrite(self, writing: Writing, draft: Draft, row: Row, batch: Batch) -> Row | None:
        """The new contents of a locked row, or None when it stays; the result is noted either way."""
        if not row.stored:
            if not draft.gate.may_create:
                _reject_creation(draft, batch)
                return None
            new = changed_row(
                self._context, row, draft.values, batch.now_ms, name=draft.handle, state=batch.state
            )
            _note_created(draft, new.version, batch, new.changed_ms)
            return new
        if await self._settle(writing, draft, row, batch):
            return None
        return await self._replace(writing, draft, row, batch)

    async def _replace(self, writing: Writing, draft: Draft, row: Row, batch: Batch) -> Row | None:
        if row.state == State.RETIRED and not isinstance(draft.by, Operator):
            batch.reject(draft, ResponseCode.ACCESS_DENIED, RETIRED)
            return None
        old = self._context.values_of(row)
        change = difference(old, draft.values)
        if isinstance(draft.by, Principal):
            change = dataclass_replace(change, rights=change.rights | right_over_keys(old, draft.values))
        grants = grants_in(old.values())
        for need in needs_to_replace(draft.handle, change):
            if await self._context.is_allowed(
                draft.by, need, grants, draft.gate.grants, writing, held=draft.gate.held
            ):
                break
        else:
            message = "replacing takes rights on the handle that the administrator does not have"
            batch.reject(draft, ResponseCode.INVALID_ADMINISTRATOR, message)
            return None
        values = keep_timestamps(draft.values, old)
        new = changed_row(self._context, row, values, batch.now_ms, state=State(row.state))
        batch.results[draft.position] = Replaced(draft.handle, new.version, overwritten=True)
        batch.log.append((draft.position, draft.gate.holder, log_entry(new, Action.UPDATE)))
        return new


async def _without_reserved(drafts: Sequence[Draft], batch: Batch) -> list[Draft]:
    """The drafts of administrators whose suffixes are free, and all others; who registers by the API may name the range
    that reserves his.

    The API looks itself, since it does not take a reserved suffix for its own minting either.
    """
    by_prefix: dict[bytes, list[Draft]] = {}
    for draft in drafts:
        held = draft.gate.held
        if held is not None and held.has_ranges and isinstance(draft.by, Identity):
            by_prefix.setdefault(held.key, []).append(draft)
    for prefix, below in by_prefix.items():
        holding = await ranges_holding(batch.work.connection, prefix, [draft.key for draft in below])
        for place, (range_id, _) in holding.items():
            message = (
                f"the suffix is reserved in the range {range_id}; register it by the API, naming the range"
            )
            batch.reject(below[place], ResponseCode.ACCESS_DENIED, message)
    return [draft for draft in drafts if batch.results[draft.position] is None] if by_prefix else list(drafts)


def _spelled(by: Actor) -> object:
    """Who acts, as spelled: identities are equal that a case-sensitive node tells apart."""
    return (by.index, by.handle.octets) if isinstance(by, Identity) else by


@lru_cache(maxsize=4_096)  # the prefixes below which a busy node registers at a time
def _administration(record: ValueList) -> tuple[tuple[bytes, ...], tuple[Grant, ...]]:
    """The HS_ADMIN values among the values of a prefix record, and what they grant."""
    administrators = values_of_type(record.slices(), HS_ADMIN)
    return tuple(administrators), grants_in(administrators)


def _take_in(item: Creation, gate: Gate, timestamp: bytes, by: Actor, *, inherit_admin: bool) -> Values:
    """The values of a record that may be stored. Raises Refusal."""
    if gate.refusal is not None:
        raise gate.refusal
    octets = item.handle.octets
    if not octets.isascii():
        _check_utf8(octets)
    values, administered = take_in(item.values, timestamp)
    if item.dated:
        values = parse_stored(item.values)
    if isinstance(by, Principal) and AdminPermission.MODIFY_ADMIN not in by.rights:
        _check_appoints_nobody(values, by, administered=administered)
    if inherit_admin and not administered and gate.administrators:
        _inherit(values, gate.administrators, timestamp)
        if len(item.values.octets) + gate.octets > RECORD_OCTETS_MAX or len(values) > MAX_VALUES:
            check_total(values)
    return values


def _inherit(values: Values, administrators: Iterable[bytes], timestamp: bytes) -> None:
    index = INHERITED_INDEX_MIN
    for administrator in administrators:
        while index in values:
            index += 1
        values[index] = index.to_bytes(4, "big") + timestamp + administrator[8:]


def _check_appoints_nobody(values: Values, by: Principal, *, administered: bool) -> None:
    """Raises Refusal (400) when a record names administrators, or holds by what they prove themselves."""
    if administered or right_over_keys({}, values):
        message = f"values by which administrators are named or proven take rights that {by} does not have"
        raise Refusal(ResponseCode.INVALID_ADMINISTRATOR, message)


def _check_utf8(octets: bytes) -> None:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(ResponseCode.INVALID_HANDLE, "the handle is no valid UTF-8") from None


def _reject_creation(draft: Draft, batch: Batch) -> None:
    right = right_to_create(draft.handle).name
    assert not isinstance(draft.by, Operator)
    message = f"creating takes {right} on the prefix, which {draft.by} does not have"
    batch.reject(draft, ResponseCode.INVALID_ADMINISTRATOR, message)


def _note_created(draft: Draft, version: int, batch: Batch, changed_ms: int | None = None) -> None:
    batch.results[draft.position] = Created(draft.handle, version)
    row = (draft.key, draft.name, _CREATE, version, changed_ms or batch.now_ms)
    batch.log.append((draft.position, draft.gate.holder, row))


def _record(batch: Batch, origins: Sequence[Origin]) -> None:
    """Enter what was written into the audit log, for each who asked for something and each holder of a prefix."""
    parted: dict[tuple[Origin | None, str | None], list[LogEntry]] = {}
    for position, holder, row in batch.log:
        parted.setdefault((origins[position] if origins else None, holder), []).append(row)
    for (origin, holder), rows in parted.items():
        batch.work.record(rows, origin=origin, holder=holder)
