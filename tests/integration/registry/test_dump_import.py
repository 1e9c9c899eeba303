"""A node takes over from a running server: recorded streams and an honest server, over real sockets, into Postgres."""

from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from protocol.errors import BadSignature
from protocol.replication import StreamKind, TransactionAction
from protocol.value import HandleValue
from protocol.valuetypes import PublicKey
from protocol.wire import Writer
from registry.dump_import import (
    DumpStatus,
    HandleServer,
    Proof,
    SourceRefused,
    find_server,
)
from registry.dump_import.restart import RestartMemory
from registry.outcomes import Created, Found
from tests.integration.registry.bench import Bench, secret, url
from tests.integration.registry.taking_over import IDENTITY, PREFIX, sum_of, take_over
from tests.support.dump_server import HOST, DumpServer, other_key, record_block, serving
from tests.support.keys import admin_key

OLD_S: Final = 1_700_000_000
RESTRICTED: Final = b"only administrators read this"


def value(text: str, index: int = 1) -> bytes:
    """A public value with an old timestamp."""
    return HandleValue(index=index, type="URL", data=text.encode(), timestamp=OLD_S).encode()


def catalogue(count: int = 9) -> dict[bytes, tuple[bytes, ...]]:
    """Records of an honest server: two values each, one of them restricted."""
    hidden = HandleValue(index=2, type="EMAIL", data=RESTRICTED, permissions=0b1100, timestamp=OLD_S).encode()
    return {b"20.500.12345/P%d" % number: (value(f"u{number}"), hidden) for number in range(count)}


async def found(server: DumpServer) -> HandleServer:
    """What an honest server says about itself."""
    return await find_server(HOST, server.port)


@pytest.mark.parametrize(
    ("version", "kind"),
    [((2, 11), StreamKind.TLS), ((2, 11), StreamKind.SIGNED), ((2, 7), StreamKind.SIGNED)],
)
async def test_everything_is_taken_over_and_compared(
    bench: Bench, tmp_path: Path, version: tuple[int, int], kind: StreamKind
) -> None:
    records = catalogue()
    async with serving(DumpServer(records=records, version=version, kind=kind)) as server:
        report = await take_over(bench, await found(server), tmp_path, home_prefixes=True)

    assert (report.status, report.failure, report.over_tls) == (
        DumpStatus.COMPLETE,
        "",
        kind is StreamKind.TLS,
    )
    assert report.comparison is not None
    assert report.comparison.source_sum == report.comparison.stored_sum == sum_of(records)
    assert (report.comparison.alike, report.comparison.asked) == (9, 9)
    assert [value.encode() for value in await bench.values(f"{PREFIX}/P3")] == [
        records[b"20.500.12345/P3"][0]
    ]
    assert any("left" in note for note in report.notes) == (kind is StreamKind.SIGNED)


async def test_restricted_values_are_sealed(bench: Bench, tmp_path: Path) -> None:
    await bench.home(PREFIX)
    async with serving(DumpServer(records=catalogue(1))) as server:
        await take_over(bench, await found(server), tmp_path)

    row = await bench.store.read(b"20.500.12345/P0")
    assert row is not None
    assert row.restricted_count == 1
    assert row.restricted_values is not None
    assert RESTRICTED not in row.restricted_values + row.public_values


async def test_an_administrator_may_prove_himself_by_a_private_key(bench: Bench, tmp_path: Path) -> None:
    await bench.home(PREFIX)
    administrator = PublicKey.of_rsa(other_key().public_key())
    async with serving(DumpServer(records=catalogue(), administrator=administrator)) as server:
        report = await take_over(bench, await found(server), tmp_path, key=other_key())
    assert report.status is DumpStatus.COMPLETE


async def test_a_broken_connection_is_made_again_behind_the_last_record(bench: Bench, tmp_path: Path) -> None:
    await bench.home(PREFIX)
    async with serving(DumpServer(records=catalogue(), cuts=[5, 4])) as server:
        report = await take_over(bench, await found(server), tmp_path, pauses_s=(0.0, 0.0))

        assert server.asked_after[:3] == [None, (b"20.500.12345/P2", 2), (b"20.500.12345/P4", 2)]
    assert (report.status, report.counts.created) == (DumpStatus.COMPLETE, 9)


async def test_an_import_that_ended_in_the_middle_goes_on_where_it_was(bench: Bench, tmp_path: Path) -> None:
    await bench.home(PREFIX)
    async with serving(DumpServer(records=catalogue(), cuts=[8])) as server:
        begun = await take_over(bench, await found(server), tmp_path)
        assert (begun.status, begun.counts.created) == (DumpStatus.INTERRUPTED, 6)

        report = await take_over(bench, await found(server), tmp_path)

        assert (report.status, report.counts.created, report.counts.unchanged) == (DumpStatus.COMPLETE, 3, 0)
        assert report.resumed_after == "20.500.12345/P5"
        assert await RestartMemory(bench.store, await found(server)).recall() is None


async def test_a_source_with_another_key_is_another_source(bench: Bench, tmp_path: Path) -> None:
    await bench.home(PREFIX)
    async with serving(DumpServer(records=catalogue(), cuts=[8])) as server:
        await take_over(bench, await found(server), tmp_path)
        server.key = other_key()
        report = await take_over(bench, await found(server), tmp_path)
    assert (report.resumed_after, report.counts.unchanged, report.counts.created) == ("", 6, 3)


async def test_a_server_that_cannot_resume_sends_everything_anew(bench: Bench, tmp_path: Path) -> None:
    await bench.home(PREFIX)
    old = DumpServer(records=catalogue(), version=(2, 7), kind=StreamKind.SIGNED, cuts=[8])
    async with serving(old) as server:
        await take_over(bench, await found(server), tmp_path, pauses_s=(0.0,))
        report = await take_over(bench, await found(server), tmp_path)

        assert set(server.asked_after) == {None}
    assert (report.status, report.counts.unchanged, report.counts.created) == (DumpStatus.COMPLETE, 6, 3)


def change(number: int, action: TransactionAction, name: bytes, *values: bytes) -> bytes:
    """A transaction as it stands in a stream."""
    writer = Writer().u8(1).u64(number).counted(name).u8(action).u64(1_000 + number)
    if action in (TransactionAction.CREATE, TransactionAction.UPDATE):
        writer.u32(len(values))
        for one in values:
            writer.counted(one)
    return writer.octets()


def transactions(*changes: bytes, status: int = 2) -> tuple[bytes, ...]:
    """The blocks of a stream of transactions."""
    return (Writer().u32(1).u32(status).octets(), *changes, Writer().u8(0).u64(5_000).octets())


async def test_what_changed_since_the_dump_is_brought_in_too(bench: Bench, tmp_path: Path) -> None:
    async with serving(DumpServer(records=catalogue(4))) as server:
        early = await take_over(bench, await found(server), tmp_path, catch_up=True)
        assert "not imported to the end" in early.failure
        await take_over(bench, await found(server), tmp_path, home_prefixes=True)
        server.transactions = transactions(
            change(5, TransactionAction.UPDATE, b"20.500.12345/P1", value("new")),
            change(6, TransactionAction.CREATE, b"20.500.12345/P9", value("u9")),
            change(7, TransactionAction.DELETE, b"20.500.12345/P2"),
            change(8, TransactionAction.DELETE, b"20.500.12345/NEVER"),
            change(9, TransactionAction.CREATE, b"20.500.777/A", value("u")),
            change(10, TransactionAction.HOME, b"0.NA/20.500.777"),
            change(11, TransactionAction.UNHOME, b"0.NA/20.500.12345"),
            change(12, TransactionAction.CREATE, b"20.500.12345/BAD", b"xyz"),
            change(13, TransactionAction.PLACEHOLDER, b""),
        )

        report = await take_over(bench, await found(server), tmp_path, catch_up=True)
        again = await take_over(bench, await found(server), tmp_path, catch_up=True)

        assert server.asked_since == [(4, 1_795_195_640_195), (13, 5_000)]
    counts = report.counts
    assert (counts.created, counts.replaced, counts.unchanged, report.deleted) == (1, 1, 1, 1)
    assert (counts.rejected, report.status, report.transaction) == (2, DumpStatus.INCOMPLETE, 13)
    assert [note.split()[-2:] for note in report.notes] == [
        ["home", "0.NA/20.500.777"],
        ["unhome", "0.NA/20.500.12345"],
    ]
    assert (await bench.values(f"{PREFIX}/P1"))[0].data == b"new"
    assert not isinstance(await bench.ask(f"{PREFIX}/P2"), Found)
    assert (again.counts.created, again.counts.replaced, again.deleted) == (0, 0, 0)


async def test_a_source_that_cannot_reach_back_asks_for_a_new_dump(bench: Bench, tmp_path: Path) -> None:
    await bench.home(PREFIX)
    async with serving(DumpServer(records=catalogue(1), transactions=transactions(status=1))) as server:
        await take_over(bench, await found(server), tmp_path)
        report = await take_over(bench, await found(server), tmp_path, catch_up=True)
        assert "no longer reaches back to transaction 4" in report.failure

        server.transactions = transactions(change(5, TransactionAction.DELETE_ALL, b""))
        report = await take_over(bench, await found(server), tmp_path, catch_up=True)
        assert "for a person to repeat" in report.failure
    assert isinstance(await bench.ask(f"{PREFIX}/P0"), Found)


async def test_a_trial_run_tells_what_would_happen_and_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    before = await bench.log()
    async with serving(DumpServer(records=catalogue())) as server:
        report = await take_over(bench, await found(server), tmp_path, home_prefixes=True, dry_run=True)
    assert (report.status, report.counts.created, report.comparison) == (DumpStatus.COMPLETE, 9, None)
    assert await bench.log() == before


async def test_without_their_prefix_records_are_refused_and_named(bench: Bench, tmp_path: Path) -> None:
    async with serving(DumpServer(records=catalogue(2))) as server:
        report = await take_over(bench, await found(server), tmp_path)

    assert (report.status, report.counts.rejected) == (DumpStatus.INCOMPLETE, 2)
    assert report.comparison is not None
    assert report.comparison.missing == 2
    assert report.rejects is not None
    assert report.rejects.stat().st_mode & 0o777 == 0o600
    first = msgspec.json.decode(report.rejects.read_bytes().splitlines()[0])
    assert first["handle"] == "20.500.12345/P0"
    assert "does not home" in first["#reason"]


async def test_the_prefixes_of_the_root_are_not_homed(bench: Bench, tmp_path: Path) -> None:
    prefixes = (b"0.NA/0.NA", b"0.NA/0.0", b"0.NA/20.500.12345")
    async with serving(DumpServer(records=catalogue(1), prefixes=prefixes)) as server:
        report = await take_over(bench, await found(server), tmp_path, home_prefixes=True)
    assert "0.NA, 0.0" in report.notes[0]
    assert [name for name, _, _ in await bench.log()][-2:] == [b"0.NA/20.500.12345", b"20.500.12345/P0"]


async def test_a_record_that_differs_is_kept_unless_it_is_to_be_replaced(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.home(PREFIX)
    assert isinstance(await bench.create(f"{PREFIX}/p0", url("mine")), Created)
    async with serving(DumpServer(records=catalogue(2))) as server:
        kept = await take_over(bench, await found(server), tmp_path)
        assert kept.comparison is not None
        assert (kept.status, kept.comparison.different) == (DumpStatus.INCOMPLETE, 1)
        assert kept.comparison.names == ["20.500.12345/P0"]
        assert kept.comparison.answered_otherwise == ["20.500.12345/P0"]

        replaced = await take_over(bench, await found(server), tmp_path, replace=True)
        assert (replaced.status, replaced.counts.replaced) == (DumpStatus.COMPLETE, 1)


async def test_a_source_that_answers_otherwise_than_it_dumps_is_noticed(bench: Bench, tmp_path: Path) -> None:
    await bench.home(PREFIX)
    odd = DumpServer(
        records=catalogue(3),
        answers_otherwise=frozenset({b"20.500.12345/P1"}),
        unsigned=frozenset({b"20.500.12345/P2"}),
    )
    async with serving(odd) as server:
        report = await take_over(bench, await found(server), tmp_path)
    assert report.comparison is not None
    assert sorted(report.comparison.answered_otherwise) == ["20.500.12345/P1", "20.500.12345/P2"]
    assert report.status is DumpStatus.INCOMPLETE


async def test_records_that_make_no_sense_are_refused_and_the_others_are_in(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.home(PREFIX)
    public_secret = secret("x").encode()[:13] + b"\x0e" + secret("x").encode()[14:]
    strange = {
        b"20.500.12345/A": (b"xyz",),
        b"20.500.12345/B": (),
        b"20.500.12345/C": (value("u"), value("u")),
        b"20.500.12345/D": (public_secret,),
        b"20.500.12345/E": (value("x" * 300_000),),
        b"20.500.12345/\xff": (value("no UTF-8"),),
        b"noslash\xff": (value("u"),),
    }
    async with serving(DumpServer(records=catalogue(3) | strange)) as server:
        report = await take_over(bench, await found(server), tmp_path, compare=False)
    assert (report.counts.created, report.counts.rejected) == (3, 7)
    assert report.status is DumpStatus.INCOMPLETE


HOSTILE: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("another key", {"certified": other_key()}),
    ("neither signed nor over TLS", {"kind": StreamKind.UNSIGNED}),
    ("that is not the key", {"secret": b"another"}),
    (
        "announces a string of 2147483647 octets",
        {"stream": Writer().u32(2).u8(1).u32(0x7FFF_FFFF).octets()},
    ),
    (
        "announces 4294967295 values",
        {"stream": Writer().u32(2).u8(1).counted(b"A/1").u32(2**32 - 1).octets()},
    ),
    ("unknown kind 238", {"stream": Writer().u32(2).u8(238).octets()}),
    ("which is no prefix", {"prefixes": (b"20.500.12345/P1",)}),
    ("it was cut short", {"records": {}, "prefixes": (), "kind": StreamKind.SIGNED}),
)
"""What a server does that is not to be trusted, and the words with which it is refused."""


async def test_what_cannot_be_trusted_or_understood_is_refused_in_words(bench: Bench, tmp_path: Path) -> None:
    await bench.home(PREFIX)
    before = await bench.log()
    for words, manners in HOSTILE:
        async with serving(DumpServer(**{"records": catalogue(), **manners})) as server:
            report = await take_over(bench, await found(server), tmp_path, home_prefixes=True)
        assert (report.status, report.counts.rows) == (DumpStatus.UNUSABLE, 0), words
        assert words in report.failure
    assert await bench.log() == before


async def test_a_stream_that_never_ends_is_left(bench: Bench, tmp_path: Path) -> None:
    endless = record_block(b"20.500.12345/P0", (value("u"),)) * 50
    server = DumpServer(records={}, stream=Writer().u32(2).octets() + endless)
    await bench.home(PREFIX)
    async with serving(server):
        report = await take_over(bench, await found(server), tmp_path, records_max=20)
    assert report.status is DumpStatus.UNUSABLE
    assert "more than 20 records" in report.failure


async def test_a_site_record_that_none_of_its_keys_signed_is_refused() -> None:
    published = PublicKey.of_rsa(other_key().public_key())
    async with serving(DumpServer(records={}, published=published)) as server:
        with pytest.raises(BadSignature, match="no key that stands in it"):
            await found(server)


async def test_a_server_of_an_old_version_is_told_to_be_too_old() -> None:
    async with serving(DumpServer(records={}, version=(2, 4))) as server:
        with pytest.raises(SourceRefused, match=r"version 2\.4"):
            await found(server)


async def test_a_key_other_than_the_confirmed_one_is_refused_whoever_signs(
    bench: Bench, tmp_path: Path
) -> None:
    async with serving(DumpServer(records=catalogue())) as server:
        confirmed = await found(server)
        server.key = other_key()
        report = await take_over(bench, confirmed, tmp_path)
    assert report.status is DumpStatus.UNUSABLE
    assert "not this key's" in report.failure
    assert not isinstance(await bench.ask(f"{PREFIX}/P0"), Found)


def test_keys_and_secrets_stand_in_no_text() -> None:
    assert "geheim" not in repr(Proof(identity=IDENTITY, key=b"geheim"))
    assert admin_key() != other_key()
