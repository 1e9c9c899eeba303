"""Migrations: bring a database to the schema of this version, forward only, one starter at a time.

Each file of registry/migrations is applied in a transaction of its own and noted with its hash. A noted file whose
hash differs, or that we do not know, stops the start: the database belongs to another version.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Final

import asyncpg

from protocol.errors import SettingsError, StoreUnavailable

LOCK_KEY: Final = 0x68_61_6E_64_6C_65  # "handle"; any number that nobody else takes in this database
LOCK_WAIT_S: Final = 60.0
"""How long to wait while another process migrates: indexes over large tables take their time."""
LOCK_POLL_S: Final = 0.1
"""Polled, since waiting inside pg_advisory_lock deadlocks with CREATE INDEX CONCURRENTLY."""
STATEMENT_LOCK_WAIT: Final = "10s"
"""How long a migration waits for a table: behind a waiting ALTER TABLE every reader queues up."""
_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        number integer NOT NULL PRIMARY KEY, name text NOT NULL, sha256 bytea NOT NULL,
        applied timestamptz NOT NULL DEFAULT now())"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> bytes:
        """What the file is known by once it is applied."""
        return hashlib.sha256(self.sql.encode()).digest()


def load_migrations() -> tuple[Migration, ...]:
    """The migrations that come with this version, in order, numbered from 1 without a gap."""
    files = [file for file in resources.files("registry.migrations").iterdir() if file.name.endswith(".sql")]
    migrations = tuple(
        Migration(number=int(file.name[:4]), name=file.name, sql=file.read_text(encoding="utf-8"))
        for file in sorted(files, key=lambda file: file.name)
    )
    assert [migration.number for migration in migrations] == list(range(1, len(migrations) + 1))
    return migrations


@asynccontextmanager
async def migration_lock(
    connection: "asyncpg.Connection[asyncpg.Record]", *, wait_s: float = LOCK_WAIT_S
) -> AsyncIterator[None]:
    """Hold the lock under which a database is migrated and initialised.

    connection: a session of its own, not through a transaction pooler, since the lock is the session's.
    Raises StoreUnavailable when another process does not let go of it within wait_s.
    """
    await _lock(connection, wait_s)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)


async def migrate(
    connection: "asyncpg.Connection[asyncpg.Record]", migrations: tuple[Migration, ...] | None = None
) -> list[str]:
    """Apply what is missing, inside migration_lock, and give the names of what was applied.

    migrations: those of this version when None. Raises SettingsError for a database of another version.
    """
    await connection.execute(_TABLE)
    records = await connection.fetch("SELECT number, name, sha256 FROM schema_migrations ORDER BY number")
    applied = {record["number"]: record for record in records}
    known = load_migrations() if migrations is None else migrations
    faults = _faults(applied, known)
    if faults:
        raise SettingsError(faults)
    missing = [migration for migration in known if migration.number not in applied]
    for migration in missing:
        await _apply(connection, migration)
    return [migration.name for migration in missing]


async def _lock(connection: "asyncpg.Connection[asyncpg.Record]", wait_s: float) -> None:
    end_s = time.monotonic() + wait_s
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
        if time.monotonic() > end_s:
            raise StoreUnavailable(f"another process has been migrating the database for over {wait_s:.0f} s")
        await asyncio.sleep(LOCK_POLL_S)


def _faults(applied: dict[int, asyncpg.Record], migrations: tuple[Migration, ...]) -> list[str]:
    known = {migration.number: migration for migration in migrations}
    faults = []
    for number, record in applied.items():
        if number not in known:
            faults.append(
                f"database: it has {record['name']}, which is newer than this version; upgrade handlegrid"
            )
        elif known[number].sha256 != record["sha256"]:
            faults.append(
                f"database: {record['name']} was applied with other contents; use the version that made it"
            )
    return faults


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{STATEMENT_LOCK_WAIT}'")
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_migrations (number, name, sha256) VALUES ($1, $2, $3)",
            migration.number,
            migration.name,
            migration.sha256,
        )
