"""Everything below a prefix, copied from one database to another, is there as it was; nothing else gets in."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from protocol.handle import Handle, Prefix
from protocol.value import HandleValue, ValueList
from protocol.valuetypes import AdminPermission
from registry.changes import Plan
from registry.node_keys import NodeKeys
from registry.outcomes import COMMAND, OPERATOR, Creation, Denied, Found
from registry.peers import intake, pages
from registry.peers.intake import PageRefused
from registry.peers.pages import Page, RangeForm, RestForm, RowForm
from registry.prefixes import PrefixRow
from registry.record import Values
from registry.store import Connection
from registry.writing import State
from tests.integration.registry.bench import Bench, admin, secret, url
from tests.support.postgres import TestPostgres

PREFIX = Prefix.parse("88.100.7")
KEY = PREFIX.key


@pytest.fixture
async def source(database: str) -> AsyncIterator[Bench]:
    made = await Bench.open(database, homes=("88.100.7", "88.100.8"))
    yield made
    await made.close()


@pytest.fixture
async def target(postgres: TestPostgres) -> AsyncIterator[Bench]:
    dsn = postgres.database()
    made = await Bench.open(dsn, homes=())
    yield made
    await made.close()
    postgres.drop(dsn)


async def fill(source: Bench, count: int = 20) -> None:
    """Register handles in every state, with versions, secrets and neighbours that stay."""
    await source.create("88.100.7/ADMIN", admin(), secret("a secret key"))
    await source.create("88.100.8/other", url("https://other.example/"))
    for number in range(count):
        await source.create(f"88.100.7/Pump-{number}", url("https://pump.example/"), admin(index=101))
    for number in range(0, count, 3):
        source.now_s += 1
        await source.put(f"88.100.7/Pump-{number}", url(f"https://pump.example/{number}"))
    await source.operations.delete([Handle.parse("88.100.7/pump-1")], by=OPERATOR)
    async with source.operations.transaction(COMMAND) as tx:
        draft = Creation(Handle.parse("88.100.7/draft"), ValueList.of([url("https://draft.example/")]))
        await tx.create([draft], by=OPERATOR, state=State.DRAFT)
        await tx.edit([Handle.parse("88.100.7/pump-2")], suspension, by=OPERATOR)
        await tx.connection.execute(
            "INSERT INTO handle_states VALUES ($1, 'recall', $2, 'usr_x', 5)",
            b"88.100.7/PUMP-2",
            b"88.100.7/new",
        )
        await reserve(tx.connection)


async def reserve(connection: Connection) -> None:
    """Reserve ranges and count series, as the API does."""
    execute = connection.execute
    for number in range(3):
        await execute(
            "INSERT INTO identifier_ranges VALUES"
            " ($1, $2, 'A-', '', 6, $3, $4, 10, 'A-{seq:6}', 'org_1', 'key_1', $5, NULL)",
            f"rng_{'a' * 19}{'abc'[number]}",
            KEY,
            number * 10,
            number * 10 + 9,
            datetime(2026, 1, 1, tzinfo=UTC),
        )
    await execute("INSERT INTO identifier_range_shapes VALUES ($1, 2, 6, 0)", KEY)
    await execute("INSERT INTO identifier_counters VALUES ($1, 'b-{seq:4}', 7), ($1, 'B-{seq:4}', 8)", KEY)


def suspension(old: Values) -> Plan:
    return Plan(old, AdminPermission(0), state=State.SUSPENDED)


async def copy(source: Bench, target: Bench, *, since_ms: int = 0) -> int:
    """Copy everything that changed since then, page by page, through the form in which it travels."""
    copied = 0
    for kind in ("rows", "versions", "rest"):
        page = Page()
        while not page.is_last:
            page = await read(source, kind, page.position, since_ms)
            travelled = msgspec.msgpack.decode(msgspec.msgpack.encode(page), type=Page)
            assert travelled == page
            copied += await store(target, travelled)
    return copied


async def read(source: Bench, kind: str, position: bytes = b"", since_ms: int = 0) -> Page:
    async with source.store.connection() as connection:
        if kind == "rest":
            return await pages.read_rest(connection, KEY, position=position)
        question = pages.read_rows if kind == "rows" else pages.read_versions
        return await question(
            connection, source.operations.context, KEY, position=position, since_ms=since_ms
        )


async def store(target: Bench, page: Page) -> int:
    async with target.operations.transaction(COMMAND) as tx:
        return await intake.write_page(tx, KEY, page, organisation="org_2")


async def digest(bench: Bench) -> tuple[int, bytes]:
    async with bench.store.connection() as connection:
        return await pages.digest(connection, bench.operations.context, KEY)


async def home(target: Bench) -> None:
    async with target.operations.transaction(COMMAND) as tx:
        row = PrefixRow(key=KEY, name=PREFIX.octets, homed=True, authorisation=ValueList.of([admin()]))
        await tx.save_prefix(row)


async def test_a_copy_has_the_same_digest_and_gives_the_same_answers(source: Bench, target: Bench) -> None:
    target.sealer = type(target.sealer)(NodeKeys.first(bytes(32)))  # another node key seals there
    target.operations = target.make_operations()
    await fill(source)

    assert await copy(source, target) == 22

    assert await digest(target) == await digest(source)
    await home(target)
    for name in ("pump-0", "pump-1", "pump-2", "pump-3", "draft", "never"):
        there, here = await target.ask(f"88.100.7/{name}"), await source.ask(f"88.100.7/{name}")
        assert replace(there, stamp=b"") == replace(here, stamp=b"")
    assert await target.values("88.100.7/ADMIN", OPERATOR) == await source.values("88.100.7/ADMIN", OPERATOR)
    assert isinstance(await target.ask("88.100.8/other"), Denied)


async def test_copying_again_changes_nothing(source: Bench, target: Bench) -> None:
    await fill(source)
    await copy(source, target)
    before = await digest(target)

    await copy(source, target)

    assert await digest(target) == before


async def test_what_changed_meanwhile_is_copied_alone(source: Bench, target: Bench) -> None:
    await fill(source)
    await copy(source, target)
    source.now_s += 100
    await source.put("88.100.7/pump-5", url("https://changed.example/"))
    await source.create("88.100.7/fresh", url("https://fresh.example/"))
    assert await digest(target) != await digest(source)

    assert await copy(source, target, since_ms=int(source.now_s * 1_000)) == 2

    assert await digest(target) == await digest(source)


async def test_many_rows_and_versions_come_in_pages(
    source: Bench, target: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_ROWS_MAX", 7)
    monkeypatch.setattr(pages, "PAGE_OCTETS_MAX", 300)
    await fill(source, 40)
    for _ in range(20):
        await source.put("88.100.7/pump-4", url(f"https://pump.example/{source.now_s}"))
        source.now_s += 1

    assert len((await read(source, "rows")).rows) < 7
    await copy(source, target)

    assert await digest(target) == await digest(source)


async def test_what_is_dropped_leaves_nothing_behind(source: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "DROP_ROWS", 5)
    await fill(source)
    async with source.operations.transaction(COMMAND) as tx:
        row = await tx.prefix_row(KEY)
        assert row is not None
        await tx.save_prefix(replace(row, homed=False))

    rounds = 1
    while await drop(source):
        rounds += 1

    assert rounds == 5
    async with source.store.connection() as connection:
        for table in ("handle_states", "handle_versions", "identifier_ranges", "identifier_counters"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608
        assert await connection.fetchval("SELECT count(*) FROM handles") == 1
    assert isinstance(await source.ask("88.100.8/other"), Found)


async def drop(bench: Bench) -> bool:
    async with bench.operations.transaction(COMMAND) as tx:
        return await intake.drop_some(tx, KEY)


def form(name: bytes = b"88.100.7/x", **changes: object) -> RowForm:
    values = ValueList.of([url("https://x.example/")])
    fields: dict[str, object] = {
        "name": name,
        "public": values.octets,
        "public_count": 1,
        "restricted": b"",
        "restricted_count": 0,
        "state": 0,
        "version": 1,
        "changed_ms": 1,
    }
    return RowForm(**(fields | changes))  # type: ignore[arg-type]


PUBLIC_SECRET = HandleValue(index=1, type="HS_SECKEY", data=b"x").encode()


@pytest.mark.parametrize(
    "row",
    [
        form(b"88.100.8/x"),
        form(b"88.100/x"),
        form(b"0.NA/88.100.7"),
        form(b"88.100.7"),
        form(b"88.100.7/\xff"),
        form(b""),
        form(public=b"\0" * 30),
        form(public_count=2),
        form(public=PUBLIC_SECRET),
        form(public_count=-1),
        form(public=b"", public_count=0),
        form(state=9),
        form(state=-1),
        form(version=0),
        form(version=1 << 60),
        form(changed_ms=-1),
        form(changed_ms=1 << 60),
        form(restricted=b"x", restricted_count=1),
    ],
    ids=str,
)
async def test_a_row_that_would_not_be_registered_here_is_refused(target: Bench, row: RowForm) -> None:
    with pytest.raises(PageRefused):
        await store(target, Page(rows=[row]))

    assert (await digest(target))[0] == 0


async def test_a_handle_twice_in_a_page_is_refused(target: Bench) -> None:
    with pytest.raises(PageRefused, match="twice"):
        await store(target, Page(rows=[form(b"88.100.7/x"), form(b"88.100.7/X")]))


@pytest.mark.parametrize(
    "change",
    [{"id": "rng_1"}, {"pattern": "a\0b"}, {"first": -1}, {"digits": 0}, {"created": "today"}],
    ids=str,
)
def test_a_range_that_could_not_be_reserved_here_is_not_read(change: dict[str, object]) -> None:
    fields: dict[str, object] = {
        "id": "rng_" + "a" * 20,
        "head": b"A-",
        "tail": b"",
        "digits": 6,
        "first": 0,
        "last": 9,
        "reserved": 10,
        "pattern": "A-{seq:6}",
        "actor": "key_1",
        "created": datetime(2026, 1, 1, tzinfo=UTC),
        "released": None,
    }
    spoilt = Page(rest=RestForm([RangeForm(**(fields | change))], [], []))  # type: ignore[arg-type]

    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(spoilt), type=Page)
