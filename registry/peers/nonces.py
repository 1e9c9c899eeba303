"""Nonces: a signed request counts once, also after a restart; what could be replayed is remembered, nothing else."""

from datetime import datetime
from typing import Final

from registry.store import Connection

NONCES_MAX: Final = 20_000
"""Nonces of one node that are remembered at a time, and of all unknown nodes together: 33 requests a second for the
ten minutes in which one can be replayed. A move copies its pages a hundred times slower."""

_REMEMBER: Final = """
    INSERT INTO node_nonces (node, nonce, expires)
    SELECT $1, $2, $3 WHERE $4 > (SELECT count(*) FROM (SELECT FROM node_nonces WHERE node = $1 LIMIT $4) AS kept)
    ON CONFLICT (node, nonce) DO NOTHING RETURNING true"""
_IS_KNOWN: Final = "SELECT true FROM node_nonces WHERE node = $1 AND nonce = $2"
_FORGET: Final = "DELETE FROM node_nonces WHERE expires < $1"


class TooManyNonces(Exception):
    """A node sends more than is remembered; it is refused until older nonces have expired."""


async def remember(connection: Connection, node: str, nonce: str, expires: datetime) -> bool:
    """Note a nonce; False when it was noted before, so that this is a replay.

    node: key id, or "" for a node that is not known. expires: when the signature with it can no longer be valid.
    Raises TooManyNonces.
    """
    if await connection.fetchval(_REMEMBER, node, nonce, expires, NONCES_MAX):
        return True
    if await connection.fetchval(_IS_KNOWN, node, nonce):
        return False
    raise TooManyNonces


async def forget(connection: Connection, now: datetime) -> None:
    """Drop the nonces whose signatures have expired."""
    await connection.execute(_FORGET, now)
