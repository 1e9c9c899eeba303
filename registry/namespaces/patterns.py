"""The patterns of templates, matched by RE2: in time that grows with the text, whatever the pattern is.

They are written in Java's dialect. What RE2 lacks, and what it reads differently, is refused when a pattern is read.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from protocol.errors import Malformed, TooLarge

PATTERN_OCTETS_MAX: Final = 1_024  # real ones have a hundred
PATTERN_SIZE_MAX: Final = 2_000
"""Instructions of a compiled pattern; any letter of any script (\\p{L}) takes 1,201."""
PATTERN_MEMORY_MAX: Final = 131_072
"""Octets that one pattern may take, its states included; RE2 goes on without them, two to ten times slower."""
PATTERNS_KEPT_MAX: Final = 512
"""Compiled patterns in memory: 64 MiB where each takes all that it may, a hundredth of that in practice."""

_CLASSES: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|&(?!&)|[^\]\\\[&])*(?P<fault>\[|&&)?", re.DOTALL
)
"""What is escaped, and classes up to their end or to what RE2 would misread in them."""

Groups = tuple[bytes, ...]
"""What a pattern found: the whole text, then each group, empty where it took no part."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern."""

    fullmatch: Callable[[bytes], Any]
    size: int
    """Instructions; a match takes at most 20 ns for each of them and each octet of the text (measured)."""

    def match(self, text: bytes) -> Groups | None:
        """What the pattern finds in a text that it matches from end to end, else None; also for a text that is no
        UTF-8.
        """
        found = self.fullmatch(text)
        return None if found is None else (text, *found.groups(b""))


@lru_cache(maxsize=PATTERNS_KEPT_MAX)
def compile_pattern(expression: str, *, case_sensitive: bool = False) -> Pattern:
    """Raises TooLarge, or Malformed for what RE2 cannot do: backreferences, look-around, possessive quantifiers."""
    import re2  # noqa: PLC0415 - most nodes have no template

    if len(expression.encode()) > PATTERN_OCTETS_MAX:
        raise TooLarge(f"a pattern of more than {PATTERN_OCTETS_MAX} octets")
    _check_classes(expression)
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY_MAX
    options.log_errors = False
    options.case_sensitive = case_sensitive
    try:
        compiled = re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        words = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise Malformed(f"the pattern {expression!r} is none for RE2: {words}") from None
    if compiled.programsize > PATTERN_SIZE_MAX:
        raise TooLarge(
            f"the pattern {expression!r} takes {compiled.programsize} steps, {PATTERN_SIZE_MAX} allowed"
        )
    return Pattern(compiled.fullmatch, compiled.programsize)


def _check_classes(expression: str) -> None:
    """Raises Malformed for classes within classes and intersections, which RE2 reads as plain characters."""
    if any(found["fault"] for found in _CLASSES.finditer(expression)):
        raise Malformed(f"the pattern {expression!r} has a class within a class or &&, which RE2 cannot do")
