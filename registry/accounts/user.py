"""User: one user as he is stored, what a login is, and who may give which role. Pure."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from registry.accounts.passwords import PASSWORD_MAX
from registry.accounts.roles import NODE_ROLES, ORGANISATION_ROLES, ROLE_RIGHTS, Caller, Role

LOGIN_MIN: Final = 3
LOGIN_MAX: Final = 100
"""Characters; an e-mail address serves as well as a name."""
_LOGIN: Final = re.compile(r"[^\s/]+")

Login = Annotated[str, Meta(min_length=LOGIN_MIN, max_length=LOGIN_MAX)]
Password = Annotated[str, Meta(min_length=1, max_length=PASSWORD_MAX)]


class UserState(StrEnum):
    """Whether a user gets in."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"
    """For good: his data are erased, the id stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user at one version, without personal data."""

    id: str
    version: int
    organisation: str | None
    role: Role
    person: str
    state: UserState
    password_changed: datetime
    locked_until: datetime | None
    last_sign_in: datetime | None
    created: datetime
    created_by: str


class SignIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody claims and shows to sign in."""

    organisation: Annotated[str, Meta(max_length=64)] | None = None
    """The id of the organisation; null for users of the node itself."""
    login: Login
    password: Password

    def __repr__(self) -> str:
        """Nothing of it: this may end up in a log."""
        return "SignIn(***)"


def login_key(organisation: str | None, login: str) -> bytes:
    """What is digested to find a login again: logins that people take for the same are the same.

    Logins are unique in one organisation only: unique in the node, they would tell organisations of each other's users.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", login).casefold())
    return f"{organisation or ''}/{folded}".encode("utf-8", "surrogatepass")


def login_fault(login: str) -> str | None:
    """Why a text is refused as a login; None when it is accepted."""
    if not _LOGIN.fullmatch(login) or not login.isprintable():
        return "must hold no blank, no slash and no invisible character"
    return None


def grant_fault(caller: Caller, role: Role, organisation: str | None) -> str | None:
    """Why the caller may not give this role in this organisation (None: the node); None when he may.

    The same holds for taking a role away and for setting the password of somebody who has it, since either is
    as good as having it. At the node level it takes the rights of an operator, whatever the role.
    """
    if not caller.sees(organisation):
        return "The organisation is not the caller's."
    fitting = NODE_ROLES if organisation is None else ORGANISATION_ROLES
    if role not in fitting:
        where = "the node itself" if organisation is None else "an organisation"
        return f"There is no {role.value} of {where}; roles there are {', '.join(sorted(fitting))}."
    if caller.prefixes is not None:
        return "A key that is limited to prefixes gives no roles."
    worth = ROLE_RIGHTS[Role.OPERATOR if caller.organisation is None else role]
    missing = sorted(worth - caller.rights)
    return f"The caller lacks {', '.join(missing)}." if missing else None
