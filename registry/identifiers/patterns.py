"""Patterns of suffixes: literal text and fields in braces, such as PUMP-{yyyy}-{seq:6}. Pure.

Fields: {yyyy} {yy} {mm} {dd} the day of registration; {seq:n} a number of exactly n digits; {random:n} n characters
that nobody guesses; {check:mod37} a check character over the letters and digits before it (ISO/IEC 7064 MOD 37,36),
by which a scanner finds a mistyped suffix.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

from registry.identifiers.names import NotAllowed, check_name

PATTERN_CHARACTERS_MAX: Final = 200
SEQUENCE_DIGITS_MAX: Final = 15
"""Digits of a number; more than anybody counts, and less than a bigint holds."""
RANDOM_CHARACTERS_MIN: Final = 8
"""40 bits: with fewer, drawing one that is free would take several attempts before long."""
RANDOM_CHARACTERS_MAX: Final = 64
RANDOM_DEFAULT: Final = 16
"""80 bits: nobody guesses the suffix of another product."""
RANDOM: Final = "random"
"""The word that stands for a suffix of RANDOM_DEFAULT random characters."""
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Base32 without letters that are mistaken for digits or make words."""

_CHECK_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FIELD: Final = re.compile(r"\{([a-z]+)(?::([a-z0-9]{1,8}))?\}")
_DATES: Final = {"yyyy": "%Y", "yy": "%y", "mm": "%m", "dd": "%d"}

Draw = Callable[[int], str]
"""Gives so many random characters of ALPHABET."""


class PatternRefused(ValueError):
    """A pattern that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A number of exactly so many digits."""

    digits: int


@dataclass(frozen=True, slots=True)
class Random:
    """So many random characters."""

    characters: int


@dataclass(frozen=True, slots=True)
class Check:
    """The check character."""


@dataclass(frozen=True, slots=True)
class Day:
    """A part of the date, as strftime spells it."""

    form: str


Part = str | Sequence | Random | Check


@dataclass(frozen=True, slots=True)
class Series:
    """A pattern on a certain day: what its suffixes have in common, and what makes each its own."""

    parts: tuple[Part, ...]
    text: str
    """The pattern with its date in place: sequences of different days count separately."""

    @property
    def digits(self) -> int:
        """Digits of the number; 0 when the pattern has none."""
        return next((part.digits for part in self.parts if isinstance(part, Sequence)), 0)

    @property
    def is_random(self) -> bool:
        """Whether chance has a part in its suffixes."""
        return any(isinstance(part, Random) for part in self.parts)

    @property
    def extent(self) -> tuple[str, str] | None:
        """What stands before and behind the number, when that is all that changes; else None."""
        places = [place for place, part in enumerate(self.parts) if not isinstance(part, str)]
        if len(places) != 1 or not isinstance(self.parts[places[0]], Sequence):
            return None
        texts = ["".join(part for part in side if isinstance(part, str)) for side in self._sides(places[0])]
        return texts[0], texts[1]

    def _sides(self, place: int) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
        return self.parts[:place], self.parts[place + 1 :]

    def suffix(self, number: int, draw: Draw) -> str:
        """The suffix with this number; draw is asked for random characters."""
        made = ""
        for part in self.parts:
            match part:
                case str():
                    made += part
                case Sequence(digits):
                    assert 0 <= number < 10**digits, f"{number} has more than {digits} digits"
                    made += f"{number:0{digits}d}"
                case Random(characters):
                    made += draw(characters)
                case Check():
                    made += check_character(made)
        return made


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern as somebody wrote it."""

    text: str
    fields: tuple[Part | Day, ...]

    def on(self, day: date) -> Series:
        """The pattern on a day."""
        parts: list[Part] = []
        text = ""
        for field in self.fields:
            part = day.strftime(field.form) if isinstance(field, Day) else field
            text += part if isinstance(part, str) else _written(part)
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            else:
                parts.append(part)
        return Series(tuple(parts), text)


@lru_cache(maxsize=1_024)  # a line registers by one pattern all day
def parse_pattern(text: str) -> Pattern:
    """Read a pattern. Raises PatternRefused, with the reason and what would be right."""
    if text == RANDOM:
        return Pattern(text, (Random(RANDOM_DEFAULT),))
    if not 0 < len(text) <= PATTERN_CHARACTERS_MAX:
        raise PatternRefused(f"has {len(text)} characters; 1 to {PATTERN_CHARACTERS_MAX} are allowed")
    fields: list[Part | Day] = []
    position = 0
    for match in _FIELD.finditer(text):
        fields += [text[position : match.start()], _field(match[0], match[1], match[2])]
        position = match.end()
    fields = [field for field in (*fields, text[position:]) if field]
    _check_fields(fields)
    return Pattern(text, tuple(fields))


def check_character(text: str) -> str:
    """The check character of a text, over its letters and digits without regard to case.

    Source: ISO/IEC 7064, hybrid system MOD 37,36, the one of the Global Release Identifier.
    """
    product = 36
    for character in text.upper():
        value = _CHECK_ALPHABET.find(character)
        if value >= 0:
            product = (product + value) % 36 or 36
            product = product * 2 % 37
    return _CHECK_ALPHABET[(37 - product) % 36]


def _field(written: str, name: str, argument: str | None) -> Part | Day:
    if name in _DATES and argument is None:
        return Day(_DATES[name])
    if name == "check" and argument in (None, "mod37"):
        return Check()
    number = int(argument) if argument is not None and argument.isdecimal() else 0
    if name == "seq" and 0 < number <= SEQUENCE_DIGITS_MAX:
        return Sequence(number)
    if name == "random" and RANDOM_CHARACTERS_MIN <= number <= RANDOM_CHARACTERS_MAX:
        return Random(number)
    raise PatternRefused(
        f"{written} is no field: there are {{yyyy}} {{yy}} {{mm}} {{dd}}, {{seq:n}} with 1 to {SEQUENCE_DIGITS_MAX} "
        f"digits, {{random:n}} with {RANDOM_CHARACTERS_MIN} to {RANDOM_CHARACTERS_MAX} characters, {{check:mod37}}"
    )


def _check_fields(fields: list[Part | Day]) -> None:
    counted = sum(isinstance(field, Sequence) for field in fields)
    if counted > 1:
        raise PatternRefused("has more than one {seq:n}")
    if not counted and not any(isinstance(field, Random) for field in fields):
        raise PatternRefused("has neither {seq:n} nor {random:n}, so that it makes one suffix only")
    if any(isinstance(field, Check) for field in fields[:-1]):
        raise PatternRefused("has something behind {check:mod37}, which comes last")
    literal = "".join(field for field in fields if isinstance(field, str))
    if "{" in literal or "}" in literal:
        raise PatternRefused("has a brace that belongs to no field")
    example = "".join(field if isinstance(field, str) else "0" for field in fields)
    try:
        check_name("0/" + example)
    except NotAllowed as error:
        raise PatternRefused(str(error)) from None


def _written(part: Part) -> str:
    match part:
        case str():
            return part
        case Sequence(digits):
            return f"{{seq:{digits}}}"
        case Random(characters):
            return f"{{random:{characters}}}"
        case Check():
            return "{check:mod37}"
