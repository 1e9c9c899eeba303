"""Rights, the roles that bundle them, and Caller: somebody whose credential has been checked.

Pure. A right says what may be done; whether it may be done to this object is the second question, and the
organisation answers it (`Caller.sees`): node-level callers see every organisation, all others their own alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from protocol.valuetypes import AdminPermission
from registry.outcomes import Origin, Principal


class Right(StrEnum):
    """One thing that may be done through the API."""

    ORGANISATION_READ = "organisation:read"
    ORGANISATION_WRITE = "organisation:write"
    ORGANISATION_REVIEW = "organisation:review"
    ORGANISATION_SUSPEND = "organisation:suspend"
    USER_READ = "user:read"
    USER_WRITE = "user:write"
    PERSONAL_READ = "personal:read"
    """Names, telephone numbers and the like in the clear; every such reading is audited."""
    KEY_READ = "key:read"
    KEY_WRITE = "key:write"
    PREFIX_READ = "prefix:read"
    PREFIX_APPLY = "prefix:apply"
    PREFIX_REVIEW = "prefix:review"
    PREFIX_OPERATE = "prefix:operate"
    """Allocate, suspend, resume, revoke, transfer, move."""
    IDENTIFIER_READ = "identifier:read"
    IDENTIFIER_WRITE = "identifier:write"
    IDENTIFIER_DELETE = "identifier:delete"
    AUDIT_READ = "audit:read"
    USAGE_READ = "usage:read"
    NODE_OPERATE = "node:operate"
    """The node itself and its neighbours: enrolment, filing, reports."""


class Role(StrEnum):
    """What a user is."""

    OPERATOR = "operator"
    """Runs the node; sees every organisation, decides on none and registers for none."""
    REVIEWER = "reviewer"
    """Decides on applications of every organisation."""
    ENTERPRISE_ADMINISTRATOR = "enterprise_administrator"
    """Runs one organisation: its data, users, keys, prefixes and identifiers."""
    ENTERPRISE_EDITOR = "enterprise_editor"
    """Registers and changes identifiers of one organisation."""
    AUDITOR = "auditor"
    """Reads everything but personal data: of the node, or of one organisation."""
    READER = "reader"
    """Reads what one organisation has registered."""


REVIEWS: Final = frozenset({Right.ORGANISATION_REVIEW, Right.PREFIX_REVIEW})
READS: Final = frozenset(right for right in Right if right.value.endswith(":read"))
IDENTIFIERS: Final = frozenset({Right.IDENTIFIER_READ, Right.IDENTIFIER_WRITE, Right.IDENTIFIER_DELETE})

ROLE_RIGHTS: Final[Mapping[Role, frozenset[Right]]] = {
    Role.OPERATOR: frozenset(Right)
    - REVIEWS
    - {Right.PERSONAL_READ, Right.PREFIX_APPLY, Right.IDENTIFIER_WRITE, Right.IDENTIFIER_DELETE},
    Role.REVIEWER: REVIEWS | READS - {Right.AUDIT_READ},
    Role.ENTERPRISE_ADMINISTRATOR: IDENTIFIERS
    | {
        Right.ORGANISATION_READ,
        Right.ORGANISATION_WRITE,
        Right.USER_READ,
        Right.USER_WRITE,
        Right.PERSONAL_READ,
        Right.KEY_READ,
        Right.KEY_WRITE,
        Right.PREFIX_READ,
        Right.PREFIX_APPLY,
        Right.AUDIT_READ,
        Right.USAGE_READ,
    },
    Role.ENTERPRISE_EDITOR: IDENTIFIERS | {Right.ORGANISATION_READ, Right.PREFIX_READ, Right.USAGE_READ},
    Role.AUDITOR: READS - {Right.PERSONAL_READ},
    Role.READER: frozenset(
        {Right.ORGANISATION_READ, Right.PREFIX_READ, Right.IDENTIFIER_READ, Right.USAGE_READ}
    ),
}


def roles_with(right: Right) -> list[Role]:
    """Roles that have a right."""
    return [role for role, rights in ROLE_RIGHTS.items() if right in rights]


NODE_ROLES: Final = frozenset({Role.OPERATOR, Role.REVIEWER, Role.AUDITOR})
"""Roles of people who belong to no organisation and see them all."""
ORGANISATION_ROLES: Final = frozenset(
    {Role.ENTERPRISE_ADMINISTRATOR, Role.ENTERPRISE_EDITOR, Role.AUDITOR, Role.READER}
)
"""Roles within one organisation."""


_HANDLE_RIGHTS: Final[Mapping[Right, AdminPermission]] = {
    Right.IDENTIFIER_READ: AdminPermission.LIST_HANDLES,
    Right.IDENTIFIER_WRITE: (
        AdminPermission.ADD_HANDLE
        | AdminPermission.READ_VALUE
        | AdminPermission.MODIFY_VALUE
        | AdminPermission.REMOVE_VALUE
        | AdminPermission.ADD_VALUE
    ),
    Right.IDENTIFIER_DELETE: AdminPermission.DELETE_HANDLE,
}
"""What a right is worth in the one permission rule, on handles of prefixes that the organisation holds. Prefixes come
from allocation alone, so that nothing gives rights on derived ones."""
_APPOINTING: Final = frozenset({Right.IDENTIFIER_WRITE, Right.KEY_WRITE})
"""Who may register and give out keys may also name administrators in records, and their keys."""
_ADMIN_RIGHTS: Final = AdminPermission.ADD_ADMIN | AdminPermission.MODIFY_ADMIN | AdminPermission.REMOVE_ADMIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls the API: a user by a session, or an API key, proven and not barred."""

    id: str
    """`usr_…` or `key_…`."""
    organisation: str | None
    """None for the node level, which sees all organisations."""
    rights: frozenset[Right]
    prefixes: frozenset[bytes] | None = None
    """Folded prefixes that the caller is limited to; None for all that the organisation holds."""
    kind: Literal["user", "key"]
    test: bool = False
    """Whether writes are dry runs only (a test key)."""
    session: str | None = None
    """`ses_…` of a user who signed in."""

    def may(self, right: Right) -> bool:
        """Whether the caller has the right at all; `sees` tells on what."""
        return right in self.rights

    def sees(self, organisation: str | None) -> bool:
        """Whether objects of this organisation exist for the caller; None is an object of the node itself."""
        return self.organisation is None or self.organisation == organisation

    def actor(self) -> Principal:
        """The caller as the operations know him; at the node level one who holds no prefix."""
        rights = AdminPermission(0)
        for right, permissions in _HANDLE_RIGHTS.items():
            if right in self.rights:
                rights |= permissions
        if self.rights >= _APPOINTING:
            rights |= _ADMIN_RIGHTS
        return Principal(
            id=self.id, organisation=self.organisation or "", rights=rights, prefixes=self.prefixes
        )

    def origin(self, request_id: str) -> Origin:
        """The caller as the audit names him."""
        return Origin(actor=self.id, organisation=self.organisation, via="api", request_id=request_id)
