"""Reverse look-up on a real database: what is entered when records change, and what is found by it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocol.handle import Handle, Prefix
from protocol.value import SECRET_PERMISSIONS, HandleValue
from registry import lookup_building, searching
from registry.lookup_building import build, unbuilt
from registry.lookups import LookupTypes, Pattern
from registry.node import open_node
from registry.outcomes import COMMAND, OPERATOR, Created, Creation
from registry.peers import intake
from registry.prefixes import PrefixRow, PrefixStatus
from registry.searching import Matches, Search, Searching
from registry.writing import COPY_ROWS_MIN, State
from tests.integration.registry.bench import Bench, creation, url
from tests.integration.registry.node_settings import TestSettings


@pytest.fixture
async def finder(database: str) -> AsyncIterator[Bench]:
    """Give a node that homes 88.100 and 88.200, and enters URL and CHECKSUM."""
    made = await Bench.open(database, homes=("88.100", "88.200"), lookups=("URL", "CHECKSUM"))
    yield made
    await made.close()


def checksum(text: str, index: int = 2) -> HandleValue:
    return HandleValue(index=index, type="CheckSum", data=text.encode())


async def entries(bench: Bench) -> set[tuple[str, str, str]]:
    async with bench.store.connection() as connection:
        rows = await connection.fetch("SELECT type, data, key FROM handle_lookups")
    return {(row[0].decode(), row[1].decode(), row[2].decode()) for row in rows}


async def search(
    bench: Bench, *, limit: int = 100, skip: int = 0, prefix: str | None = None, **patterns: str
) -> Matches:
    conditions = {kind.encode(): [Pattern.parse(text.encode())] for kind, text in patterns.items()}
    asked = Search(
        conditions=conditions, limit=limit, skip=skip, prefix=Prefix.parse(prefix).key if prefix else None
    )
    return await Searching(bench.store).search(asked)


async def found(bench: Bench, **how: str) -> list[str]:
    return [match.name.decode() for match in (await search(bench, **how)).found]  # type: ignore[arg-type]


async def test_entries_follow_the_record_through_its_life(finder: Bench) -> None:
    await finder.create("88.100/pump", url("one"), checksum("7"), url("two", 3))
    one, seven, two = (
        ("URL", "one", "88.100/PUMP"),
        ("CHECKSUM", "7", "88.100/PUMP"),
        ("URL", "two", "88.100/PUMP"),
    )
    assert await entries(finder) == {one, seven, two}

    await finder.put("88.100/pump", url("two"), checksum("8", 4))
    assert await entries(finder) == {two, seven, ("CHECKSUM", "8", "88.100/PUMP")}
    await finder.create("88.100/pump", url("one"), replace=True)
    assert await entries(finder) == {one}
    await finder.operations.delete([Handle.parse("88.100/pump")], by=OPERATOR)
    assert await entries(finder) == set()
    await finder.create("88.100/pump", url("anew"))
    assert await entries(finder) == {("URL", "anew", "88.100/PUMP")}


async def test_a_batch_that_is_copied_is_entered_as_a_single_one_is(finder: Bench) -> None:
    items = [creation(f"88.100/P-{n}", url(f"u-{n}"), checksum("7")) for n in range(COPY_ROWS_MIN * 2)]
    await finder.operations.create(items[: COPY_ROWS_MIN + 1], by=OPERATOR)
    results = await finder.operations.create(items, by=OPERATOR)

    assert sum(isinstance(result, Created) for result in results) == COPY_ROWS_MIN - 1
    assert len(await entries(finder)) == 2 * len(items)
    assert await found(finder, URL="u-40") == ["88.100/P-40"]


async def test_what_the_public_may_not_read_is_neither_entered_nor_found(finder: Bench) -> None:
    await finder.create("88.100/safe", url("hush-hush", permissions=SECRET_PERMISSIONS), url("open", 2))
    async with finder.operations.transaction(COMMAND) as transaction:
        item = Creation(Handle.parse("88.100/draft"), creation("88.100/x", url("draft")).values)
        await transaction.create([item], by=OPERATOR, state=State.DRAFT)

    assert await entries(finder) == {("URL", "open", "88.100/SAFE")}
    for pattern in ("hush-hush", "hush*", "*ush*", "draft", "*raf*", "*"):
        assert await found(finder, URL=pattern) == (["88.100/safe"] if pattern == "*" else [])


async def test_a_write_that_is_undone_enters_nothing(finder: Bench) -> None:
    async with finder.operations.transaction(COMMAND, commit=False) as transaction:
        (done,) = await transaction.create([creation("88.100/pump", url("one"))], by=OPERATOR)
        assert isinstance(done, Created)
    assert await entries(finder) == set()


async def test_nothing_is_entered_where_it_is_off(bench: Bench) -> None:
    await bench.create("88.100/pump", url("one"))
    await bench.put("88.100/pump", url("two"))
    assert await entries(bench) == set()


async def test_patterns_find_what_they_say(finder: Bench) -> None:
    for name, address in (("a", "http://x/1"), ("b", "http://x/2"), ("c", "https://y/1"), ("d", "x")):
        await finder.create(f"88.100/{name}", url(address), checksum(name))
    await finder.create("88.200/e", url("http://x/1"), url("http://x/11", 3))

    assert await found(finder, URL="http://x/1") == ["88.100/a", "88.200/e"]
    assert await found(finder, URL="http://x/1*") == ["88.100/a", "88.200/e"]
    assert await found(finder, URL="http*/1") == ["88.100/a", "88.200/e", "88.100/c"]
    assert await found(finder, URL="*/1") == ["88.100/a", "88.100/c", "88.200/e"]
    assert await found(finder, URL="*y*") == ["88.100/c"]
    assert len(await found(finder, URL="*")) == 5
    assert await found(finder, URL="HTTP://x/1") == []
    assert await found(finder, URL="http*", CHECKSUM="*b*") == ["88.100/b"]
    assert await found(finder, URL="*", CHECKSUM="z") == []
    for pattern in ("http://x/1", "http*", "*x*"):
        assert await found(finder, URL=pattern, prefix="88.200") == ["88.200/e"]
    assert await found(finder, URL="*x*", prefix="88.300") == []


async def test_pages_part_the_matches_without_gap_or_repetition(finder: Bench) -> None:
    items = [creation(f"88.100/P-{n:02}", url(f"u-{n:02}"), url(f"u-{n:02}b", 2)) for n in range(25)]
    await finder.operations.create(items, by=OPERATOR)

    for pattern in ("u-*", "*-*"):
        pages = [await search(finder, URL=pattern, limit=10, skip=skip) for skip in (0, 10, 20, 30)]
        assert [(len(page.found), page.more) for page in pages] == [
            (10, True),
            (10, True),
            (5, False),
            (0, False),
        ]
        names = [match.name for page in pages for match in page.found]
        assert len(set(names)) == 25


async def test_handles_of_prefixes_that_are_not_served_are_not_told(finder: Bench) -> None:
    await finder.create("88.200/e", url("http://x/1"))
    row = (await finder.store.prefix_rows([b"88.200"]))[b"88.200"]
    for change in ({"status": PrefixStatus.SUSPENDED}, {"homed": False}):
        fields = {name: getattr(row, name) for name in PrefixRow.__slots__}
        async with finder.operations.transaction(COMMAND) as transaction:
            await transaction.save_prefix(PrefixRow(**{**fields, **change}))
        for pattern in ("http://x/1", "http*", "*x*"):
            assert await found(finder, URL=pattern) == []


async def test_a_search_stops_and_says_so(finder: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "SCANNED_MAX", 2 * searching.CHUNK_ROWS)
    items = [creation(f"88.100/P-{n}", url(f"u-{n}")) for n in range(2 * searching.CHUNK_ROWS + 1)]
    await finder.operations.create(items, by=OPERATOR)
    await finder.create("88.200/last", url("zzz"))

    looked = await search(finder, URL="*zz*")
    assert [match.name for match in looked.found] == [b"88.200/last"], "the next prefix is looked at too"
    assert looked.stopped == "after 500 records of a prefix"
    indexed = await search(finder, URL="u*zz")
    assert (indexed.found, indexed.stopped) == ([], "after 500 values that begin alike")
    assert (await search(finder, URL="*-7*", limit=5)).stopped == "", "it was found before"
    times = iter([0.0, *[searching.SEARCH_WAIT_S + 1] * 9])
    asked = Search(conditions={b"URL": [Pattern.parse(b"*zz*")]}, limit=1)
    late = await Searching(finder.store, clock=lambda: next(times)).search(asked)
    assert (late.found, late.stopped) == ([], "after 10 seconds")


async def test_an_entry_that_says_what_the_record_does_not_is_not_believed(finder: Bench) -> None:
    await finder.create("88.100/pump", url("one"))
    async with finder.store.writing() as writing:
        await writing.add_lookups({(b"URL", b"other", b"88.100/PUMP"), (b"URL", b"one", b"88.100/GONE")})

    assert await found(finder, URL="other") == await found(finder, URL="oth*") == []
    assert await found(finder, URL="one") == ["88.100/pump"]


async def test_a_prefix_that_is_dropped_leaves_no_entry(finder: Bench) -> None:
    await finder.create("88.200/e", url("one"))
    row = (await finder.store.prefix_rows([b"88.200"]))[b"88.200"]
    fields = {name: getattr(row, name) for name in PrefixRow.__slots__}
    async with finder.operations.transaction(COMMAND) as transaction:
        await transaction.save_prefix(PrefixRow(**{**fields, "homed": False}))
        assert not await intake.drop_some(transaction, b"88.200")
    assert await entries(finder) == set()


async def test_old_records_are_found_after_a_walk_that_goes_on_where_it_ended(
    scratch: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup_building, "_READ", lookup_building._READ.replace("LIMIT 2000", "LIMIT 10"))
    off = TestSettings(data_dir=scratch / "node", database=database)
    async with open_node(off, unsafe=True) as node:
        items = [creation(f"88.100/P-{n:02}", url(f"u-{n}")) for n in range(30)]
        await node.operations.create(items, by=OPERATOR)

    class PowerCut(Exception):
        pass

    def cut(done: int, total: int) -> None:
        assert done <= total
        if done == 20:
            raise PowerCut

    types = LookupTypes.of(["URL"])
    on = TestSettings(data_dir=scratch / "node", database=database, lookup_types=("URL",))
    async with open_node(on, unsafe=True) as node:
        assert await unbuilt(node.store, types) == {b"URL"}
        with pytest.raises(PowerCut):
            await build(node.store, types, cut)
    async with open_node(on, unsafe=True) as node:
        done = await build(node.store, types, lambda *_: None)
        assert (done.handles, done.resumed) == (31, True)  # the administrator's record is one
        assert await unbuilt(node.store, types) == frozenset()
        async with node.store.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM handle_lookups") == 30
    async with open_node(off, unsafe=True) as node:
        await node.operations.create([creation("88.100/UNSEEN", url("unseen"))], by=OPERATOR)
    async with open_node(on, unsafe=True) as node:
        assert await unbuilt(node.store, types) == {b"URL"}, "what was written meanwhile has no entry"
        done = await build(node.store, types, lambda *_: None)
        assert (done.handles, done.resumed) == (32, False)


async def test_a_new_node_needs_no_walk_and_a_type_that_is_left_out_is_forgotten(
    scratch: Path, empty_database: str
) -> None:
    on = TestSettings(data_dir=scratch / "node", database=empty_database, lookup_types=("URL", "CHECKSUM"))
    types = on.lookups()
    async with open_node(on, unsafe=True) as node:
        await node.operations.create([creation("88.100/A", url("u"), checksum("7"))], by=OPERATOR)
        assert await unbuilt(node.store, types) == frozenset()
    fewer = TestSettings(data_dir=scratch / "node", database=empty_database, lookup_types=("URL",))
    async with open_node(fewer, unsafe=True) as node:
        await build(node.store, fewer.lookups(), lambda *_: None)
        async with node.store.connection() as connection:
            types_left = await connection.fetchval("SELECT array_agg(type) FROM handle_lookups")
        assert types_left == [b"URL"]
        assert await unbuilt(node.store, types) == {b"CHECKSUM"}


async def test_values_are_kept_where_they_are_wanted_and_no_more_of_them_than_the_limit(
    finder: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        large = HandleValue(index=9, type="DESC", data=bytes(1_000))
        await finder.create(f"88.100/pump-{number}", url("here"), large)
    monkeypatch.setattr(searching, "FOUND_OCTETS_MAX", 3_000)
    conditions = {b"URL": [Pattern.parse(b"here")]}

    names = await Searching(finder.store).search(Search(conditions=conditions, limit=9))
    records = await Searching(finder.store).search(Search(conditions=conditions, limit=9, with_values=True))

    assert [match.public.count for match in names.found] == [0, 0, 0]
    assert [match.public.count for match in records.found] == [2, 2]
    assert (names.stopped, records.stopped[:6]) == ("", "before")
