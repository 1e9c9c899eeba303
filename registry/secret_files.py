"""Files of secrets: written whole or not at all, durable, and readable by their owner alone."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from protocol.errors import SettingsError

SECRET_OCTETS: Final = 32
"""Random octets of a secret that is made here: 256 bits, beyond any search."""


def make_secret(path: Path) -> bytes:
    """Load a secret of printable text, or make one of 256 random bits (mode 0600). Raises SettingsError."""
    if not path.exists():
        write_secret_file(path, secrets.token_urlsafe(SECRET_OCTETS).encode() + b"\n")
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise SettingsError([f"cannot read {path}: {error.strerror}"]) from None


def read_private_file(path: Path, setting: str) -> bytes:
    """The contents of a file that only its owner may read.

    setting: what names it in the settings. Raises SettingsError when it is missing or open to other users.
    """
    try:
        mode = path.stat().st_mode
        octets = path.read_bytes()
    except OSError as error:
        raise SettingsError([f"{setting}: cannot read {path}: {error.strerror}"]) from None
    if stat.S_IMODE(mode) & 0o077:
        raise SettingsError([f"{setting}: {path} is open to other users; run chmod 600 {path}"])
    return octets


def write_secret_file(path: Path, octets: bytes) -> None:
    """Write a file that only its owner can read, durable before it appears under its name. Raises SettingsError.

    What replaces a file belongs to whom that belonged: a command that root runs leaves it to the daemon's user.
    """
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            _give_to_owner_of(path, descriptor)
            os.fsync(descriptor)
        fresh.replace(path)
        _make_durable(path.parent)
    except OSError as error:
        raise SettingsError([f"cannot write {path}: {error.strerror}"]) from None


def _give_to_owner_of(path: Path, descriptor: int) -> None:
    if os.geteuid() == 0 and path.exists():
        owner = path.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _make_durable(directory: Path) -> None:
    """Let the name survive a power cut: what is sealed with a new key must not outlive the key."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
