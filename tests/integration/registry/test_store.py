"""The store against a real server: which databases it refuses, and what it gives back."""

import asyncpg
import pytest

from protocol.errors import SettingsError, StoreUnavailable
from protocol.handle import Handle
from registry.outcomes import COMMAND, OPERATOR, Created
from registry.read_lane import LANE_SETTINGS, READ_MANY, READ_ONE
from registry.store import SESSION_SETTINGS, Store
from registry.transaction import Transaction
from registry.writing import NewRow, State
from tests.integration.registry.bench import Bench, creation, secret, url
from tests.support.postgres import TestPostgres


def new_row(key: bytes) -> NewRow:
    return (key, key.lower(), b"88.100", b"values", 1, None, 0, 0, 1, 5)


async def test_a_database_that_forgets_commits_is_refused_and_every_setting_is_named(database: str) -> None:
    with pytest.raises(SettingsError, match="fsync, full_page_writes, synchronous_commit is off"):
        await Store.open(database)


async def test_a_forgetful_database_is_accepted_when_that_is_asked_for(database: str) -> None:
    store = await Store.open(database, unsafe=True)
    await store.ping()
    await store.close()


async def test_the_role_and_the_dsn_count_as_much_as_the_server(own_postgres: TestPostgres) -> None:
    dsn = own_postgres.database()
    await (await Store.open(dsn)).close()
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE ROLE hasty LOGIN; ALTER ROLE hasty SET synchronous_commit = off")
    await connection.close()

    with pytest.raises(SettingsError, match="synchronous_commit is off on this connection"):
        await Store.open(dsn.replace("postgres@", "hasty@", 1))
    with pytest.raises(SettingsError, match="synchronous_commit is off"):
        await Store.open(f"{dsn}&synchronous_commit=off")


async def test_a_server_that_is_not_there_is_an_outage() -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await Store.open("postgresql://nobody@127.0.0.1:1/nothing")


async def test_rows_come_back_as_they_were_written(bench: Bench) -> None:
    rows = [new_row(b"88.100/%d" % number) for number in range(100)]
    async with bench.store.writing() as writing:
        assert await writing.insert(rows) == {row[0] for row in rows}

    row = await bench.store.read(b"88.100/7")
    many = await bench.store.read_many([b"88.100/7", b"88.100/nothing", b"88.100/8"])

    assert row is not None
    assert (row.name, row.public_values, row.state, row.version, row.changed_ms) == (
        b"88.100/7", b"values", State.STORED, 1, 5,
    )  # fmt: skip
    assert set(many) == {b"88.100/7", b"88.100/8"}


@pytest.mark.parametrize("count", [3, 300])
async def test_inserting_leaves_existing_rows_alone(bench: Bench, count: int) -> None:
    rows = [new_row(b"88.100/%d" % number) for number in range(count)]
    async with bench.store.writing() as writing:
        await writing.insert(rows[1:2])

    async with bench.store.writing() as writing:
        inserted = await writing.insert(rows)

    assert inserted == {row[0] for row in rows} - {rows[1][0]}


async def test_a_transaction_that_fails_leaves_neither_row_nor_log(bench: Bench) -> None:
    async def fail(transaction: Transaction) -> None:
        await transaction.create([creation("88.100/1", url("x"))], by=OPERATOR)
        await transaction.write_log()
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        async with bench.operations.transaction(COMMAND) as transaction:
            await fail(transaction)

    assert await bench.store.read(b"88.100/1") is None
    assert await bench.log() == []


async def test_a_dry_run_tells_what_would_happen_and_leaves_nothing(bench: Bench) -> None:
    async with bench.operations.transaction(COMMAND, commit=False) as transaction:
        (result,) = await transaction.create([creation("88.100/1", url("x"))], by=OPERATOR)

    assert isinstance(result, Created)
    assert await bench.store.read(b"88.100/1") is None
    assert await bench.log() == []


async def test_what_a_change_replaces_is_kept_as_a_version(bench: Bench) -> None:
    await bench.create("88.100/1", url("first"))
    await bench.put("88.100/1", url("second"))
    await bench.operations.delete([Handle.parse("88.100/1")], by=OPERATOR)

    async with bench.store.connection() as connection:
        query = "SELECT version, state, public_values, ended_ms > changed_ms FROM handle_versions ORDER BY version"
        kept = await connection.fetch(query)

    assert [(record[0], record[1], record[3]) for record in kept] == [(1, 0, True), (2, 0, True)]
    assert b"first" in kept[0][2]
    assert b"second" in kept[1][2]


async def test_facts_are_kept(bench: Bench) -> None:
    assert await bench.store.fact("colour") is None
    await bench.store.put_fact("colour", b"red")
    await bench.store.put_fact("colour", b"green")
    assert await bench.store.fact("colour") == b"green"


async def test_reading_a_handle_uses_the_key_also_while_tables_are_small(bench: Bench) -> None:
    async with bench.store.connection() as connection:
        plan = await connection.fetch("EXPLAIN SELECT name FROM handles WHERE key = '\\x01'")
        text = "\n".join(record[0] for record in plan)
    assert "Index Scan" in text or "Bitmap" in text
    assert "Seq Scan" not in text


async def test_waiting_for_a_connection_is_reported(database: str) -> None:
    waits: list[float] = []
    store = await Store.open(database, unsafe=True, on_wait=waits.append)
    await store.ping()
    await store.close()
    assert len(waits) == 1
    assert 0 <= waits[0] < 5


async def test_a_shared_read_looks_for_each_key_in_its_own_partition_alone(bench: Bench) -> None:
    """With plans that are made once, whatever the keys, and while the table is still empty."""
    connection = await asyncpg.connect(bench.dsn, server_settings={**SESSION_SETTINGS, **LANE_SETTINGS})
    try:
        for query, argument, keys in (
            (READ_ONE, b"88.100/1", 1),
            (READ_MANY, [b"88.100/%d" % number for number in range(3)], 3),
        ):
            kind = "bytea" if keys == 1 else "bytea[]"
            literal = await connection.fetchval(f"SELECT quote_literal($1::{kind})", argument)
            await connection.execute(f"PREPARE question ({kind}) AS {query}")
            plan = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) EXECUTE question ({literal})")
            await connection.execute("DEALLOCATE question")
            scans = [line for (line,) in plan if " on handles_" in line]
            assert all("Index Scan" in line for line in scans), plan
            assert 0 < sum("never executed" not in line for line in scans) <= keys, plan
    finally:
        await connection.close()


async def test_a_public_read_tells_nothing_but_what_everybody_may_know(bench: Bench) -> None:
    await bench.create("88.100/1", url("x"), secret("hunter2"))

    row = await bench.store.read_public(b"88.100/1")

    assert row is not None
    assert tuple(row.keys()) == ("key", "public_values", "public_count", "state", "restricted_count")
    assert (row.key, row.public.count, row.state, row.in_force) == (b"88.100/1", 1, State.STORED, True)
