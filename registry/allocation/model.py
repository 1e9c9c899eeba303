"""Applications and allocated prefixes as they are stored: data only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from protocol.handle import Prefix
from protocol.site import Site
from registry.allocation.lifecycle import ApplicationState, Hosting, PrefixAct, PrefixState

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody applies for."""

    organisation: str
    parent: Prefix | None
    """None for a prefix of one label."""
    label: str | None
    """None for the next free number."""
    hosting: Hosting
    site: Site | None = None
    """Who shall serve a delegated prefix."""
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What an organisation applied for, and what became of it."""

    id: str
    number: int
    """Order of the lists; newer ones have higher numbers."""
    version: int
    wish: Wish
    state: ApplicationState
    reason: str
    """Of the last decision."""
    applied: datetime
    applied_by: str
    decided: datetime | None
    decided_by: str | None
    proved: datetime | None
    """When the node of the site proved that it holds its key."""
    prefix: Prefix | None
    """What was allocated in the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatedPrefix:
    """A prefix that was allocated, and its present state."""

    prefix: Prefix
    parent: Prefix | None
    organisation: str | None
    """None: allocated by a command of the operator."""
    hosting: Hosting
    state: PrefixState
    reason: str
    """Of the last act."""
    version: int
    site: Site
    """Who serves it."""
    withheld: tuple[int, ...] = ()
    """While suspended: indexes of the values of its record that are not public."""
    namespace: bytes | None = None
    """While suspended: the HS_NAMESPACE value that stood in its record before."""
    allocated: datetime
    changed: datetime
    revoked: datetime | None = None
    """The last time that it was revoked."""
    probed: datetime | None = None
    probe_fault: str | None = None
    """What the last probe of its node found wrong; None when all was well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One act on an allocated prefix, and its state afterwards."""

    version: int
    act: PrefixAct
    state: PrefixState
    hosting: Hosting
    organisation: str | None
    reason: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work on all records of a prefix."""

    id: str
    kind: str
    """rewrite or purge."""
    prefix: Prefix
    holder: str | None
    """Of rewrite: the organisation whose identities are replaced."""
    position: bytes
    """Key of the last record that was looked at."""
    records: int
    """Records looked at."""
    changed: int
    started: datetime
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list."""

    items: tuple[Item, ...]
    more: bool
    """Whether another page follows the last item."""
