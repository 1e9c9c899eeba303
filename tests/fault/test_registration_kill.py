"""Daemon and database killed in the middle of registrations: what was acknowledged is there, exactly once."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg

from registry.accounts.roles import Role
from registry.audit.verify import verify_node
from tests.support.api import (
    ApiAnswer,
    ApiUser,
    assign_prefix,
    make_key,
    make_operator,
    make_organisation,
    make_user,
    set_quotas,
    url_form,
)
from tests.support.postgres import TestPostgres
from tests.support.processes import NodeProcess

PREFIX: Final = "88.1"
CLIENTS: Final = 16
REGISTRATIONS: Final = 10_000
UNLIMITED: Final = 1_000_000_000
IMPATIENT_EACH: Final = 10
"""So many registrations of a client have one whose first answer it does not wait for."""
PASSING: Final = frozenset({"in-progress", "store-unavailable", "overloaded"})
"""Problems after which the same request is sent again."""
NUMBERED_WITHIN_S: Final = 30.0

_CREATED: Final = """
    SELECT h.name, h.version, count(l.key) FILTER (WHERE l.action = 1) AS creations
    FROM handles AS h LEFT JOIN transaction_log AS l USING (key)
    WHERE h.prefix = $1 AND h.name <> $2 GROUP BY h.name, h.version"""
_UNNUMBERED: Final = """
    SELECT count(*) FROM audit_log AS a
    WHERE NOT EXISTS (SELECT FROM audit_chain AS c WHERE c.xact = a.xact AND c.id = a.id)"""


@dataclass(slots=True)
class Acknowledged:
    """What the clients were told."""

    names: list[str] = field(default_factory=list)
    replayed: int = 0
    """Answers to a repetition of what had been done already."""
    repeated: int = 0
    """Requests that had to be sent again."""
    reached: dict[int, asyncio.Event] = field(default_factory=dict)

    def note(self, name: str) -> None:
        self.names.append(name)
        event = self.reached.get(len(self.names))
        if event is not None:
            event.set()

    async def wait_for(self, count: int) -> None:
        """Wait until so many are acknowledged."""
        event = self.reached.setdefault(count, asyncio.Event())
        if len(self.names) < count:
            await event.wait()


class Client:
    """One client: whatever happens, it repeats a registration until it has an answer that counts."""

    def __init__(self, key: ApiUser, number: int, registrations: int, seen: Acknowledged) -> None:
        self._key = key
        self._number = number
        self._registrations = registrations
        self._seen = seen

    async def run(self) -> None:
        for number in range(self._registrations):
            await self._register(number)

    async def _register(self, number: int) -> None:
        mark = f"{self._number:02}-{number:05}"
        values = [url_form(f"https://plant.example/{mark}")]
        # A third is minted by the node, at random or by a counter: then nothing but the key tells a repetition.
        wish = {
            0: {"prefix": PREFIX, "mint": "PUMP-{seq:7}"},
            1: {"prefix": PREFIX, "mint": "random"},
        }.get(number % 6, {"identifier": f"{PREFIX}/{mark}"})
        body, headers = {**wish, "values": values}, {"Idempotency-Key": f"line-4-{mark}"}
        if number % IMPATIENT_EACH == 0:
            await self._lose_the_answer(body, headers)
        answer = await self._insist(body, headers)
        self._seen.replayed += answer.headers.get("Idempotency-Replayed") == "true"
        self._seen.note(answer.expect(201)["identifier"])

    async def _lose_the_answer(self, body: object, headers: dict[str, str]) -> None:
        """Ask, and be gone before the answer comes, as far as luck has it."""
        with suppress(TimeoutError, aiohttp.ClientError, ConnectionError):
            async with asyncio.timeout(random.uniform(0.001, 0.03)):
                await self._key.ask("POST", "/identifiers", body, headers=headers)

    async def _insist(self, body: object, headers: dict[str, str]) -> ApiAnswer:
        while True:
            try:
                answer = await self._key.ask("POST", "/identifiers", body, headers=headers)
                if answer.slug not in PASSING:
                    return answer
            except (aiohttp.ClientError, ConnectionError):
                pass
            self._seen.repeated += 1
            await asyncio.sleep(0.1)


@asynccontextmanager
async def plant(dsn: str, scratch: Path) -> AsyncIterator[tuple[NodeProcess, ApiUser]]:
    """A node on a durable database, and an enterprise's key for its prefix."""
    node = NodeProcess(dsn, scratch, homes=[PREFIX])
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        try:
            await node.start()
            operator = await make_operator(node.settings, session, node.base)
            reviewer = await make_user(operator, Role.REVIEWER)
            organisation = await make_organisation(operator, reviewer)
            await assign_prefix(node.settings, PREFIX, organisation)
            await set_quotas(operator, organisation, requests_per_minute=UNLIMITED)
            administrator = await make_user(operator, Role.ENTERPRISE_ADMINISTRATOR, organisation)
            yield node, await make_key(administrator, prefixes=[PREFIX])
        except BaseException:
            sys.stdout.write(node.log()[-20_000:].decode(errors="replace"))  # shown beside the failure
            raise
        finally:
            await node.stop()


async def register_through(
    key: ApiUser,
    registrations: int,
    faults: Mapping[int, Callable[[], Awaitable[None]]],
    *,
    seen: Acknowledged,
) -> None:
    """Let all clients register, and let something happen when so many are acknowledged."""

    async def strike() -> None:
        for count, fault in faults.items():
            await seen.wait_for(count)
            await fault()

    async with asyncio.TaskGroup() as group:
        group.create_task(strike())
        for number in range(CLIENTS):
            group.create_task(Client(key, number, registrations // CLIENTS, seen).run())


async def check(node: NodeProcess, registrations: int, seen: Acknowledged) -> None:
    """Everything that was acknowledged is there, once, was logged once, and the audit is whole."""
    connection = await asyncpg.connect(node.settings.dsn())
    try:
        rows = await connection.fetch(_CREATED, PREFIX.encode(), f"{PREFIX}/ADMIN".encode())
        async with asyncio.timeout(NUMBERED_WITHIN_S):
            while await connection.fetchval(_UNNUMBERED):  # noqa: ASYNC110 - the sequencer tells nobody
                await asyncio.sleep(0.1)
    finally:
        await connection.close()
    stored = {bytes(row["name"]).decode() for row in rows}
    assert [name for name, count in Counter(seen.names).items() if count > 1] == []
    assert set(seen.names) - stored == set(), "acknowledged and lost"
    assert stored - set(seen.names) == set(), "registered twice: once for each attempt"
    assert {(row["version"], row["creations"]) for row in rows} == {(1, 1)}
    assert len(stored) == registrations
    report = await verify_node(node.settings, lambda progress: None)
    assert report.intact, report


async def test_a_daemon_killed_again_and_again_among_ten_thousand_registrations_loses_and_doubles_none(
    own_postgres: TestPostgres, scratch: Path
) -> None:
    seen = Acknowledged()
    async with plant(own_postgres.database(), scratch) as (node, key):

        async def power_cut() -> None:
            await node.kill()
            await node.start()

        cuts = dict.fromkeys((2_000, 4_000, 6_000, 8_000), power_cut)
        await register_through(key, REGISTRATIONS, cuts, seen=seen)
        await check(node, REGISTRATIONS, seen)
    assert seen.repeated >= CLIENTS, "nothing was in the middle of anything"
    assert seen.replayed >= CLIENTS, "no answer was lost"


async def test_a_database_killed_among_ten_thousand_registrations_loses_and_doubles_none(
    own_postgres: TestPostgres, scratch: Path
) -> None:
    seen = Acknowledged()
    async with plant(own_postgres.database(), scratch) as (node, key):

        async def power_cut() -> None:
            await asyncio.to_thread(kill_postgres, own_postgres)
            own_postgres.start()

        await register_through(key, REGISTRATIONS, {REGISTRATIONS // 2: power_cut}, seen=seen)
        await check(node, REGISTRATIONS, seen)
    assert seen.repeated >= 1, "nothing was in the middle of anything"


def kill_postgres(postgres: TestPostgres) -> None:
    """Kill the postmaster and all that it has started, at once."""
    process = postgres.server.process
    assert process is not None
    children = [
        int(child)
        for path in Path(f"/proc/{process.pid}/task").glob("*/children")
        for child in path.read_text().split()
    ]
    for pid in (process.pid, *children):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    postgres.server.released()
