"""The database server: is it one that we can use, and does it keep what it acknowledges?"""

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
