"""Authority: do we hold this name, may a prefix record below ours be asked for, or is it none of our business?

Pure: it is told which prefixes the node homes. Homing P means to hold every handle P/..., and to hold the prefix
records 0.NA/P.x... below P, as far as they are not delegated further; 0.NA/P itself is the parent's. Everything lies
below 0.NA, which only a root homes.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from protocol.errors import InvalidHandle
from protocol.handle import ROOT_PREFIX_OCTETS, Handle, Prefix

LABELS_MAX: Final = 64
"""Labels of a prefix whose ancestors we look for: real ones have five, and each costs a look-up."""


@dataclass(frozen=True, slots=True)
class Homed:
    """A handle whose prefix the node homes: what is not stored does not exist."""


@dataclass(frozen=True, slots=True)
class BelowHome:
    """A prefix record below a prefix that the node homes.

    between: the records of the prefixes between, nearest to the asked one first; where one of them delegates, the
    asked record lies with whom it names.
    """

    between: tuple[Handle, ...]


@dataclass(frozen=True, slots=True)
class PerhapsDelegated:
    """A handle whose prefix we do not home, but whose prefix record might be ours.

    record: the prefix record; if it is stored here, it names the service that holds the handle.
    """

    record: Handle


@dataclass(frozen=True, slots=True)
class NotOurs:
    """A name with which the node has nothing to do."""


Place = Homed | BelowHome | PerhapsDelegated | NotOurs


def locate(handle: Handle, homed: Container[bytes]) -> Place:
    """Say where a handle stands to this node.

    homed: folded prefixes that the node homes. A name below 0.NA whose rest is no prefix is held by whoever homes 0.NA.
    """
    if not handle.is_prefix_record:
        if handle.prefix.key in homed:
            return Homed()
        return _perhaps_delegated(handle, homed)
    try:
        subject = Prefix.parse(handle.suffix)
    except InvalidHandle:
        return Homed() if ROOT_PREFIX_OCTETS in homed else NotOurs()
    between = _records_between(subject, homed)
    return NotOurs() if between is None else BelowHome(between)


def _perhaps_delegated(handle: Handle, homed: Container[bytes]) -> Place:
    try:
        prefix = Prefix.parse(handle.prefix.octets)
    except InvalidHandle:
        return NotOurs()
    if _records_between(prefix, homed) is None:
        return NotOurs()
    return PerhapsDelegated(prefix.record)


def _records_between(subject: Prefix, homed: Container[bytes]) -> tuple[Handle, ...] | None:
    """The records of the ancestors of subject below the nearest homed one; None when none is homed."""
    if subject.octets.count(b".") >= LABELS_MAX:
        return None
    between: list[Handle] = []
    for ancestor in subject.ancestors():
        if ancestor.key in homed:
            return tuple(between)
        between.append(ancestor.record)
    return tuple(between) if ROOT_PREFIX_OCTETS in homed else None
