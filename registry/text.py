"""Text from outside: bounded, and without characters that hide, reorder or break what people read.

A name with a zero-width space or a right-to-left override looks like another name; Postgres cannot hold NUL.
"""

import unicodedata
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

LINE_MAX: Final = 200
"""Characters of a name or a title; the longest company names have some eighty."""
PARAGRAPH_MAX: Final = 2_000
"""Characters of a reason or a description."""

_LINE_ENDS: Final = frozenset("\n\r\t")
_REFUSED: Final = {
    "Cc": "a control character",
    "Cf": "an invisible or direction-changing character",
    "Cs": "half a surrogate pair",
    "Cn": "an unassigned character",
    "Co": "a private-use character",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_FORBIDDEN_PATTERN: Final = (
    "^[^\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]*$"
)

Line: TypeAlias = Annotated[str, Meta(min_length=1, max_length=LINE_MAX, pattern=_FORBIDDEN_PATTERN)]
"""One line of text, as a field of a request."""
Paragraph: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=PARAGRAPH_MAX, pattern=_FORBIDDEN_PATTERN)
]
"""Longer text of one paragraph, as a field of a request."""


def check_text(value: str, characters_max: int = LINE_MAX, *, lines: bool = False) -> str:
    """Return the text as it is. Raises ValueError, with the reason, for what must not be stored.

    lines: whether line ends and tabs are allowed.
    """
    if len(value) > characters_max:
        raise ValueError(f"has {len(value)} characters; at most {characters_max} are allowed")
    fault = refused_character(value, lines=lines)
    if fault is not None:
        raise ValueError(fault)
    return value


def refused_character(value: str, *, lines: bool = False) -> str | None:
    """Why a text is refused, naming the character; None when it is fine."""
    if value.isascii() and value.isprintable():
        return None
    for place, character in enumerate(value):
        kind = _REFUSED.get(unicodedata.category(character))
        if kind is not None and not (lines and character in _LINE_ENDS):
            return f"holds {kind} (U+{ord(character):04X}) at position {place + 1}"
    return None
