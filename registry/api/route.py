"""Route: one operation of the API, with everything that the framework, the reference and the tests know about it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from registry.accounts.roles import Right
from registry.api.call import Call, Reply
from registry.problem_types import ProblemType

BODY_OCTETS_MAX: Final = 1_048_576
"""Octets of a body unless the route says otherwise; a record of 262,144 octets as JSON takes less."""

Handler = Callable[[Call], Awaitable[Reply]]


class Access(Enum):
    """What a request must prove before its handler is asked."""

    RIGHT = "right"
    """A credential whose holder has the right of the route."""
    SIGNED_IN = "signed in"
    """Any valid credential."""
    PUBLIC = "public"
    """Nothing."""
    NODE = "node"
    """The signature of a node (RFC 9421)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation."""

    method: str
    path: str
    """Such as /api/v1/organisations/{organisation}; a name in braces stands for one percent-encoded segment."""
    name: str
    """Unique, such as organisation.create: operationId, label of metrics, word of the audit."""
    summary: str
    tag: str
    """Heading of the reference under which it stands."""
    handler: Handler
    right: Right | None = None
    access: Access = Access.RIGHT
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    reply: type[msgspec.Struct] | None = None
    """None for an answer without a body (204), or one that is no JSON (`media`)."""
    status: int = 200
    also: tuple[int, ...] = ()
    """Further statuses of success, with the same body."""
    problems: tuple[ProblemType, ...] = ()
    """What the domain refuses with, beside what any such request can meet."""
    writes: bool | None = None
    """Whether it changes anything; None: unless its method is GET."""
    eager: bool = True
    """Of a write: whether the transaction is open before the handler starts. Where slow work comes first (a password,
    another node), False: the handler calls `await call.begin()` when it is ready to write."""
    shared: bool = False
    """Of a write that is not eager: whether its handler writes in a transaction that it shares with others (see
    registry/gathering.py), which then keeps the answer by `await call.settle(transaction, reply)`."""
    audited_read: bool = False
    """Of a privileged read: whether the framework writes an audit entry before the answer leaves."""
    etag: bool = False
    """Whether the answer carries an ETag; a GET then answers If-None-Match, a write may require If-Match."""
    if_match: bool = False
    """Whether the handler calls `call.require_match`, so that If-Match is needed."""
    heeds_match: bool = False
    """Whether it calls `call.check_match`: If-Match is not needed, but holds where it is sent."""
    body_octets_max: int = BODY_OCTETS_MAX
    secret_reply: bool = False
    """Whether the reply holds a secret that is shown once: kept sealed for a repetition."""
    media: str = "application/json"
    """Media type of the reply."""
    other_media: tuple[str, ...] = ()
    """Further media types, by Accept."""

    def __post_init__(self) -> None:
        """Find mistakes in the table at import time."""
        assert self.path.startswith("/api/v1/"), self.path
        assert (self.right is not None) == (self.access is Access.RIGHT), f"{self.name}: right and access"
        assert self.body is None or self.method in {"POST", "PUT", "PATCH"}, f"{self.name}: no body in a GET"
        for shape in (self.body, self.query):
            strict = shape is None or shape.__struct_config__.forbid_unknown_fields
            assert strict, f"{self.name}: {shape} must derive from Body or Query"
        assert not (self.shared and self.eager), f"{self.name}: a shared write is not eager"
        assert not (self.if_match and self.heeds_match), f"{self.name}: If-Match is needed or not"
        assert not self.audited_read or not self.is_write, f"{self.name}: a write audits itself"

    @property
    def is_write(self) -> bool:
        """Whether it changes anything."""
        return self.method != "GET" if self.writes is None else self.writes

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the segments in braces, in their order."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))
