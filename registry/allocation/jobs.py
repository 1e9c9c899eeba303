"""Work on all records of a prefix, in batches of one transaction each; what a stop interrupts goes on where it was.

A transfer hands every record over to the new holder while writes below the prefix are refused for a moment; a purge
deletes what is left below a revoked prefix.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from protocol.handle import Handle, Prefix
from registry.allocation import tables
from registry.allocation.acts import begin, drop_keys, edit_record, finish, known, stamp
from registry.allocation.allocating import put_identity
from registry.allocation.lifecycle import Hosting, PrefixAct
from registry.allocation.model import AllocatedPrefix, Job
from registry.allocation.records import IsHolders, references_in, rewriting
from registry.allocation.terms import Terms, check_holder
from registry.changes import Edit, deletion
from registry.database import is_drained
from registry.ids import new_id
from registry.initialise import administrator_of
from registry.operations import Operations
from registry.outcomes import OPERATOR, SYSTEM, Rejected
from registry.problem_types import CONFLICT, ApiProblem
from registry.problem_types.allocation import PREFIX_QUARANTINED
from registry.transaction import Transaction
from registry.work import Connection
from registry.writing import LIST_PREFIX, Row, rows_in_order

REWRITE: Final = "rewrite"
PURGE: Final = "purge"
BATCH_RECORDS: Final = 1_000
"""Records of one transaction: some tens of milliseconds, during which it holds their locks."""
BATCHES_MAX: Final = 50
"""Batches of one go: some seconds, after which a daemon that stops has not long to wait."""

_IDENTITIES: Final = """
    SELECT handle, index FROM identities WHERE handle = ANY ($1::bytea[]) AND organisation = $2"""
_HELD: Final = "SELECT prefix FROM prefixes WHERE prefix = ANY ($1::bytea[]) AND organisation = $2"
_END_IDENTITIES: Final = """
    DELETE FROM identities WHERE handle > $1 || '/'::bytea AND handle < $1 || '0'::bytea AND organisation = $2"""
"""Of one prefix; 0 follows the slash."""
_FORGET_VERSIONS: Final = "DELETE FROM handle_versions WHERE key = ANY ($1::bytea[])"
_FORGET_STATES: Final = "DELETE FROM handle_states WHERE key = ANY ($1::bytea[])"


async def transfer(tx: Transaction, prefix: Prefix, organisation: str, *, reason: str) -> AllocatedPrefix:
    """Give a prefix to another organisation.

    The keys of a hosted prefix end at once, its new holder makes one of his own; a job then puts 300:<prefix>/ADMIN in
    the place of every identity of the former holder. Until it is done, writes below the prefix are refused.
    Raises ApiProblem.
    """
    allocated = await begin(tx, prefix, PrefixAct.TRANSFER)
    await check_holder(tx.connection, organisation)
    former = allocated.organisation
    if former == organisation:
        raise ApiProblem(CONFLICT, f"The organisation holds {allocated.prefix} already.")
    given = replace(allocated, organisation=organisation)
    done = await finish(tx, given, PrefixAct.TRANSFER, reason, {"from": former or "", "to": organisation})
    if former is not None:
        tx.audit("prefix.leave", str(done.prefix), organisation=former, detail={"to": organisation})
    if done.hosting is Hosting.HOSTED:
        await _begin_handing_over(tx, done, former)
    elif (row := await tx.prefix_row(done.prefix.key)) is not None:
        await tx.save_prefix(replace(row, organisation=organisation))
    return done


async def _begin_handing_over(tx: Transaction, allocated: AllocatedPrefix, former: str | None) -> None:
    administrator = administrator_of(allocated.prefix)
    await drop_keys(tx, allocated.prefix)
    if former is not None:
        await tx.connection.execute(_END_IDENTITIES, allocated.prefix.key, former)
    await put_identity(tx, administrator, allocated.organisation)
    record = allocated.prefix.record
    stored = (await tx.writing.find([record.key])).get(record.key)
    if stored is not None:
        is_holders = await _holders(tx, allocated.prefix, former, [stored])
        await edit_record(tx, allocated, rewriting(is_holders, administrator, stamp(tx)))
    row = await known(tx, allocated)
    await tx.save_prefix(replace(row, organisation=allocated.organisation, frozen=True))
    await _insert(tx, REWRITE, allocated.prefix, former)


async def purge(tx: Transaction, terms: Terms, prefix: Prefix, *, reason: str) -> AllocatedPrefix:
    """Delete what is left below a revoked prefix, with its earlier versions, so that somebody else may be given it.

    Raises ApiProblem: it is not revoked, or its quarantine is not over (409).
    """
    allocated = await begin(tx, prefix, PrefixAct.PURGE)
    end = (allocated.revoked or allocated.changed) + terms.quarantine
    if tx.now < end:
        until = end.strftime("%Y-%m-%dT%H:%M:%SZ")
        raise ApiProblem(PREFIX_QUARANTINED, f"What {allocated.prefix} holds is kept until {until}.")
    row = await tx.prefix_row(allocated.prefix.key)
    if row is not None and row.homed:
        await _insert(tx, PURGE, allocated.prefix, None)
    return await finish(tx, allocated, PrefixAct.PURGE, reason)


async def _insert(tx: Transaction, kind: str, prefix: Prefix, holder: str | None) -> None:
    job = Job(
        id=new_id("job"),
        kind=kind,
        prefix=prefix,
        holder=holder,
        position=b"",
        records=0,
        changed=0,
        started=tx.now,
        ended=None,
    )
    await tables.insert_job(tx.connection, job)


async def run_jobs(
    operations: Operations, drains: dict[str, datetime] | None = None, *, batches_max: int = BATCHES_MAX
) -> None:
    """Do what is to be done, or a part of it. Safe to run in several processes, and to stop anywhere.

    drains: see run_batch; kept by whoever calls this again.
    """
    kept = {} if drains is None else drains
    for _ in range(batches_max):
        if not await run_batch(operations, kept):
            return


async def run_batch(operations: Operations, drains: dict[str, datetime] | None = None) -> bool:
    """Do one batch of the oldest job; whether there was one that can go on and that nobody else is working on.

    drains: since when writers are waited for, by job: one that began before the prefix was frozen could otherwise
    commit behind the job what the job is to rewrite.
    """
    async with operations.transaction(SYSTEM) as tx:
        tx.moving = True
        job = await tables.lock_next_job(tx.connection)
        if job is None:
            return False
        is_new = not job.position
        if is_new and not await is_drained(tx.connection, {} if drains is None else drains, job.id):
            return False
        found = await tx.connection.fetch(LIST_PREFIX, job.prefix.key, job.position, BATCH_RECORDS)
        rows = rows_in_order(found)
        changed = await (_rewrite(tx, job, rows) if job.kind == REWRITE else _delete(tx, rows))
        at_end = len(rows) < BATCH_RECORDS
        done = replace(
            job,
            position=rows[-1].key if rows else job.position,
            records=job.records + len(rows),
            changed=job.changed + changed,
            ended=tx.now if at_end else None,
        )
        await tables.update_job(tx.connection, done)
        if at_end:
            await _end(tx, done)
    return True


async def _rewrite(tx: Transaction, job: Job, rows: Sequence[Row]) -> int:
    stored = [row for row in rows if row.stored]
    is_holders = await _holders(tx, job.prefix, job.holder, stored)
    edit = rewriting(is_holders, administrator_of(job.prefix), stamp(tx))
    named = [row for row in stored if _names_any(tx, row, is_holders)]
    return await _apply(tx, named, edit)


async def _delete(tx: Transaction, rows: Sequence[Row]) -> int:
    changed = await _apply(tx, [row for row in rows if row.stored], deletion)
    keys = [row.key for row in rows]
    await tx.connection.execute(_FORGET_VERSIONS, keys)
    await tx.connection.execute(_FORGET_STATES, keys)
    return changed


async def _apply(tx: Transaction, rows: Sequence[Row], edit: Edit) -> int:
    results = await tx.edit([Handle(row.name) for row in rows], edit, by=OPERATOR) if rows else []
    for result in results:
        assert not isinstance(result, Rejected), result
    return len(results)


async def _end(tx: Transaction, job: Job) -> None:
    if job.kind == REWRITE:
        row = await tx.prefix_row(job.prefix.key)
        if row is not None:
            await tx.save_prefix(replace(row, frozen=False))
    counts = {"records": job.records, "changed": job.changed}
    allocated = await tables.allocation(tx.connection, job.prefix.key)
    organisation = None if allocated is None else allocated.organisation
    tx.audit(f"prefix.{job.kind}", str(job.prefix), organisation=organisation, detail=counts)


async def _holders(tx: Transaction, prefix: Prefix, former: str | None, rows: Collection[Row]) -> IsHolders:
    """Which identities belong to the former holder: those that he is known by, every key below another prefix of his,
    and every key below this one but that of its administrator, since he made them.
    """
    references = set()
    for row in rows:
        references |= references_in(tx.context.values_of(row).values())
    keys = {tx.context.key_of(Handle(handle)) for handle, _ in references}
    own = await _identities(tx.connection, keys, former)
    held = await _held(tx.connection, {Handle(handle).prefix.key for handle, _ in references}, former)
    administrator = tx.context.key_of(administrator_of(prefix).handle)

    def is_holders(handle: Handle, index: int) -> bool:
        key = tx.context.key_of(handle)
        if key == administrator:
            return False
        indexes = own.get(key, frozenset())
        is_below = handle.prefix == prefix or handle.prefix.key in held
        return is_below or index in indexes or (index == 0 and bool(indexes))

    return is_holders


async def _held(
    connection: Connection, prefixes: Collection[bytes], organisation: str | None
) -> frozenset[bytes]:
    """Those of these folded prefixes that an organisation holds here."""
    if organisation is None or not prefixes:
        return frozenset()
    return frozenset(record[0] for record in await connection.fetch(_HELD, list(prefixes), organisation))


async def _identities(
    connection: Connection, keys: Collection[bytes], organisation: str | None
) -> dict[bytes, frozenset[int]]:
    found: dict[bytes, set[int]] = {}
    if organisation is not None and keys:
        for key, index in await connection.fetch(_IDENTITIES, list(keys), organisation):
            found.setdefault(key, set()).add(index)
    return {key: frozenset(indexes) for key, indexes in found.items()}


def _names_any(tx: Transaction, row: Row, is_holders: IsHolders) -> bool:
    references = references_in(tx.context.values_of(row).values())
    return any(is_holders(Handle(handle), index) for handle, index in references)
