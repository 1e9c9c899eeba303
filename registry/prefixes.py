"""What the node knows of prefixes: which it homes, for whom, in which state; kept in memory prefix by prefix.

Looked up are the prefixes around one handle: its own and those above. What was read stays valid until one of them
changes, which any process of this host tells by generations; the number of prefixes of a node costs nothing.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from protocol.errors import InvalidHandle
from protocol.generations import Generations, Stamp
from protocol.handle import ROOT_PREFIX_OCTETS, Handle, Prefix
from protocol.value import ValueList
from registry.namespaces.template import StoredTemplate, template_of

VIEWS_MAX: Final = 65_536
"""Views in memory, of about 300 octets each; a busy node answers for some thousands of prefixes at a time."""
LABELS_MAX: Final = 64
"""Labels of a prefix whose ancestors are looked for: real ones have five, and each costs a look-up."""


class PrefixStatus(IntEnum):
    """What the node answers for a prefix that it homes."""

    ACTIVE = 0
    SUSPENDED = 1
    """Nothing is answered but that it is suspended; nobody but the operator writes."""
    REVOKED = 2
    """Its handles do not exist any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixRow:
    """A prefix that the node homes or homed, or whose authorisation record it was given."""

    key: bytes
    name: bytes
    homed: bool
    authorisation: ValueList
    """Copy of the public values of 0.NA/<prefix>; for authorisation only, never answered."""
    organisation: str | None = None
    """Who holds it, where the node hosts it for somebody."""
    status: PrefixStatus = PrefixStatus.ACTIVE
    status_text: str = ""
    """What clients are told of a prefix that is not active."""
    frozen: bool = False
    """Whether writes are refused for a moment, since the prefix is moving."""
    moved: ValueList | None = None
    """HS_SITE values of the service that took the prefix over: who still asks here is referred to it."""
    has_ranges: bool = False
    """Whether suffixes below it were reserved."""


PrefixReader = Callable[[Sequence[bytes]], Awaitable[dict[bytes, PrefixRow]]]
"""Reads the rows of folded prefixes that have one."""


@dataclass(frozen=True, slots=True)
class PrefixTable:
    """The prefixes around one handle at one moment."""

    rows: dict[bytes, PrefixRow]
    stamp: Stamp
    template: StoredTemplate | None = None
    """What is done for names below the prefix that are not stored."""
    delimiter: bytes = b""
    """What parts such a name in base and extension; empty where no name is made."""
    homed: frozenset[bytes] = field(init=False)
    """Folded prefixes whose handles the node holds."""

    def __post_init__(self) -> None:
        homed = frozenset(key for key, row in self.rows.items() if row.homed)
        object.__setattr__(self, "homed", homed)

    def authorisation(self, prefix_key: bytes) -> ValueList | None:
        """The local copy of 0.NA/<prefix>, or None when we were given none."""
        row = self.rows.get(prefix_key)
        return None if row is None else row.authorisation


class Prefixes:
    """Look-ups of prefixes, cached while no process of this host has changed them."""

    def __init__(
        self,
        read: PrefixReader,
        generations: Generations,
        *,
        template_delimiter: str = "",
        views_max: int = VIEWS_MAX,
    ) -> None:
        """template_delimiter: parts the names below prefixes whose own template names no delimiter."""
        self._read = read
        self._generations = generations
        self._delimiter = template_delimiter.encode()
        self._views_max = views_max
        self._views: OrderedDict[bytes, PrefixTable] = OrderedDict()

    async def around(
        self, handle: Handle, read: PrefixReader | None = None, *, uncommitted: bool = False
    ) -> PrefixTable:
        """What is known of the prefix of a handle and of those above it; of a prefix record, of its subject.

        read: reads on the connection of a transaction, which must not wait for a second one: with every connection in
        a transaction that waits for another one, none would come.
        uncommitted: whether that transaction has changed prefixes itself: what it reads is then for itself alone.
        Raises StoreUnavailable.
        """
        subject = subject_key(handle)
        view = None if uncommitted else self.in_memory(subject)
        if view is not None:
            return view
        keys = _keys_around(subject)
        stamp = self._generations.prefix_stamp(keys)  # before the read, lest a change is missed
        rows = await (read or self._read)(keys)
        template = _template(rows, subject)
        delimiter = (template.template.delimiter if template else b"") or self._delimiter
        view = PrefixTable(rows, stamp, template, delimiter)
        if not uncommitted:
            self._keep(subject, view)
        return view

    def in_memory(self, subject: bytes) -> PrefixTable | None:
        """What is known around a folded prefix, when it was read before and has not changed since; else None."""
        view = self._views.get(subject)
        return view if view is not None and self._generations.current(view.stamp) else None

    async def row(self, prefix_key: bytes) -> PrefixRow | None:
        """What is known of one folded prefix. Raises StoreUnavailable."""
        view = await self.around(Handle(prefix_key + b"/"))
        return view.rows.get(prefix_key)

    def _keep(self, subject: bytes, view: PrefixTable) -> None:
        self._views[subject] = view
        if len(self._views) > self._views_max:
            self._views.popitem(last=False)


def authorising_prefix(handle: Handle) -> bytes:
    """The folded prefix P whose record 0.NA/P says who may create the handle: its own prefix; for a prefix record the
    parent, and 0.NA for one label and for the reserved prefixes that begin with 0.
    """
    if not handle.is_prefix_record:
        return handle.prefix.key
    name = handle.suffix.upper()
    head, dot, _ = name.rpartition(b".")
    return ROOT_PREFIX_OCTETS if not dot or name.startswith(b"0.") else head


def subject_key(handle: Handle) -> bytes:
    """The folded prefix that a handle is about: its own, or the one whose record it is."""
    return handle.suffix.upper() if handle.is_prefix_record else handle.prefix.key


def _keys_around(subject: bytes) -> list[bytes]:
    """A prefix, those above it, and 0.NA, above which there is nothing."""
    keys = [subject, ROOT_PREFIX_OCTETS]
    try:
        prefix = Prefix.parse(subject)
    except InvalidHandle:
        return keys
    if subject.count(b".") < LABELS_MAX:
        keys += [ancestor.key for ancestor in prefix.ancestors()]
    return keys


def _template(rows: Mapping[bytes, PrefixRow], subject: bytes) -> StoredTemplate | None:
    """The template in the record of a prefix, else the one in that of 0.NA, which a root knows: the one for all.

    The first of all prefixes ends no denial that is cached already: they live for CACHE_TIME_MAX_S.
    Source: PROTOCOL.md §1.6.
    """
    for key in (subject, ROOT_PREFIX_OCTETS):
        row = rows.get(key)
        found = None if row is None else template_of(row.authorisation)
        if found is not None:
            return found
    return None


def prefix_row(record: Iterable[Any]) -> PrefixRow:
    """The row from a record with PREFIX_COLUMNS."""
    key, name, homed, octets, count, organisation, status, text, frozen, moved, moved_count, ranges = record
    return PrefixRow(
        key=key,
        name=name,
        homed=homed,
        authorisation=ValueList(octets, count),
        organisation=organisation,
        status=PrefixStatus(status),
        status_text=text,
        frozen=frozen,
        moved=None if moved is None else ValueList(moved, moved_count),
        has_ranges=ranges,
    )


PREFIX_COLUMNS: Final = (
    "prefix, name, homed, authorisation_values, authorisation_count, organisation, status, status_text, frozen,"
    " moved_values, moved_count, has_ranges"
)
