"""Moves as they are stored: which prefix goes where, and how far it has come. Each side keeps a row of the same id."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import asyncpg

from protocol.handle import Prefix
from registry.peers.messages import Direction
from registry.store import Connection

TEXT_MAX: Final = 1_000
"""Characters of a fault that are kept."""
NUMBER_MAX: Final = 2**63 - 1
_COLUMNS: Final = (
    "id, number, prefix, name, direction, drives, node, organisation, reason, phase, position, since_ms, pass_ms, rows,"
    " differed, fault, attempts, next_at, frozen_at, started_by, started, changed, ended"
)
_INSERT: Final = f"""
    INSERT INTO moves (id, prefix, name, direction, drives, node, organisation, reason, phase, next_at, started_by,
        started, changed)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $10, $10)
    ON CONFLICT DO NOTHING RETURNING {_COLUMNS}"""  # noqa: S608 - our columns
_SAVE: Final = """
    UPDATE moves SET phase = $3, position = $4, since_ms = $5, pass_ms = $6, rows = $7, differed = $8, fault = $9,
        attempts = $10, next_at = $11, frozen_at = $12, changed = $13, ended = $14
    WHERE id = $1 AND phase = $2 AND ended IS NULL"""
_CLAIM: Final = f"""
    UPDATE moves SET next_at = $2 WHERE id = (
        SELECT id FROM moves WHERE ended IS NULL AND drives AND next_at <= $1 ORDER BY next_at LIMIT 1
        FOR UPDATE SKIP LOCKED) RETURNING {_COLUMNS}"""  # noqa: S608


class Phase(StrEnum):
    """How far a move has come."""

    # At the node above, which drives it.
    PREPARE = "prepare"
    """The other side is asked whether it can, and makes room."""
    COPY = "copy"
    """Handles are copied, while everything goes on."""
    COPY_VERSIONS = "copy_versions"
    FREEZE = "freeze"
    """Writes are refused where the prefix is served, and those under way have ended."""
    DELTA = "delta"
    """What has changed since the copy is copied."""
    DELTA_VERSIONS = "delta_versions"
    REST = "rest"
    """Ranges and counters are copied."""
    COMPARE = "compare"
    HOME = "home"
    """The node below answers too, and is probed. Towards delegated."""
    SWITCH = "switch"
    """The record is changed, and with it who serves the prefix."""
    FINISH = "finish"
    """The node below refers to this one. Towards hosted."""
    OPEN = "open"
    """Writes are taken again, at the new place."""
    ABORTING = "aborting"
    """The other side is told that nothing comes of it."""
    # At the node below.
    MAKING_ROOM = "making_room"
    RECEIVING = "receiving"
    HOMED = "homed"
    """It answers, and refuses writes."""
    GIVING = "giving"
    FROZEN = "frozen"
    # At both.
    DONE = "done"
    ABORTED = "aborted"


REVERSIBLE: Final = frozenset(
    {
        Phase.PREPARE,
        Phase.COPY,
        Phase.COPY_VERSIONS,
        Phase.FREEZE,
        Phase.DELTA,
        Phase.DELTA_VERSIONS,
        Phase.REST,
        Phase.COMPARE,
        Phase.HOME,
        Phase.SWITCH,
    }
)
"""Phases of the node above in which the move can be given up; once the record is changed it goes forward alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One move, as one side keeps it."""

    id: str
    number: int
    prefix: Prefix
    direction: Direction
    drives: bool
    """Whether this is the node above, which takes the steps."""
    node: str
    """Key id of the other side."""
    organisation: str | None
    reason: str
    phase: Phase
    position: bytes
    """Where the next page begins."""
    since_ms: int
    """This pass copies what has changed since then."""
    pass_ms: int
    """When this pass began, with a margin."""
    rows: int
    differed: int
    """Comparisons that found a difference."""
    fault: str
    attempts: int
    next_at: datetime
    frozen_at: datetime | None
    started_by: str
    started: datetime
    changed: datetime
    ended: datetime | None


async def insert(
    connection: Connection,
    *,
    id_: str,
    prefix: Prefix,
    direction: Direction,
    drives: bool,
    node: str,
    organisation: str | None,
    reason: str,
    phase: Phase,
    now: datetime,
    by: str,
) -> Move | None:
    """Store a new move; None when there is one of the same id, or one of the prefix that has not ended."""
    record = await connection.fetchrow(
        _INSERT,
        id_,
        prefix.key,
        prefix.octets,
        direction.value,
        drives,
        node,
        organisation,
        reason,
        phase.value,
        now,
        by,
    )
    return None if record is None else _move(record)


async def save(connection: Connection, before: Move, after: Move) -> bool:
    """Write how far a move has come; False when somebody else has taken it elsewhere or ended it meanwhile."""
    assert before.id == after.id
    status = await connection.execute(
        _SAVE,
        before.id,
        before.phase.value,
        after.phase.value,
        after.position,
        after.since_ms,
        after.pass_ms,
        after.rows,
        after.differed,
        after.fault[:TEXT_MAX],
        after.attempts,
        after.next_at,
        after.frozen_at,
        after.changed,
        after.ended,
    )
    return status == "UPDATE 1"


async def claim(connection: Connection, now: datetime, until: datetime) -> Move | None:
    """A move that this node drives and whose next step is due; nobody else takes it until then."""
    record = await connection.fetchrow(_CLAIM, now, until)
    return None if record is None else _move(record)


async def move(connection: Connection, id_: str, *, lock: bool = False) -> Move | None:
    """A move by its id. lock: until the transaction ends."""
    query = f"SELECT {_COLUMNS} FROM moves WHERE id = $1"  # noqa: S608 - columns of our own
    record = await connection.fetchrow(query + (" FOR UPDATE" if lock else ""), id_)
    return None if record is None else _move(record)


async def open_move(connection: Connection, prefix: Prefix) -> Move | None:
    """The move of a prefix that has not ended."""
    query = f"SELECT {_COLUMNS} FROM moves WHERE prefix = $1 AND ended IS NULL"  # noqa: S608
    record = await connection.fetchrow(query, prefix.key)
    return None if record is None else _move(record)


async def page(
    connection: Connection, *, organisation: str | None, before: int | None, limit: int
) -> Sequence[Move]:
    """Moves, the latest first. organisation: None for those of all. before: number of the last one that was seen."""
    values: list[Any] = [NUMBER_MAX if before is None else before, limit]
    condition = "number < $1"
    if organisation is not None:
        condition += " AND organisation = $3"
        values.append(organisation)
    query = f"SELECT {_COLUMNS} FROM moves WHERE {condition} ORDER BY number DESC LIMIT $2"  # noqa: S608
    return [_move(record) for record in await connection.fetch(query, *values)]


def _move(record: asyncpg.Record) -> Move:
    fields = dict(record)
    name = fields.pop("name")
    fields |= {
        "prefix": Prefix(name),
        "direction": Direction(record["direction"]),
        "phase": Phase(record["phase"]),
    }
    return Move(**fields)


# Copies of what was moved away.


async def keep_copy(connection: Connection, prefix_key: bytes, until: datetime) -> None:
    """Keep what is below a prefix that was moved away until then, and drop it afterwards."""
    query = """
        INSERT INTO moved_copies (prefix, drop_at) VALUES ($1, $2)
        ON CONFLICT (prefix) DO UPDATE SET drop_at = excluded.drop_at"""
    await connection.execute(query, prefix_key, until)


async def forget_copy(connection: Connection, prefix_key: bytes) -> None:
    """Let what is below a prefix stay, or say that it was dropped."""
    await connection.execute("DELETE FROM moved_copies WHERE prefix = $1", prefix_key)


async def next_copy(connection: Connection, now: datetime) -> bytes | None:
    """A folded prefix whose copy is to be dropped by now."""
    query = "SELECT prefix FROM moved_copies WHERE drop_at <= $1 ORDER BY drop_at LIMIT 1"
    found: bytes | None = await connection.fetchval(query, now)
    return found
