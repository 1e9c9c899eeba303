"""The least that a write costs: one row of the same octets into a table of the same definition, and a commit."""

from typing import Final, Self

import asyncpg

from benchmarks.record import PREFIX, record
from benchmarks.writers.over_handle import name_of

INSERT: Final = """
    INSERT INTO handles (key, name, prefix, public_values, public_count, version, changed_ms)
    VALUES ($1, $1, $2, $3, $4, 1, 0)"""
_RECORD: Final = record()


class BareWriter:
    """One connection to Postgres; every INSERT is a transaction."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """Connect. Raises AssertionError where a commit would not wait for the disk."""
        connection = await asyncpg.connect(dsn)
        for setting in ("fsync", "synchronous_commit"):
            assert await connection.fetchval(f"SHOW {setting}") == "on", setting
        return cls(connection)

    async def write(self, number: int) -> None:
        """Insert one row."""
        key = name_of(number).encode()
        await self._connection.execute(INSERT, key, PREFIX.encode(), _RECORD.octets, _RECORD.count)

    def close(self) -> None:
        """Hang up."""
        self._connection.terminate()
