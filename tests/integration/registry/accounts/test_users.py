"""Users: who may make and change them, and what of them is kept."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from registry.accounts.keys import NewKey
from registry.accounts.organisation import Quotas
from registry.accounts.person import Person
from registry.accounts.roles import ROLE_RIGHTS, Caller, Right, Role
from registry.accounts.user import User, UserState
from registry.problem_types import NOT_FOUND, QUOTA_EXCEEDED, UNPROCESSABLE, ApiProblem, ProblemType
from registry.problem_types.accounts import (
    LOGIN_TAKEN,
    ROLE_NOT_GRANTABLE,
    SELF_CHANGE,
    USER_STATE,
)
from registry.transaction import Transaction
from tests.integration.registry.accounts.office import OPERATOR, PASSWORD, Office


def administrator(organisation: str, name: str = "usr_administrator") -> Caller:
    rights = ROLE_RIGHTS[Role.ENTERPRISE_ADMINISTRATOR]
    return Caller(id=name, organisation=organisation, rights=rights, kind="user")


async def refusal(
    office: Office, caller: Caller, act: Callable[[Transaction], Awaitable[object]]
) -> ProblemType:
    """The problem that an act ends in."""
    with pytest.raises(ApiProblem) as refused:
        async with office.acting(caller) as tx:
            await act(tx)
    return refused.value.type


async def test_a_user_is_stored_without_login_name_or_password(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    async with office.reading() as connection:
        row = await connection.fetchval("SELECT u::text FROM users AS u")
        people = await connection.fetchval("SELECT string_agg(p::text, '') FROM personal_fields AS p")
        fields = await office.accounts.users.personal(connection, user)
    assert not any(secret in row + people for secret in ("li.lei", "李雷", PASSWORD))
    assert {field.field: field.value for field in fields} == {
        "login": "li.lei", "name": "李雷", "email": "li.lei@plant.example",
    }  # fmt: skip
    assert ("usr_operator", "user.create", user.id) in await office.audited()


async def test_a_login_is_unique_in_its_organisation_only(office: Office) -> None:
    first, second = await office.organisation(), await office.organisation(1)
    await office.user(first.id)
    await office.user(second.id)
    await office.user(None, Role.REVIEWER)
    with pytest.raises(ApiProblem) as refused:
        await office.user(first.id, login="Li.Lei")
    assert refused.value.type is LOGIN_TAKEN


async def test_a_password_that_is_not_accepted_is_not_repeated(office: Office) -> None:
    with pytest.raises(ApiProblem) as refused:
        await office.accounts.users.hash_password("short", "li.lei")
    assert refused.value.type is UNPROCESSABLE
    assert "short" not in str(refused.value.errors)


async def test_an_administrator_makes_users_of_his_organisation_alone(office: Office) -> None:
    made, other = await office.organisation(), await office.organisation(1)
    editor = await office.user(made.id, Role.ENTERPRISE_EDITOR, by=administrator(made.id))
    assert (editor.role, editor.organisation) == (Role.ENTERPRISE_EDITOR, made.id)
    for organisation, role in ((other.id, Role.READER), (None, Role.AUDITOR), (made.id, Role.OPERATOR)):
        with pytest.raises(ApiProblem) as refused:
            await office.user(organisation, role, by=administrator(made.id))
        assert refused.value.type is ROLE_NOT_GRANTABLE


async def test_an_organisation_that_is_not_there_gets_no_users(office: Office) -> None:
    with pytest.raises(ApiProblem) as refused:
        await office.user("org_unknown")
    assert refused.value.type is UNPROCESSABLE


async def test_the_quota_of_users_holds(office: Office) -> None:
    made = await office.organisation()
    async with office.acting() as tx:
        quotas = Quotas(users_max=1)
        await office.accounts.organisations.set_quotas(tx, made, quotas)
    await office.user(made.id)
    with pytest.raises(ApiProblem) as refused:
        await office.user(made.id, login="han.meimei")
    assert refused.value.type is QUOTA_EXCEEDED


async def test_nobody_raises_suspends_or_removes_himself(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    himself = await office.caller(made.id)
    users = office.accounts.users
    acts: tuple[Callable[[Transaction], Awaitable[object]], ...] = (
        lambda tx: users.set_role(tx, himself, user, Role.AUDITOR),
        lambda tx: users.suspend(tx, himself, user, "holiday"),
        lambda tx: users.remove(tx, himself, user),
    )
    for act in acts:
        assert await refusal(office, himself, act) is SELF_CHANGE


async def test_nobody_raises_himself_by_a_key_that_he_made(office: Office) -> None:
    operator = await office.user(None, Role.OPERATOR)
    himself = await office.caller(None)
    new = NewKey(organisation=None, name="tool", rights=ROLE_RIGHTS[Role.OPERATOR])
    async with office.acting(himself) as tx:
        shown = await office.accounts.keys.create(tx, himself, new)
    key = await office.accounts.authenticate(shown.token)
    assert key is not None
    async with office.acting(key) as tx:
        shown = await office.accounts.keys.create(tx, key, new)
    further = await office.accounts.authenticate(shown.token)
    assert further is not None
    for by in (key, further):
        act = partial(office.accounts.users.set_role, caller=by, user=operator, role=Role.REVIEWER)
        assert await refusal(office, by, act) is SELF_CHANGE


async def test_a_lesser_key_takes_over_nobody(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    weak = Caller(id="key_weak", organisation=made.id, rights=frozenset({Right.USER_WRITE}), kind="key")
    users = office.accounts.users
    acts: tuple[Callable[[Transaction], Awaitable[object]], ...] = (
        lambda tx: users.set_password(tx, weak, user, "hash"),
        lambda tx: users.set_role(tx, weak, user, Role.READER),
        lambda tx: users.suspend(tx, weak, user, "reason"),
        lambda tx: users.remove(tx, weak, user),
        lambda tx: users.set_person(tx, weak, user, Person(name="王芳")),
    )
    for act in acts:
        assert await refusal(office, weak, act) is ROLE_NOT_GRANTABLE


async def test_a_role_is_changed_step_by_step(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id, Role.READER)
    by = administrator(made.id)
    async with office.acting(by) as tx:
        changed = await office.accounts.users.set_role(tx, by, user, Role.ENTERPRISE_EDITOR)
    assert (changed.role, changed.version) == (Role.ENTERPRISE_EDITOR, 2)


async def test_a_user_is_suspended_resumed_and_removed(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    by, users = administrator(made.id), office.accounts.users

    async def act(work: Callable[[Transaction], Awaitable[User]]) -> User:
        async with office.acting(by) as tx:
            return await work(tx)

    suspended = await act(lambda tx: users.suspend(tx, by, user, "离岗"))
    assert suspended.state is UserState.SUSPENDED
    assert await refusal(office, by, lambda tx: users.suspend(tx, by, suspended, "again")) is USER_STATE
    resumed = await act(lambda tx: users.resume(tx, by, suspended, "返岗"))
    assert resumed.state is UserState.ACTIVE
    removed = await act(lambda tx: users.remove(tx, by, resumed))
    assert removed.state is UserState.REMOVED
    for work in (
        lambda tx: users.resume(tx, by, removed, "back"),
        lambda tx: users.set_password(tx, by, removed, "hash"),
        lambda tx: users.set_person(tx, by, removed, Person(name="王芳")),
        lambda tx: users.remove(tx, by, removed),
    ):
        assert await refusal(office, by, work) is USER_STATE
    async with office.reading() as connection:
        assert not await users.personal(connection, removed)
        assert await users.login_of(connection, removed) == ""
    again = await office.user(made.id)
    assert again.id != user.id


async def test_a_user_of_another_organisation_is_as_good_as_none(office: Office) -> None:
    made, other = await office.organisation(), await office.organisation(1)
    foreign, node = await office.user(other.id), await office.user(None, Role.REVIEWER)
    by = administrator(made.id)
    details = set()
    for name in (foreign.id, node.id, "usr_unknown"):
        with pytest.raises(ApiProblem) as refused:
            async with office.acting(by) as tx:
                await office.accounts.users.lock(tx, by, name)
        assert refused.value.type is NOT_FOUND
        details.add(refused.value.detail)
    assert len(details) == 1
    async with office.reading() as connection:
        seen = await office.accounts.users.page(connection, by, organisation=other.id, after="", limit=10)
        everybody = await office.accounts.users.page(
            connection, OPERATOR, organisation=None, after="", limit=10
        )
    assert seen == []
    assert {user.id for user in everybody} == {foreign.id, node.id}


async def test_the_name_is_corrected_and_the_login_stays(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    by = administrator(made.id)
    async with office.acting(by) as tx:
        await office.accounts.users.set_person(tx, by, user, Person(name="李蕾"))
    async with office.reading() as connection:
        fields = await office.accounts.users.personal(connection, user)
    assert {field.field: field.value for field in fields} == {"login": "li.lei", "name": "李蕾"}
