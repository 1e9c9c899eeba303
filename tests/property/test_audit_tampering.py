"""Whatever is changed, removed, swapped or inserted in the tables of the audit, verification finds it."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import asyncpg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.integration.registry.audit.history import KEYS, TABLES, History, Rows
from tests.integration.registry.bench import Bench
from tests.support.postgres import TestPostgres

EXAMPLES: Final = 150
BIGINT: Final = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 20)
INTEGER: Final = st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 20)
SMALLINT: Final = st.integers(-(2**15), 2**15 - 1) | st.integers(0, 5)
TEXT: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
OCTETS: Final = st.binary(max_size=33)
COLUMNS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "xact": BIGINT,
    "id": BIGINT,
    "at_ms": BIGINT,
    "actor": TEXT,
    "organisation": TEXT | st.none(),
    "via": TEXT,
    "action": TEXT,
    "target": TEXT,
    "items": INTEGER,
    "digest": OCTETS | st.none(),
    "detail": TEXT,
    "request_id": TEXT,
    "number": BIGINT,
    "chain": OCTETS,
    "log_number": BIGINT,
    "entry": BIGINT,
    "position": INTEGER,
    "key": OCTETS,
    "name": OCTETS,
    "version": BIGINT,
    "changed_ms": BIGINT,
}


class Stage:
    """A history on a database and a loop of their own, for tests that cannot be coroutines."""

    def __init__(self, dsn: str) -> None:
        self.runner = asyncio.Runner()
        self.history = self.runner.run(self._open(dsn))

    async def _open(self, dsn: str) -> History:
        bench = await Bench.open(dsn, homes=("88.100",))
        try:
            return await History.make(bench)
        finally:
            await bench.close()

    def close(self) -> None:
        self.runner.run(self.history.connection.close())
        self.runner.close()

    @property
    def rows(self) -> dict[str, Rows]:
        return self.history.rows

    def is_intact(self, table: str, rows: Rows) -> bool:
        """Whether verification finds nothing when a table holds other rows; such as the schema refuses do not count."""
        return self.runner.run(self._is_intact(table, rows))

    async def _is_intact(self, table: str, rows: Rows) -> bool:
        try:
            await self.history.put_back({**self.rows, table: rows})
        except asyncpg.UniqueViolationError:
            assume(False)
        return (await self.history.verify()).intact


@pytest.fixture(scope="module")
def stage(postgres: TestPostgres) -> Iterator[Stage]:
    dsn = postgres.database()
    made = Stage(dsn)
    try:
        yield made
    finally:
        made.close()
        postgres.drop(dsn)


def tampering(test: Callable[[Stage, st.DataObject, str], None]) -> Any:
    """Run a test for each table, with many examples."""
    tried = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))(
        given(data=st.data())(test)
    )
    return pytest.mark.parametrize("table", TABLES)(tried)


def place_in(rows: Rows, data: st.DataObject) -> int:
    return data.draw(st.integers(0, len(rows) - 1), label="row")


def test_what_nobody_touched_is_intact(stage: Stage) -> None:
    for table in TABLES:
        assert stage.is_intact(table, stage.rows[table])


@tampering
def test_a_changed_field_is_found(stage: Stage, data: st.DataObject, table: str) -> None:
    rows = list(stage.rows[table])
    place = place_in(rows, data)
    column = data.draw(st.integers(0, len(TABLES[table]) - 1), label="column")
    strategy = (
        COLUMNS[TABLES[table][column]]
        if TABLES[table][column] != "action" or table == "audit_log"
        else SMALLINT
    )
    value = data.draw(strategy, label="value")
    assume(value != rows[place][column])
    rows[place] = (*rows[place][:column], value, *rows[place][column + 1 :])
    assert not stage.is_intact(table, rows)


@tampering
def test_removed_rows_are_found(stage: Stage, data: st.DataObject, table: str) -> None:
    rows = stage.rows[table]
    gone = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1), label="rows")
    assert not stage.is_intact(table, [row for place, row in enumerate(rows) if place not in gone])


@tampering
def test_swapped_rows_are_found(stage: Stage, data: st.DataObject, table: str) -> None:
    """Each row keeps what names it, and takes the contents of the other, or one field of it."""
    rows = list(stage.rows[table])
    one, other = place_in(rows, data), place_in(rows, data)
    columns = data.draw(
        st.just(set(range(KEYS[table], len(TABLES[table]))))
        | st.sets(st.integers(0, len(TABLES[table]) - 1), min_size=1),
        label="columns",
    )
    first, second = rows[one], rows[other]
    rows[one] = tuple(second[place] if place in columns else value for place, value in enumerate(first))
    rows[other] = tuple(first[place] if place in columns else value for place, value in enumerate(second))
    assume(sorted(map(repr, rows)) != sorted(map(repr, stage.rows[table])))
    assert not stage.is_intact(table, rows)


@tampering
def test_inserted_rows_are_found(stage: Stage, data: st.DataObject, table: str) -> None:
    """A row that was made up, or the copy of another one under another name."""
    rows = stage.rows[table]
    made_up = st.tuples(
        *(
            SMALLINT if (table, column) == ("transaction_log", "action") else COLUMNS[column]
            for column in TABLES[table]
        )
    )
    row = data.draw(made_up, label="row")
    if data.draw(st.booleans(), label="copied"):
        row = (*row[: KEYS[table]], *rows[place_in(rows, data)][KEYS[table] :])
    if table == "audit_log":  # what is younger than the last number is an entry that waits for one
        assume(row[0] < stage.history.head.position or row[0] > 2**40)
    assert not stage.is_intact(table, [*rows, row])
