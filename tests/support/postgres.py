"""One embedded Postgres for the whole test session, and a database for each test.

Fast and forgetful: a crash may lose what was committed. Tests about durability start a server of their own.
"""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg

from deploy.local.postgres import EmbeddedPostgres, StopMode

FORGETFUL: Final[Mapping[str, str]] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "autovacuum": "off",  # would race with the dropping of databases
}
TEMPLATE: Final = "handlegrid_template"

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
        self.directory = Path(tempfile.mkdtemp(prefix="handlegrid-postgres-", dir="/tmp"))
        self.directory.chmod(0o755)  # as root the server runs as another user, who must be able to enter
        self.server = EmbeddedPostgres(self.directory / "data", settings=settings)
        self._numbers = count(1)
        self._has_template = False

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
        """Return the DSN of a new database with the schema of this version."""
        if not self._has_template:
            run_elsewhere(self._make_template)
            self._has_template = True
        return self._create(f'TEMPLATE "{TEMPLATE}"')

    def drop(self, dsn: str) -> None:
        """Drop a database and end its connections; nothing happens when the server is gone."""
        name = dsn.split("?", maxsplit=1)[0].rsplit("/", 1)[1]

        async def drop() -> None:
            with suppress(OSError, asyncpg.PostgresError):
                await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

        run_elsewhere(drop)

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

    async def _make_template(self) -> None:
        from registry.migrate import migrate

        await self._execute(f'CREATE DATABASE "{TEMPLATE}"')
        connection = await asyncpg.connect(self.server.dsn(TEMPLATE))
        try:
            await migrate(connection)
        finally:
            await connection.close()
