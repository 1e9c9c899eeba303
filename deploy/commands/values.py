"""Values of identifiers on the command line: TYPE=DATA, or INDEX:TYPE=DATA; and their way onto a terminal."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import click
import msgspec
from msgspec import UNSET

from deploy.commands.text import one_line
from registry.identifiers.values import DataForm, ValueForm

_VALUE: Final = re.compile(r"(?:(?P<index>[0-9]{1,10}):)?(?P<type>[^=:\s]+)=(?P<data>.*)", re.DOTALL)


def parse_values(texts: Iterable[str]) -> list[ValueForm]:
    """The values of a new record, numbered from 1 on where they name no index. Raises UsageError."""
    return merge_values((), texts)


def merge_values(
    present: Sequence[ValueForm], texts: Iterable[str], remove: Iterable[int] = ()
) -> list[ValueForm]:
    """The values of a record with those that are given in place of others, by ascending index.

    A value without an index takes the place of the only one of its type, else it is added. remove: indexes to leave
    out. Raises UsageError for what is no value, is given twice, or could replace several.
    """
    values = {value.index: value for value in present}
    for unwanted in remove:
        if values.pop(unwanted, None) is None:
            raise click.UsageError(f"--remove {unwanted}: there is no such value")
    kept, given = dict(values), set[int]()
    parsed = [_parse(text) for text in texts]
    for index, kind, data in sorted(parsed, key=lambda one: one[0] is None):  # those with an index first
        place = _place(kept, values, kind) if index is None else index
        if place in given:
            raise click.UsageError(f"two values are given for index {place}")
        given.add(place)
        values[place] = ValueForm(index=place, type=kind, data=data)
    return [values[index] for index in sorted(values)]


def _parse(text: str) -> tuple[int | None, str, str]:
    match = _VALUE.fullmatch(text)
    if match is None:
        raise click.UsageError(
            f"{text!r} is no value; write TYPE=DATA or INDEX:TYPE=DATA, such as URL=https://…"
        )
    return None if match["index"] is None else int(match["index"]), match["type"], match["data"]


def _place(kept: dict[int, ValueForm], values: dict[int, ValueForm], kind: str) -> int:
    alike = [index for index, value in kept.items() if value.type == kind]
    if len(alike) > 1:
        listed = ", ".join(map(str, sorted(alike)))
        raise click.UsageError(
            f"there are several values of type {kind}; say which: {listed}, as INDEX:{kind}=…"
        )
    if alike:
        return alike[0]
    return next(index for index in range(1, len(values) + 2) if index not in values)


def value_row(value: ValueForm) -> tuple[str, str, str]:
    """Index, type and data, each on one line."""
    data = value.data
    if isinstance(data, DataForm):
        content = data.value
        text = content if isinstance(content, str) else msgspec.json.encode(content).decode()
    else:
        text = data
    return str(value.index), one_line(value.type), one_line(text)


def without_timestamps(values: Iterable[ValueForm]) -> list[ValueForm]:
    """Values as they are sent back: the registry knows which of them have changed."""
    return [msgspec.structs.replace(value, timestamp=UNSET) for value in values]
