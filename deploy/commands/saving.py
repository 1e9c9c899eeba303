"""Secrets that a node tells once: whether their file can be written is asked before they are made."""

from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

import click

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
