"""What front ends ask of the registry and what they get back; data only.

Requests come in batches, results come back in the order of the batch: one result per item.
"""

from dataclasses import dataclass
from typing import Final

from protocol.codes import ResponseCode
from protocol.generations import Stamp
from protocol.handle import Handle
from protocol.value import ValueList
from protocol.valuetypes import AdminPermission

CACHE_TIME_MAX_S: Final = 30.0
"""For how long a front end may repeat an answer. Generations end it at once when this host writes; this bound counts
when another host does."""
BATCH_ITEMS_MAX: Final = 10_000
"""Items of one batch. One batch is one transaction: larger ones gain no speed and hold locks for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who an administrator is: the value `index` of the record `handle` holds the key; 0 stands for any value."""

    index: int
    handle: Handle

    @classmethod
    def parse(cls, text: str) -> "Identity":
        """The identity that index:handle names. Raises InvalidHandle, or ValueError for an index that is no number."""
        index, _, name = text.partition(":")
        return cls(index=int(index), handle=Handle.parse(name))

    def __str__(self) -> str:
        return f"{self.index}:{self.handle}"


@dataclass(frozen=True, slots=True)
class Operator:
    """The person at the node's own host, who holds the database and the node key and needs no HS_ADMIN.

    Only commands that run on that host act as the operator; nothing that comes over a network ever does.
    """


OPERATOR: Final = Operator()


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A user or an API key, acting for an organisation on the prefixes that this node hosts for it."""

    id: str
    organisation: str
    rights: AdminPermission
    """What it may do with the handles of these prefixes, as if an HS_ADMIN of theirs named it."""
    prefixes: frozenset[bytes] | None = None
    """Folded prefixes that it is limited to; None for all that the organisation holds."""

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Anybody:
    """Somebody who has proved nothing, and may do what takes no right: change values with public-write."""

    def __str__(self) -> str:
        return "anybody"


ANYBODY: Final = Anybody()

Actor = Identity | Operator | Principal | Anybody


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who does something and through what, for the audit log. Nothing in it is personal data."""

    actor: str
    """usr_…, key_…, index:handle, anybody, node:…, operator or system."""
    organisation: str | None = None
    via: str = "command"
    """api, rest, handle, import, command, node or system."""
    request_id: str = ""


COMMAND: Final = Origin(actor="operator")
"""A command on the node's own host."""
IMPORT: Final = Origin(actor="operator", via="import")
"""An import of a file of records, likewise."""
SYSTEM: Final = Origin(actor="system", via="system")
"""The node itself."""


@dataclass(frozen=True, slots=True)
class Creation:
    """A record to be created, or replaced where the batch says so.

    values: in wire form, timestamps ignored (the server sets them) unless dated. Readable for the public or not is
    decided by each value's permissions.
    """

    handle: Handle
    values: ValueList
    dated: bool = False
    """Whether new values keep the timestamps that they come with: a record that moves here is as old as it was."""


@dataclass(frozen=True, slots=True)
class Created:
    """The handle did not exist and is now stored, committed, at `version`."""

    handle: Handle
    version: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """The handle existed and has changed, committed, to `version`; `overwritten` when a stored value was replaced."""

    handle: Handle
    version: int
    overwritten: bool = True


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The handle already held exactly these values (timestamps aside): nothing was written."""

    handle: Handle
    version: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """The handle existed and is deleted, committed."""

    handle: Handle
    version: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing of this item was written; `code` and `message` are for the peer, without restricted data."""

    handle: Handle
    code: ResponseCode
    message: str


Result = Created | Replaced | Unchanged | Deleted | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The handle is stored here, or made by a template, and has values that were asked for."""

    handle: Handle
    values: ValueList
    stamp: Stamp
    """Generations from before the read; an answer cached with it dies at the next write."""
    made_from: Handle | None = None
    """The base from which a template made the values, where the handle itself is not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """No: unknown handle (100), no such values (200), not responsible (301), not allowed (400, 401), not without proof
    of who asks (402).
    """

    handle: Handle
    code: ResponseCode
    message: str
    stamp: Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Referred:
    """Ask there: SERVICE_REFERRAL (302) or PREFIX_REFERRAL (303) with public site values, no service handle."""

    handle: Handle
    code: ResponseCode
    values: ValueList
    stamp: Stamp


Answer = Found | Denied | Referred
