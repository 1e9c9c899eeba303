"""The sequencer: one of several processes numbers, another takes over, an outage is waited out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from registry.audit.checkpoints import Checkpoints, read_checkpoints
from registry.metrics import RegistryMetrics
from registry.outcomes import SYSTEM
from registry.sequencer import LOCK_KEY, Sequencer
from registry.store import Store
from tests.integration.registry.bench import Bench
from tests.support.postgres import TestPostgres

CHECKPOINTS_FILE = "audit.heads"
DEADLINE_S = 15.0
HOLDERS = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database()) AND (classid::bigint << 32 | objid::bigint) = $1"
)


class Process:
    """What one process of a node runs of the sequencer."""

    def __init__(self, dsn: str, directory: Path, *, interval_s: float = 60.0) -> None:
        self.metrics = RegistryMetrics()
        self.sequencer = Sequencer(
            dsn,
            checkpoints=Checkpoints(directory / CHECKPOINTS_FILE),
            metrics=self.metrics,
            checkpoint_interval_s=interval_s,
        )
        self.stopping = asyncio.Event()
        self.task = asyncio.create_task(self.sequencer.run(self.stopping))

    def gauge(self, name: str) -> float:
        value = self.metrics.registry.get_sample_value(f"handlegrid_audit_{name}")
        assert value is not None
        return value

    @property
    def sequences(self) -> bool:
        return self.gauge("sequencing") == 1

    async def stop(self) -> None:
        self.stopping.set()
        await self.task


@asynccontextmanager
async def process(dsn: str, directory: Path, *, interval_s: float = 60.0) -> AsyncIterator[Process]:
    running = Process(dsn, directory, interval_s=interval_s)
    try:
        yield running
    finally:
        await running.stop()


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await what():  # noqa: ASYNC110 - what is waited for happens in the database
            await asyncio.sleep(0.05)


async def act(bench: Bench, target: str) -> None:
    async with bench.operations.transaction(SYSTEM) as transaction:
        transaction.audit("test.act", target)


async def numbers(bench: Bench) -> list[int]:
    async with bench.store.connection() as connection:
        return [
            record[0] for record in await connection.fetch("SELECT number FROM audit_chain ORDER BY number")
        ]


async def until_numbered(bench: Bench, count: int) -> None:
    async def is_so() -> bool:
        return len(await numbers(bench)) >= count

    await until(is_so)
    assert await numbers(bench) == list(range(1, count + 1))


async def until_one_sequences(processes: list[Process]) -> Process:
    async def is_so() -> bool:
        return any(process.sequences for process in processes)

    await until(is_so)
    (holder,) = [process for process in processes if process.sequences]
    return holder


async def end_holder(bench: Bench) -> None:
    """End the session that holds the lock, as the death of its process does."""
    async with bench.store.connection() as connection:
        (holder,) = await connection.fetch(HOLDERS, LOCK_KEY)
        assert await connection.fetchval("SELECT pg_terminate_backend($1)", holder[0])


async def test_what_is_committed_gets_its_number(bench: Bench, scratch: Path) -> None:
    async with process(bench.dsn, scratch) as running:
        await act(bench, "a")
        await until_numbered(bench, 1)
        assert running.sequences


async def test_of_two_processes_one_numbers_and_the_other_takes_over_when_it_stops(
    bench: Bench, scratch: Path
) -> None:
    async with process(bench.dsn, scratch) as first, process(bench.dsn, scratch) as second:
        holder = await until_one_sequences([first, second])
        other = second if holder is first else first
        await act(bench, "a")
        await until_numbered(bench, 1)
        await asyncio.sleep(1.5)  # the other one has looked meanwhile
        assert not other.sequences

        await holder.stop()
        await act(bench, "b")

        assert await until_one_sequences([other]) is other
        await until_numbered(bench, 2)
        assert not holder.sequences


async def test_a_holder_whose_session_ends_is_followed_within_seconds(bench: Bench, scratch: Path) -> None:
    """Both tasks live on: whoever gets the lock next goes on with the next number."""
    async with process(bench.dsn, scratch) as first, process(bench.dsn, scratch) as second:
        await until_one_sequences([first, second])
        await act(bench, "before")
        await until_numbered(bench, 1)

        started_s = asyncio.get_running_loop().time()
        await end_holder(bench)
        await act(bench, "after")
        await until_numbered(bench, 2)

        assert asyncio.get_running_loop().time() - started_s < 20
        assert not first.task.done()
        assert not second.task.done()


async def test_writers_and_two_sequencers_that_are_ended_again_and_again_leave_one_unbroken_chain(
    bench: Bench, scratch: Path
) -> None:
    async def write(writer: int) -> None:
        for number in range(60):
            await act(bench, f"{writer} {number}")
            await asyncio.sleep(0.03)

    async with process(bench.dsn, scratch) as first, process(bench.dsn, scratch) as second:
        writers = asyncio.gather(*(write(writer) for writer in range(4)))
        for _ in range(2):
            await until_one_sequences([first, second])
            await asyncio.sleep(0.3)
            await end_holder(bench)
            await asyncio.sleep(0.3)
        await writers
        await until_numbered(bench, 240)
    async with bench.store.connection() as connection:
        linked = await connection.fetchval("SELECT count(DISTINCT (xact, id)) FROM audit_chain")
    assert linked == 240


async def test_what_is_complete_at_the_end_is_numbered_and_noted(bench: Bench, scratch: Path) -> None:
    async with process(bench.dsn, scratch) as running:
        await until_one_sequences([running])
        await act(bench, "a")
    assert await numbers(bench) == [1]
    (checkpoint,) = read_checkpoints(scratch / CHECKPOINTS_FILE)
    assert checkpoint.number == 1


async def test_heads_are_noted_in_a_file_that_only_we_can_read(bench: Bench, scratch: Path) -> None:
    path = scratch / CHECKPOINTS_FILE
    async with process(bench.dsn, scratch, interval_s=0.05):
        await act(bench, "a")
        await until_numbered(bench, 1)

        async def is_noted() -> bool:
            return [checkpoint.number for checkpoint in read_checkpoints(path)] == [1]

        await until(is_noted)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_directory_that_cannot_be_written_does_not_end_numbering(bench: Bench, scratch: Path) -> None:
    async with process(bench.dsn, scratch / "missing", interval_s=0.05):
        await act(bench, "a")
        await until_numbered(bench, 1)
        await asyncio.sleep(0.3)
        await act(bench, "b")
        await until_numbered(bench, 2)


async def test_the_lag_is_told_while_a_transaction_holds_numbering_up(
    bench: Bench, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.sequencer.MEASURE_PERIOD_S", 0.1)
    slow = await bench.connect()
    try:
        running = slow.transaction()
        await running.start()
        await slow.execute("SELECT pg_current_xact_id()")
        async with process(bench.dsn, scratch) as first, process(bench.dsn, scratch) as second:
            await act(bench, "a")
            for each in (first, second):

                async def is_told(each: Process = each) -> bool:
                    return each.gauge("lag_entries") == 1

                await until(is_told)
            await running.commit()

            async def is_caught_up() -> bool:
                return first.gauge("lag_entries") == second.gauge("lag_entries") == 0

            await until(is_caught_up)
            assert first.gauge("lag_seconds") == 0
    finally:
        await slow.close()


async def test_a_database_that_is_away_is_waited_for(own_postgres: TestPostgres, scratch: Path) -> None:
    dsn = own_postgres.database()
    store = await Store.open(dsn)
    bench = Bench(store, dsn)
    try:
        async with process(dsn, scratch) as running:
            await act(bench, "a")
            await until_numbered(bench, 1)
            await asyncio.to_thread(own_postgres.crash)
            await asyncio.sleep(2.5)
            assert not running.task.done()
            assert not running.sequences
            await asyncio.to_thread(own_postgres.start)
            await act(bench, "b")
            await until_numbered(bench, 2)
    finally:
        await store.close()


async def test_a_sequencer_starts_before_its_database(own_postgres: TestPostgres, scratch: Path) -> None:
    dsn = own_postgres.database()
    await asyncio.to_thread(own_postgres.stop)
    async with process(dsn, scratch) as running:
        await asyncio.sleep(0.5)
        assert not running.task.done()
        await asyncio.to_thread(own_postgres.start)
        await until_one_sequences([running])
