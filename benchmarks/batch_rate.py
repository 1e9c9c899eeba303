"""Batches of registrations over the API, and the rows that the registry made of them copied as they are."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import asyncpg
import msgspec

from benchmarks.cpu import cpu_seconds
from benchmarks.http_load import body
from benchmarks.import_rate import COLUMNS, ROWS
from benchmarks.registry_process import RegistryProcess

BATCH: Final = 1_000
PATH: Final = "/api/v1/identifiers/batch"
NUMBERS_START: Final = 5_000_000_000
"""Beyond those of the single registrations."""
NUMBERS_PER_ROUND: Final = 10_000_000
ANSWER_WITHIN_S: Final = 120.0
IN_ORDER: Final = f"{ROWS} WHERE key >= $1 AND key < $2 ORDER BY key"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRound:
    """One round."""

    identifiers: int
    registry_per_s: float
    copy_per_s: float
    """A transaction for each batch."""
    copy_at_once_per_s: float
    """One statement for all of them."""
    server_cpu_s: float


def batch_body(first: int) -> bytes:
    """A batch of registrations, numbered from this one on; all or nothing."""
    items = b",".join(b'{"action":"create",' + body(first + place)[1:] for place in range(BATCH))
    return b'{"mode":"transactional","items":[' + items + b"]}"


async def batch_round(
    node: RegistryProcess, copy_dsn: str, *, number: int, batches: int, clients: int
) -> BatchRound:
    """Register batches, then copy their rows twice into an empty database of the same definition.

    number: of the round; every round has numbers of its own.
    """
    first = NUMBERS_START + number * NUMBERS_PER_ROUND
    bodies = [batch_body(first + place * BATCH) for place in range(batches)]
    before_s = cpu_seconds(node.pid)
    registry_s = await _post_all(node, bodies, clients)
    server_cpu_s = cpu_seconds(node.pid) - before_s
    rows = await _rows(node, first, first + batches * BATCH)
    parts = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    copy_s = await _copy(copy_dsn, parts)
    copy_at_once_s = await _copy(copy_dsn, [rows])
    count = len(rows)
    assert count == batches * BATCH, count
    return BatchRound(
        identifiers=count,
        registry_per_s=count / registry_s,
        copy_per_s=count / copy_s,
        copy_at_once_per_s=count / copy_at_once_s,
        server_cpu_s=server_cpu_s,
    )


async def _post_all(node: RegistryProcess, bodies: Sequence[bytes], clients: int) -> float:
    """Post every batch once. Returns the seconds from the first octet to the last answer."""
    headers = {"Authorization": f"Bearer {node.enterprise.editor}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{node.port}{PATH}"
    waiting = list(reversed(bodies))

    async def post(session: aiohttp.ClientSession) -> None:
        while waiting:
            async with session.post(url, data=waiting.pop()) as response:
                octets = await response.read()
                if response.status != 200:
                    raise SystemExit(f"a batch was answered {response.status}: {octets[:500]!r}")

    timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        started_s = time.perf_counter()
        await asyncio.gather(*(post(session) for _ in range(clients)))
        return time.perf_counter() - started_s


async def _rows(node: RegistryProcess, first: int, end: int) -> list[tuple[Any, ...]]:
    """The rows of this round as they stand in the registry's table, in the order in which they came."""
    source = await asyncpg.connect(node.settings.dsn())
    rows = await source.fetch(IN_ORDER, key(first), key(end))
    await source.close()
    return [tuple(row) for row in rows]


def key(number: int) -> bytes:
    """What the table knows an identifier by; numbers of one length stand in their order."""
    name: str = msgspec.json.decode(body(number))["identifier"]
    return name.upper().encode()


async def _copy(dsn: str, parts: Sequence[Sequence[tuple[Any, ...]]]) -> float:
    """Copy rows into an empty table, a transaction for each part. Returns the seconds of that alone."""
    target = await asyncpg.connect(dsn)
    await target.execute("TRUNCATE handles")
    await target.execute("CHECKPOINT")
    started_s = time.perf_counter()
    for part in parts:
        await target.copy_records_to_table("handles", records=part, columns=COLUMNS)
    elapsed_s = time.perf_counter() - started_s
    await target.close()
    return elapsed_s
