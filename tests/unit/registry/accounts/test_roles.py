"""Rights and roles, and who may give which."""

import pytest

from protocol.valuetypes import AdminPermission
from registry.accounts.key import grantable, rights_fault
from registry.accounts.roles import NODE_ROLES, ORGANISATION_ROLES, ROLE_RIGHTS, Caller, Right, Role
from registry.accounts.user import grant_fault, login_fault, login_key

PLANT = "org_aaaaaaaaaaaaaaaaaaaa"
OTHER = "org_bbbbbbbbbbbbbbbbbbbb"


def caller(
    role: Role,
    organisation: str | None = None,
    *,
    without: frozenset[Right] = frozenset(),
    prefixes: frozenset[bytes] | None = None,
) -> Caller:
    rights = ROLE_RIGHTS[role] - without
    return Caller(id="usr_1", organisation=organisation, rights=rights, prefixes=prefixes, kind="user")


ADMINISTRATOR = caller(Role.ENTERPRISE_ADMINISTRATOR, PLANT)
OPERATOR = caller(Role.OPERATOR)


def test_nobody_both_operates_and_reviews() -> None:
    reviews = {Right.ORGANISATION_REVIEW, Right.PREFIX_REVIEW}
    assert {role for role in Role if ROLE_RIGHTS[role] & reviews} == {Role.REVIEWER}
    assert not ROLE_RIGHTS[Role.OPERATOR] & {Right.PERSONAL_READ, Right.IDENTIFIER_WRITE, Right.PREFIX_APPLY}


def test_auditor_and_reader_change_nothing() -> None:
    for role in (Role.AUDITOR, Role.READER):
        assert all(right.value.endswith(":read") for right in ROLE_RIGHTS[role])
    assert Right.PERSONAL_READ not in ROLE_RIGHTS[Role.AUDITOR]
    assert Right.AUDIT_READ in ROLE_RIGHTS[Role.AUDITOR]
    assert Right.AUDIT_READ not in ROLE_RIGHTS[Role.REVIEWER]


def test_every_role_has_its_place() -> None:
    assert set(Role) == NODE_ROLES | ORGANISATION_ROLES
    assert {Role.AUDITOR} == NODE_ROLES & ORGANISATION_ROLES


def test_the_node_level_sees_everything_and_an_organisation_itself() -> None:
    assert OPERATOR.sees(PLANT)
    assert OPERATOR.sees(None)
    assert ADMINISTRATOR.sees(PLANT)
    assert not ADMINISTRATOR.sees(OTHER)
    assert not ADMINISTRATOR.sees(None)


def test_a_reader_gets_no_restricted_value_and_nobody_a_derived_prefix() -> None:
    assert caller(Role.READER, PLANT).actor().rights == AdminPermission.LIST_HANDLES
    editor = caller(Role.ENTERPRISE_EDITOR, PLANT).actor()
    assert editor.organisation == PLANT
    assert AdminPermission.ADD_HANDLE | AdminPermission.DELETE_HANDLE in editor.rights
    assert not editor.rights & (AdminPermission.ADD_DERIVED_PREFIX | AdminPermission.DELETE_DERIVED_PREFIX)
    assert OPERATOR.actor().organisation == ""


def test_the_origin_names_the_caller_by_id() -> None:
    origin = ADMINISTRATOR.origin("request-1")
    assert (origin.actor, origin.organisation, origin.via, origin.request_id) == (
        "usr_1",
        PLANT,
        "api",
        "request-1",
    )


@pytest.mark.parametrize("role", Role)
def test_an_operator_gives_the_roles_that_fit_a_place(role: Role) -> None:
    assert (grant_fault(OPERATOR, role, None) is None) == (role in NODE_ROLES)
    assert (grant_fault(OPERATOR, role, PLANT) is None) == (role in ORGANISATION_ROLES)


@pytest.mark.parametrize("role", Role)
def test_an_enterprise_administrator_gives_roles_of_his_organisation_alone(role: Role) -> None:
    assert (grant_fault(ADMINISTRATOR, role, PLANT) is None) == (role in ORGANISATION_ROLES)
    assert grant_fault(ADMINISTRATOR, role, OTHER) is not None
    assert grant_fault(ADMINISTRATOR, role, None) is not None


def test_nobody_gives_a_role_that_is_worth_more_than_his_rights() -> None:
    weak = caller(Role.ENTERPRISE_ADMINISTRATOR, PLANT, without=frozenset({Right.KEY_WRITE}))
    assert grant_fault(weak, Role.ENTERPRISE_ADMINISTRATOR, PLANT) is not None
    assert grant_fault(weak, Role.ENTERPRISE_EDITOR, PLANT) is None
    narrow = Caller(id="key_1", organisation=None, rights=frozenset({Right.USER_WRITE}), kind="key")
    assert grant_fault(narrow, Role.AUDITOR, None) is not None
    assert grant_fault(narrow, Role.READER, PLANT) is not None


def test_a_key_that_is_limited_to_prefixes_gives_no_roles() -> None:
    limited = caller(Role.ENTERPRISE_ADMINISTRATOR, PLANT, prefixes=frozenset({b"88.100.1"}))
    assert grant_fault(limited, Role.READER, PLANT) is not None


def test_a_key_gets_no_right_that_its_maker_lacks() -> None:
    editor = caller(Role.ENTERPRISE_EDITOR, PLANT)
    assert rights_fault(editor, PLANT, [Right.IDENTIFIER_WRITE], None) is None
    assert "key:write" in (rights_fault(editor, PLANT, [Right.KEY_WRITE], None) or "")
    assert rights_fault(editor, OTHER, [Right.IDENTIFIER_READ], None) is not None


def test_a_key_of_an_organisation_gets_no_right_of_the_node() -> None:
    assert Right.NODE_OPERATE not in grantable(PLANT)
    assert rights_fault(OPERATOR, PLANT, [Right.NODE_OPERATE], None) is not None
    assert rights_fault(OPERATOR, None, [Right.NODE_OPERATE], None) is None


def test_a_key_reaches_no_further_than_its_maker() -> None:
    limited = caller(Role.ENTERPRISE_EDITOR, PLANT, prefixes=frozenset({b"88.100.1"}))
    rights = [Right.IDENTIFIER_WRITE]
    assert rights_fault(limited, PLANT, rights, frozenset({b"88.100.1"})) is None
    assert rights_fault(limited, PLANT, rights, frozenset({b"88.100.1", b"88.100.2"})) is not None
    assert rights_fault(limited, PLANT, rights, None) is not None


def test_logins_that_look_alike_are_the_same_in_one_organisation() -> None:
    assert login_key(PLANT, "Li.Lei") == login_key(PLANT, "ｌi.lei")
    assert login_key(PLANT, "li.lei") != login_key(OTHER, "li.lei")
    assert login_key(None, "li.lei") != login_key(PLANT, "li.lei")


@pytest.mark.parametrize(
    ("login", "accepted"),
    [("li.lei", True), ("李雷雷", True), ("li lei", False), ("a/b/c", False), ("li\u200blei", False)],
)
def test_a_login_holds_nothing_invisible(login: str, accepted: bool) -> None:
    assert (login_fault(login) is None) == accepted
