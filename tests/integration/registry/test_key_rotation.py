"""Rotation of the node key on a real database: everything is sealed again, whatever happens on the way."""

import ast
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import SettingsError
from protocol.handle import Handle
from protocol.value import HandleValue, ValueList
from registry import resealing
from registry.accounts.people import People
from registry.accounts.person import Purpose
from registry.api.idempotency import Idempotency, claim_of
from registry.api.respond import stored_response
from registry.key_rotation import KeyRotation, RotationRefused
from registry.node import Node, open_node
from registry.node_keys import load_node_keys
from registry.outcomes import COMMAND, OPERATOR
from registry.resealing import TABLES, Resealed, remaining, tally
from registry.seal import SealBroken
from tests.integration.registry.bench import creation, secret, url
from tests.integration.registry.node_settings import TestSettings
from tests.support.tree import python_files, relative

SECRETS = 1_200
"""More than two transactions of a pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """A node with secrets everywhere."""

    node: Node
    settings: TestSettings
    person: str

    @property
    def path(self) -> Path:
        return self.settings.sealing_key_file()

    @property
    def rotation(self) -> KeyRotation:
        return KeyRotation(self.node.operations, self.path, settle_s=0)

    async def rotate(self, **how: Any) -> tuple[int, Resealed]:
        return await self.rotation.rotate(lambda _: None, **how)

    async def secret_of(self, name: str, node: Node | None = None) -> bytes:
        values = await (node or self.node).operations.context.read_record(Handle.parse(name))
        assert values is not None
        return HandleValue.decode(values[300]).data

    async def rows(self) -> list[Any]:
        """Everything of the handles but what is sealed."""
        async with self.node.store.connection() as connection:
            handles = await connection.fetch(
                "SELECT key, public_values, version, changed_ms FROM handles ORDER BY key"
            )
            versions = await connection.fetch(
                "SELECT key, version, ended_ms FROM handle_versions ORDER BY key, version"
            )
            log = await connection.fetch("SELECT key, version FROM transaction_log ORDER BY entry, position")
        return [*handles, *versions, *log]


@asynccontextmanager
async def a_vault(settings: TestSettings) -> AsyncIterator[Vault]:
    async with open_node(settings, unsafe=True) as node:
        items = [creation(f"88.100/S-{n:04}", url("u"), secret(f"hush {n}")) for n in range(SECRETS)]
        await node.operations.create(items, by=OPERATOR)
        again = creation("88.100/S-0007", url("new"), secret("hush anew"))
        await node.operations.create([again], by=OPERATOR, replace=True)
        sealer = node.operations.context.sealer
        answers, people = Idempotency(node.store, sealer), People(sealer)
        async with node.operations.transaction(COMMAND) as tx:
            person = await people.register(
                tx, organisation=None, purpose=Purpose.CONTACT, fields={"name": "韩梅梅", "mobile": "138"}
            )
            claim = claim_of("key-of-a-request", caller="usr_1", method="POST", raw_target="/", body=b"")
            answers.keep(tx, claim, stored_response(201, {}, b"hg_live_hush"), secret=True)
            other = claim_of("key-of-another", caller="usr_1", method="POST", raw_target="/", body=b"")
            answers.keep(tx, other, stored_response(200, {}, b""), secret=False)
        yield Vault(node=node, settings=settings, person=person)


@pytest.fixture
async def vault(scratch: Path, database: str) -> AsyncIterator[Vault]:
    async with a_vault(TestSettings(data_dir=scratch / "node", database=database)) as made:
        yield made


async def test_everything_is_sealed_again_and_nothing_else_changes(vault: Vault) -> None:
    before = await vault.rows()
    assert {table.name for table in TABLES} == (await tally(vault.node.store))[1].keys()

    number, state = await vault.rotate()

    counts = (await tally(vault.node.store)).pop(2)
    assert counts == {
        "handles": SECRETS + 1,
        "handle_versions": 1,
        "personal_fields": 2,
        "idempotency_keys": 1,
        "node": 1,
    }
    assert (number, state.done, state.total) == (2, sum(counts.values()), sum(counts.values()))
    assert (state.held, state.broken) == (0, set())
    assert [row for row in await vault.rows() if row not in before][1:] == []  # the act itself aside
    assert await vault.rotation.retire() == (1,)
    assert sorted(load_node_keys(vault.path).keys) == [2]
    assert vault.path.stat().st_mode & 0o777 == 0o600
    async with open_node(vault.settings, unsafe=True) as reopened:
        assert await vault.secret_of("88.100/S-0007", reopened) == b"hush anew"
        assert await vault.secret_of("88.100/S-1199", reopened) == b"hush 1199"
        async with reopened.store.connection() as connection:
            people = People(reopened.operations.context.sealer)
            read = await people.read(connection, vault.person)
            (version,) = await connection.fetch("SELECT * FROM handle_versions")
            kept = await connection.fetchval("SELECT body FROM idempotency_keys WHERE sealed")
            acts = await connection.fetch(
                "SELECT action, detail FROM audit_log WHERE action LIKE 'node_key%' ORDER BY id"
            )
    assert {field.field: field.value for field in read} == {"name": "韩梅梅", "mobile": "138"}
    sealer = reopened.operations.context.sealer
    old = ValueList(version["restricted_values"], 1)
    (value,) = sealer.open(version["key"], old)
    assert HandleValue.decode(value).data == b"hush 7"
    assert sealer.open_octets(b"idempotency/usr_1/key-of-a-request", kept) == b"hg_live_hush"
    assert [tuple(act) for act in acts] == [
        ("node_key.rotate", '{"key":2}'),
        ("node_key.retire", '{"key":1}'),
    ]


async def test_a_pass_that_ends_in_the_middle_goes_on_and_nothing_is_lost(vault: Vault) -> None:
    class PowerCut(Exception):
        pass

    def cut(state: Resealed) -> None:
        if state.done:
            raise PowerCut

    with pytest.raises(PowerCut):
        await vault.rotation.rotate(cut)
    left = await remaining(vault.node.store, 1)
    assert 0 < left < SECRETS
    async with open_node(vault.settings, unsafe=True) as reopened:
        for n in (0, 600, SECRETS - 1):
            assert await vault.secret_of(f"88.100/S-{n:04}", reopened) == f"hush {n}".encode()
    with pytest.raises(RotationRefused, match=f"{left:,} rows are sealed with key 1"):
        await vault.rotation.retire()

    number, state = await vault.rotate()

    assert (number, state.done) == (2, left)
    assert await vault.rotation.retire() == (1,)
    assert await vault.rotation.retire() == ()


async def test_a_node_that_runs_seals_with_the_new_key_and_reads_with_both(vault: Vault) -> None:
    async with open_node(vault.settings, unsafe=True) as daemon:
        wrote: list[int] = []

        async def write(n: int) -> None:
            item = creation(f"88.100/DURING-{n}", secret(f"meanwhile {n}"))
            await daemon.operations.create([item], by=OPERATOR)
            wrote.append(n)

        await write(0)
        await vault.rotate()
        assert await vault.secret_of("88.100/S-0000", daemon) == b"hush 0", "a number it had not heard of"
        await write(1)
        assert await remaining(vault.node.store, 1) == 0
        assert await vault.secret_of("88.100/DURING-0", daemon) == b"meanwhile 0"
        assert await vault.secret_of("88.100/DURING-1") == b"meanwhile 1"
        await vault.rotation.retire()
        assert await vault.secret_of("88.100/S-0001", daemon) == b"hush 1"


async def test_rows_that_others_hold_are_passed_over_and_told(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "ROUNDS_MAX", 2)
    monkeypatch.setattr(resealing, "ROUND_PAUSE_S", 0)
    async with vault.node.store.connection() as other:
        async with other.transaction():
            await other.execute("SELECT FROM handles WHERE name = '88.100/S-0003' FOR UPDATE")
            monkeypatch.setattr("registry.key_rotation.is_drained", _at_once)

            _, state = await vault.rotate()

            assert state.held == await remaining(vault.node.store, 1) == 1
        _, state = await vault.rotate()
    assert (state.done, state.held) == (1, 0)


async def _at_once(*_: object) -> bool:
    return True


async def test_a_row_that_does_not_open_is_told_and_keeps_the_old_key(vault: Vault) -> None:
    async with vault.node.store.connection() as connection:
        await connection.execute("UPDATE handles SET key = key || 'X' WHERE name = '88.100/S-0003'")

    _, state = await vault.rotate()

    assert state.broken == {("handles", b"88.100/S-0003X")}
    assert (state.held, await remaining(vault.node.store, 1)) == (0, 1)
    with pytest.raises(RotationRefused, match="key 1"):
        await vault.rotation.retire()
    assert (await vault.rotate())[0] == 2, "it is still the same rotation"
    number, _ = await vault.rotate(new_key=True)
    assert number == 3
    assert (await tally(vault.node.store)).keys() == {1, 3}


async def test_a_prepared_key_opens_everywhere_before_it_seals(vault: Vault) -> None:
    assert await vault.rotation.prepare() == await vault.rotation.prepare() == 2
    assert (await tally(vault.node.store)).keys() == {1}
    assert load_node_keys(vault.path).seals == 1

    number, _ = await vault.rotate()

    assert number == 2
    shown = await vault.rotation.show()
    assert [(key["key"], key["in_file"], bool(key["rows"])) for key in shown["keys"]] == [
        (1, True, False),
        (2, True, True),
    ]


async def test_two_rotations_do_not_run_at_once(vault: Vault) -> None:
    async with vault.rotation._alone():
        for act in (vault.rotate(), vault.rotation.retire(), vault.rotation.prepare()):
            with pytest.raises(RotationRefused, match="another process"):
                await act


async def test_the_key_file_of_another_time_is_refused_at_the_start(vault: Vault) -> None:
    old = vault.path.read_bytes()
    await vault.rotate()
    vault.path.write_bytes(old)

    with pytest.raises(SettingsError, match="not the key"):
        async with open_node(vault.settings, unsafe=True):
            pass
    with pytest.raises(SealBroken, match="lacks"):
        async with vault.node.store.connection() as connection:
            await People(type(vault.node.operations.context.sealer).of_file(vault.path)).read(
                connection, vault.person
            )


async def test_the_database_reads_the_number_where_the_sealer_writes_it(vault: Vault) -> None:
    sealer = vault.node.operations.context.sealer
    async with vault.node.store.connection() as connection:
        for kind in ("U", "URL", "X" * 255, "é" * 80, "X" * 300):
            value = HandleValue(index=7, type=kind, data=b"", permissions=0x0C)
            sealed = sealer.seal(b"88.100/K", [value.encode()]).octets
            assert await connection.fetchval("SELECT sealing_key($1)", sealed) == 1
            for cut in (*range(23), len(kind.encode()) + 21):
                assert await connection.fetchval("SELECT sealing_key($1)", sealed[:cut]) in {0, 1}
        assert await connection.fetchval("SELECT sealing_key($1)", b"\xff" * 200) == 0


def test_whoever_seals_has_a_place_where_it_is_sealed_again() -> None:
    """What is new here belongs into TABLES."""
    sealing = {
        relative(path)
        for path in python_files("registry")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"seal", "seal_octets"}
    }
    assert sealing == {
        "registry/accounts/people.py",  # personal_fields
        "registry/api/idempotency.py",  # idempotency_keys
        "registry/creation.py",  # handles
        "registry/initialise.py",  # node
        "registry/peers/intake.py",  # handles, handle_versions
        "registry/resealing.py",
        "registry/rows.py",  # handles, and from there handle_versions
    }
