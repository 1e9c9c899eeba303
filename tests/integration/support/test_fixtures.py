"""The fixtures themselves: databases are apart from each other, and servers come back after a crash."""

import asyncpg
import pytest
import redis.asyncio as redis

from tests.support.postgres import TestPostgres
from tests.support.valkey import TestValkey


@pytest.mark.parametrize("run", [1, 2])
async def test_every_test_has_a_database_of_its_own(database: str, run: int) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("CREATE TABLE only_here (run int)")
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    assert "schema_migrations" in {record["tablename"] for record in tables}


async def test_an_empty_database_is_empty(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    try:
        assert not await connection.fetch("SELECT 1 FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()


async def test_a_durable_server_keeps_what_it_committed_through_a_crash(own_postgres: TestPostgres) -> None:
    dsn = own_postgres.empty_database()
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE kept (number int)")
    await connection.execute("INSERT INTO kept VALUES (7)")
    own_postgres.crash()
    own_postgres.start()
    connection.terminate()
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT number FROM kept") == 7
    await connection.close()


async def test_a_valkey_comes_back_empty_at_the_same_address(valkey: TestValkey) -> None:
    for _ in range(2):
        client = redis.Redis.from_url(valkey.url)
        assert await client.get("key") is None
        await client.set("key", "value")
        await client.aclose()
        valkey.stop()
        valkey.start()
