"""Delegation: allocated on the parent's node, carried as a file, accepted on the child's."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from protocol.errors import SettingsError
from protocol.handle import Handle, Prefix
from protocol.site import Site, single_server_site
from protocol.value import HandleValue, ValueList
from protocol.valuetypes import PublicKey
from registry.delegation import (
    AllocationRefused,
    accept,
    allocate,
    check_addressee,
    read_authorisation,
    write_authorisation,
)
from registry.initialise import administrator_of
from registry.outcomes import Created, Found, Identity, Referred, Rejected, Replaced
from tests.integration.registry.bench import STRANGER, Bench, admin, creation, url

CHILD = Prefix.parse("88.100.5")
KEY = PublicKey(b"RSA_PUB_KEY", (65_537, 1 << 2_047 | 1))


def site(serial: int = 1, key: PublicKey = KEY) -> Site:
    return single_server_site(
        addresses=("192.0.2.5",),
        tcp_port=2_641,
        udp_port=2_641,
        http_port=8_000,
        https=False,
        primary=True,
        public_key=key.encode(),
        serial=serial,
    )


async def test_allocating_makes_the_prefix_resolvable(bench: Bench) -> None:
    authorisation = await allocate(bench.operations, CHILD, site())

    assert authorisation.is_new
    record = await bench.ask("0.NA/88.100.5")
    assert isinstance(record, Found)
    assert [value.type for value in record.values] == ["HS_SITE", "HS_SITE.PREFIX", "HS_ADMIN", "HS_VLIST"]
    assert record.values == authorisation.values
    assert isinstance(await bench.ask("88.100.5/pump"), Referred)


async def test_allocating_again_renews_the_site_and_keeps_the_rest(bench: Bench) -> None:
    await allocate(bench.operations, CHILD, site())
    await bench.put("0.NA/88.100.5", HandleValue(index=7, type="EMAIL", data=b"plant@example.org"))

    renewed = await allocate(bench.operations, CHILD, site(serial=2))

    assert not renewed.is_new
    values = {value.index: value for value in await bench.values("0.NA/88.100.5")}
    assert Site.decode(values[1].data).serial == 2
    assert Site.decode(values[2].data).serial == 2
    assert set(values) == {1, 2, 7, 100, 200}


async def test_a_prefix_that_is_not_below_ours_is_refused(bench: Bench) -> None:
    with pytest.raises(AllocationRefused, match="does not home"):
        await allocate(bench.operations, Prefix.parse("99.1"), site())


async def test_a_prefix_below_a_delegated_one_is_refused(bench: Bench) -> None:
    await allocate(bench.operations, CHILD, site())
    with pytest.raises(AllocationRefused, match="delegated"):
        await allocate(bench.operations, Prefix.parse("88.100.5.9"), site())


async def test_an_accepted_prefix_is_homed_at_once_and_its_administrator_may_create(
    bench: Bench, scratch: Path
) -> None:
    path = scratch / "88.100.5.json"
    write_authorisation(path, await allocate(bench.operations, CHILD, site()))
    assert isinstance(await bench.ask("88.100.5/pump"), Referred)

    first = await accept(bench.operations, read_authorisation(path))
    again = await accept(bench.operations, read_authorisation(path))

    assert (first, again) == (True, False)
    assert sorted(await bench.log()) == [(b"0.NA/88.100.5", 1, 1), (b"0.NA/88.100.5", 4, 1)]
    (result,) = await bench.operations.create(
        [creation("88.100.5/pump", url("x"))], by=administrator_of(CHILD)
    )
    assert isinstance(result, Created)


async def test_a_prefix_of_another_node_is_not_accepted_by_mistake(bench: Bench) -> None:
    authorisation = await allocate(bench.operations, CHILD, site())

    check_addressee(authorisation, site(serial=9))
    with pytest.raises(SettingsError, match=r"another node, the one at 192\.0\.2\.5"):
        check_addressee(authorisation, site(key=PublicKey(b"RSA_PUB_KEY", (65_537, 1 << 2_047 | 3))))


async def test_another_administrator_can_be_named(bench: Bench) -> None:
    host = Identity(index=301, handle=Handle.parse("88.100/HOST"))
    authorisation = await allocate(bench.operations, CHILD, site(), administrator=host)
    await accept(bench.operations, authorisation)

    (result,) = await bench.operations.create([creation("88.100.5/pump", url("x"))], by=host)

    assert isinstance(result, Created)


async def test_the_prefix_record_is_a_group_of_its_administrators(bench: Bench) -> None:
    """The default administrator that pyhandle writes into what it registers is 200:0.NA/<prefix>."""
    authorisation = await allocate(bench.operations, CHILD, site())
    await accept(bench.operations, authorisation)
    group = admin(Identity(index=200, handle=CHILD.record))
    await bench.create("88.100.5/pump", url("x"), group)

    changed = await bench.put("88.100.5/pump", url("y"), by=administrator_of(CHILD))
    refused = await bench.put("88.100.5/pump", url("z"), by=STRANGER)

    assert isinstance(changed, Replaced)
    assert isinstance(refused, Rejected)


async def test_the_file_holds_what_was_handed_over(bench: Bench, scratch: Path) -> None:
    path = scratch / "file.json"
    authorisation = await allocate(bench.operations, CHILD, site())
    write_authorisation(path, authorisation)

    read = read_authorisation(path)

    assert read.prefix == CHILD
    unstamped = ValueList.of([replace(value, timestamp=0) for value in authorisation.values])
    assert ValueList.of([replace(value, timestamp=0) for value in read.values]) == unstamped


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "something"}, "no authorisation file"),
        ({"version": 2}, "version 2"),
        ({"prefix": 7}, "must be texts"),
        ({"prefix": "88.100.6"}, "not of 0.NA/88.100.6"),
        ({"prefix": "88..6"}, "no prefix"),
        ({"record": None}, "must be texts"),
        ({"record": {"handle": "0.NA/88.100.5", "values": []}}, "at least one value"),
        (
            {"record": {"handle": "0.NA/88.100.5", "values": [{"index": 1, "type": "URL", "data": "x"}]}},
            "HS_ADMIN",
        ),
    ],
)
async def test_a_file_that_says_something_else_is_refused(
    bench: Bench, scratch: Path, change: dict[str, object], words: str
) -> None:
    path = scratch / "file.json"
    write_authorisation(path, await allocate(bench.operations, CHILD, site()))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(SettingsError, match=words):
        read_authorisation(path)


@pytest.mark.parametrize("octets", [b"", b"{", b"\xff", b"[" * 100_000, b" " * 1_048_577])
def test_what_is_no_file_of_ours_is_refused(scratch: Path, octets: bytes) -> None:
    path = scratch / "file.json"
    path.write_bytes(octets)
    with pytest.raises(SettingsError):
        read_authorisation(path)


def test_a_missing_file_is_named(scratch: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        read_authorisation(scratch / "nowhere.json")


async def test_only_the_operator_and_the_prefix_may_delegate(bench: Bench) -> None:
    stranger = Identity(index=300, handle=Handle.parse("88.100/STRANGER"))
    (result,) = await bench.operations.create([creation("0.NA/88.100.5", url("x"))], by=stranger)
    assert not isinstance(result, Created)
