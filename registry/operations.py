"""The registry's operations: permission, then storage and log in one transaction, then generations, then the answer.

Every front end (Handle protocol, REST, import, commands) calls these and nothing below them.
A single creation is a batch of one. Results come in the order of the batch.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from protocol.generations import Generations, Stamp
from protocol.handle import Handle
from protocol.value import ValueList
from registry.authenticate import check_secret
from registry.context import Context
from registry.outcomes import COMMAND, Actor, Answer, Creation, Identity, Origin, Result
from registry.prefixes import Prefixes
from registry.reads import Waiter
from registry.resolution import Query, Reading
from registry.seal import Sealer
from registry.store import Store
from registry.transaction import Transaction
from registry.writing import Action


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
    ) -> None:
        context = Context(
            store=store,
            prefixes=prefixes,
            sealer=sealer,
            generations=generations,
            wall_clock=wall_clock,
            case_sensitive=case_sensitive,
            on_limit=on_limit,
        )
        self.context = context
        self.is_barred: Callable[[Identity], Awaitable[bool]] | None = None
        """Tells identities whose owner is suspended; None where nobody keeps such a list."""
        self.on_commit: Callable[[Origin, Counter[Action]], None] | None = None
        """Told what each transaction changed, once it is committed."""
        self._reading = Reading(context)

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

    async def resolve(
        self,
        handle: Handle,
        *,
        indexes: Sequence[int] = (),
        types: Sequence[str] = (),
        refer: bool = True,
        reader: Actor | None = None,
    ) -> Answer:
        """Answer a resolution from what this node stores, or make the answer by a template; never give away an
        authorisation copy.

        refer: False for a request with DNRF: 100 or 301 in place of a referral.
        reader: None selects publicly readable values only; an authenticated identity also gets the restricted ones
            if it has READ_VALUE, and 400 if it asks for them without.
        """
        query = Query(handle=handle, indexes=indexes, types=types, refer=refer, reader=reader)
        return await self._reading.resolve(query)

    def ask(self, name: bytes, waiter: Waiter) -> Stamp | None:
        """Ask for the row of a handle, without a task, when its prefix is homed here and active as far as memory tells.

        name: the handle's octets, not empty. The waiter hears later; public_answer() says what the row answers.
        Gives the generations from before the read; None when nothing was asked, and resolve() is the way.
        """
        return self._reading.ask(name, waiter)

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

    async def remove_values(
        self, handle: Handle, indexes: Sequence[int], *, by: Actor, origin: Origin = COMMAND
    ) -> Result:
        """Remove values by index; Rejected with 7, 100, 200 (one is missing; nothing is removed), 301, 400, 401."""
        async with self.transaction(origin) as transaction:
            return await transaction.remove_values(handle, indexes, by=by)

    async def delete(self, batch: Sequence[Handle], *, by: Actor, origin: Origin = COMMAND) -> list[Result]:
        """Delete handles: Deleted, or Rejected with 7, 100, 301, 400, 401. Raises ValueError above BATCH_ITEMS_MAX."""
        async with self.transaction(origin) as transaction:
            return await transaction.delete(batch, by=by)

    async def authenticate(self, claimed: Identity, secret: bytes) -> Identity | None:
        """Check a secret against the HS_SECKEY value that claimed names, in records stored here only.

        Gives the identity with the index that matched (claimed index 0: any HS_SECKEY value), or None.
        """
        identity = check_secret(claimed, await self.context.read_record(claimed.handle), secret)
        if identity is not None and self.is_barred is not None and await self.is_barred(identity):
            return None
        return identity
