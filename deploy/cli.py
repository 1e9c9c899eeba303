"""The `handlegrid` command: finds the subcommand, and turns what went wrong into one message and an exit code.

Exit codes: 0 done, 1 denied by the authority that was asked, 2 usage or settings, 3 no answer.
"""

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final, NoReturn

import click

from deploy.commands.failure import exit_code, explain, facts
from protocol.runtime.build import version

COMMANDS: Final = {
    "up": "deploy.commands.local:up",
    "down": "deploy.commands.local:down",
    "status": "deploy.commands.local:status",
    "resolve": "deploy.commands.resolve:resolve",
    "import": "deploy.commands.records:import_",
    "org": "deploy.commands.organisation:org",
    "user": "deploy.commands.user:user",
    "apikey": "deploy.commands.apikey:apikey",
    "prefix": "deploy.commands.prefix:prefix",
    "id": "deploy.commands.identifier:identifier",
    "admin": "deploy.commands.admin:admin",
    "key": "deploy.commands.key:key",
    "neighbour": "deploy.commands.neighbour:neighbour",
    "audit": "deploy.commands.audit:audit",
    "nodekey": "deploy.commands.nodekey:nodekey",
    "lookups": "deploy.commands.lookups:lookups",
    "node": "deploy.commands.daemons:node",
    "resolver": "deploy.commands.daemons:resolver",
    "config": "deploy.commands.config:config",
}
"""Where each subcommand is; only the one that is called is imported, since some take a second to load."""


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of their use, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one subcommand; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command), cmd_name
        return command


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="handlegrid", message="%(prog)s %(version)s")
def handlegrid() -> None:
    """Identifier resolution on the Handle System's protocol: run nodes, register, import, resolve."""


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a record in a script that the terminal lacks is no failure
    try:
        code = handlegrid.main(prog_name="handlegrid", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        _tell_machine(error.format_message(), {})
        sys.exit(error.exit_code)
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        click.echo(f"handlegrid: {message}", err=True)
        _tell_machine(message, facts(error))
        sys.exit(exit_code(error))
    sys.exit(code if isinstance(code, int) else 0)


def _tell_machine(cause: str, more: Mapping[str, Any]) -> None:
    """Repeat a failure as JSON on standard output, for who asked for JSON."""
    if "--json" in sys.argv[1:]:
        click.echo(json.dumps({"failure": {"cause": cause, **more}}, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
