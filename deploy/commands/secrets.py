"""Secrets and passphrases: from a file of its owner alone, the environment or a terminal; never from a command line."""

import os
import stat
import sys
from pathlib import Path
from typing import Final

import click

from protocol.errors import SettingsError

SECRET_OCTETS_MAX: Final = 4_096  # of a line; secrets in records have a few dozen


def read_secret(file: Path) -> bytes:
    """The first line of a file, without its end.

    Raises SettingsError when it cannot be read or is empty, and when others than its owner may read it.
    """
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            line = stream.readline(SECRET_OCTETS_MAX + 1).rstrip(b"\r\n")
    except OSError as error:
        raise SettingsError([f"{file}: cannot be read: {error.strerror}"]) from None
    if mode & 0o077:
        raise SettingsError([f"{file}: others may read the secret; close it with `chmod 600 {file}`"])
    if not 0 < len(line) <= SECRET_OCTETS_MAX:
        raise SettingsError(
            [f"{file}: holds no secret of at most {SECRET_OCTETS_MAX} octets in its first line"]
        )
    return line


def secret_of_variable(name: str) -> bytes:
    """What an environment variable holds. Raises SettingsError when it holds nothing."""
    secret = os.environb.get(name.encode(), b"")
    if not secret:
        raise SettingsError([f"the environment variable {name} holds no secret"])
    return secret


def typed_secret(what: str, option: str, *, confirm: bool = False) -> bytes:
    """What somebody types unseen. option: what names a file instead. Raises UsageError without a terminal."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"there is no terminal to ask for the {what} on: name {option}")
    typed: str = click.prompt(what.capitalize(), hide_input=True, confirmation_prompt=confirm, err=True)
    return typed.encode()
