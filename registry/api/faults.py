"""What is wrong with a field, in words of our own: the decoder speaks of Python's types to programmers.

Pure. No text repeats what came: it may be a secret.
"""

import re
from collections.abc import Callable
from typing import Final

from registry.problem_types import FieldFault

FAULT_CHARACTERS_MAX: Final = 300

_PLACE: Final = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*)`$", re.DOTALL)
_PARTS: Final = {"str": "characters", "array": "items", "object": "entries"}
_KINDS: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "datetime": "a time",
    "date": "a date",
}
_WORDS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = (
    (
        re.compile(r"Expected `(str|array|object)` of length (>=|<=) (\d+)"),
        lambda found: f"must have {_bound(found[2], found[3])} {_PARTS[found[1]]}",
    ),
    (
        re.compile(r"Expected `(?:int|float)` (>=|<=) (-?[\d.]+)"),
        lambda found: f"must be {_bound(found[1], found[2])}",
    ),
    (re.compile(r"Expected `str` matching regex '(.*)'", re.DOTALL), lambda found: f"must match {found[1]}"),
    (
        re.compile(r"Expected `([^`]+)`, got `([^`]+)`"),
        lambda found: f"must be {_kind(found[1])}, and is {_kind(found[2])}",
    ),
)


def field_fault(message: str) -> FieldFault:
    """From a message of the decoder, such as: Expected `int`, got `str` - at `$.values[0].index`."""
    place = _PLACE.search(message)
    pointer = "" if place is None else _pointer(place[1])
    text = message if place is None else message[: place.start()]
    for form, words in ((_UNKNOWN, "is not known here"), (_MISSING, "is missing")):
        if (found := form.match(text)) is not None:
            return FieldFault(f"{pointer}/{_escape(found[1][:100])}", words)
    if text.startswith(("Invalid enum value", "Invalid value")):  # it is repeated there
        return FieldFault(pointer, "is none of the values that are possible")
    return FieldFault(pointer, _in_words(text)[:FAULT_CHARACTERS_MAX])


def _in_words(text: str) -> str:
    for form, words in _WORDS:
        if (found := form.fullmatch(text)) is not None:
            return words(found)
    return text


def _bound(sign: str, number: str) -> str:
    return f"at least {number}" if sign == ">=" else f"at most {number}"


def _kind(names: str) -> str:
    return " or ".join(_KINDS.get(name, name) for name in names.split(" | "))


def _pointer(path: str) -> str:
    return "".join("/" + _escape(step[1] or step[2]) for step in _STEP.finditer(path))


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
