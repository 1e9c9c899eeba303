"""The command line: help and version, and a message with an exit code for whatever a person gets wrong."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from deploy import cli
from deploy.commands.daemons import node
from deploy.commands.failure import CommandFailed, ExitCode, exit_code, explain, facts
from deploy.commands.resolve import Outcome, describe_failure, parse_handle, parse_server
from deploy.commands.text import printable
from deploy.local.processes import LocalError
from protocol.client import Denied, Found
from protocol.errors import ResolutionFailed, SettingsError, StoreUnavailable
from protocol.handle import Handle, Prefix
from protocol.value import HandleValue, ValueList

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command line with some words: exit code, standard output, standard error."""
    monkeypatch.setenv("HANDLEGRID_HOME", str(tmp_path / "home"))

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["handlegrid", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(run: Run, name: str) -> None:
    code, shown, _ = run(name, "--help")
    assert code == 0
    assert shown.startswith(f"Usage: handlegrid {name}")
    assert not shown.rstrip().endswith("...")


def test_help_lists_every_command_whole(run: Run) -> None:
    _, shown, _ = run("--help")
    assert all(f"\n  {name} " in shown for name in cli.COMMANDS)
    assert "..." not in shown.partition("Commands:")[2]


def _commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands(found, (*path, name))


def test_every_command_says_what_it_does_and_shows_it_whole_in_lists() -> None:
    for path, command in _commands(cli.handlegrid):
        assert command.help, path
        short = command.get_short_help_str(limit=200)
        assert not path or len(short) <= 48, f"{path}: {short!r} is cut in a list of commands"


def test_every_command_of_the_api_has_the_options_that_its_group_explains() -> None:
    asking = [
        (path, {option for parameter in command.params for option in parameter.opts})
        for path, command in _commands(cli.handlegrid)
        if any("--url" in parameter.opts for parameter in command.params)
    ]
    assert len(asking) > 60
    for path, options in asking:
        assert options >= {"--url", "--ca-file", "--node", "--home", "--json"}, path
        assert "--key-file" in options or path == ("user", "sign-in"), path
        assert ("--dry-run" in options) == ("--idempotency-key" in options), path


def test_the_version_is_told(run: Run) -> None:
    code, shown, _ = run("--version")
    assert code == 0
    assert shown.startswith("handlegrid ")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ressolve"], 2, "No such command"),
        (["resolve"], 2, "Missing argument"),
        (["resolve", "88.100.1/x", "--sever", "127.0.0.1"], 2, "--server"),
        (["resolve", "88.100.1/x", "--server", "127.0.0.1:0"], 2, "1 to 65535"),
        (["resolve", "x" * 3000, "--server", "127.0.0.1"], 2, "is no handle"),
        (["resolve", "88.100.1/x"], 3, "handlegrid up"),
        (["resolve", "88.100.1/x", "--certified", "--server", "127.0.0.1"], 2, "begins at the root"),
        (["resolve", "88.100.1/x", "--unsigned", "88"], 2, "exception from --certified"),
        (["resolve", "88.100.1/x", "--certified", "--unsigned", "8..8"], 3, "handlegrid up"),
        (["resolve", "88.100.1/x", "--root", "/tmp/handlegrid-none"], 2, "does not exist"),
        (["node", "/tmp/handlegrid-none.toml"], 2, "does not exist"),
        (["import", "rows.csv"], 2, "--config FILE"),
        (["import", "rows.csv", "--node", "88"], 3, "handlegrid up"),
        (["prefix", "allocate", "88.100", "--node", "88"], 2, "--address or --site"),
        (["up", "--home", "/proc/none"], 3, "HANDLEGRID_HOME"),
        (["org", "list"], 2, "--url URL"),
        (["org", "list", "--url", "https://node.example"], 2, "--key-file FILE"),
        (
            ["org", "list", "--url", "node.example", "--key-file", "/tmp/handlegrid-none"],
            2,
            "cannot read the key",
        ),
        (["org", "list", "--node", "88"], 3, "handlegrid up"),
        (["org", "review", "org_a", "--node", "88"], 3, "handlegrid up"),
        (["user", "add", "--role", "king"], 2, "enterprise_administrator"),
        (["apikey", "create", "a", "--right", "everything"], 2, "identifier:write"),
        (["apikey", "operator"], 2, "--config FILE"),
        (["id", "register", "--url", "https://node.example"], 2, "--key-file FILE"),
        (["prefix", "move", "88.100.7", "--to", "nowhere"], 2, "delegated"),
        (["neighbour", "enrol"], 2, "Missing argument"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(run: Run, words: list[str], code: int, said: str) -> None:
    ended, _, shown = run(*words)
    assert (ended, said in shown) == (code, True), shown


def test_a_scheme_in_front_of_a_handle_is_no_part_of_it() -> None:
    assert parse_handle("hdl:88.100.1/x") == Handle.parse("88.100.1/x")
    assert parse_handle("88.100.1/ x ") == Handle.parse("88.100.1/ x ")


def test_a_node_does_not_begin_beside_a_resolver_that_cannot(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "any.toml"
    path.write_text("[resolver]\n")
    code, _, shown = run("node", str(path), "--with-resolver", str(path))
    assert (code, "root_site_file" in shown) == (2, True)


def test_a_failure_is_json_for_who_asked_for_json(run: Run) -> None:
    code, shown, _ = run("resolve", "88.100.1/x", "--json")
    assert code == 3
    assert "handlegrid up" in json.loads(shown)["failure"]["cause"]


@pytest.mark.parametrize(
    ("status", "retry", "code"),
    [
        (400, False, ExitCode.USAGE),
        (401, False, ExitCode.DENIED),
        (403, False, ExitCode.DENIED),
        (404, False, ExitCode.DENIED),
        (409, False, ExitCode.DENIED),
        (409, True, ExitCode.NO_ANSWER),
        (422, False, ExitCode.DENIED),
        (429, True, ExitCode.NO_ANSWER),
        (429, False, ExitCode.DENIED),
        (500, False, ExitCode.NO_ANSWER),
        (503, True, ExitCode.NO_ANSWER),
    ],
)
def test_a_refusal_ends_a_command_by_what_would_help(status: int, retry: bool, code: ExitCode) -> None:
    from deploy.commands.api import exit_code_of
    from registry.api.schemas.base import ProblemBody
    from registry.client import Refused

    problem = ProblemBody(
        type="/api/v1/problems/x",
        title="",
        status=status,
        detail="",
        instance="",
        request_id="",
        remedy="",
        retry=retry,
    )
    assert exit_code_of(Refused(problem)) == code


def test_what_a_command_failed_of_is_told_to_machines_with_its_facts() -> None:
    error = CommandFailed("no", ExitCode.DENIED, {"problem": {"status": 409}})
    assert (explain(error), exit_code(error), facts(error)) == ("no", 1, {"problem": {"status": 409}})
    assert facts(LocalError("taken")) == {}


def test_nothing_to_stop_is_no_failure(run: Run) -> None:
    assert run("down")[0] == 0
    assert json.loads(run("status", "--json")[1])["ready"] is False


def test_every_fault_of_a_settings_file_is_told_at_once(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "registry.toml"
    path.write_text('[registry]\nhandl_port = 1\nhttp_port = "many"\n')

    code, shown, _ = run("config", "check", str(path))

    assert code == 2
    assert "handle_port" in shown
    assert "http_port" in shown
    assert "data_dir" in shown


@pytest.mark.parametrize("content", ["no toml", "", "[other]\n", "[registry]\n[resolver]\n"])
def test_a_file_for_no_daemon_is_refused(run: Run, tmp_path: Path, content: str) -> None:
    path = tmp_path / "any.toml"
    path.write_text(content)
    assert run("config", "check", str(path))[0] == 2
    assert run("config", "show", str(path))[0] == 2


def test_a_mistyped_table_is_told_with_the_nearest_one(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "any.toml"
    path.write_text("[registy]\n")
    assert "did you mean registry?" in run("config", "check", str(path))[1]


def test_files_that_the_settings_name_are_checked_too(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "resolver.toml"
    path.write_text('[resolver]\nroot_site_file = "nowhere"\nredis_url_file = "nothing"\n')

    code, shown, _ = run("config", "check", str(path))

    assert code == 2
    assert "root_site_file: cannot read" in shown
    assert "redis_url_file" in shown


def test_a_secret_in_settings_is_not_shown(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "registry.toml"
    path.write_text(
        '[registry]\nname = "a"\nhomes = ["88"]\ndata_dir = "data"\ndatabase = "postgresql://u:hidden@h/d"\n'
    )

    _, shown, _ = run("config", "show", str(path))
    _, as_json, _ = run("config", "show", str(path), "--json")

    assert "hidden" not in shown + as_json
    assert json.loads(as_json)["homes"] == ["88"]


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("127.0.0.1", "127.0.0.1", 2641),
        ("127.0.0.1:26410", "127.0.0.1", 26410),
        ("::1", "::1", 2641),
        ("[::1]:99", "::1", 99),
        ("[::1]", "::1", 2641),
    ],
)
def test_a_server_is_named_as_people_write_it(text: str, address: str, port: int) -> None:
    assert parse_server(text) == (address, port)


@pytest.mark.parametrize("text", ["", ":1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "[::1]:²"])
def test_what_names_no_server_is_usage(text: str) -> None:
    with pytest.raises(click.UsageError):
        parse_server(text)


def test_a_failure_names_node_cause_since_and_remedy() -> None:
    failure = ResolutionFailed("no answer", node="0.NA/88", since="2026-11-20T12:00:00Z", remedy="start it")
    assert describe_failure(failure).splitlines() == [
        "no answer from 0.NA/88: no answer",
        "  failing since 2026-11-20T12:00:00Z",
        "  start it",
    ]


def test_no_line_within_a_value_looks_like_another_value() -> None:
    value = HandleValue(index=1, type="DESC", data=b"one\n    300  HS_ADMIN   forged")
    found = Found(
        handle=Handle.parse("88.1/x"), values=ValueList.of([value]), authoritative=True, site_serial=1
    )
    rows = Outcome(reply=found, hops=()).to_text().splitlines()
    assert rows == ["88.1/x", "      1  DESC       one", " " * 24 + "300  HS_ADMIN   forged"]


def test_what_was_proved_is_told() -> None:
    denied = Denied(handle=Handle.parse("88.1/x"), code=100, message="")
    proved = Outcome(reply=denied, hops=(), certified=True, unsigned=(Prefix.parse("88"),))
    assert proved.to_text().splitlines()[1:] == [
        "signed at every level, from the root bundle down, but for 88"
    ]
    assert proved.to_json()["certified"]
    failed = Outcome(reply=ResolutionFailed("no answer"), hops=(), certified=True)
    assert "signed" not in failed.to_text()
    assert "certified" not in failed.to_json()


def test_what_would_steer_a_terminal_is_replaced() -> None:
    assert printable("a\x1b[31m\r\nb中") == "a�[31m�\nb中"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError(["a: wrong"]), ExitCode.USAGE),
        (FileNotFoundError(2, "No such file or directory", "rows.csv"), ExitCode.USAGE),
        (StoreUnavailable("gone"), ExitCode.NO_ANSWER),
        (LocalError("taken"), ExitCode.NO_ANSWER),
        (OSError(98, "Address already in use"), ExitCode.NO_ANSWER),
    ],
)
def test_expected_errors_have_a_message_and_a_code(error: Exception, code: ExitCode) -> None:
    assert explain(error)
    assert exit_code(error) == code


def test_a_bug_keeps_its_traceback() -> None:
    assert explain(KeyError("x")) is None
    assert explain(AssertionError()) is None


def test_node_takes_what_the_readme_says() -> None:
    assert {option for parameter in node.params for option in parameter.opts} >= {
        "--with-resolver",
        "--unsafe",
    }
