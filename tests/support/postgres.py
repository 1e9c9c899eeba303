"""One embedded Postgres for the whole test session, and a database for each test.

Fast and forgetful: a crash may lose what was committed. Tests about durability start a server of their own.
"""

import asyncio
import shutil
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from itertools import count
from typing import Any, Final, TypeVar

import asyncpg

from deploy.local.postgres import EmbeddedPostgres, StopMode
from tests.support.scratch import new_directory

FORGETFUL: Final[Mapping[str, str]] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "autovacuum": "off",  # would race with the dropping of databases
}
TEMPLATE: Final = "handlegrid_template"
USES_MAX: Final = 40
"""Tests that a database serves one after the other; rows that were deleted still take their place."""
_RELATIONS: Final = """
    SELECT string_agg(format('%s %s', relname, relkind), ',' ORDER BY relname)
    FROM pg_class WHERE relnamespace = 'public'::regnamespace"""
_EMPTY: Final = """
    DO $$
    DECLARE found text;
    BEGIN
        FOR found IN SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
            AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'schema_migrations'
        LOOP
            EXECUTE format('DELETE FROM %s', found);
        END LOOP;
        FOR found IN SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
            AND relkind = 'S'
        LOOP
            EXECUTE format('ALTER SEQUENCE %s RESTART', found);
        END LOOP;
    END
    $$"""
_END_OTHERS: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""

T = TypeVar("T")


def run_elsewhere(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end on a loop and thread of its own, whatever loop the test has."""
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(asyncio.run(make()))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


class TestPostgres:
    """A running server, and the databases made on it."""

    __test__ = False

    def __init__(self, *, settings: Mapping[str, str] = FORGETFUL) -> None:
        self.directory = new_directory("postgres")
        self.server = EmbeddedPostgres(self.directory / "data", settings=settings)
        self._numbers = count(1)
        self._relations: str | None = None
        self._uses: dict[str, int] = {}
        self._empty: list[str] = []

    def start(self) -> None:
        """Start the server, again after `stop` or `crash` too; from the main thread."""
        self.server.start()

    def stop(self) -> None:
        """Shut the server down; its data stay."""
        self.server.stop(StopMode.FAST)

    def crash(self) -> None:
        """End the server at once, without a checkpoint."""
        self.server.stop(StopMode.IMMEDIATE)

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.crash()
        shutil.rmtree(self.directory, ignore_errors=True)

    def empty_database(self) -> str:
        """Return the DSN of a new database without tables."""
        return self._create("")

    def database(self) -> str:
        """Return the DSN of an empty database with the schema of this version: a new one, or one that was emptied."""
        if self._empty:
            return self.server.dsn(self._empty.pop())
        if self._relations is None:
            self._relations = run_elsewhere(self._make_template)
        dsn = self._create(f'TEMPLATE "{TEMPLATE}"')
        self._uses[_name_of(dsn)] = 0
        return dsn

    def drop(self, dsn: str) -> None:
        """Empty a database for another test, or drop it; nothing happens when the server is gone."""
        name = _name_of(dsn)
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            if self._is_reusable(name) and run_elsewhere(lambda: self._make_empty(dsn)):
                self._empty.append(name)
                return
        self._uses.pop(name, None)
        with suppress(OSError, asyncpg.PostgresError):
            run_elsewhere(lambda: self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))

    def _is_reusable(self, name: str) -> bool:
        if name not in self._uses:
            return False
        self._uses[name] += 1
        return self._uses[name] < USES_MAX

    async def _make_empty(self, dsn: str) -> bool:
        """Delete everything; False when a test has changed the schema."""
        connection = await asyncpg.connect(dsn, timeout=10, command_timeout=30)
        try:
            await connection.execute(_END_OTHERS)
            if await connection.fetchval(_RELATIONS) != self._relations:
                return False
            await connection.execute(_EMPTY)
            return True
        finally:
            await connection.close()

    def _create(self, options: str) -> str:
        name = f"test_{next(self._numbers)}"
        run_elsewhere(lambda: self._execute(f'CREATE DATABASE "{name}" {options}'))
        return self.server.dsn(name)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server.dsn())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _make_template(self) -> str:
        """Make the database that all others are copied from, and give what relations it has."""
        from registry.migrate import migrate

        await self._execute(f'CREATE DATABASE "{TEMPLATE}"')
        connection = await asyncpg.connect(self.server.dsn(TEMPLATE))
        try:
            await migrate(connection)
            relations: str = await connection.fetchval(_RELATIONS)
        finally:
            await connection.close()
        return relations


def _name_of(dsn: str) -> str:
    return dsn.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
