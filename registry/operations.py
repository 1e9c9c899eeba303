"""The registry's operations: permission, then storage and log in one transaction, then generations, then the answer.

Every front end (Handle protocol, REST, import, commands) calls these and nothing below them.
A single creation is a batch of one. Results come in the order of the batch.
"""

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from protocol.generations import Generations, Stamp
from protocol.handle import Handle, Prefix
from protocol.value import Permission, ValueList, ValueReference
from registry.authenticate import check_secret
from registry.context import Context, check_homed
from registry.elsewhere import Elsewhere, GroupElsewhere, KeyUnknown
from registry.homing import home, unhome
from registry.listing import PAGE_MAX, Count, Listing, Page
from registry.outcomes import COMMAND, Actor, Answer, Creation, Identity, Origin, Rejected, Result
from registry.permission import reference_of
from registry.prefixes import Prefixes
from registry.reads import Waiter
from registry.record import Refusal, Values, permissions_of
from registry.resolution import UNTOLD, Query, Reading
from registry.seal import Sealer
from registry.store import Store
from registry.transaction import Transaction
from registry.work import target_text
from registry.writing import Action

T = TypeVar("T")
P = ParamSpec("P")
GROUPS_ELSEWHERE_MAX: Final = 16
"""Groups of other nodes that one decision may take; real ones take one or two, and each is a walk."""
READING: Final = "identifier.read_restricted"
"""What the audit log calls that values were read which are not public."""


def _knowing_groups(
    method: Callable[Concatenate["Operations", P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["Operations", P], Coroutine[Any, Any, T]]:
    """See Operations.knowing_groups."""

    @wraps(method)
    async def knowing(self: "Operations", *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.knowing_groups(lambda: method(self, *args, **kwargs))

    return knowing  # type: ignore[return-value]  # that self is named in the one and not in the other


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
        on_limit: Callable[[str], None] | None = None,
        server_admins: Iterable[Identity] = (),
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """server_admins: administrators of the node itself; index 0 stands for any key of the handle.

        elsewhere: finds keys and groups of other nodes.
        """
        context = Context(
            store=store,
            prefixes=prefixes,
            sealer=sealer,
            generations=generations,
            wall_clock=wall_clock,
            case_sensitive=case_sensitive,
            on_limit=on_limit,
            server_admins=frozenset(
                reference_of(ValueReference(identity.handle.octets, identity.index))
                for identity in server_admins
            ),
            elsewhere=elsewhere,
        )
        self.context = context
        self.is_barred: Callable[[Identity], Awaitable[bool]] | None = None
        """Tells identities whose owner is suspended; None where nobody keeps such a list."""
        self.on_commit: Callable[[Origin, Counter[Action]], None] | None = None
        """Told what each transaction changed, once it is committed."""
        self._reading = Reading(context)
        self._listing = Listing(context)

    @asynccontextmanager
    async def transaction(self, origin: Origin, *, commit: bool = True) -> AsyncIterator[Transaction]:
        """Several operations as one: committed when the block ends, undone when it raises.

        origin: who acts, for the audit log. commit: False undoes it in the end (a dry run); what the block gave is
        then what would have happened.
        Raises StoreUnavailable when the commit is not confirmed: it may or may not have happened.
        """
        transaction: Transaction | None = None
        try:
            async with self.context.store.writing(commit=commit) as writing:
                transaction = Transaction(self.context, writing, origin)
                yield transaction
                await transaction.write_log()
            if commit and self.on_commit is not None:
                self.on_commit(origin, transaction.count())
        finally:  # a commit whose confirmation was lost may have happened
            if transaction is not None and commit:
                transaction.announce()

    async def knowing_groups(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what judges rights in a transaction; where that takes groups of other nodes, fetch them and do it again.

        The transaction is undone meanwhile: nobody waits for another node within one. Raises KeyUnknown for rights
        that depend on more groups of other nodes than GROUPS_ELSEWHERE_MAX.
        """
        for _ in range(GROUPS_ELSEWHERE_MAX):
            try:
                return await work()
            except GroupElsewhere as needed:
                assert self.context.elsewhere is not None
                await self.context.elsewhere.learn_group(needed.handle)
        raise KeyUnknown("the right depends on too many groups of other nodes")

    async def resolve(
        self,
        handle: Handle,
        *,
        indexes: Sequence[int] = (),
        types: Sequence[str] = (),
        refer: bool = True,
        reader: Actor | None = None,
        public_only: bool = True,
    ) -> Answer:
        """Answer a resolution from what this node stores, or make the answer by a template; never give away an
        authorisation copy.

        refer: False for a request with DNRF: 100 or 301 in place of a referral.
        reader: None selects publicly readable values only; an authenticated identity also gets the restricted ones
            if it has READ_VALUE, and 400 if it asks for them without.
        public_only: False for who wants the restricted values too and has not said who he is: 402 when there are any.
        """
        query = Query(
            handle=handle, indexes=indexes, types=types, refer=refer, reader=reader, public_only=public_only
        )
        return await self._reading.resolve(query)

    async def note_reading(self, handle: Handle, values: ValueList, origin: Origin) -> None:
        """Enter into the audit log, before they are told, that values are read which are not public."""
        if any(not permissions_of(value) & Permission.PUBLIC_READ for value in values.slices()):
            async with self.transaction(origin) as transaction:
                held = (await transaction.table(handle)).rows.get(handle.prefix.key)
                holder = None if held is None else held.organisation
                transaction.audit(READING, target_text(handle.octets), organisation=holder)

    async def misplaced(self, handle: Handle) -> Rejected | None:
        """Why a handle cannot be written here, whoever asks, which everybody may know: 301."""
        try:
            check_homed(handle, await self.context.prefixes.around(handle))
        except Refusal as refusal:
            return Rejected(handle, refusal.code, refusal.message)
        return None

    async def stored(self, handle: Handle) -> Values | None:
        """All values of a handle that exists, drafts aside; for rules that hold before anybody has proved who asks."""
        context = self.context
        key = context.key_of(handle)
        row = (await context.store.find([key])).get(key)
        return context.values_of(row) if row is not None and row.state not in UNTOLD else None

    def ask(self, name: bytes, waiter: Waiter) -> Stamp | None:
        """Ask for the row of a handle, without a task, when its prefix is homed here and active as far as memory tells.

        name: the handle's octets, not empty. The waiter hears later; public_answer() says what the row answers.
        Gives the generations from before the read; None when nothing was asked, and resolve() is the way.
        """
        return self._reading.ask(name, waiter)

    @_knowing_groups
    async def create(
        self,
        batch: Sequence[Creation],
        *,
        by: Actor,
        replace: bool = False,
        inherit_admin: bool = False,
        origin: Origin = COMMAND,
    ) -> list[Result]:
        """Create records; with replace an existing record becomes the given one.

        Gives per item Created, Replaced, Unchanged (it exists alike, timestamps aside, with or without replace)
        or Rejected: 7 the prefix is moving, 101 it exists and differs, 102 the handle is no UTF-8, 201 an index twice,
        202 a value is invalid or the record fits no message, 301 the prefix is not homed here, 400 and 401 no right.
        The same handle twice in one batch: the later one is judged after the earlier one.
        inherit_admin: a record without HS_ADMIN gets those of its prefix, at the first free indexes from 100 on.
        Raises ValueError for more than BATCH_ITEMS_MAX items.
        """
        async with self.transaction(origin) as transaction:
            return await transaction.create(batch, by=by, replace=replace, inherit_admin=inherit_admin)

    @_knowing_groups
    async def put_values(
        self,
        handle: Handle,
        values: ValueList,
        *,
        by: Actor,
        overwrite: bool = True,
        origin: Origin = COMMAND,
    ) -> Result:
        """Add values to an existing handle; with overwrite, values whose index exists are replaced.

        Gives Replaced, Unchanged, or Rejected: 7, 100 unknown handle, 201 index exists (without overwrite) or twice,
        202, 301, 400, 401 a value without admin-write.
        """
        async with self.transaction(origin) as transaction:
            return await transaction.put_values(handle, values, by=by, overwrite=overwrite)

    @_knowing_groups
    async def modify_values(
        self, handle: Handle, values: ValueList, *, by: Actor, origin: Origin = COMMAND
    ) -> Result:
        """Replace values that exist: Replaced, Unchanged, or Rejected with 7, 100, 200 (one is missing; nothing is
        changed), 201 twice, 202, 301, 400, 401.
        """
        async with self.transaction(origin) as transaction:
            return await transaction.modify_values(handle, values, by=by)

    @_knowing_groups
    async def remove_values(
        self, handle: Handle, indexes: Sequence[int], *, by: Actor, origin: Origin = COMMAND
    ) -> Result:
        """Remove values by index; Rejected with 7, 100, 200 (one is missing; nothing is removed), 301, 400, 401."""
        async with self.transaction(origin) as transaction:
            return await transaction.remove_values(handle, indexes, by=by)

    @_knowing_groups
    async def delete(self, batch: Sequence[Handle], *, by: Actor, origin: Origin = COMMAND) -> list[Result]:
        """Delete handles: Deleted, or Rejected with 7, 100, 301, 400, 401. Raises ValueError above BATCH_ITEMS_MAX."""
        async with self.transaction(origin) as transaction:
            return await transaction.delete(batch, by=by)

    async def list_handles(
        self, prefix: Prefix, *, by: Actor, after: bytes = b"", limit: int = PAGE_MAX
    ) -> Page | Rejected:
        """A page of the names of the handles of a prefix, ascending; Rejected with 301 or 400 (LIST_HANDLES).

        after: what the page before gave; empty begins. limit: rows that are looked at, PAGE_MAX at most.
        """
        return await self._listing.handles(prefix, by=by, after=after, limit=limit)

    async def list_derived(
        self, prefix: Prefix, *, by: Actor, after: bytes = b"", limit: int = PAGE_MAX
    ) -> Page | Rejected:
        """A page of the prefix records below a prefix that this node holds, as list_handles()."""
        return await self._listing.derived(prefix, by=by, after=after, limit=limit)

    async def count_handles(self, prefix: Prefix, *, by: Actor) -> Count | Rejected:
        """How many handles a prefix has, exact up to COUNT_MAX; Rejected with 301 or 400 (LIST_HANDLES)."""
        return await self._listing.count(prefix, by=by)

    async def homed(self, *, after: bytes = b"", limit: int = PAGE_MAX) -> Page:
        """A page of the prefixes (P, not 0.NA/P) that this node homes. Whether one may ask is for who asks to say."""
        return await self._listing.homed(after=after, limit=limit)

    @_knowing_groups
    async def home(self, prefix: Prefix, *, by: Actor, origin: Origin = COMMAND) -> Rejected | None:
        """Home a prefix; None when it is homed now. Whether one may is for who asks to say.

        Who homes it has every right on it until its record is known here. Rejected with 5 for a prefix that was
        allocated to an organisation, or has moved: that is decided elsewhere.
        """
        async with self.transaction(origin) as transaction:
            return await home(transaction, prefix, by)

    @_knowing_groups
    async def unhome(self, prefix: Prefix, *, by: Actor, origin: Origin = COMMAND) -> Rejected | None:
        """Answer for a prefix no more; its handles stay in the database. None when it is done.

        Rejected with 301 when it is not homed, 5 when it was allocated to an organisation, or is the administrator's
        own.
        """
        async with self.transaction(origin) as transaction:
            return await unhome(transaction, prefix, by)

    async def authenticate(self, claimed: Identity, secret: bytes) -> Identity | None:
        """Check a secret against the HS_SECKEY value that claimed names, in records stored here only.

        Gives the identity with the index that matched (claimed index 0: any HS_SECKEY value), or None.
        """
        identity = check_secret(claimed, await self.context.read_record(claimed.handle), secret)
        if identity is not None and self.is_barred is not None and await self.is_barred(identity):
            return None
        return identity


def minted(start: Handle) -> Handle:
    """A name that nobody has: what is given, which holds the slash, and a random UUID in lower case (PROTOCOL §1.7)."""
    return Handle.parse(start.octets + str(uuid.uuid4()).encode())
