"""What is shown on a terminal: texts of strangers made harmless, and objects of the API as lines of fields."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

INDENT = "  "


def printable(text: str) -> str:
    """The text without what would steer a terminal: names and data come from strangers."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)


def one_line(text: object) -> str:
    """A value as one printable line; nothing for None."""
    return "" if text is None else printable(" ".join(str(text).split()))


def format_fields(content: object) -> str:
    """An object of the API as lines `name: value`; what is within it is indented, what is empty left out."""
    return "\n".join(_lines(msgspec.to_builtins(content), ""))


def _lines(content: Any, indent: str) -> Iterator[str]:
    assert isinstance(content, Mapping), type(content)
    for name, value in content.items():
        yield from _field(printable(str(name)), value, indent)


def _field(name: str, value: Any, indent: str) -> Iterator[str]:
    if value is None or (isinstance(value, str | list | tuple | Mapping) and not value):
        return
    match value:
        case Mapping():
            yield f"{indent}{name}:"
            yield from _lines(value, indent + INDENT)
        case list() | tuple() if any(isinstance(item, Mapping) for item in value):
            yield f"{indent}{name}:"
            for item in value:
                yield from _item(item, indent)
        case list() | tuple():
            yield f"{indent}{name}: " + ", ".join(one_line(item) for item in value)
        case bool():
            yield f"{indent}{name}: {'yes' if value else 'no'}"
        case _:
            yield f"{indent}{name}: {one_line(value)}"


def _item(item: Any, indent: str) -> Iterator[str]:
    """An object in a list: its first line carries a dash."""
    lines = list(_lines(item, indent + INDENT * 2)) if isinstance(item, Mapping) else [one_line(item)]
    first, *rest = lines or [""]
    yield f"{indent}{INDENT}- {first.strip()}".rstrip()
    yield from rest
