"""What a failed command tells the person: which errors are expected, their text, and their exit code."""

import errno
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from deploy.local.ports import NoFreePort
from deploy.local.processes import LocalError
from protocol.errors import (
    HandleError,
    InvalidHandle,
    InvalidValue,
    SettingsError,
    StoreUnavailable,
    UnreadableKey,
)


class ExitCode(IntEnum):
    """How a command ends; scripts rely on the numbers."""

    DONE = 0
    DENIED = 1
    """The authority that was asked said no."""
    USAGE = 2
    """The command line or a settings file is wrong: trying again does not help."""
    NO_ANSWER = 3
    """Something that is needed does not answer: trying again may help."""


class CommandFailed(Exception):
    """A command that ends with a message and an exit code of its own."""

    def __init__(self, message: str, code: ExitCode, facts: Mapping[str, Any]) -> None:
        """facts: what machines are told beside the message."""
        super().__init__(message)
        self.code = code
        self.facts = facts


def explain(error: Exception) -> str | None:
    """The message for a person; None for what is a bug and needs its traceback."""
    match error:
        case SettingsError():
            return "the settings are not usable:\n" + "\n".join(f"  {fault}" for fault in error.faults)
        case StoreUnavailable():
            return f"{error}\nIs the database running? On one machine `handlegrid up` starts it."
        case CommandFailed() | HandleError() | LocalError() | NoFreePort():
            return str(error)
        case OSError() if error.errno == errno.EADDRINUSE:
            return f"{_without_number(error)}; another program listens there, so choose another port"
        case OSError() if error.errno == errno.EACCES and error.filename is None:
            return f"{_without_number(error)}; ports below 1024 need a privilege, so choose another port"
        case OSError() if error.filename is not None:
            return f"{error.filename}: {error.strerror}"
        case _:
            return None


def exit_code(error: Exception) -> ExitCode:
    """The exit code that goes with the message."""
    match error:
        case CommandFailed():
            return error.code
        case SettingsError() | InvalidHandle() | InvalidValue() | UnreadableKey():
            return ExitCode.USAGE
        case OSError() if error.filename is not None and not isinstance(error, ConnectionError):
            return ExitCode.USAGE
        case _:
            return ExitCode.NO_ANSWER


def facts(error: Exception) -> Mapping[str, Any]:
    """What machines are told beside the message."""
    return error.facts if isinstance(error, CommandFailed) else {}


def _without_number(error: OSError) -> str:
    return str(error).removeprefix(f"[Errno {error.errno}] ")
