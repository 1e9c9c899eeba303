"""Tables of applications and allocations: all SQL about them; one function per question.

Functions that lock, insert or update run inside a transaction. Every question is asked by key or by an index.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from protocol.handle import Prefix
from protocol.site import Site
from registry.allocation.lifecycle import ApplicationState, Hosting, PrefixAct, PrefixState
from registry.allocation.model import AllocatedPrefix, Application, HistoryEntry, Job, Page, Wish
from registry.work import Connection

_APPLICATION: Final = (
    "id, number, version, organisation, parent, label, hosting, site, purpose, state, reason, applied, applied_by,"
    " decided, decided_by, proved, prefix"
)
_ALLOCATION: Final = (
    "prefix, name, parent, organisation, hosting, state, reason, version, site, withheld, namespace, allocated,"
    " changed, revoked, probed, probe_fault"
)
_INSERT_APPLICATION: Final = f"""
    INSERT INTO applications (id, version, organisation, parent, label, hosting, site, purpose, state, applied,
        applied_by, proved)
    VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING {_APPLICATION}"""  # noqa: S608 - our columns
_UPDATE_APPLICATION: Final = f"""
    UPDATE applications SET version = version + 1, state = $2, reason = $3, decided = $4, decided_by = $5,
        proved = $6, prefix = $7
    WHERE id = $1 RETURNING {_APPLICATION}"""  # noqa: S608
_OPEN_APPLICATIONS: Final = """
    SELECT count(*) FROM (SELECT FROM applications WHERE organisation = $1 AND state = ANY ($2) LIMIT $3) AS open"""
_INSERT_ALLOCATION: Final = """
    INSERT INTO allocations (prefix, name, parent, organisation, hosting, state, reason, version, site, site_digest,
        withheld, namespace, allocated, changed, revoked, probed, probe_fault)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
    ON CONFLICT (prefix) DO NOTHING"""
_UPDATE_ALLOCATION: Final = """
    UPDATE allocations SET name = $2, parent = $3, organisation = $4, hosting = $5, state = $6, reason = $7,
        version = $8, site = $9, site_digest = $10, withheld = $11, namespace = $12, allocated = $13, changed = $14,
        revoked = $15, probed = $16, probe_fault = $17
    WHERE prefix = $1"""
_HISTORY: Final = """
    SELECT version, act, state, hosting, organisation, reason, actor, at FROM allocation_history
    WHERE prefix = $1 AND version < $2 ORDER BY version DESC LIMIT $3"""
_STALE: Final = f"""
    (SELECT {_ALLOCATION} FROM allocations WHERE site_digest < $1 AND hosting = 'hosted' AND state <> 'revoked'
        ORDER BY site_digest, prefix LIMIT $2)
    UNION ALL
    (SELECT {_ALLOCATION} FROM allocations WHERE site_digest > $1 AND hosting = 'hosted' AND state <> 'revoked'
        ORDER BY site_digest, prefix LIMIT $2)"""  # noqa: S608
_JOB: Final = "id, kind, prefix, holder, position, records, changed, started, ended"
_BEGIN_NUMBERS: Final = """
    INSERT INTO allocation_numbers AS known (parent, next) VALUES ($1, $2)
    ON CONFLICT (parent) DO UPDATE SET next = greatest(known.next, excluded.next) RETURNING next"""
_TAKEN: Final = """
    SELECT asked.prefix FROM unnest($1::bytea[]) AS asked (prefix)
    WHERE EXISTS (SELECT FROM allocations AS a WHERE a.prefix = asked.prefix)
        OR EXISTS (SELECT FROM handles AS h WHERE h.key = '\\x302e4e412f'::bytea || asked.prefix AND h.state <> 1)
        OR EXISTS (SELECT FROM prefixes AS p WHERE p.prefix = asked.prefix AND p.homed)"""
_LEFT_BELOW: Final = "SELECT EXISTS (SELECT FROM handles WHERE prefix = $1 AND state <> 1)"
_CHILD: Final = "SELECT prefix FROM allocations WHERE parent = $1 AND state <> 'revoked' LIMIT 1"
NUMBER_MAX: Final = 2**63 - 1


def site_digest(site: Site) -> bytes:
    """What a site is compared by."""
    return hashlib.sha256(site.encode()).digest()


def parent_key(parent: Prefix | None) -> bytes:
    """How the parent of a prefix stands in the tables."""
    return b"" if parent is None else parent.key


# Applications.


async def insert_application(
    connection: Connection, id_: str, wish: Wish, *, at: Any, by: str, proved: bool
) -> Application:
    """Store a new application."""
    record = await connection.fetchrow(
        _INSERT_APPLICATION,
        id_,
        wish.organisation,
        parent_key(wish.parent),
        wish.label,
        wish.hosting.value,
        None if wish.site is None else wish.site.encode(),
        wish.purpose,
        ApplicationState.APPLIED.value,
        at,
        by,
        at if proved else None,
    )
    assert record is not None
    return _application(record)


async def update_application(connection: Connection, application: Application) -> Application:
    """Write what may change of an application that this transaction has locked; its version counts up."""
    record = await connection.fetchrow(
        _UPDATE_APPLICATION,
        application.id,
        application.state.value,
        application.reason,
        application.decided,
        application.decided_by,
        application.proved,
        None if application.prefix is None else application.prefix.octets,
    )
    assert record is not None
    return _application(record)


async def application(connection: Connection, id_: str, *, lock: bool = False) -> Application | None:
    """An application by its id. lock: until the transaction ends."""
    query = f"SELECT {_APPLICATION} FROM applications WHERE id = $1"  # noqa: S608 - columns of our own
    record = await connection.fetchrow(query + (" FOR UPDATE" if lock else ""), id_)
    return None if record is None else _application(record)


async def open_applications(connection: Connection, organisation: str, at_most: int) -> int:
    """How many applications of an organisation wait for something, counted up to at_most."""
    waiting = [ApplicationState.APPLIED.value, ApplicationState.APPROVED.value]
    return int(await connection.fetchval(_OPEN_APPLICATIONS, organisation, waiting, at_most))


async def list_applications(
    connection: Connection,
    *,
    organisation: str | None,
    state: ApplicationState | None,
    before: int | None,
    limit: int,
) -> Page[Application]:
    """Applications, newest first. before: the number of the last one that was seen."""
    conditions, values = ["number < $1"], [NUMBER_MAX if before is None else before]
    arguments: list[Any] = [*values, limit + 1]
    for column, value in (("organisation", organisation), ("state", None if state is None else state.value)):
        if value is not None:
            arguments.append(value)
            conditions.append(f"{column} = ${len(arguments)}")
    query = f"SELECT {_APPLICATION} FROM applications WHERE {' AND '.join(conditions)}"  # noqa: S608
    records = await connection.fetch(f"{query} ORDER BY number DESC LIMIT $2", *arguments)
    return Page(tuple(_application(record) for record in records[:limit]), len(records) > limit)


# Allocated prefixes.


async def allocation(
    connection: Connection, prefix_key: bytes, *, lock: bool = False
) -> AllocatedPrefix | None:
    """An allocated prefix by its folded name. lock: until the transaction ends."""
    query = f"SELECT {_ALLOCATION} FROM allocations WHERE prefix = $1"  # noqa: S608 - columns of our own
    record = await connection.fetchrow(query + (" FOR UPDATE" if lock else ""), prefix_key)
    return None if record is None else _allocation(record)


async def insert_allocation(connection: Connection, allocated: AllocatedPrefix) -> bool:
    """Store a new allocation; whether it is the first one of this prefix.

    Waits for another transaction that is allocating the same prefix.
    """
    status = await connection.execute(_INSERT_ALLOCATION, *_columns(allocated))
    return status == "INSERT 0 1"


async def update_allocation(connection: Connection, allocated: AllocatedPrefix) -> None:
    """Write an allocation that this transaction has locked."""
    status = await connection.execute(_UPDATE_ALLOCATION, *_columns(allocated))
    assert status == "UPDATE 1", status


async def note_probe(connection: Connection, prefix_key: bytes, at: Any, fault: str | None) -> None:
    """Store what the last probe of a prefix's node found."""
    query = "UPDATE allocations SET probed = $2, probe_fault = $3 WHERE prefix = $1"
    await connection.execute(query, prefix_key, at, fault)


async def child_of(connection: Connection, prefix_key: bytes) -> bytes | None:
    """One prefix that is allocated directly below this one and not revoked, if there is any."""
    found: bytes | None = await connection.fetchval(_CHILD, prefix_key)
    return found


async def is_anything_below(connection: Connection, prefix_key: bytes) -> bool:
    """Whether handles are stored below a prefix."""
    return bool(await connection.fetchval(_LEFT_BELOW, prefix_key))


async def list_allocations(
    connection: Connection,
    *,
    organisation: str | None,
    among: Sequence[bytes] | None = None,
    state: PrefixState | None,
    parent: Prefix | None,
    after: bytes | None,
    limit: int,
) -> Page[AllocatedPrefix]:
    """Allocated prefixes in ascending order of their folded names. after: the last one that was seen.

    among: folded prefixes beside which none is shown; None for all.
    """
    arguments: list[Any] = [after or b"", limit + 1]
    conditions = ["prefix > $1"]
    filters: tuple[tuple[str, Any], ...] = (
        ("organisation = {}", organisation),
        ("prefix = ANY ({}::bytea[])", None if among is None else list(among)),
        ("state = {}", None if state is None else state.value),
        ("parent = {}", None if parent is None else parent.key),
    )
    for condition, value in filters:
        if value is not None:
            arguments.append(value)
            conditions.append(condition.format(f"${len(arguments)}"))
    query = f"SELECT {_ALLOCATION} FROM allocations WHERE {' AND '.join(conditions)}"  # noqa: S608
    records = await connection.fetch(f"{query} ORDER BY prefix LIMIT $2", *arguments)
    return Page(tuple(_allocation(record) for record in records[:limit]), len(records) > limit)


async def served_by_another_site(connection: Connection, site: Site, limit: int) -> list[AllocatedPrefix]:
    """Some hosted prefixes whose record names another site than this one."""
    records = await connection.fetch(_STALE, site_digest(site), limit)
    return [_allocation(record) for record in records[:limit]]


async def insert_history(
    connection: Connection, allocated: AllocatedPrefix, act: PrefixAct, actor: str
) -> None:
    """Note the act that led to this version."""
    await connection.execute(
        "INSERT INTO allocation_history VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        allocated.prefix.key,
        allocated.version,
        act.value,
        allocated.state.value,
        allocated.hosting.value,
        allocated.organisation,
        allocated.reason,
        actor,
        allocated.changed,
    )


async def history(
    connection: Connection, prefix_key: bytes, *, before: int | None, limit: int
) -> Page[HistoryEntry]:
    """What was done to a prefix, the latest first. before: the last version that was seen."""
    records = await connection.fetch(
        _HISTORY, prefix_key, NUMBER_MAX if before is None else before, limit + 1
    )
    return Page(tuple(_history_entry(record) for record in records[:limit]), len(records) > limit)


# Numbers.


async def begin_numbers(connection: Connection, parent: Prefix | None, first: int) -> int:
    """Where to look for the next free number; nobody else looks below this parent until the transaction ends."""
    return int(await connection.fetchval(_BEGIN_NUMBERS, parent_key(parent), first))


async def end_numbers(connection: Connection, parent: Prefix | None, next_: int) -> None:
    """Where the next search begins."""
    query = "UPDATE allocation_numbers SET next = $2 WHERE parent = $1"
    await connection.execute(query, parent_key(parent), next_)


async def taken(connection: Connection, prefix_keys: Sequence[bytes]) -> set[bytes]:
    """Those of the folded prefixes that were ever allocated, whose record exists, or that this node homes already."""
    return {record[0] for record in await connection.fetch(_TAKEN, prefix_keys)}


# Jobs.


async def insert_job(connection: Connection, job: Job) -> None:
    """Store a new job."""
    await connection.execute(
        "INSERT INTO allocation_jobs (id, kind, prefix, holder, started) VALUES ($1, $2, $3, $4, $5)",
        job.id,
        job.kind,
        job.prefix.key,
        job.holder,
        job.started,
    )


async def lock_next_job(connection: Connection) -> Job | None:
    """The oldest job that has not ended and that nobody else is working on, locked."""
    query = f"""
        SELECT {_JOB} FROM allocation_jobs WHERE ended IS NULL ORDER BY number LIMIT 1
        FOR UPDATE SKIP LOCKED"""  # noqa: S608 - columns of our own
    record = await connection.fetchrow(query)
    return None if record is None else _job(record)


async def update_job(connection: Connection, job: Job) -> None:
    """Write how far a job has come."""
    query = "UPDATE allocation_jobs SET position = $2, records = $3, changed = $4, ended = $5 WHERE id = $1"
    await connection.execute(query, job.id, job.position, job.records, job.changed, job.ended)


async def last_job(connection: Connection, prefix: Prefix) -> Job | None:
    """The latest job of a prefix."""
    query = f"SELECT {_JOB} FROM allocation_jobs WHERE prefix = $1 ORDER BY number DESC LIMIT 1"  # noqa: S608
    record = await connection.fetchrow(query, prefix.key)
    return None if record is None else _job(record)


# Rows.


def _columns(allocated: AllocatedPrefix) -> tuple[Any, ...]:
    return (
        allocated.prefix.key,
        allocated.prefix.octets,
        parent_key(allocated.parent),
        allocated.organisation,
        allocated.hosting.value,
        allocated.state.value,
        allocated.reason,
        allocated.version,
        allocated.site.encode(),
        site_digest(allocated.site),
        list(allocated.withheld),
        allocated.namespace,
        allocated.allocated,
        allocated.changed,
        allocated.revoked,
        allocated.probed,
        allocated.probe_fault,
    )


def _application(record: asyncpg.Record) -> Application:
    wish = Wish(
        organisation=record["organisation"],
        parent=Prefix(record["parent"]) if record["parent"] else None,
        label=record["label"],
        hosting=Hosting(record["hosting"]),
        site=None if record["site"] is None else Site.decode(record["site"]),
        purpose=record["purpose"],
    )
    return Application(
        id=record["id"],
        number=record["number"],
        version=record["version"],
        wish=wish,
        state=ApplicationState(record["state"]),
        reason=record["reason"],
        applied=record["applied"],
        applied_by=record["applied_by"],
        decided=record["decided"],
        decided_by=record["decided_by"],
        proved=record["proved"],
        prefix=None if record["prefix"] is None else Prefix(record["prefix"]),
    )


def _allocation(record: asyncpg.Record) -> AllocatedPrefix:
    return AllocatedPrefix(
        prefix=Prefix(record["name"]),
        parent=Prefix(record["parent"]) if record["parent"] else None,
        organisation=record["organisation"],
        hosting=Hosting(record["hosting"]),
        state=PrefixState(record["state"]),
        reason=record["reason"],
        version=record["version"],
        site=Site.decode(record["site"]),
        withheld=tuple(record["withheld"]),
        namespace=record["namespace"],
        allocated=record["allocated"],
        changed=record["changed"],
        revoked=record["revoked"],
        probed=record["probed"],
        probe_fault=record["probe_fault"],
    )


def _history_entry(record: asyncpg.Record) -> HistoryEntry:
    return HistoryEntry(
        version=record["version"],
        act=PrefixAct(record["act"]),
        state=PrefixState(record["state"]),
        hosting=Hosting(record["hosting"]),
        organisation=record["organisation"],
        reason=record["reason"],
        actor=record["actor"],
        at=record["at"],
    )


def _job(record: asyncpg.Record) -> Job:
    return Job(
        id=record["id"],
        kind=record["kind"],
        prefix=Prefix(record["prefix"]),
        holder=record["holder"],
        position=record["position"],
        records=record["records"],
        changed=record["changed"],
        started=record["started"],
        ended=record["ended"],
    )
