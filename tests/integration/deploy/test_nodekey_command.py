"""`handlegrid nodekey`: what it prints, and how it ends."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy import cli
from registry.key_rotation import KeyRotation
from registry.node import open_node
from registry.outcomes import OPERATOR
from registry.settings import load_registry_settings
from tests.integration.registry.bench import creation, secret
from tests.support.postgres import run_elsewhere
from tests.support.processes import settings_text
from tests.support.registries import registry_settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def config(database: str, scratch: Path) -> Path:
    """Give the settings file of a node with two secrets beside that of its administrator."""
    path = scratch / "node.toml"
    path.write_text(settings_text(registry_settings(database, scratch, database_connections_max=1)))

    async def fill() -> None:
        async with open_node(load_registry_settings(path), unsafe=True) as node:
            items = [creation(f"88.1/S-{n}", secret("hush")) for n in range(2)]
            await node.operations.create(items, by=OPERATOR)

    run_elsewhere(fill)
    return path


@pytest.fixture
def run(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `handlegrid nodekey` with some words: exit code, standard output, standard error."""
    monkeypatch.setattr("deploy.commands.nodekey.KeyRotation", partial(KeyRotation, settle_s=0))

    def run(*words: str) -> tuple[int, str, str]:
        words = ("handlegrid", "nodekey", *words, "--config", str(config), "--unsafe")
        monkeypatch.setattr("sys.argv", list(words))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


def test_a_rotation_from_its_beginning_to_the_end_of_the_old_key(run: Run) -> None:
    assert run("show") == (0, "key 1 seals: 3 of handles, 1 of node\n", "")
    code, out, err = run("rotate")
    assert (code, out) == (0, "key 2 seals; 4 rows were sealed again\n")
    assert "0 of 4 rows" in err
    assert run("show")[1] == "key 1 opens: no rows\nkey 2 seals: 3 of handles, 1 of node\n"
    assert run("retire") == (0, "retired: key 1\n", "")
    assert run("retire") == (0, "there is no old key\n", "")
    assert run("show")[1] == "key 2 seals: 3 of handles, 1 of node\n"


def test_machines_are_told_the_same(run: Run) -> None:
    def told(*words: str) -> Any:
        code, out, _ = run(*words, "--json")
        assert code == 0, out
        return json.loads(out)

    assert told("prepare") == {"prepared": 2}
    assert told("rotate") == {"seals": 2, "resealed": 4, "held": 0, "broken": []}
    assert told("retire") == {"retired": [1]}
    assert told("show") == {
        "seals": 2,
        "keys": [{"key": 2, "in_file": True, "rows": {"handles": 3, "node": 1}}],
    }


def test_a_refusal_says_why_and_is_an_exit_code(run: Run, config: Path) -> None:
    async def spoil() -> None:
        async with (
            open_node(load_registry_settings(config), unsafe=True) as node,
            node.store.connection() as connection,
        ):
            await connection.execute("UPDATE handles SET key = '88.1/OTHER' WHERE name = '88.1/S-1'")

    run_elsewhere(spoil)
    code, out, err = run("rotate")
    assert (code, out) == (1, "key 2 seals; 3 rows were sealed again\n")
    assert "does not open: handles: 88.1/OTHER" in err
    code, out, _ = run("retire", "--json")
    assert code == 1
    assert "1 rows are sealed with key 1" in json.loads(out)["failure"]["cause"]
