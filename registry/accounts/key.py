"""API key: one as it is stored, and who may give which rights to one. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from registry.accounts.roles import ROLE_RIGHTS, Caller, Right, Role
from registry.accounts.tokens import TokenKind

VALIDITY: Final = timedelta(days=90)
"""Of a key whose maker says nothing."""
VALIDITY_MAX: Final = timedelta(days=366)
"""A key that is rotated once a year is still one that somebody remembers."""
OVERLAP: Final = timedelta(days=7)
"""How long the token before a rotation stays valid unless something else is asked for."""
OVERLAP_MAX: Final = timedelta(days=30)
PREFIXES_MAX: Final = 1_000
"""Prefixes that a key is limited to; one for more is better made without a limit."""


class KeyState(StrEnum):
    """Whether a key counts."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key at one version, without its secret."""

    id: str
    version: int
    organisation: str | None
    name: str
    rights: frozenset[Right]
    prefixes: frozenset[bytes] | None
    """Folded."""
    test: bool
    lookup: str
    state: KeyState
    expires: datetime
    previous_until: datetime | None
    """Until when the token before the last rotation is valid."""
    last_used: datetime | None
    """To the minute."""
    created: datetime
    created_by: str

    @property
    def kind(self) -> TokenKind:
        """What its tokens begin with."""
        return TokenKind.TEST if self.test else TokenKind.LIVE

    @property
    def token_start(self) -> str:
        """What its tokens begin with, for finding one that leaked; no secret."""
        return f"hg_{self.kind.value}_{self.lookup}_"


def grantable(organisation: str | None) -> frozenset[Right]:
    """The rights that have a meaning for a key of an organisation, or of the node."""
    return frozenset(Right) if organisation is None else ROLE_RIGHTS[Role.ENTERPRISE_ADMINISTRATOR]


def rights_fault(
    caller: Caller,
    organisation: str | None,
    rights: Iterable[Right],
    prefixes: frozenset[bytes] | None,
) -> str | None:
    """Why the caller may not hold a key with these rights in his hands; None when he may."""
    if not caller.sees(organisation):
        return "The organisation is not the caller's."
    wanted = frozenset(rights)
    senseless = wanted - grantable(organisation)
    if senseless:
        return f"A key of an organisation cannot have {', '.join(sorted(senseless))}."
    missing = wanted - caller.rights
    if missing:
        return f"The caller lacks {', '.join(sorted(missing))}."
    if caller.prefixes is not None and (prefixes is None or not prefixes <= caller.prefixes):
        return "The caller is limited to fewer prefixes than the key."
    return None
