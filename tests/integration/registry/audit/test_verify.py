"""Verification finds what was changed, removed, swapped or inserted, says what it is, and finds nothing else."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from registry.audit.faults import FaultKind
from registry.audit.verify import Progress, verify
from registry.outcomes import OPERATOR
from tests.integration.registry.audit.history import TABLES, History, Rows, number, read_rows
from tests.integration.registry.bench import Bench, creation, url

CHANGES = {
    "a changed entry": ("UPDATE audit_log SET actor = 'key_two' WHERE id = $1", FaultKind.ENTRY_CHANGED),
    "a changed detail": (
        """UPDATE audit_log SET detail = '{"a":1}' WHERE id = $1""",
        FaultKind.ENTRY_CHANGED,
    ),
    "a removed entry": ("DELETE FROM audit_log WHERE id = $1", FaultKind.ENTRY_MISSING),
    "a changed row of the log": (
        "UPDATE transaction_log SET name = '88.100/other' WHERE entry = $1 AND position = 0",
        FaultKind.LOG_CHANGED,
    ),
    "a removed row of the log": (
        "DELETE FROM transaction_log WHERE entry = $1 AND position = 0",
        FaultKind.LOG_CHANGED,
    ),
    "an inserted row of the log": (
        "INSERT INTO transaction_log VALUES ('A', 'a', 1, 1, 1, $1, 9)",
        FaultKind.LOG_CHANGED,
    ),
    "a changed position": (
        "UPDATE transaction_log SET position = 7 WHERE entry = $1 AND position = 0",
        FaultKind.LOG_CHANGED,
    ),
    "a removed number": ("DELETE FROM audit_chain WHERE id = $1", FaultKind.NUMBER_MISSING),
    "a wrong count": ("UPDATE audit_chain SET log_number = 99 WHERE id = $1", FaultKind.NUMBER_WRONG),
}


@pytest.fixture
async def history(bench: Bench) -> AsyncIterator[History]:
    made = await History.make(bench)
    yield made
    await made.connection.close()


async def test_what_nobody_touched_is_intact(history: History) -> None:
    report = await history.verify([history.checkpoint])
    assert (report.faults, report.intact, report.waiting) == ([], True, 0)
    assert (report.entries, report.log_rows) == (
        len(history.rows["audit_log"]),
        len(history.rows["transaction_log"]),
    )
    assert (report.number, report.chain, report.checkpoints) == (history.head.number, history.head.chain, 1)


async def test_an_empty_database_is_intact(bench: Bench) -> None:
    connection = await bench.connect()
    report = await verify(connection)
    await connection.close()
    assert (report.intact, report.number) == (True, 0)


@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_in_the_middle_is_named_with_its_number(history: History, what: str) -> None:
    statement, kind = CHANGES[what]
    place = 3  # the batch of four
    await history.connection.execute(statement, history.rows["audit_log"][place - 1][1])
    report = await history.verify()
    assert (kind, place) in {(fault.kind, fault.number) for fault in report.faults}
    assert not report.intact


async def test_one_changed_entry_is_one_fault(history: History) -> None:
    await history.connection.execute(
        "UPDATE audit_log SET at_ms = 1 WHERE id = $1", history.rows["audit_log"][0][1]
    )
    report = await history.verify()
    assert [(fault.kind, fault.number) for fault in report.faults] == [(FaultKind.ENTRY_CHANGED, 1)]


async def test_an_entry_that_was_added_among_numbered_ones_is_found(history: History) -> None:
    xact, *_ = history.rows["audit_log"][2]
    await history.connection.execute(
        "INSERT INTO audit_log (xact, id, at_ms, actor, via, action, target)"
        " VALUES ($1, 1000, 1, 'operator', 'command', 'prefix.allocate', '88.100.9')",
        xact,
    )
    assert [fault.kind for fault in (await history.verify()).faults] == [FaultKind.ENTRY_ADDED]


async def test_rows_of_the_log_that_belong_to_nothing_are_found(history: History) -> None:
    await history.connection.execute(
        "INSERT INTO transaction_log (key, name, action, version, changed_ms) VALUES ('A', 'a', 1, 1, 1)"
    )
    assert [fault.kind for fault in (await history.verify()).faults] == [FaultKind.LOG_ADDED]


async def test_rows_that_were_given_to_another_entry_are_found_on_both(history: History) -> None:
    entries = [row[1] for row in history.rows["audit_log"]]
    await history.connection.execute(
        "UPDATE transaction_log SET entry = $2, position = 4 WHERE entry = $1", entries[0], entries[2]
    )
    report = await history.verify()
    assert [(fault.kind, fault.number) for fault in report.faults] == [
        (FaultKind.LOG_CHANGED, 1),
        (FaultKind.LOG_CHANGED, 3),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM node WHERE name = 'audit_head'",
        "UPDATE node SET value = 'x' WHERE name = 'audit_head'",
        "DELETE FROM audit_chain WHERE number = (SELECT max(number) FROM audit_chain)",
    ],
)
async def test_a_chain_that_does_not_end_with_the_head_is_found(history: History, statement: str) -> None:
    await history.connection.execute(statement)
    assert FaultKind.HEAD_DIFFERS in {fault.kind for fault in (await history.verify()).faults}


async def test_entries_without_a_number_are_counted_and_no_fault(bench: Bench, history: History) -> None:
    await bench.create("88.100/late", url("https://plant.example/"))
    report = await history.verify()
    assert (report.intact, report.waiting) == (True, 1)
    await number(history.connection)
    assert (await history.verify()).entries == history.head.number + 1


async def test_what_an_entry_without_a_number_covers_is_looked_at_too(bench: Bench, history: History) -> None:
    await bench.create("88.100/late", url("https://plant.example/"))
    await history.connection.execute("UPDATE transaction_log SET version = 5 WHERE name = '88.100/late'")
    assert [fault.kind for fault in (await history.verify()).faults] == [FaultKind.LOG_CHANGED]


async def test_a_chain_that_was_made_anew_is_found_by_a_checkpoint_alone(history: History) -> None:
    rows: dict[str, Rows] = {table: list(content) for table, content in history.rows.items()}
    forged = list(rows["audit_log"][1])
    forged[3] = "usr_somebody_else"
    rows["audit_log"][1] = tuple(forged)
    await history.forge(rows)

    assert (await history.verify()).intact
    report = await history.verify([history.checkpoint])
    assert [(fault.kind, fault.number) for fault in report.faults] == [
        (FaultKind.CHECKPOINT_DIFFERS, history.head.number)
    ]


async def test_an_end_that_was_cut_off_is_found_by_a_checkpoint_alone(history: History) -> None:
    rows: dict[str, Rows] = {table: list(content) for table, content in history.rows.items()}
    gone = rows["audit_log"].pop()
    rows["transaction_log"] = [row for row in rows["transaction_log"] if row[0] != gone[1]]
    await history.forge(rows)

    assert (await history.verify()).intact
    report = await history.verify([history.checkpoint])
    (fault,) = report.faults
    assert (fault.kind, fault.number) == (FaultKind.CHECKPOINT_DIFFERS, history.head.number)
    assert "cut off" in fault.message


async def test_a_checkpoint_of_a_missing_number_is_told(history: History) -> None:
    checkpoint = replace(history.checkpoint, number=2)
    await history.connection.execute("DELETE FROM audit_chain WHERE number = 2")
    kinds = {fault.kind for fault in (await history.verify([checkpoint])).faults}
    assert {FaultKind.CHECKPOINT_DIFFERS, FaultKind.NUMBER_MISSING} <= kinds


async def test_everything_gone_is_found_by_a_checkpoint(history: History) -> None:
    await history.connection.execute("TRUNCATE audit_log, audit_chain, transaction_log")
    await history.connection.execute("DELETE FROM node WHERE name = 'audit_head'")
    assert not (await history.verify([history.checkpoint])).intact


async def test_progress_is_told(history: History) -> None:
    told: list[Progress] = []
    await verify(history.connection, progress=told.append)
    assert (told[-1].entries, told[-1].entries_total) == (history.head.number, history.head.number)


async def test_an_entry_of_more_rows_than_fit_into_a_page_is_read_in_pieces(
    bench: Bench, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.audit.walks.PAGE_LOG_ROWS", 16)
    batch = [creation(f"88.100/many-{number}", url("https://plant.example/")) for number in range(50)]
    await bench.operations.create(batch, by=OPERATOR)
    await number(history.connection)
    assert (await history.verify()).intact
    await history.connection.execute(
        "UPDATE transaction_log SET position = CASE position WHEN 40 THEN 41 ELSE 40 END"
        " WHERE position IN (40, 41)"
    )
    assert [fault.kind for fault in (await history.verify()).faults] == [FaultKind.LOG_CHANGED]


async def test_more_rows_than_all_entries_claim_do_not_hide_whose_they_are(history: History) -> None:
    entry = history.rows["audit_log"][0][1]
    await history.connection.executemany(
        "INSERT INTO transaction_log (entry, position, key, name, action, version, changed_ms)"
        " VALUES ($1, $2, 'A', 'a', 1, 1, 1)",
        [(entry, position) for position in range(1, 60)],
    )
    report = await history.verify()
    assert [(fault.kind, fault.number) for fault in report.faults] == [(FaultKind.LOG_CHANGED, 1)]


async def test_a_database_restored_into_another_cluster_is_intact_before_and_after_numbering_goes_on(
    bench: Bench, history: History
) -> None:
    await bench.create("88.100/late", url("https://plant.example/"))
    far = 1_000_000_000_000
    rows = {table: await read_rows(history.connection, table) for table in TABLES}
    rows["audit_log"] = [(row[0] + far, *row[1:]) for row in rows["audit_log"]]
    await history.forge(rows, numbered=history.head.number, position=history.head.position + far)

    report = await history.verify()
    assert (report.intact, report.waiting) == (True, 1)
    await number(history.connection)
    await bench.create("88.100/new", url("https://plant.example/"))
    await number(history.connection)
    report = await history.verify()
    assert (report.faults, report.waiting) == ([], 0)
    assert report.number == len(rows["audit_log"]) + 1
