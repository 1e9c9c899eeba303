"""`handlegrid admin batch`: a batch file in the syntax of deployed tools, to the end or to where it can go on."""

import asyncio
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from deploy.batch.files import Files
from deploy.batch.report import FailedFile, Report
from deploy.batch.run import FAULTS_SHOWN, Batch, survey_batch
from deploy.commands.admin_access import Access, Connections, admin_command
from deploy.commands.failure import CommandFailed, ExitCode
from deploy.commands.key import key_in
from deploy.commands.options import SETTINGS_FILE, echo_json
from deploy.commands.saving import SAVE_FILE, check_new
from deploy.commands.text import printable

INTERRUPTED: Final = 130  # as shells have it


@click.command(short_help="Carry out a batch file.")
@click.argument("file", type=SETTINGS_FILE)
@click.option(
    "--from-line",
    type=click.IntRange(1),
    default=1,
    help="Pass over operations before this line; AUTHENTICATE and SESSIONSETUP count all the same.",
)
@click.option(
    "--failed", type=SAVE_FILE, help="New file for operations that were refused, as a batch of its own."
)
@click.option(
    "--files",
    "directories",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory whose files FILE lines may send, beside the batch's own; may be repeated.",
)
@click.option("--check", is_flag=True, help="Check the syntax, and send nothing.")
@admin_command
def batch(
    *,
    access: Access,
    file: Path,
    from_line: int,
    failed: Path | None,
    directories: tuple[Path, ...],
    check: bool,
) -> int:
    """Carry out the batch FILE: CREATE, ADD, MODIFY, REMOVE, DELETE, HOME, UNHOME, AUTHENTICATE, SESSIONSETUP.

    \b
    AUTHENTICATE PUBKEY:300:0.NA/88.1
    admpriv.bin|passphrase

    \b
    CREATE 88.1/pump
    100 HS_ADMIN 86400 1110 ADMIN 300:111111111111:0.NA/88.1
    1 URL 86400 1110 UTF8 https://example.com/pump

    Its syntax is checked before anything is sent. What a server refuses is noted, and the batch goes on; when a server
    does not answer, it stops and says from which line to go on. Writes go within one encrypted session with each server
    unless --no-session or SESSIONSETUP say otherwise. Without AUTHENTICATE, --as says who you are.

    Exit code: 0 all is done, 1 some was refused, 2 the batch or a file cannot be used, 3 stopped without an answer.
    """
    if failed is not None:
        check_new(failed, remedy="name another one with --failed")
    count = _survey(file)
    if check:
        click.echo(f"{file}: {count:,} operations, no fault")
        return ExitCode.DONE
    if access.in_sessions is None:
        access = replace(access, in_sessions=True)
    plan = _Plan(file, count, from_line, failed, directories)
    report, interrupted = _carry_out(access, plan)
    if access.as_json:
        echo_json(report.to_json())
    else:
        click.echo(printable(report.to_text()))
    return INTERRUPTED if interrupted else _exit_code(report)


def _exit_code(report: Report) -> ExitCode:
    if report.stopped_line is not None:
        return ExitCode.USAGE if report.is_unusable else ExitCode.NO_ANSWER
    return ExitCode.DENIED if report.refused else ExitCode.DONE


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done."""

    file: Path
    count: int
    from_line: int
    failed: Path | None
    directories: tuple[Path, ...]


def _survey(file: Path) -> int:
    """The number of operations. Raises CommandFailed that names what is wrong."""
    with file.open("rb") as stream:
        count, faults = survey_batch(stream)
    if not faults:
        return count
    rows = [f"line {fault.line}: {fault.message}" for fault in faults]
    more = ["there may be more"] if len(faults) == FAULTS_SHOWN else []
    facts = {"faults": [{"line": fault.line, "cause": fault.message} for fault in faults]}
    text = "\n  ".join([f"{file} is no batch that can be carried out; nothing was sent:", *rows, *more])
    raise CommandFailed(printable(text), ExitCode.USAGE, facts)


def _carry_out(access: Access, plan: _Plan) -> tuple[Report, bool]:
    """What came of a batch, and whether somebody interrupted it."""
    identity, report = access.load_identity(), Report()
    failed = None if plan.failed is None else FailedFile(plan.failed)

    async def all_of_it() -> None:
        async with Connections(access) as connections:
            shown = sys.stderr.isatty()
            with (
                plan.file.open("rb") as stream,
                click.progressbar(length=plan.count, show_pos=True, file=sys.stderr, hidden=not shown) as bar,
            ):
                batch = Batch(
                    report,
                    connections.connect,
                    key_in,
                    directory=plan.file.parent,
                    files=Files([plan.file.parent, *plan.directories]),
                    identity=identity,
                    sessions=access.sessions,
                    from_line=plan.from_line,
                    failed=failed,
                )
                await batch.run(stream, lambda: bar.update(1))

    try:
        asyncio.run(all_of_it())
    except KeyboardInterrupt:
        return report, True
    finally:
        if failed is not None:
            failed.close()
    return report, False
