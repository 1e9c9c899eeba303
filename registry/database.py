"""The database server: is it one that we can use, does it keep what it acknowledges, and who is still writing?"""

from datetime import datetime
from typing import Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from protocol.errors import SettingsError

SERVER_VERSION_MIN: Final = 150_000
"""PostgreSQL 15, the oldest that is tested."""
DURABILITY_SETTINGS: Final = ("fsync", "full_page_writes", "synchronous_commit")
_QUESTION: Final = """
    SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
        current_setting('fsync'), current_setting('full_page_writes'),
        current_setting('synchronous_commit')"""
_WRITERS: Final = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND application_name = 'handlegrid' AND xact_start < $1"""


async def check_connection(
    connection: "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]", *, unsafe: bool
) -> None:
    """Look at what is in effect on this very connection: server, database, role and DSN together.

    Raises SettingsError for a server that is too old or a standby, and, unless unsafe, for one that acknowledges
    commits which a crash can take back.
    """
    record = await connection.fetchrow(_QUESTION)
    assert record is not None
    number, version, standby, *durability = record
    faults = []
    if number < SERVER_VERSION_MIN:
        faults.append(f"database: PostgreSQL {version} is too old; versions 15 to 18 are supported")
    if standby:
        faults.append("database: the server is a standby and takes no writes; name the primary in the DSN")
    off = [name for name, value in zip(DURABILITY_SETTINGS, durability, strict=True) if value == "off"]
    if off and not unsafe:
        faults.append(
            f"database: {', '.join(off)} is off on this connection, so that a crash can lose or damage registered"
            " handles; turn it on (server, database, role and DSN are all looked at), or start with --unsafe"
        )
    if faults:
        raise SettingsError(faults)


async def is_drained(
    connection: "PoolConnectionProxy[asyncpg.Record]", drains: dict[str, datetime], work: str
) -> bool:
    """Whether every transaction of this node's processes has ended that may have begun before a prefix was frozen.

    drains: when the waiting began, by the database's clock, for each work; the freezing was committed and told before
    the first call.
    """
    began = drains.get(work)
    if began is None:
        began = drains[work] = await connection.fetchval("SELECT clock_timestamp()")
    if await connection.fetchval(_WRITERS, began):
        return False
    drains.pop(work, None)
    return True
