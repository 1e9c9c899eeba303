"""Listing of the audit: the latest first, chosen, in pages, and numbered entries alone."""

import asyncpg
import pytest

from protocol.handle import Handle
from registry.audit.log import AuditLog, Choice, EntryPage, Position
from registry.audit.numbering import SESSION_SETTINGS
from registry.outcomes import OPERATOR, Origin
from tests.integration.registry.audit.history import number
from tests.integration.registry.bench import Bench, creation, url

T0_MS = 1_800_000_000_000


async def act(
    bench: Bench, action: str, target: str, *, organisation: str | None = None, actor: str = "usr_one"
) -> None:
    bench.now_s += 1
    origin = Origin(actor=actor, organisation=organisation, via="api")
    async with bench.operations.transaction(origin) as transaction:
        transaction.audit(action, target)


async def number_all(bench: Bench) -> None:
    connection = await asyncpg.connect(bench.dsn, server_settings=SESSION_SETTINGS)
    await number(connection)
    await connection.close()


async def listed(bench: Bench, choice: Choice, *, limit: int = 50) -> list[str]:
    """Targets of every page, until there is no next."""
    log = AuditLog(bench.store)
    targets: list[str] = []
    page = EntryPage(entries=(), next=Position())
    for _ in range(200):
        page = await log.list(choice, after=page.next, limit=limit)
        assert len(page.entries) <= limit
        targets += [each.entry.target for each in page.entries]
        if page.next is None:
            return targets
    raise AssertionError("the pages do not end")


@pytest.fixture
async def filled(bench: Bench) -> Bench:
    """Give a node of six acts, a second apart."""
    await act(bench, "prefix.suspend", "a")
    await act(bench, "prefix.resume", "b", organisation="org_one")
    await act(bench, "prefixes.count", "c", organisation="org_two")
    await act(bench, "user.create", "d", organisation="org_one", actor="key_two")
    await act(bench, "prefix.suspend", "e", organisation="org_one", actor="key_two")
    await act(bench, "prefix.suspend", "a", organisation="org_two")
    await number_all(bench)
    return bench


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_pages_hold_every_entry_once_the_latest_first(filled: Bench, limit: int) -> None:
    assert await listed(filled, Choice(), limit=limit) == ["a", "e", "d", "c", "b", "a"]


@pytest.mark.parametrize(
    ("choice", "targets"),
    [
        (Choice(organisation="org_one"), ["e", "d", "b"]),
        (Choice(organisation="org_nobody"), []),
        (Choice(actor="key_two"), ["e", "d"]),
        (Choice(target="a"), ["a", "a"]),
        (Choice(action="prefix.suspend"), ["a", "e", "a"]),
        (Choice(action="prefix"), ["a", "e", "b", "a"]),
        (Choice(since_ms=T0_MS + 3_000), ["a", "e", "d", "c"]),
        (Choice(until_ms=T0_MS + 3_000), ["b", "a"]),
        (Choice(since_ms=T0_MS + 2_000, until_ms=T0_MS + 5_000), ["d", "c", "b"]),
        (Choice(organisation="org_one", action="prefix", until_ms=T0_MS + 5_000), ["b"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 50])
async def test_entries_are_chosen(filled: Bench, choice: Choice, targets: list[str], limit: int) -> None:
    assert await listed(filled, choice, limit=limit) == targets


async def test_what_has_no_number_yet_is_not_listed(filled: Bench) -> None:
    await act(filled, "user.create", "late")
    assert "late" not in await listed(filled, Choice())
    await number_all(filled)
    assert "late" in await listed(filled, Choice())


@pytest.mark.parametrize("choice", [Choice(target="a"), Choice(organisation="org_one", actor="key_two")])
async def test_a_page_that_looked_at_enough_ends_and_the_next_goes_on(
    filled: Bench, choice: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    import registry.audit.log as module

    expected = await listed(filled, choice)
    for name in ("_WINDOW_OF_ALL", "_WINDOW_OF_ONE"):
        monkeypatch.setattr(
            module, name, getattr(module, name).replace(f"LIMIT {module.SCAN_MAX}", "LIMIT 2")
        )
    monkeypatch.setattr(module, "SCAN_MAX", 2)
    assert await listed(filled, choice) == expected


async def test_a_listing_is_stable_while_entries_are_added(filled: Bench) -> None:
    log = AuditLog(filled.store)
    first = await log.list(Choice(), after=None, limit=3)
    await act(filled, "user.create", "late")
    await number_all(filled)
    second = await log.list(Choice(), after=first.next, limit=3)
    assert [each.entry.target for each in (*first.entries, *second.entries)] == ["a", "e", "d", "c", "b", "a"]


async def test_an_entry_is_read_by_its_number(filled: Bench) -> None:
    log = AuditLog(filled.store)
    found = await log.read(4)
    assert found is not None
    assert (found.number, found.entry.target, len(found.chain)) == (4, "d", 32)
    assert await log.read(7) is None


async def test_what_an_entry_changed_is_read_in_pages(bench: Bench) -> None:
    names = [f"88.100/pump-{place}" for place in range(5)]
    await bench.operations.create(
        [creation(name, url("https://plant.example/")) for name in names], by=OPERATOR
    )
    await bench.operations.delete([Handle.parse(names[0])], by=OPERATOR)
    await number_all(bench)
    log = AuditLog(bench.store)
    created, deleted = await log.read(1), await log.read(2)
    assert created is not None
    assert deleted is not None
    first = await log.changes(created.entry, after=-1, limit=3)
    second = await log.changes(created.entry, after=first[-1].position, limit=3)
    assert [change.name.decode() for change in (*first, *second)] == names
    (change,) = await log.changes(deleted.entry, after=-1, limit=3)
    assert (change.name.decode(), change.action, change.version) == (names[0], 2, 2)


async def test_the_head_tells_how_many_wait(filled: Bench) -> None:
    await act(filled, "user.create", "late")
    head, waiting = await AuditLog(filled.store).head()
    assert (head.number, waiting) == (6, 1)


async def test_the_head_of_an_empty_database_is_nothing(bench: Bench) -> None:
    head, waiting = await AuditLog(bench.store).head()
    assert (head.number, waiting) == (0, 0)
