"""`handlegrid audit verify`: what it prints, and how it ends."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import asyncpg
import pytest

from deploy import cli
from deploy.commands.audit import ProgressShown
from registry.audit.checkpoints import Checkpoints
from registry.audit.numbering import SESSION_SETTINGS
from registry.audit.verify import Progress
from tests.integration.registry.audit.history import act_out, number
from tests.integration.registry.bench import Bench
from tests.support.postgres import run_elsewhere

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line with some words: exit code, standard output, standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["handlegrid", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


def settings_file(directory: Path, dsn: str) -> str:
    path = directory / "node.toml"
    path.write_text(f'[registry]\ndata_dir = "{directory}"\nhomes = ["88.100"]\ndatabase = "{dsn}"\n')
    return str(path)


@pytest.fixture
def node(database: str, scratch: Path) -> str:
    """Give the settings file of a node with a history whose head is noted."""

    async def fill() -> None:
        bench = await Bench.open(database, homes=("88.100",))
        await act_out(bench)
        await bench.close()
        connection = await asyncpg.connect(database, server_settings=SESSION_SETTINGS)
        head = await number(connection)
        await connection.close()
        Checkpoints(scratch / "audit.heads").note(head)

    run_elsewhere(fill)
    return settings_file(scratch, database)


def spoil(dsn: str, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(statement)
        await connection.close()

    run_elsewhere(execute)


def test_an_intact_audit_ends_with_0(run: Run, node: str) -> None:
    code, shown, _ = run("audit", "verify", "--config", node)
    assert (code, "intact up to entry 8" in shown) == (0, True), shown


def test_a_changed_entry_is_told_and_ends_with_1(run: Run, node: str, database: str) -> None:
    spoil(database, "UPDATE audit_log SET target = 'x' WHERE action = 'prefix.suspend'")
    code, shown, _ = run("audit", "verify", "--config", node)
    assert code == 1
    assert "faults: 1\n  entry_changed: entry 7" in shown


def test_an_end_that_was_cut_off_is_told_by_the_heads_in_the_data_directory(
    run: Run, node: str, database: str
) -> None:
    spoil(
        database,
        "TRUNCATE audit_log, audit_chain, transaction_log; DELETE FROM node WHERE name = 'audit_head'",
    )
    code, shown, _ = run("audit", "verify", "--config", node, "--json")
    report = json.loads(shown)
    assert (code, report["intact"], report["faults"][0]["kind"]) == (1, False, "checkpoint_differs")


def test_json_holds_the_whole_report(run: Run, node: str) -> None:
    code, shown, errors = run("audit", "verify", "--config", node, "--json")
    report = json.loads(shown)
    assert (code, errors) == (0, "")
    assert (report["intact"], report["entries"], report["faults_total"], report["waiting"]) == (True, 8, 0, 0)
    assert report["head"]["number"] == 8


def test_a_database_without_an_audit_ends_with_2(run: Run, empty_database: str, scratch: Path) -> None:
    code, _, shown = run("audit", "verify", "--config", settings_file(scratch, empty_database))
    assert (code, "it has no audit" in shown) == (2, True)


def test_a_database_that_does_not_answer_ends_with_3(run: Run, scratch: Path) -> None:
    nowhere = "postgresql://handlegrid@/handlegrid?host=/tmp/handlegrid-nowhere"
    code, _, shown = run("audit", "verify", "--config", settings_file(scratch, nowhere))
    assert (code, "does not answer" in shown) == (3, True)


def test_progress_is_a_line_now_and_then() -> None:
    shown, now_s = StringIO(), [0.0]
    progress = ProgressShown(shown, clock=lambda: now_s[0])
    for now_s[0], entries in ((1.0, 10), (5.5, 50), (6.0, 55), (11.0, 100)):
        progress.advanced(Progress(entries=entries, entries_total=100, log_rows=0, faults=entries // 100))
    progress.ended()
    assert shown.getvalue() == " 50%  entry 50 of 100\n100%  entry 100 of 100  faults: 1\n"
