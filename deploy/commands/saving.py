"""Secrets that a node tells once: whether their file can be written is asked before they are made."""

import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

import click

from registry.secret_files import write_secret_file

_FORCE: Final = "--force overwrites it"
SAVE_FILE: Final = click.Path(dir_okay=False, path_type=Path)

save_option: Final = click.option(
    "--save", type=SAVE_FILE, help="New file for the secret, yours alone.  [default: it is printed, once]"
)


def check_save(file: Path | None, *, replaces: bool = False) -> None:
    """Check that a secret can be kept before it is made: afterwards it would be lost.

    file: None for a secret that is printed. replaces: whether it takes the place of one that is there. Raises
    UsageError.
    """
    if file is None:
        return
    if file.exists() and not replaces:
        raise click.UsageError(
            f"--save {file}: it is there, and what it holds may be kept nowhere else; remove it, or name another file"
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise click.UsageError(f"--save {file}: cannot be written: {error.strerror}") from None


def save_new(file: Path, octets: bytes, *, force: bool = False) -> None:
    """Write a file that is its owner's alone, and durable. Raises UsageError for one that is there, without force."""
    if force:
        write_secret_file(file, octets)
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise _is_there(file) from None
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(octets)
        stream.flush()
        os.fsync(stream.fileno())


def check_new(*files: Path, remedy: str = _FORCE) -> None:
    """Raises UsageError with a remedy when one of the files is there, before any of them is written."""
    for file in files:
        if file.exists():
            raise _is_there(file, remedy)


def _is_there(file: Path, remedy: str = _FORCE) -> click.UsageError:
    return click.UsageError(f"{file}: it is there, and what it holds may be kept nowhere else; {remedy}")
