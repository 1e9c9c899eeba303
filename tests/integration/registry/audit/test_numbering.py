"""Numbers and chain of what is committed: in order, without gaps, once."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from msgspec.structs import replace

from registry.audit.entry import ENTRY_COLUMNS, FIRST_LINK, Entry, link
from registry.audit.head import HEAD_FACT, Head
from registry.audit.numbering import CHANNEL, SESSION_SETTINGS, Connection, Numbering
from registry.outcomes import OPERATOR, SYSTEM
from tests.integration.registry.bench import Bench, creation, url

NOW_MS = 1_800_000_100_000


@pytest.fixture
async def connection(bench: Bench) -> AsyncIterator[Connection]:
    made = await asyncpg.connect(bench.dsn, server_settings=SESSION_SETTINGS)
    yield made
    await made.close()


async def numbered(connection: Connection) -> Numbering:
    """Number everything that is complete."""
    numbering = Numbering(connection, wall_clock=lambda: NOW_MS / 1_000)
    await numbering.start()
    while await numbering.step():
        pass
    return numbering


async def act(bench: Bench, target: str) -> None:
    async with bench.operations.transaction(SYSTEM) as transaction:
        transaction.audit("test.act", target)


async def targets(connection: Connection) -> list[tuple[int, str]]:
    records = await connection.fetch(
        "SELECT c.number, a.target FROM audit_chain AS c JOIN audit_log AS a USING (xact, id) ORDER BY c.number"
    )
    return [(record[0], record[1]) for record in records]


async def test_entries_are_numbered_from_one_in_the_order_of_their_commits(
    bench: Bench, connection: Connection
) -> None:
    for target in "abc":
        await act(bench, target)
    numbering = await numbered(connection)
    await act(bench, "d")
    while await numbering.step():
        pass
    assert await targets(connection) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]


async def test_the_chain_can_be_computed_again_from_the_entries(bench: Bench, connection: Connection) -> None:
    await act(bench, "a")
    await bench.create("88.100/pump-1", url("https://plant.example/1"))
    head = (await numbered(connection)).head
    columns = ", ".join(ENTRY_COLUMNS)
    records = await connection.fetch(f"SELECT {columns} FROM audit_log ORDER BY xact, id")  # noqa: S608
    chain = FIRST_LINK
    for record in records:
        chain = link(chain, Entry(*record))
    assert len(records) == 2
    assert (head.number, head.chain, head.numbered_ms) == (2, chain, NOW_MS)


async def test_the_head_is_stored_with_the_numbers(bench: Bench, connection: Connection) -> None:
    await act(bench, "a")
    head = (await numbered(connection)).head
    stored = await bench.store.fact(HEAD_FACT)
    assert stored is not None
    assert Head.decode(stored) == head


async def test_rows_of_the_transaction_log_are_counted_through_their_entries(
    bench: Bench, connection: Connection
) -> None:
    batch = [creation(f"88.100/pump-{number}", url("https://plant.example/")) for number in range(40)]
    await bench.create("88.100/first", url("https://plant.example/"))
    async with bench.operations.transaction(SYSTEM) as transaction:
        await transaction.create(batch, by=OPERATOR)
    await act(bench, "a")
    await numbered(connection)
    records = await connection.fetch("SELECT log_number FROM audit_chain ORDER BY number")
    assert [record[0] for record in records] == [1, 41, 41]


async def test_nothing_behind_a_running_transaction_is_numbered_until_it_ends(
    bench: Bench, connection: Connection
) -> None:
    slow = await bench.connect()
    try:
        running = slow.transaction()
        await running.start()
        await slow.execute(
            "INSERT INTO audit_log (id, at_ms, actor, via, action, target) "
            "VALUES (nextval('audit_entries'), 1, 'system', 'system', 'test.act', 'slow')"
        )
        await act(bench, "fast")
        numbering = await numbered(connection)
        assert await targets(connection) == []
        assert await numbering.waiting(100) == (1, 1_800_000_000_000)
        await running.commit()
    finally:
        await slow.close()
    while await numbering.step():
        pass
    assert await targets(connection) == [(1, "slow"), (2, "fast")]
    assert await numbering.waiting(100) == (0, None)


async def test_a_transaction_that_is_rolled_back_leaves_no_gap(bench: Bench, connection: Connection) -> None:
    await act(bench, "a")
    async with bench.operations.transaction(SYSTEM, commit=False) as transaction:
        transaction.audit("test.act", "b")
    await act(bench, "c")
    await numbered(connection)
    assert await targets(connection) == [(1, "a"), (2, "c")]


async def test_more_than_a_batch_is_numbered_batch_by_batch(bench: Bench, connection: Connection) -> None:
    async with bench.operations.transaction(SYSTEM) as transaction:
        for number in range(2_500):
            transaction.audit("test.act", f"target {number}")
    numbering = Numbering(connection, wall_clock=lambda: 1.0)
    await numbering.start()
    assert [await numbering.step() for _ in range(4)] == [1_000, 1_000, 500, 0]
    assert await targets(connection) == [(number + 1, f"target {number}") for number in range(2_500)]


async def test_listeners_are_told_once_per_batch(bench: Bench, connection: Connection) -> None:
    heard: list[object] = []
    listener = await bench.connect()
    try:
        await listener.add_listener(CHANNEL, lambda *words: heard.append(words[3]))
        for target in "abc":
            await act(bench, target)
        await numbered(connection)
        await listener.execute("SELECT")
    finally:
        await listener.close()
    assert heard == ["3"]


async def test_numbering_goes_on_where_another_process_stopped(bench: Bench, connection: Connection) -> None:
    await act(bench, "a")
    first = await numbered(connection)
    await act(bench, "b")
    second = await numbered(connection)
    assert await targets(connection) == [(1, "a"), (2, "b")]
    assert second.head.number == first.head.number + 1


async def test_what_was_restored_into_another_cluster_is_numbered_once_and_new_entries_after_it(
    bench: Bench, connection: Connection
) -> None:
    """Transaction numbers begin anew there, below those of the entries that came along."""
    for target in ("numbered", "unnumbered"):
        await act(bench, target)
        if target == "numbered":
            await numbered(connection)
    far = 1_000_000_000_000
    await connection.execute("UPDATE audit_log SET xact = xact + $1", far)
    await connection.execute("UPDATE audit_chain SET xact = xact + $1", far)
    stored = Head.decode(await connection.fetchval("SELECT value FROM node WHERE name = $1", HEAD_FACT))
    moved = replace(stored, position=stored.position + far).encode()
    await connection.execute("UPDATE node SET value = $2 WHERE name = $1", HEAD_FACT, moved)

    await act(bench, "new")
    await numbered(connection)
    await act(bench, "newer")
    numbering = await numbered(connection)

    assert await targets(connection) == [(1, "numbered"), (2, "new"), (3, "unnumbered"), (4, "newer")]
    assert numbering.position < far


async def test_rows_from_before_there_were_entries_get_one(bench: Bench, connection: Connection) -> None:
    await connection.executemany(
        "INSERT INTO transaction_log (key, name, action, version, changed_ms) VALUES ($1, $1, 1, 1, 5)",
        [(b"88.100/B",), (b"88.100/A",)],
    )
    await numbered(connection)
    records = await connection.fetch("SELECT entry, position, key FROM transaction_log ORDER BY position")
    (entry,) = await connection.fetch("SELECT id, action, items FROM audit_log")
    assert [tuple(record) for record in records] == [(entry[0], 0, b"88.100/A"), (entry[0], 1, b"88.100/B")]
    assert tuple(entry)[1:] == ("audit.adopt", 2)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM node WHERE name = 'audit_head'",
        "UPDATE node SET value = '{}' WHERE name = 'audit_head'",
        "UPDATE node SET value = 'x' WHERE name = 'audit_head'",
    ],
)
async def test_a_damaged_head_never_gives_a_number_twice(
    bench: Bench, connection: Connection, damage: str
) -> None:
    await act(bench, "a")
    await numbered(connection)
    await connection.execute(damage)
    await act(bench, "b")
    await numbered(connection)
    assert await targets(connection) == [(1, "a"), (2, "b")]


async def test_a_chain_that_was_cut_is_continued_behind_the_gap(bench: Bench, connection: Connection) -> None:
    for target in "ab":
        await act(bench, target)
    await numbered(connection)
    await connection.execute("DELETE FROM audit_chain WHERE number = 2")
    await connection.execute("DELETE FROM audit_log WHERE target = 'b'")
    await act(bench, "c")
    await numbered(connection)
    assert await targets(connection) == [(1, "a"), (3, "c")]


async def test_writers_do_not_wait_for_numbering(bench: Bench, connection: Connection) -> None:
    await act(bench, "a")
    async with connection.transaction():
        await numbered(connection)
        async with asyncio.timeout(30):
            await act(bench, "b")
