"""Call: what a handler knows of a request, and Reply: what it gives back."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

import msgspec

from registry.accounts.roles import Caller, Right, roles_with
from registry.api.services import Services
from registry.outcomes import Origin
from registry.problem_types import (
    FORBIDDEN,
    INVALID_REQUEST,
    PRECONDITION_FAILED,
    PRECONDITION_REQUIRED,
    ApiProblem,
    FieldFault,
)
from registry.transaction import Transaction

Shape = TypeVar("Shape", bound=msgspec.Struct)


@dataclass(slots=True, kw_only=True)
class Reply:
    """What a handler answers."""

    body: msgspec.Struct | None = None
    """Encoded as JSON; None for no body."""
    content: bytes | None = None
    """In place of body: octets that are ready to be sent."""
    media: str | None = None
    """Media type of content, when it is not the route's."""
    status: int | None = None
    """When it is not the route's."""
    etag: str | None = None
    """Version of the object, without quotes."""
    location: str | None = None
    """Path of what was made, such as /api/v1/organisations/org_…"""
    headers: Mapping[str, str] = field(default_factory=dict)


Start: TypeAlias = Callable[[], Awaitable[Transaction]]
Keep: TypeAlias = Callable[[Transaction, Reply], None]


@dataclass(slots=True, kw_only=True)
class Call:
    """One request, already authenticated, authorised, limited and decoded."""

    request_id: str
    services: Services
    origin: Origin
    """Who does it, for the audit."""
    now: datetime
    caller: Caller | None = None
    """None for a public route and for a node."""
    node_key: str = ""
    """Id of the key that signed, for Access.NODE."""
    peer: str = ""
    """The address that the request came from."""
    path: Mapping[str, str]
    """The segments in braces, percent-decoded; bounded, and without control characters."""
    query: msgspec.Struct | None = None
    octets: bytes = b""
    """The body as it came."""
    body: msgspec.Struct | None = None
    dry_run: bool = False
    """Whether nothing of it will be kept."""
    if_match: str | None = None
    if_none_match: str | None = None
    wants_html: bool = False
    """Whether the client prefers a page to JSON."""
    start: Start | None = None
    """Opens the transaction; the framework's."""
    keep: Keep | None = None
    """Keeps an answer under the idempotency key of the request; the framework's."""
    opened: Transaction | None = None
    """The transaction once it is open; the framework's."""
    read_of: str | None = None
    """Of a privileged read: the organisation whose data are told, where it is not the caller's; the handler's."""
    identifiers_created: int = 0
    """What count_identifiers was told, counted when all is committed."""

    @property
    def signed_in(self) -> Caller:
        """The caller of a route that is neither public nor for nodes."""
        assert self.caller is not None
        return self.caller

    @property
    def tx(self) -> Transaction:
        """The one transaction of a write: committed after the handler returned, rolled back when it raises."""
        assert self.opened is not None, "no write, or begin() was not called"
        return self.opened

    async def begin(self) -> Transaction:
        """Open the transaction of a route that is not eager; the open one when it is open already.

        Raises ApiProblem when the request turns out to be one that is being worked on already.
        """
        if self.opened is None:
            assert self.start is not None, "a read has no transaction"
            self.opened = await self.start()
        return self.opened

    async def settle(self, transaction: Transaction, reply: Reply) -> Reply:
        """Keep the answer of a shared write in the transaction that holds what it wrote; gives the reply back."""
        if self.keep is not None:
            self.keep(transaction, reply)
        return reply

    def body_as(self, shape: type[Shape]) -> Shape:
        """The body, which the route declares to be of this type."""
        assert isinstance(self.body, shape)
        return self.body

    def query_as(self, shape: type[Shape]) -> Shape:
        """The parameters, which the route declares to be of this type."""
        assert isinstance(self.query, shape)
        return self.query

    def require_match(self, etag: str) -> None:
        """Go on only if If-Match names this version. Raises ApiProblem 428 without the header, 412 for another one."""
        if self.if_match is None:
            raise ApiProblem(
                PRECONDITION_REQUIRED,
                "This changes an object that somebody else may be changing too.",
                remedy=f'If you have read the present version, send If-Match: "{etag}".',
            )
        self.check_match(etag)

    def check_match(self, etag: str) -> None:
        """Go on unless there is an If-Match and it names another version than this. Raises ApiProblem 412."""
        if self.if_match is not None and not matches(self.if_match, etag):
            hint = "" if '"' in self.if_match else " The quotes are part of it."
            raise ApiProblem(
                PRECONDITION_FAILED, f'The present version is "{etag}", not the one in If-Match.{hint}'
            )

    def count_identifiers(self, count: int) -> None:
        """Count identifiers that this request creates against the quota of the day, when they are committed.

        Raises ApiProblem 429 when the organisation's quota does not allow so many.
        """
        if self.caller is not None and self.caller.organisation is not None:
            pending = self.identifiers_created + count
            self.services.usage.check_identifiers(self.caller.organisation, pending, self.now)
            self.identifiers_created = pending


def lack_of(right: Right) -> ApiProblem:
    """That the caller lacks a right, and who has it."""
    return ApiProblem(
        FORBIDDEN,
        f"The operation takes the right {right}.",
        remedy=f"Use a user or an API key with this right; roles that have it: {', '.join(roles_with(right))}.",
    )


def matches(header: str, etag: str) -> bool:
    """Whether a list of entity tags (If-Match, If-None-Match) holds this version, or is `*`; weak tags match too."""
    if header.strip() == "*":
        return True
    return f'"{etag}"' in {part.strip().removeprefix("W/") for part in header.split(",")}


def cursor_of(position: bytes) -> str:
    """The opaque text of a position in a list."""
    return base64.urlsafe_b64encode(position).decode("ascii").rstrip("=")


def position_of(cursor: str) -> bytes | None:
    """The position that a cursor stands for; None for the start. Raises ApiProblem 400 for what is no cursor."""
    if not cursor:
        return None
    try:
        octets = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if not octets or cursor_of(octets) != cursor:
        fault = FieldFault("?cursor", "is not `next` of an earlier page")
        raise ApiProblem(INVALID_REQUEST, "The cursor is none.", errors=[fault])
    return octets
