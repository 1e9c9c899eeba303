"""Initialisation: from an empty database and directory to a node, and again without changing anything."""

import asyncio
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from protocol.errors import SettingsError, StoreUnavailable
from protocol.handle import Handle, Prefix
from protocol.site import InterfaceProtocol, Site
from protocol.valuetypes import PublicKey
from registry.initialise import administrator_of, initialise
from registry.node import open_node
from registry.outcomes import Created, Found
from tests.integration.registry.bench import creation, url
from tests.integration.registry.node_settings import TestSettings
from tests.support.postgres import TestPostgres


@pytest.fixture
def settings(scratch: Path, empty_database: str) -> TestSettings:
    """Give the settings of a node that was never started."""
    return TestSettings(data_dir=scratch / "node", database=empty_database)


async def test_a_new_node_gets_its_keys_and_its_administrator(settings: TestSettings) -> None:
    async with open_node(settings, unsafe=True) as node:
        administrator = administrator_of(Prefix.parse("88.100"))
        secret = (settings.data_dir / "admin.secret").read_bytes().strip()

        assert await node.operations.authenticate(administrator, secret) == administrator
        assert await node.operations.authenticate(administrator, b"wrong") is None
        (created,) = await node.operations.create([creation("88.100/pump", url("x"))], by=administrator)
        assert isinstance(created, Created)
    for name in ("admin.secret", "node.key", "server.key"):
        assert stat.S_IMODE((settings.data_dir / name).stat().st_mode) == 0o600


async def test_the_site_record_tells_addresses_interfaces_and_key(settings: TestSettings) -> None:
    site = await initialise(settings, unsafe=True)

    (server,) = site.servers
    assert str(server.ip) == "192.0.2.7"
    assert [interface.protocol for interface in server.interfaces] == [
        InterfaceProtocol.TCP, InterfaceProtocol.UDP, InterfaceProtocol.HTTP,
    ]  # fmt: skip
    assert PublicKey.decode(server.public_key).rsa().key_size == 2_048
    assert (site.primary, site.serial) == (True, 1)
    assert Site.decode(site.encode()) == site


async def test_starting_again_changes_nothing_and_a_changed_site_gets_the_next_serial(
    settings: TestSettings,
) -> None:
    first = await initialise(settings, unsafe=True)
    files = {path.name: path.read_bytes() for path in settings.data_dir.glob("*.[ks]e*")}
    again = await initialise(settings, unsafe=True)
    moved = await initialise(replace(settings, address="192.0.2.8"), unsafe=True)

    assert again == first
    assert (moved.serial, str(moved.servers[0].ip)) == (2, "192.0.2.8")
    assert {path.name: path.read_bytes() for path in settings.data_dir.glob("*.[ks]e*")} == files


async def test_a_root_publishes_its_own_prefix_record(settings: TestSettings) -> None:
    root = replace(settings, homes=("0.0", "0.NA"))
    await initialise(root, unsafe=True)
    site = await initialise(replace(root, address="192.0.2.9"), unsafe=True)

    async with open_node(replace(root, address="192.0.2.9"), unsafe=True) as node:
        answer = await node.operations.resolve(Handle.parse("0.NA/0.NA"))

    assert isinstance(answer, Found)
    values = {value.type: value for value in answer.values}
    assert Site.decode(values["HS_SITE"].data) == site
    assert site.serial == 2
    assert "HS_ADMIN" in values


async def test_two_starters_make_one_node(settings: TestSettings) -> None:
    sites = await asyncio.gather(*(initialise(settings, unsafe=True) for _ in range(3)))

    assert len({site.encode() for site in sites}) == 1


async def test_a_lost_or_foreign_node_key_stops_the_start(settings: TestSettings) -> None:
    await initialise(settings, unsafe=True)
    key = settings.sealing_key_file()
    right = key.read_bytes()

    key.unlink()
    with pytest.raises(SettingsError, match=r"cannot read .*node\.key"):
        await initialise(settings, unsafe=True)
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    with pytest.raises(SettingsError, match="not the key"):
        await initialise(settings, unsafe=True)
    key.write_bytes(right)
    key.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        await initialise(settings, unsafe=True)


async def test_a_forgetful_database_is_refused_before_anything_is_written(settings: TestSettings) -> None:
    with pytest.raises(SettingsError, match="--unsafe"):
        await initialise(settings)
    assert not settings.sealing_key_file().exists()


async def test_a_durable_database_needs_no_leave(own_postgres: TestPostgres, scratch: Path) -> None:
    settings = TestSettings(data_dir=scratch / "node", database=own_postgres.empty_database())
    assert (await initialise(settings)).serial == 1


async def test_a_database_that_is_not_there_is_an_outage(settings: TestSettings) -> None:
    with pytest.raises(StoreUnavailable):
        await initialise(replace(settings, database="postgresql://nobody@127.0.0.1:1/nothing"))


async def test_a_deleted_administrator_does_not_come_back(settings: TestSettings) -> None:
    administrator = administrator_of(Prefix.parse("88.100"))
    async with open_node(settings, unsafe=True) as node:
        await node.operations.delete([administrator.handle], by=administrator)
    async with open_node(settings, unsafe=True) as node:
        assert not isinstance(await node.operations.resolve(administrator.handle), Found)
