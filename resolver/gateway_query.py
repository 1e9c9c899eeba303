"""What a visitor of the gateway asks for beside a handle: the parameters of PROTOCOL.md §8.5, checked. Pure."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocol.transport.http_target import BadTarget, Target

APPENDED_CHARACTERS_MAX: Final = 1_024  # of urlappend; a query or a fragment, in real links some fifty
SELECTORS_MAX: Final = 16  # of locatt; real links have one
SELECTOR_CHARACTERS_MAX: Final = 256
_COUNTRY: Final = re.compile(r"[A-Za-z]{2}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Action(StrEnum):
    """What is done with a record."""

    REDIRECT = "redirect"
    VALUES = "showvalues"
    LOCATIONS = "showlocs"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayQuery:
    """One visitor's wishes."""

    action: Action = Action.REDIRECT
    append: str = ""
    """Text that is put behind the address that the record names; free of control characters."""
    selectors: tuple[tuple[str, str], ...] = ()
    """Attributes, with their content, that a location is to have."""
    country: str | None = None
    """Two letters, upper case."""
    follow_aliases: bool = True
    authoritative: bool = False

    @classmethod
    def of(cls, target: Target) -> "GatewayQuery":
        """Raises BadTarget for a parameter that is longer than its limit, or that cannot be one."""
        return cls(
            action=_action(target),
            append=_append(_last(target, "urlappend")),
            selectors=_selectors(target.parameters.get("locatt", [])),
            country=_country(_last(target, "country")),
            follow_aliases=not target.flag("ignore_aliases"),
            authoritative=target.flag("auth"),
        )


def country_code(text: str) -> str | None:
    """A country in upper case, from two letters; None for anything else."""
    text = text.strip()
    return text.upper() if _COUNTRY.fullmatch(text) else None


def _last(target: Target, name: str) -> str:
    values = target.parameters.get(name)
    return values[-1] if values else ""


def _action(target: Target) -> Action:
    try:
        return Action(_last(target, "action").lower())
    except ValueError:
        return Action.VALUES if target.flag("noredirect") else Action.REDIRECT


def _append(text: str) -> str:
    if len(text) > APPENDED_CHARACTERS_MAX:
        raise BadTarget(f"urlappend has at most {APPENDED_CHARACTERS_MAX} characters.")
    if _CONTROL.search(text):
        raise BadTarget("urlappend must not hold control characters.")
    return text


def _selectors(given: list[str]) -> tuple[tuple[str, str], ...]:
    if len(given) > SELECTORS_MAX:
        raise BadTarget(f"At most {SELECTORS_MAX} locatt parameters.")
    pairs = []
    for text in given:
        name, colon, content = text.partition(":")
        if not colon or not name or len(text) > SELECTOR_CHARACTERS_MAX:
            raise BadTarget(
                f"locatt is attribute:content, such as id:1, of at most {SELECTOR_CHARACTERS_MAX} characters."
            )
        pairs.append((name, content))
    return tuple(pairs)


def _country(text: str) -> str | None:
    if not text:
        return None
    code = country_code(text)
    if code is None:
        raise BadTarget("country is a code of two letters.")
    return code
