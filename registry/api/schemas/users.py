"""Bodies and replies about users."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from registry.accounts.passwords import PASSWORD_MAX, PASSWORD_MIN
from registry.accounts.roles import Role
from registry.accounts.user import Login, Password, UserState
from registry.api.schemas.base import Body, Page, Paging, Shape
from registry.api.schemas.organisations import OrganisationId
from registry.text import Line, Paragraph

NewPassword = Annotated[str, Meta(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]
Email = Annotated[str, Meta(min_length=3, max_length=254)]
Mobile = Annotated[str, Meta(min_length=3, max_length=32)]


class NewUser(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to be made."""

    organisation: OrganisationId | None = None
    """Null for the caller's own organisation; of callers of the node level, for the node itself."""
    role: Role
    login: Login
    """Unique in the organisation; upper and lower case count alike."""
    password: NewPassword
    name: Line
    email: Email | None = None
    mobile: Mobile | None = None

    def __repr__(self) -> str:
        """Nothing of it: this may end up in a log."""
        return "NewUser(***)"


class UserView(Shape, frozen=True, kw_only=True):
    """A user, without personal data."""

    id: str
    version: int
    organisation: str | None
    role: Role
    state: UserState
    locked_until: datetime | None
    """Until when sign-ins are refused after wrong passwords."""
    last_sign_in: datetime | None
    password_changed: datetime
    created: datetime
    created_by: str


class Users(Page[UserView], frozen=True, kw_only=True):
    """A page of users."""


class UserFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which users are listed."""

    organisation: OrganisationId | None = None
    """Of one organisation alone."""


class RoleChange(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another role."""

    role: Role


class UserSuspension(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to be let in no more."""

    reason: Paragraph
    """Kept in the audit log, so no personal data."""
    revoke_keys: bool = False
    """Whether the API keys that he has made are revoked too."""


class UserSuspended(Shape, frozen=True, kw_only=True):
    """A user who was suspended, and what he leaves."""

    user: UserView
    keys_revoked: int
    keys_left: int
    """API keys that he has made and that still count."""


class PasswordChange(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new password; every other session of the user ends."""

    password: NewPassword
    current: Password | None = None
    """The present password; needed for one's own."""

    def __repr__(self) -> str:
        """Nothing of it: this may end up in a log."""
        return "PasswordChange(***)"


class UserPerson(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who a user is: replaces what was known; the login stays."""

    name: Line
    email: Email | None = None
    mobile: Mobile | None = None

    def __repr__(self) -> str:
        """Nothing of it: this may end up in a log."""
        return "UserPerson(***)"
