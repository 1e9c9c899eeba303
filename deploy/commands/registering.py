"""A file of JSON Lines on its way to the API: progress on standard error, refused lines where they are wanted."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import click
import msgspec

from deploy.commands.api import Api
from deploy.commands.failure import CommandFailed, ExitCode
from deploy.commands.options import echo_json
from deploy.commands.text import printable
from registry.bulk.progress import progress_for
from registry.bulk.report import ImportCounts
from registry.client import NoAnswer, Retries
from registry.client.batches import LINE_OCTETS_MAX, RUN_KEY_CHARACTERS_MAX, Progress, Refusal, register_lines


def register_file(api: Api, file: Path, rejects: Path | None) -> ExitCode:
    """Register what a file of JSON Lines describes, - for standard input; told as a line of text, or as JSON.

    rejects: file for refused lines; None for messages on standard error. Raises CommandFailed when the node stops
    answering, with what was registered before.
    """
    if len(api.how.idempotency_key or "") > RUN_KEY_CHARACTERS_MAX:
        raise click.UsageError(
            f"--idempotency-key: of a file it has at most {RUN_KEY_CHARACTERS_MAX} characters"
        )
    began_s = time.monotonic()
    counts = ImportCounts(file_octets=None if str(file) == "-" else file.stat().st_size)
    shown = progress_for(sys.stderr)

    def advanced(progress: Progress) -> None:
        counts.created, counts.rejected = progress.registered, progress.refused
        counts.read_octets = progress.octets
        shown.advanced(counts, time.monotonic() - began_s)

    with click.open_file(str(file), "rb") as source, Rejects(rejects) as report:
        try:
            done = api.run(
                lambda client: register_lines(
                    client.identifiers,
                    _lines(source),
                    on_refusal=report,
                    on_progress=advanced,
                    run_key=api.how.idempotency_key,
                    dry_run=api.how.dry_run,
                ),
                retries=Retries(),
            )
        except NoAnswer as error:
            raise _interrupted(error, counts, api.how.idempotency_key) from None
    _tell(api, done, time.monotonic() - began_s, rejects)
    return ExitCode.DENIED if done.refused else ExitCode.DONE


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; one that is too long comes in parts, each of which is refused."""
    while line := source.readline(LINE_OCTETS_MAX + 1):
        yield line


def _interrupted(error: NoAnswer, counts: ImportCounts, key: str | None) -> CommandFailed:
    advice = (
        f"repeat it with --idempotency-key {key}" if key else "what is registered already will be refused"
    )
    text = f"{error.cause}; {counts.created:,} were registered before; {advice}"
    return CommandFailed(printable(text), ExitCode.NO_ANSWER, {"registered": counts.created})


def _tell(api: Api, done: Progress, elapsed_s: float, rejects: Path | None) -> None:
    if api.as_json:
        echo_json({"registered": done.registered, "refused": done.refused, "dry_run": api.how.dry_run})
        return
    rate = done.registered / elapsed_s if elapsed_s > 0 else 0.0
    where = f"; they are in {rejects}" if rejects and done.refused else ""
    api.say(f"{done.registered:,} registered ({rate:,.0f}/s), {done.refused:,} refused{where}")


class Rejects:
    """Where refused lines go: a file of JSON objects that hold the lines themselves, or messages."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def __call__(self, refusal: Refusal) -> None:
        """Take one refused line."""
        if self._path is None:
            click.echo(f"line {refusal.line}: {printable(refusal.reason)}", err=True)
            return
        if self._file is None:
            self._path.touch(mode=0o600)  # a line may hold a secret
            self._file = self._path.open("wb")
        told = {
            "line": refusal.line,
            "reason": refusal.reason,
            "remedy": refusal.remedy,
            "content": refusal.octets.decode("utf-8", "replace").rstrip("\r\n"),
        }
        self._file.write(msgspec.json.encode(told) + b"\n")
