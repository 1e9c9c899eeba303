"""Ten times the prefixes, the same work: counted in rows that the database looked at, not in seconds."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from protocol.handle import Prefix
from registry.allocation import jobs, tables
from registry.allocation.lifecycle import ApplicationState, PrefixState
from registry.transaction import Transaction
from tests.integration.registry.allocation.office import ACME, SEVEN, Office, a_site

_FILL = """
    INSERT INTO allocations (prefix, name, parent, organisation, hosting, state, version, site, site_digest, allocated,
        changed)
    SELECT p, p, '88.100', 'org_' || n % 100, 'hosted', 'active', 1, $2, $3, now(), now()
    FROM generate_series($1::int, $1::int * 10 - 1) AS n, convert_to('88.100.' || n, 'UTF8') AS p"""
_FILL_PREFIXES = """
    INSERT INTO prefixes (prefix, name, homed, authorisation_values, authorisation_count)
    SELECT prefix, name, true, '', 0 FROM allocations ON CONFLICT DO NOTHING"""
_FILL_HISTORY = """
    INSERT INTO allocation_history
    SELECT prefix, 1, 'allocate', 'active', 'hosted', organisation, '', 'system', now() FROM allocations
    ON CONFLICT DO NOTHING"""
_FILL_APPLICATIONS = """
    INSERT INTO applications (id, version, organisation, parent, label, hosting, purpose, state, applied, applied_by)
    SELECT 'app_' || $1::int || '_' || n, 1, 'org_' || n % 100, '88.100', n::text, 'hosted', '', 'allocated', now(), ''
    FROM generate_series(1, $1::int * 9) AS n"""
_FILL_JOBS = """
    INSERT INTO allocation_jobs (id, kind, prefix, started, ended)
    SELECT 'job_' || $1::int || '_' || n, 'rewrite', convert_to('88.100.' || n, 'UTF8'), now(), now()
    FROM generate_series(1, $1::int * 9) AS n"""
_ROWS_READ = """
    SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint FROM pg_stat_xact_user_tables"""


async def fill(office: Office, start: int) -> None:
    """Store the allocations from start to ten times start, as they are after some years."""
    site = office.allocation.terms.site
    await office.execute(_FILL, start, site.encode(), tables.site_digest(site))
    await office.execute(_FILL_PREFIXES)
    await office.execute(_FILL_HISTORY)
    await office.execute(_FILL_APPLICATIONS, start)
    await office.execute(_FILL_JOBS, start)
    await office.execute("ANALYZE allocations, prefixes, allocation_history, applications, allocation_jobs")


async def rows_read(office: Office, work: Callable[[Transaction], Awaitable[object]]) -> int:
    """How many rows of tables a piece of work made the database look at."""
    async with office.writing() as tx:
        before = await tx.connection.fetchval(_ROWS_READ)
        await work(tx)
        return int(await tx.connection.fetchval(_ROWS_READ)) - int(before)


async def cost_of_a_life(office: Office, label: str) -> dict[str, int]:
    """What each act of a prefix's life makes the database read."""
    allocation, prefix = office.allocation, Prefix.parse(f"88.100.{label}")
    application = await office.approved(label)
    numbered = await office.apply(None)
    acts: dict[str, Callable[[Transaction], Awaitable[object]]] = {
        "next free number": lambda tx: allocation.review(tx, numbered.id, approve=True, reason=""),
        "allocate": lambda tx: allocation.allocate(tx, application.id),
        "suspend": lambda tx: allocation.suspend(tx, prefix, reason="unpaid"),
        "resume": lambda tx: allocation.resume(tx, prefix, reason="paid"),
        "read": lambda tx: allocation.prefix(prefix, tx),
        "list": lambda tx: tables.list_allocations(
            tx.connection, organisation=None, state=None, parent=None, after=b"88.100.5", limit=10
        ),
        "list of an organisation": lambda tx: tables.list_allocations(
            tx.connection, organisation="org_7", state=None, parent=None, after=None, limit=5
        ),
        "list of a state": lambda tx: tables.list_allocations(
            tx.connection, organisation=None, state=PrefixState.SUSPENDED, parent=None, after=None, limit=10
        ),
        "applications": lambda tx: tables.list_applications(
            tx.connection, organisation=None, state=ApplicationState.APPROVED, before=None, limit=1
        ),
        "open applications": lambda tx: tables.open_applications(tx.connection, ACME, 100),
        "history": lambda tx: tables.history(tx.connection, prefix.key, before=None, limit=10),
        "jobs": lambda tx: tables.lock_next_job(tx.connection),
        "stale routes": lambda tx: tables.served_by_another_site(tx.connection, allocation.terms.site, 100),
        "revoke": lambda tx: allocation.revoke(tx, prefix, reason="closed"),
    }
    return {name: await rows_read(office, act) for name, act in acts.items()}


async def test_nothing_reads_more_with_ten_times_the_prefixes(office: Office) -> None:
    await office.approve(await office.apply(None))  # the counter below 88.100 begins
    await office.execute("UPDATE allocation_numbers SET next = 1000000")
    await fill(office, 100)
    few = await cost_of_a_life(office, "few")
    await fill(office, 1_000)
    many = await cost_of_a_life(office, "many")

    assert {name: (few[name], rows) for name, rows in many.items() if rows > few[name] + 4} == {}
    assert max(many.values()) < 60


async def test_a_batch_of_a_job_reads_its_own_prefix_alone(office: Office) -> None:
    await office.allocated()
    await fill(office, 1_000)
    async with office.writing() as tx:
        await office.allocation.transfer(tx, SEVEN, "org_" + "b" * 20, reason="sold")
    assert await jobs.run_batch(office.bench.operations)
    _, job = await office.allocation.work(SEVEN)
    assert job is not None
    assert job.records == 1


async def test_hosted_routes_are_renewed_in_batches(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.allocation.service.ROUTES_AT_ONCE", 2)
    for label in "abcde":
        await office.allocated(label)
    there = a_site("1.0.0.1", serial=2)
    office.allocation.terms = replace(office.allocation.terms, site=there)
    await office.allocation.renew_routes()
    page = await office.allocation.prefixes(limit=10)
    assert {allocated.site for allocated in page.items} == {there}
