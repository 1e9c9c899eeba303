"""Files that a batch names: their octets become data of values, so only those below directories that were opened.

A batch may come from somebody else, and what its FILE lines name is sent to a server.
"""

import json
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deploy.batch.syntax import ValueLine
from protocol.errors import InvalidValue
from protocol.jsonform import site_from_json
from protocol.value import HandleValue, type_key
from protocol.valuetypes.hs_site import SITE_TYPES
from protocol.wire import MAX_MESSAGE_OCTETS


class Files:
    """The directories whose files may be sent; relative names are below the first one."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = [directory.resolve() for directory in directories]

    def value(self, line: ValueLine) -> HandleValue:
        """The value, with the data of its file. Raises InvalidValue."""
        if line.file is None:
            return line.value
        octets = self._read(line.file)
        if type_key(line.value.type) in SITE_TYPES and octets.lstrip().startswith(b"{"):
            octets = _site(octets)
        return replace(line.value, data=octets)

    def _read(self, name: str) -> bytes:
        try:
            path = self._directories[0].joinpath(name).resolve()
            if not any(path.is_relative_to(directory) for directory in self._directories):
                raise InvalidValue(
                    f"FILE {name}: it is in none of the directories that may be sent from; open its own with --files"
                )
            if not stat.S_ISREG(path.stat().st_mode):
                raise InvalidValue(f"FILE {name}: no regular file")
            with path.open("rb") as stream:
                octets = stream.read(MAX_MESSAGE_OCTETS + 1)
        except (OSError, ValueError) as error:
            cause = error.strerror if isinstance(error, OSError) else error
            raise InvalidValue(f"FILE {name}: {cause}") from None
        if len(octets) > MAX_MESSAGE_OCTETS:
            raise InvalidValue(f"FILE {name}: more octets than one message carries")
        return octets


def _site(octets: bytes) -> bytes:
    """The octets of a site record that is written as JSON, as servers keep their own."""
    try:
        return site_from_json(json.loads(octets)).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"no site record: {error}") from None
