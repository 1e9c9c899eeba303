"""Bodies and replies about sessions, and who the caller is."""

from datetime import datetime

from registry.accounts.roles import Right, Role
from registry.api.schemas.base import Page, Shape


class SessionOpened(Shape, frozen=True, kw_only=True):
    """A new session; its token is shown once and travels in Authorization: Bearer from now on."""

    id: str
    token: str
    user: str
    organisation: str | None
    expires: datetime
    """At the latest; an hour without a request ends it sooner."""

    def __repr__(self) -> str:
        """Without the token: this may end up in a log."""
        return f"SessionOpened({self.id})"


class SessionView(Shape, frozen=True, kw_only=True):
    """A session of the caller."""

    id: str
    created: datetime
    last_used: datetime
    """To the minute."""
    expires: datetime
    present: bool
    """Whether it is the one of this request."""


class SessionList(Page[SessionView], frozen=True, kw_only=True):
    """The sessions of the caller, all on one page, the latest first."""


class Whoami(Shape, frozen=True, kw_only=True):
    """Who the caller is and what he may do."""

    kind: str
    """user or key."""
    id: str
    organisation: str | None
    """Null at the node level."""
    role: Role | None
    """Of a user."""
    name: str | None
    """Of an API key."""
    rights: list[Right]
    prefixes: list[str] | None
    """What an API key is limited to; null for all that the organisation holds."""
    test: bool
    """Whether writes are dry runs only."""
    session: str | None
    expires: datetime | None
    """Of an API key."""
