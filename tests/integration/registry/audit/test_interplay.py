"""Changes and their entries are one: written together, undone together, told under one name."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from protocol.errors import StoreUnavailable
from protocol.handle import Handle
from protocol.value import ValueList
from registry.audit.checkpoints import read_checkpoints
from registry.audit.entry import digest_of
from registry.audit.numbering import SESSION_SETTINGS
from registry.audit.verify import verify
from registry.outcomes import OPERATOR, Actor, Created, Origin, Rejected
from registry.work import Work
from tests.integration.registry.audit.history import number
from tests.integration.registry.bench import ADMINISTRATOR, STRANGER, Bench, admin, creation, url
from tests.support.registries import running_registry

WHO = Origin(actor="key_one", organisation="org_one", via="api", request_id="request-7")
PUMP = Handle.parse("88.100/pump-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that is done to a node where PUMP exists."""

    do: Callable[[Bench], Awaitable[Any]]
    action: str
    target: str = "88.100/pump-1"
    items: int = 1


def _batch(*names: str) -> list[Any]:
    return [creation(f"88.100/{name}", url("https://plant.example/new")) for name in names]


CHANGES = {
    "create": Change(
        do=lambda bench: bench.operations.create(_batch("valve"), by=OPERATOR, origin=WHO),
        action="identifier.create",
        target="88.100/valve",
    ),
    "create a batch": Change(
        do=lambda bench: bench.operations.create(
            _batch(*(f"valve-{place}" for place in range(100))), by=OPERATOR, origin=WHO
        ),
        action="identifier.create",
        target="88.100/valve-0",
        items=100,
    ),
    "replace": Change(
        do=lambda bench: bench.operations.create(_batch("pump-1"), by=OPERATOR, replace=True, origin=WHO),
        action="identifier.update",
    ),
    "put values": Change(
        do=lambda bench: bench.operations.put_values(
            PUMP, ValueList.of([url("https://plant.example/2", index=2)]), by=OPERATOR, origin=WHO
        ),
        action="identifier.update",
    ),
    "remove values": Change(
        do=lambda bench: bench.operations.remove_values(PUMP, [1], by=OPERATOR, origin=WHO),
        action="identifier.update",
    ),
    "delete": Change(
        do=lambda bench: bench.operations.delete([PUMP], by=OPERATOR, origin=WHO), action="identifier.delete"
    ),
}

NO_CHANGES: dict[str, Callable[[Bench], Awaitable[Any]]] = {
    "create what exists alike": lambda bench: bench.create(
        "88.100/pump-1", url("https://plant.example/"), admin()
    ),
    "create what exists otherwise": lambda bench: bench.create(
        "88.100/pump-1", url("https://plant.example/9")
    ),
    "create below a foreign prefix": lambda bench: bench.create("99.9/pump", url("https://plant.example/")),
    "put what is there": lambda bench: bench.put("88.100/pump-1", url("https://plant.example/")),
    "put as a stranger": lambda bench: bench.put("88.100/pump-1", url("https://evil.example/"), by=STRANGER),
    "delete as a stranger": lambda bench: bench.operations.delete([PUMP], by=STRANGER),
    "delete what never was": lambda bench: bench.operations.delete(
        [Handle.parse("88.100/none")], by=OPERATOR
    ),
    "resolve": lambda bench: bench.ask("88.100/pump-1"),
}


@pytest.fixture
async def node(bench: Bench) -> Bench:
    """Give a node where PUMP exists, and whose audit is empty."""
    await bench.create("88.100/pump-1", url("https://plant.example/"), admin())
    async with bench.store.connection() as connection:
        await connection.execute("TRUNCATE audit_log, transaction_log")
    return bench


async def entries(bench: Bench) -> list[dict[str, Any]]:
    async with bench.store.connection() as connection:
        return [
            dict(record) for record in await connection.fetch("SELECT * FROM audit_log ORDER BY xact, id")
        ]


async def log_rows(bench: Bench) -> list[tuple[Any, ...]]:
    async with bench.store.connection() as connection:
        records = await connection.fetch(
            "SELECT entry, position, key, name, action, version, changed_ms FROM transaction_log"
            " ORDER BY entry, position"
        )
    return [tuple(record) for record in records]


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_has_exactly_one_entry_that_covers_it(node: Bench, name: str) -> None:
    change = CHANGES[name]
    await change.do(node)
    (entry,) = await entries(node)
    assert (entry["action"], entry["target"], entry["items"]) == (change.action, change.target, change.items)
    assert (entry["actor"], entry["organisation"], entry["via"]) == ("key_one", "org_one", "api")
    assert (entry["request_id"], entry["at_ms"]) == ("request-7", int(node.now_s * 1_000))
    rows = await log_rows(node)
    assert [row[:2] for row in rows] == [(entry["id"], place) for place in range(change.items)]
    assert entry["digest"] == digest_of(row[2:] for row in rows)


@pytest.mark.parametrize("name", CHANGES)
async def test_the_log_of_a_change_and_its_entry_are_of_one_transaction(node: Bench, name: str) -> None:
    await CHANGES[name].do(node)
    async with node.store.connection() as connection:
        written = await connection.fetch(
            "SELECT xmin::text FROM transaction_log UNION SELECT xmin::text FROM audit_log"
            " UNION SELECT (xact % 4294967296)::text FROM audit_log"
        )
    assert len(written) == 1


@pytest.mark.parametrize("name", NO_CHANGES)
async def test_what_changes_nothing_has_no_entry(node: Bench, name: str) -> None:
    await NO_CHANGES[name](node)
    assert await entries(node) == []
    assert await log_rows(node) == []


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_whose_entry_cannot_be_written_does_not_happen(
    node: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await node.values("88.100/pump-1")

    async def fail(self: Work) -> None:
        raise RuntimeError("the entry cannot be written")

    monkeypatch.setattr(Work, "write_log", fail)
    with pytest.raises(RuntimeError, match="cannot be written"):
        await CHANGES[name].do(node)
    assert await node.values("88.100/pump-1") == before
    async with node.store.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM handles WHERE name LIKE '88.100/valve%'") == 0


async def test_a_transaction_that_raises_leaves_neither_changes_nor_entries(node: Bench) -> None:
    async def work() -> None:
        async with node.operations.transaction(WHO) as transaction:
            await transaction.create(_batch("valve"), by=OPERATOR)
            await transaction.delete([PUMP], by=OPERATOR)
            transaction.audit("prefix.suspend", "88.100.7")
            raise LookupError

    with pytest.raises(LookupError):
        await work()
    assert await entries(node) == []
    assert await log_rows(node) == []
    assert len(await node.values("88.100/pump-1")) == 2


async def test_a_dry_run_leaves_no_entry(node: Bench) -> None:
    async with node.operations.transaction(WHO, commit=False) as transaction:
        (result,) = await transaction.create(_batch("valve"), by=OPERATOR)
        transaction.audit("prefix.suspend", "88.100.7")
    assert isinstance(result, Created)
    assert await entries(node) == []
    assert await log_rows(node) == []


async def test_a_cancelled_transaction_leaves_no_entry(node: Bench) -> None:
    started = asyncio.Event()

    async def work() -> None:
        async with node.operations.transaction(WHO) as transaction:
            await transaction.create(_batch("valve"), by=OPERATOR)
            started.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await entries(node) == []


async def test_of_a_batch_the_refused_items_are_not_in_the_entry(node: Bench) -> None:
    results = await node.operations.create(
        [*_batch("valve", "pump-1"), creation("99.9/x", url("https://plant.example/"))],
        by=OPERATOR,
        origin=WHO,
    )
    assert [type(result) for result in results] == [Created, Rejected, Rejected]
    (entry,) = await entries(node)
    assert entry["items"] == 1
    assert [row[3] for row in await log_rows(node)] == [b"88.100/valve"]


async def test_a_batch_that_creates_and_replaces_has_an_entry_for_each(node: Bench) -> None:
    await node.operations.create(_batch("valve", "pump-1"), by=OPERATOR, replace=True, origin=WHO)
    made = {entry["action"]: (entry["items"], entry["xact"]) for entry in await entries(node)}
    assert {action: items for action, (items, _) in made.items()} == {
        "identifier.create": 1,
        "identifier.update": 1,
    }
    assert len({xact for _, xact in made.values()}) == 1


async def test_several_acts_of_one_transaction_have_their_entries_together(node: Bench) -> None:
    async with node.operations.transaction(WHO) as transaction:
        transaction.audit(
            "organisation.review", "org_two", organisation="org_two", detail={"reason": "b", "by": "a"}
        )
        await transaction.create(_batch("valve"), by=OPERATOR)
        transaction.audit("prefix.allocate", "88.100.7", origin=Origin(actor="system", via="system"))
    made = await entries(node)
    assert [(entry["action"], entry["actor"], entry["organisation"]) for entry in made] == [
        ("organisation.review", "key_one", "org_two"),
        ("identifier.create", "key_one", "org_one"),
        ("prefix.allocate", "system", None),
    ]
    assert made[0]["detail"] == '{"by":"a","reason":"b"}'
    assert len({entry["xact"] for entry in made}) == 1
    assert [entry["digest"] is None for entry in made] == [True, False, True]


@pytest.mark.parametrize("by", [OPERATOR, ADMINISTRATOR])
async def test_writers_at_once_leave_one_entry_each_and_an_audit_that_verifies(
    node: Bench, by: Actor
) -> None:
    await node.create("88.100/ADMIN", admin())

    async def write(writer: int) -> None:
        for place in range(10):
            await node.create(f"88.100/item-{writer}-{place}", url("https://plant.example/"), admin(), by=by)
            await node.put(f"88.100/item-{writer}-{place}", url("https://plant.example/2"), by=by)

    await asyncio.gather(*(write(writer) for writer in range(6)))
    connection = await asyncpg.connect(node.dsn, server_settings=SESSION_SETTINGS)
    head = await number(connection)
    report = await verify(connection)
    await connection.close()
    assert (report.faults, head.number, head.log_number, report.log_rows) == ([], 121, 121, 121)


async def test_a_lost_connection_leaves_both_or_neither(node: Bench) -> None:
    """Whether the commit happened or not, handle, log and entry agree."""
    ender = await node.connect()

    async def end() -> None:
        for _ in range(20):
            await ender.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'handlegrid'"
                " AND datname = current_database()"
            )
            await asyncio.sleep(0.02)

    async def write(writer: int) -> None:
        for place in range(30):
            try:
                await node.create(f"88.100/item-{writer}-{place}", url("https://plant.example/"))
            except StoreUnavailable:
                await asyncio.sleep(0.01)

    try:
        await asyncio.gather(end(), *(write(writer) for writer in range(4)))
        handles, rows, acts = [
            await ender.fetchval(f"SELECT count(*) FROM {what}")  # noqa: S608
            for what in ("handles WHERE name LIKE '88.100/item%'", "transaction_log", "audit_log")
        ]
    finally:
        await ender.close()
    assert handles == rows == acts > 0


async def until_all_is_numbered(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    done = "SELECT (SELECT count(*) FROM audit_log) = (SELECT count(*) FROM audit_chain)"
    async with asyncio.timeout(15):
        while not await connection.fetchval(done):  # noqa: ASYNC110 - what is waited for happens in the database
            await asyncio.sleep(0.1)


async def test_a_running_node_numbers_what_it_does_and_notes_its_heads(database: str, scratch: Path) -> None:
    connection = await asyncpg.connect(database)
    try:
        async with running_registry(database, scratch, audit_checkpoint_interval_s=0.2) as plant:
            await plant.put(
                "/api/handles/88.1/pump", [{"index": 1, "type": "URL", "data": "https://plant.example/"}]
            )
            await until_all_is_numbered(connection)
        checkpoints = read_checkpoints(scratch / "node" / "audit.heads")
        report = await verify(connection, checkpoints=checkpoints)
        named = await connection.fetch("SELECT via, action FROM audit_log WHERE target = '88.1/pump'")
    finally:
        await connection.close()
    assert [tuple(record) for record in named] == [("rest", "identifier.create")]
    assert (report.faults, report.waiting) == ([], 0)
    assert checkpoints[-1].number == report.number
