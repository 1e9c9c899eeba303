"""Reading identifiers: now, then, in lists; and never those of somebody else."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from protocol.handle import Handle, Prefix
from registry.accounts.roles import Role
from registry.identifiers.reading import LIST, SCAN_MAX
from registry.identifiers.states import IdentifierState
from registry.outcomes import OPERATOR
from registry.problem_types import NOT_FOUND, ApiProblem
from tests.integration.registry.bench import secret
from tests.integration.registry.identifiers.plant import (
    AUDITOR,
    EDITOR,
    RIVAL_EDITOR,
    URL,
    Plant,
    caller,
)

PUMP = "88.100.1/PUMP-7"
HANDLE = Handle.parse(PUMP)
PREFIX = Prefix.parse("88.100.1")


def moment(wall_s: float) -> datetime:
    return datetime.fromtimestamp(wall_s, UTC)


async def test_an_identifier_is_read_with_its_dates_and_without_its_secrets(plant: Plant) -> None:
    await plant.create(PUMP)
    plant.bench.now_s += 60
    await plant.bench.put(PUMP, secret("hidden"), by=OPERATOR)

    found = await plant.read("88.100.1/pump-7")

    assert str(found.handle) == PUMP
    assert (found.version, found.state) == (2, IdentifierState.ACTIVE)
    assert (found.registered_ms, found.changed_ms) == (1_800_000_000_000, 1_800_000_060_000)
    assert list(found.restricted) == [(300, "HS_SECKEY")]
    assert found.values is not None
    assert b"hidden" not in found.values.octets
    assert await plant.identifiers.reader.restricted(HANDLE, EDITOR) == []
    (value,) = await plant.identifiers.reader.restricted(HANDLE, caller(role=Role.ENTERPRISE_ADMINISTRATOR))
    assert value.data == b"hidden"


async def test_what_belongs_to_somebody_else_reads_like_what_nobody_has(plant: Plant) -> None:
    await plant.create("88.100.2/x", by=RIVAL_EDITOR)
    reader, limited = plant.identifiers.reader, caller(prefixes=frozenset({b"88.100.9"}))
    for name, by in (("88.100.2/x", EDITOR), ("88.100.2/y", EDITOR), ("88.100.9/y", EDITOR), (PUMP, limited)):
        handle = Handle.parse(name)
        for attempt in (
            reader.read(handle, by),
            reader.read_version(handle, by, 1),
            reader.read_as_of(handle, by, moment(plant.bench.now_s)),
            reader.restricted(handle, by),
            reader.versions(handle, by, below=None, limit=10),
        ):
            with pytest.raises(ApiProblem) as refused:
                await attempt
            assert (refused.value.type, refused.value.detail) == (NOT_FOUND, "There is no such identifier.")
    assert (await plant.read("88.100.2/x", AUDITOR)).version == 1


async def test_every_version_and_every_moment_can_be_read(plant: Plant) -> None:
    start_s = plant.bench.now_s
    await plant.create(PUMP)
    for number in range(2, 5):
        plant.bench.now_s += 60
        await plant.replace(PUMP, {**URL, "data": f"https://www.example.com/{number}"})
    plant.bench.now_s += 60
    await plant.delete(PUMP)
    reader = plant.identifiers.reader

    async def address(version: int | None = None, at_s: float = 0) -> str:
        if version is not None:
            found = await reader.read_version(HANDLE, EDITOR, version)
        else:
            found = await reader.read_as_of(HANDLE, EDITOR, moment(at_s))
        assert found.values is not None
        return next(iter(found.values)).data.decode().rpartition("/")[2]

    assert [await address(version) for version in (1, 2, 3, 4)] == ["", "2", "3", "4"]
    assert await address(at_s=start_s) == ""
    assert await address(at_s=start_s + 59.999) == ""
    assert await address(at_s=start_s + 60) == "2"
    assert await address(at_s=start_s + 239) == "4"
    for attempt in (
        address(5), address(6), address(at_s=start_s - 1), address(at_s=start_s + 240), address(at_s=start_s + 999)
    ):  # fmt: skip
        with pytest.raises(ApiProblem) as refused:
            await attempt
        assert refused.value.type is NOT_FOUND


async def test_a_name_that_is_registered_again_has_its_gap_and_both_its_lives(plant: Plant) -> None:
    start_s = plant.bench.now_s
    await plant.create(PUMP)
    plant.bench.now_s += 60
    await plant.delete(PUMP)
    plant.bench.now_s += 60
    again = await plant.create(PUMP)
    reader = plant.identifiers.reader

    versions = [
        (await reader.read_as_of(HANDLE, EDITOR, moment(start_s + after_s))).version
        for after_s in (0, 59, 120)
    ]
    assert versions == [1, 1, again.version] == [1, 1, 3]
    with pytest.raises(ApiProblem) as refused:
        await reader.read_as_of(HANDLE, EDITOR, moment(start_s + 90))
    assert refused.value.type is NOT_FOUND
    registered_ms = (await reader.read(HANDLE, EDITOR)).registered_ms
    assert registered_ms == round((start_s + 120) * 1_000)


async def test_versions_are_listed_page_by_page_the_latest_first(plant: Plant) -> None:
    await plant.create(PUMP, state="draft")
    plant.bench.now_s += 60
    await plant.state(PUMP, "active")
    await plant.state(PUMP, "suspended", reason="x")
    await plant.delete(PUMP)
    await plant.create(PUMP)

    found, below = [], None
    while True:
        page, below = await plant.identifiers.reader.versions(HANDLE, EDITOR, below=below, limit=2)
        found += page
        if below is None:
            break

    states = [version.state and version.state.value for version in found]
    assert states == ["active", None, "suspended", "active", "draft"]
    assert [version.version for version in found] == [5, 4, 3, 2, 1]
    assert found[0].until_ms is None
    assert all(later.since_ms == earlier.until_ms for later, earlier in pairwise(found))


async def test_a_list_is_walked_in_order_and_stays_stable_while_others_write(plant: Plant) -> None:
    for number in range(0, 20, 2):
        await plant.create(f"88.100.1/{number:02}")
    await plant.create("88.100.2/other", by=RIVAL_EDITOR)

    names, start = [], None
    while True:
        page, start = await plant.identifiers.reader.list(PREFIX, EDITOR, state=None, start=start, limit=3)
        names += [str(item.handle).partition("/")[2] for item in page]
        if start is None:
            break
        await plant.create(f"88.100.1/{int(names[-1]) - 1:02}" if names[-1] != "00" else "88.100.1/!")
    assert names == [f"{number:02}" for number in range(0, 20, 2)]


async def test_a_list_begins_where_it_is_asked_to_and_holds_one_state(plant: Plant) -> None:
    for name in "abcdef":
        await plant.create(f"88.100.1/{name}", state="draft" if name in "be" else "active")
    await plant.state("88.100.1/c", "suspended", reason="x")
    await plant.delete("88.100.1/f")
    reader = plant.identifiers.reader

    async def names(state: str | None, start: bytes | None = None) -> str:
        wanted = None if state is None else IdentifierState(state)
        page, _ = await reader.list(PREFIX, EDITOR, state=wanted, start=start, limit=50)
        return "".join(str(item.handle)[-1] for item in page)

    assert await names(None) == "abcde"
    assert await names("active") == "ad"
    assert await names("draft") == "be"
    assert await names("suspended") == "c"
    assert await names("retired") == ""
    assert await names(None, b"88.100.1/C") == "cde"
    assert await names("draft", b"88.100.1/C") == "e"


async def test_a_list_never_leaves_its_prefix_whatever_the_cursor_says(plant: Plant) -> None:
    await plant.create("88.100.1/a")
    await plant.create("88.100.2/a", by=RIVAL_EDITOR)
    for start in (b"", b"\xff", b"88.100.2/", b"88.100.1/" + b"z" * 3_000):
        page, following = await plant.identifiers.reader.list(
            PREFIX, EDITOR, state=None, start=start, limit=50
        )
        assert {str(item.handle) for item in page} <= {"88.100.1/a"}
        assert following is None


async def test_the_list_of_a_prefix_of_somebody_else_is_the_list_of_one_that_there_is_not(
    plant: Plant,
) -> None:
    for name in ("88.100.2", "88.100.9", "0.NA"):
        with pytest.raises(ApiProblem) as refused:
            await plant.identifiers.reader.list(Prefix.parse(name), EDITOR, state=None, start=None, limit=1)
        assert (refused.value.type, refused.value.detail) == (NOT_FOUND, "There is no such prefix.")


async def test_a_page_gives_up_where_too_many_rows_do_not_match_and_the_next_one_goes_on(
    plant: Plant,
) -> None:
    await plant.create("88.100.1/z")
    async with plant.bench.store.connection() as connection:
        await connection.execute(
            """INSERT INTO handles (key, name, prefix, public_values, public_count, state, version, changed_ms)
            SELECT name, name, '88.100.1', '', 0, 1, 2, 0
            FROM (SELECT convert_to('88.100.1/D' || n, 'UTF8') AS name FROM generate_series(1, $1::int) AS n) AS m""",
            SCAN_MAX + 10,
        )
    reader = plant.identifiers.reader
    page, start = await reader.list(PREFIX, EDITOR, state=None, start=None, limit=5)
    assert (page, start is None) == ([], False)
    page, start = await reader.list(PREFIX, EDITOR, state=None, start=start, limit=5)
    assert ([str(item.handle) for item in page], start) == (["88.100.1/z"], None)


async def test_a_small_prefix_among_many_identifiers_is_listed_without_a_walk_along_all_of_them(
    plant: Plant,
) -> None:
    await plant.create("88.100.1/a")
    async with plant.bench.store.connection() as connection:
        await connection.execute(
            """INSERT INTO handles (key, name, prefix, public_values, public_count, version, changed_ms)
            SELECT name, name, '88.100.2', '', 0, 1, 0
            FROM (SELECT convert_to('88.100.2/' || n, 'UTF8') AS name FROM generate_series(1, 20000) AS n) AS m"""
        )
        await connection.execute("ANALYZE handles")
        await connection.execute(f"PREPARE page (bytea, bytea, int, int, smallint[]) AS {LIST}")
        plan = await connection.fetch(
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE page ('88.100.1', '88.100.1/', 50, 5000, '{0}')"
        )
    removed = [int(line[0].rpartition(" ")[2]) for line in plan if "Rows Removed" in line[0]]
    assert sum(removed) < 100, plan
