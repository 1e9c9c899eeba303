"""Reading: answers, denials and referrals from what this node stores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.codes import ResponseCode
from protocol.generations import Stamp
from protocol.handle import ROOT_PREFIX_OCTETS, Handle
from protocol.value import Permission, ValueList
from protocol.valuetypes import AdminPermission
from protocol.valuetypes.hs_site import HOME_TYPES
from registry.authority import BelowHome, Homed, NotOurs, PerhapsDelegated, locate
from registry.context import Context, delegating
from registry.outcomes import OPERATOR, Actor, Answer, Denied, Found, Operator, Referred
from registry.permission import Need, grants_in
from registry.prefixes import PrefixRow, PrefixStatus, PrefixTable, subject_key
from registry.reads import PublicRow, Waiter
from registry.record import permissions_of
from registry.templating import Made, Templating
from registry.writing import Row, State

UNTOLD: Final = frozenset((State.DELETED, State.DRAFT))
_READ_RIGHT = Need(record=AdminPermission.READ_VALUE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked, and by whom; see Operations.resolve."""

    handle: Handle
    indexes: Sequence[int]
    types: Sequence[str]
    refer: bool
    reader: Actor | None
    public_only: bool = True
    """Whether somebody without a name is told nothing of the restricted values, or that he must say who he is."""

    def denied(self, code: ResponseCode, message: str, stamp: Stamp) -> Denied:
        """The answer no."""
        return Denied(handle=self.handle, code=code, message=message, stamp=stamp)

    def not_ours(self, stamp: Stamp) -> Denied:
        """The answer that another node is to be asked, and we do not know which."""
        message = f"the prefix {self.handle.prefix} is not homed at this node"
        return self.denied(ResponseCode.SERVER_NOT_RESPONSIBLE, message, stamp)

    def referred(self, code: ResponseCode, values: ValueList, stamp: Stamp) -> Referred:
        """The answer that those who are named here know."""
        return Referred(handle=self.handle, code=code, values=values, stamp=stamp)


class Reading:
    """Resolution at one node."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._templating = Templating(context)

    async def resolve(self, query: Query) -> Answer:
        """Answer a resolution; see Operations.resolve."""
        handle = query.handle
        stamp = self._context.generations.stamp(handle.key, handle.prefix.key)  # before anything is read
        table = await self._context.prefixes.around(handle)
        match locate(handle, table.homed):
            case Homed():
                return await self._homed(query, table, stamp)
            case BelowHome(between):
                return await self._prefix_record(query, table, between, stamp + table.stamp)
            case PerhapsDelegated(record):
                stamp += table.stamp
                barred = barred_by(query, table.rows.get(handle.prefix.key), stamp)
                moved = barred or self._moved(query, table, stamp)
                return moved or await self._referral_to_service(query, record, stamp)
            case NotOurs():
                return self._moved(query, table, stamp) or query.not_ours(stamp + table.stamp)

    def ask(self, name: bytes, waiter: Waiter) -> Stamp | None:
        """See Operations.ask."""
        key = name.upper()
        prefix, slash, _ = key.partition(b"/")
        if not slash or prefix == ROOT_PREFIX_OCTETS:
            return None
        context = self._context
        stamp = context.generations.stamp(key, prefix)
        table = context.prefixes.in_memory(prefix)
        if table is None:
            return None
        row = table.rows.get(prefix)
        if row is None or not row.homed or row.status is not PrefixStatus.ACTIVE:
            return None
        if table.delimiter and name.find(table.delimiter, len(prefix)) >= 0:
            return None  # a template may answer
        context.store.reads.ask(context.key_of(Handle(name)) if context.case_sensitive else key, waiter)
        return stamp

    async def _homed(self, query: Query, table: PrefixTable, stamp: Stamp) -> Answer:
        """A handle whose prefix we home, in a state of its own or of its prefix (ARCHITECTURE §3.14)."""
        prefix = table.rows.get(query.handle.prefix.key)
        barred = barred_by(query, prefix, stamp)
        if barred is not None:
            return barred
        store, key = self._context.store, self._context.key_of(query.handle)
        row: Row | PublicRow | None = None
        if query.reader is None:
            row = await store.read_public(key)
        if query.reader is not None or (not query.public_only and row is not None and row.restricted_count):
            row = await store.read(key)
        if isinstance(row, Row) and row.in_force:
            return await self._select(query, row, prefix, stamp)
        told = public_answer(row, query.indexes, query.types)
        if told is None:
            text = await store.suspension_text(key)
            return query.denied(ResponseCode.VALUES_NOT_FOUND, text, stamp)
        if told is ResponseCode.HANDLE_NOT_FOUND and table.delimiter and not query.handle.is_prefix_record:
            made = await self._templating.make(query.handle, table)
            if made is not None:
                return _made_answer(query, made, stamp)
        if isinstance(told, ResponseCode):
            return query.denied(told, "", stamp)
        return Found(handle=query.handle, values=told, stamp=stamp)

    def _moved(self, query: Query, table: PrefixTable, stamp: Stamp) -> Referred | None:
        """The referral to whoever took over a prefix that was served here."""
        row = None if query.handle.is_prefix_record else table.rows.get(query.handle.prefix.key)
        if row is None or row.moved is None or not query.refer:
            return None
        return query.referred(ResponseCode.SERVICE_REFERRAL, row.moved, stamp)

    async def _prefix_record(
        self, query: Query, table: PrefixTable, between: Sequence[Handle], stamp: Stamp
    ) -> Answer:
        """A record below a homed prefix: stored, delegated by a record between, or unknown."""
        for record in between:
            stamp += self._context.generations.stamp(record.key, record.suffix.upper())
        keys = [query.handle.key, *(record.key for record in between)]
        rows = await self._context.store.read_many(keys)
        row = rows.get(query.handle.key)
        if row is not None and row.in_force:
            return await self._select(query, row, None, stamp)
        delegation = delegating(rows, between) if query.refer else None
        if delegation is None:
            subject = table.rows.get(subject_key(query.handle))
            revoked = subject is not None and subject.status is PrefixStatus.REVOKED
            text = subject.status_text if revoked and subject else ""
            return query.denied(ResponseCode.HANDLE_NOT_FOUND, text, stamp)
        return query.referred(ResponseCode.PREFIX_REFERRAL, delegation, stamp)

    async def _referral_to_service(self, query: Query, record: Handle, stamp: Stamp) -> Answer:
        row = await self._context.store.read_public(record.key) if query.refer else None
        if row is None or not row.in_force:
            return query.not_ours(stamp)
        service = row.public.select(types=HOME_TYPES)
        return (
            query.referred(ResponseCode.SERVICE_REFERRAL, service, stamp)
            if service.count
            else query.not_ours(stamp)
        )

    async def _select(self, query: Query, row: Row, held: PrefixRow | None, stamp: Stamp) -> Answer:
        values = row.public.select(query.indexes, query.types)
        if row.restricted_count and not (query.reader is None and query.public_only):
            sealed = row.restricted.select(query.indexes, query.types)
            if sealed.count:
                if query.reader is None:
                    return query.denied(ResponseCode.AUTHENTICATION_NEEDED, "", stamp)
                refused = await self._refuse_reader(query, query.reader, row, held, stamp)
                return refused or self._with_restricted(query, row, values, sealed, stamp)
        if not values.count:
            return query.denied(ResponseCode.VALUES_NOT_FOUND, "", stamp)
        return Found(handle=query.handle, values=values, stamp=stamp)

    async def _refuse_reader(
        self, query: Query, reader: Actor, row: Row, held: PrefixRow | None, stamp: Stamp
    ) -> Denied | None:
        context = self._context
        grants = grants_in(context.values_of(row).values())
        if await context.is_allowed(reader, _READ_RIGHT, grants, (), context.store, held=held):
            return None
        message = "reading restricted values takes READ_VALUE on the handle"
        return query.denied(ResponseCode.INVALID_ADMINISTRATOR, message, stamp)

    def _with_restricted(
        self, query: Query, row: Row, public: ValueList, sealed: ValueList, stamp: Stamp
    ) -> Answer:
        opened = self._context.sealer.open(row.key, sealed)
        everything = isinstance(query.reader, Operator)
        readable = [value for value in opened if everything or permissions_of(value) & Permission.ADMIN_READ]
        if not readable and not public.count:
            return query.denied(ResponseCode.ACCESS_DENIED, "the values may be read by nobody", stamp)
        octets = public.octets + b"".join(readable)
        values = ValueList(octets, public.count + len(readable)).sorted()
        return Found(handle=query.handle, values=values, stamp=stamp)


def _made_answer(query: Query, made: Made, stamp: Stamp) -> Answer:
    """What a template answers; what is asked for is chosen from what it made."""
    stamp += made.stamp
    if made.code is not ResponseCode.SUCCESS:
        return query.denied(made.code, made.message, stamp)
    values = made.values.select(query.indexes, query.types)
    if not values.count:
        return query.denied(ResponseCode.VALUES_NOT_FOUND, "", stamp)
    return Found(handle=query.handle, values=values, stamp=stamp, made_from=made.base)


def public_answer(
    row: Row | PublicRow | None, indexes: Sequence[int], types: Sequence[str]
) -> ValueList | ResponseCode | None:
    """What everybody is answered about a handle whose prefix is homed and active: values, or the code of a denial
    without words; None for a suspended handle, of which words are told that the row does not hold.
    """
    if row is None or row.state in UNTOLD:
        return ResponseCode.HANDLE_NOT_FOUND
    if row.state == State.SUSPENDED:
        return None
    values = row.public.select(indexes, types)
    return values if values.count else ResponseCode.VALUES_NOT_FOUND


def barred_by(query: Query, prefix: PrefixRow | None, stamp: Stamp) -> Denied | None:
    """The answer for everything below a prefix that is suspended or revoked, whoever serves it; None otherwise.

    The operator reads on.
    """
    if prefix is None or prefix.status is PrefixStatus.ACTIVE or query.reader is OPERATOR:
        return None
    suspended = prefix.status is PrefixStatus.SUSPENDED
    code = ResponseCode.VALUES_NOT_FOUND if suspended else ResponseCode.HANDLE_NOT_FOUND
    return query.denied(code, prefix.status_text, stamp)
