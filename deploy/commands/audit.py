"""`handlegrid audit`: its commands; of them the one that verifies the audit of a node on this machine."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

import click

from deploy.commands import audit_log
from deploy.commands.failure import ExitCode
from deploy.commands.options import (
    config_option,
    echo_json,
    home_option,
    json_option,
    node_option,
    settings_of,
)
from registry.audit.verify import Progress, verify_node
from registry.settings import load_registry_settings

LINE_INTERVAL_S: Final = 5.0
BAR_INTERVAL_S: Final = 0.2
_ERASE_LINE: Final = "\r\x1b[K"


@click.group(short_help="List and verify the audit.")
def audit() -> None:
    """The log of everything that was ever done: `verify` runs on the node's own host, the others ask its API."""


for command in audit_log.COMMANDS:
    audit.add_command(command)


@audit.command(name="verify", short_help="Look for changed or missing rows.")
@config_option
@node_option
@home_option
@json_option
def verify_(*, config: Path | None, node: str | None, home: Path, as_json: bool) -> ExitCode:
    """Compute the whole audit again, and tell every entry that was changed, removed, swapped or inserted.

    Runs on the host of the node, which may be running; changes nothing. Heads of the chain that the node noted in
    its data directory (audit.heads) are compared too: they show a chain that was made anew, or whose end was cut off.

    Exit code: 0 intact, 1 something is wrong, 2 the settings cannot be used, 3 the database does not answer.
    """
    settings = load_registry_settings(settings_of(config, node, home))
    show = ProgressShown(sys.stderr)
    try:
        report = asyncio.run(verify_node(settings, show.advanced))
    finally:
        show.ended()
    if as_json:
        echo_json(report.to_json())
    else:
        click.echo(report.to_text())
    return ExitCode.DONE if report.intact else ExitCode.DENIED


class ProgressShown:
    """How far a verification is: one line drawn over itself on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_drawn = stream.isatty()
        self._due_s = 0.0 if self._is_drawn else clock() + LINE_INTERVAL_S

    def advanced(self, progress: Progress) -> None:
        """Show how far it is, if that is due."""
        now_s = self._clock()
        if now_s < self._due_s:
            return
        self._due_s = now_s + (BAR_INTERVAL_S if self._is_drawn else LINE_INTERVAL_S)
        line = describe(progress)
        self._stream.write(_ERASE_LINE + line if self._is_drawn else line + "\n")
        self._stream.flush()

    def ended(self) -> None:
        """Leave a clean line to the report."""
        if self._is_drawn:
            self._stream.write(_ERASE_LINE)
            self._stream.flush()


def describe(progress: Progress) -> str:
    """How far a verification is, as text."""
    share = progress.entries / progress.entries_total if progress.entries_total else 1.0
    text = f"{min(share, 1.0):4.0%}  entry {progress.entries:,} of {progress.entries_total:,}"
    return f"{text}  faults: {progress.faults:,}" if progress.faults else text
