"""Which prefixes may be allocated: a pattern for each level, reserved names, nothing that looks like something else.

Pure. The level of a prefix is the number of its labels: 88 has level 1, 88.100 level 2. The root allocates level 1, a
national node level 2, a secondary node level 3.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from protocol.errors import HandleError, InvalidHandle
from protocol.handle import Prefix
from registry.text import refused_character

LABEL_CHARACTERS_MAX: Final = 128
"""As the longest enterprise label of the national numbering plan; any pattern stays below it."""
PREFIX_OCTETS_MAX: Final = 255
"""So that prefix and suffix together stay well within what a label printer or a tag can carry."""
RESERVED_LABELS: Final = frozenset(
    {
        "0",
        "na",
        "admin",
        "administrator",
        "root",
        "test",
        "example",
        "invalid",
        "localhost",
        "null",
        "api",
        "www",
    }
)
"""Labels that nobody is given: those of the Handle System's own names, and those that invite confusion."""
NUMBERS_TRIED_MAX: Final = 65_536
"""Numbers looked at for one free one. The counter goes on behind what it gave, so one look is the common case; more are
needed where many labels in a row were asked for by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelRule:
    """What a label of one level looks like."""

    pattern: str
    """Regular expression that the whole label matches; \\d and \\w mean ASCII."""
    number_min: int
    """The first number that is given to who asks for the next free one."""


DEFAULT_RULES: Final[Mapping[int, LevelRule]] = {
    1: LevelRule(pattern="[0-9]{1,5}", number_min=10),
    2: LevelRule(pattern="[0-9]{3,5}", number_min=100),
    3: LevelRule(pattern="[0-9A-Za-z_-]{1,128}", number_min=1),
    4: LevelRule(pattern="[0-9A-Za-z_-]{1,128}", number_min=1),
}
"""Source: DOMAIN.md §2.2: industry nodes have three to five digits, enterprises up to 128 characters."""


class NameRefused(HandleError):
    """A prefix that is not given to anybody; the text says why and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRules:
    """The rules of one node."""

    levels: Mapping[int, LevelRule]
    reserved: Collection[str] = RESERVED_LABELS
    """In lower case."""

    def check(self, parent: Prefix | None, label: str) -> Prefix:
        """The prefix that the label makes below its parent (None: a prefix of one label). Raises NameRefused."""
        level = level_below(parent)
        rule = self._rule(level)
        _check_characters(label)
        if not _compiled(rule.pattern).fullmatch(label):
            raise NameRefused(f"{label!r} is no label of level {level}; one matches {rule.pattern}")
        if label.lower() in self.reserved:
            raise NameRefused(f"{label!r} is reserved and not given to anybody")
        name = f"{parent}.{label}" if parent else label
        if len(name.encode()) > PREFIX_OCTETS_MAX:
            raise NameRefused(f"the prefix would have {len(name)} octets; at most {PREFIX_OCTETS_MAX}")
        try:
            return Prefix.parse(name)
        except InvalidHandle as error:
            raise NameRefused(str(error)) from None

    def numbers(self, parent: Prefix | None, start: int = 0) -> Iterator[int]:
        """The numbers from start on that are labels below the parent, ascending, at most NUMBERS_TRIED_MAX.

        Raises NameRefused for a level that has no rule.
        """
        rule = self._rule(level_below(parent))
        first = max(start, rule.number_min)
        matches = _compiled(rule.pattern).fullmatch
        for number in range(first, first + NUMBERS_TRIED_MAX):
            if not matches(str(number)):
                return
            if str(number) not in self.reserved:
                yield number

    def _rule(self, level: int) -> LevelRule:
        rule = self.levels.get(level)
        if rule is None:
            levels = ", ".join(str(known) for known in sorted(self.levels)) or "none"
            raise NameRefused(
                f"prefixes of level {level} are not allocated here; levels with a rule: {levels}"
            )
        return rule


def level_below(parent: Prefix | None) -> int:
    """The level of the prefixes directly below this one."""
    return 1 if parent is None else parent.octets.count(b".") + 2


def _check_characters(label: str) -> None:
    if not label:
        raise NameRefused("a label has at least one character")
    if len(label) > LABEL_CHARACTERS_MAX:
        raise NameRefused(f"a label of {len(label)} characters; at most {LABEL_CHARACTERS_MAX}")
    fault = refused_character(label)
    if fault is not None:
        raise NameRefused(f"the label {fault}")
    if unicodedata.normalize("NFKC", label) != label:
        raise NameRefused(
            "the label holds characters that only look like others; write it in its plain form (NFKC)"
        )


@lru_cache(maxsize=32)  # a node has a handful of rules
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)
