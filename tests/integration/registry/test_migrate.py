"""Migrations on a real server: forward, once, and never over somebody else's."""

import asyncio

import asyncpg
import pytest

from protocol.errors import SettingsError, StoreUnavailable
from registry.migrate import Migration, load_migrations, migrate, migration_lock


def added(sql: str = "CREATE TABLE extra (n int)") -> Migration:
    return Migration(number=len(load_migrations()) + 1, name="9999_extra.sql", sql=sql)


async def test_an_empty_database_gets_every_migration_once(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)

    first = await migrate(connection)
    second = await migrate(connection)

    assert first == [migration.name for migration in load_migrations()]
    assert second == []
    partitions = await connection.fetchval(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'handles'::regclass"
    )
    assert partitions == 16
    await connection.close()


async def test_every_earlier_schema_comes_forward(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    for count in range(1, len(load_migrations()) + 1):
        assert len(await migrate(connection, load_migrations()[:count])) == 1
    assert await migrate(connection, (*load_migrations(), added())) == ["9999_extra.sql"]
    await connection.close()


async def test_a_migration_that_was_changed_afterwards_stops_the_start(database: str) -> None:
    connection = await asyncpg.connect(database)
    first, *others = load_migrations()
    changed = Migration(number=first.number, name=first.name, sql=first.sql + "\n-- changed")

    with pytest.raises(SettingsError, match="applied with other contents"):
        await migrate(connection, (changed, *others))
    await connection.close()


async def test_a_database_of_a_newer_version_stops_the_start(database: str) -> None:
    connection = await asyncpg.connect(database)
    await migrate(connection, (*load_migrations(), added()))

    with pytest.raises(SettingsError, match="newer than this version"):
        await migrate(connection)
    await connection.close()


async def test_a_migration_that_fails_leaves_nothing_behind(database: str) -> None:
    connection = await asyncpg.connect(database)
    broken = added("CREATE TABLE half (n int); SELECT 1 / 0")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, (*load_migrations(), broken))

    assert await connection.fetchval("SELECT to_regclass('half')") is None
    assert await migrate(connection, (*load_migrations(), added())) == ["9999_extra.sql"]
    await connection.close()


async def test_several_starters_migrate_once(empty_database: str) -> None:
    async def start() -> list[str]:
        connection = await asyncpg.connect(empty_database)
        try:
            async with migration_lock(connection):
                return await migrate(connection)
        finally:
            await connection.close()

    applied = await asyncio.gather(*(start() for _ in range(4)))

    assert sorted(map(len, applied)) == [0, 0, 0, len(load_migrations())]


async def test_a_lock_that_is_never_released_is_an_outage_and_no_hang(database: str) -> None:
    holder, waiter = await asyncpg.connect(database), await asyncpg.connect(database)
    async with migration_lock(holder):
        with pytest.raises(StoreUnavailable, match="another process"):
            async with migration_lock(waiter, wait_s=0.2):
                pass
    async with migration_lock(waiter, wait_s=0.2):
        pass
    await holder.close()
    await waiter.close()
