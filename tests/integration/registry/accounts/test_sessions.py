"""Signing in: lock-out, sameness of refusals, ends of sessions."""

import asyncio
import time
from datetime import timedelta

import pytest

from registry.accounts.passwords import FAILURES_FREE, Passwords
from registry.accounts.roles import ROLE_RIGHTS, Role
from registry.accounts.sessions import ABSOLUTE, IDLE, SESSIONS_MAX
from registry.problem_types import NOT_FOUND, ApiProblem
from registry.problem_types.accounts import SIGN_IN_REFUSED
from tests.integration.registry.accounts.office import OPERATOR, PASSWORD, Office

WRONG = "wrong horse battery"


async def refused(
    office: Office, organisation: str | None, login: str = "li.lei", password: str = WRONG
) -> ApiProblem:
    with pytest.raises(ApiProblem) as caught:
        await office.sign_in(organisation, login, password)
    assert caught.value.type is SIGN_IN_REFUSED
    return caught.value


async def test_a_session_is_its_users_and_has_his_rights(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    signed_in = await office.sign_in(made.id, "LI.LEI")
    caller = await office.accounts.authenticate(signed_in.token)
    assert caller is not None
    assert (caller.id, caller.organisation, caller.kind) == (user.id, made.id, "user")
    assert caller.rights == ROLE_RIGHTS[Role.ENTERPRISE_ADMINISTRATOR]
    assert caller.session == signed_in.session.id
    assert (user.id, "session.create", signed_in.session.id) in await office.audited()
    assert signed_in.token not in repr(signed_in)


async def test_unknown_wrong_locked_and_suspended_are_told_alike(office: Office) -> None:
    made, barred = await office.organisation(), await office.organisation(1)
    user, _, _ = (
        await office.user(made.id),
        await office.user(made.id, login="locked"),
        await office.user(barred.id),
    )
    suspended = await office.user(made.id, login="suspended")
    async with office.acting() as tx:
        await office.accounts.users.suspend(tx, OPERATOR, suspended, "离岗")
        await office.accounts.organisations.suspend(tx, barred, "违规")
    for _ in range(FAILURES_FREE):
        await refused(office, made.id, "locked")

    told = [
        await refused(office, made.id),
        await refused(office, made.id, "nobody"),
        await refused(office, "org_unknown"),
        await refused(office, None),
        await refused(office, made.id, "locked", PASSWORD),
        await refused(office, made.id, "suspended", PASSWORD),
        await refused(office, barred.id, "li.lei", PASSWORD),
    ]

    assert len({(problem.detail, problem.remedy, str(problem.headers)) for problem in told}) == 1
    assert (await office.sign_in(made.id)).user == user.id


async def test_an_unknown_login_takes_as_long_as_a_wrong_password(office: Office) -> None:
    made = await office.organisation()
    slow = Office(office.bench, Passwords(time_cost=2, memory_kib=16_384))
    await slow.user(made.id)

    async def taken_s(login: str) -> float:
        start_s = time.process_time()  # in any thread, whatever else the machine does
        await refused(slow, made.id, login)
        return time.process_time() - start_s

    known = sorted([await taken_s("li.lei") for _ in range(4)])
    unknown = sorted([await taken_s("nobody") for _ in range(4)])
    assert unknown[0] > known[0] / 2
    assert known[0] > unknown[0] / 2


async def test_five_wrong_passwords_lock_for_a_minute_and_then_longer(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    for _ in range(FAILURES_FREE):
        await refused(office, made.id)
    await refused(office, made.id, password=PASSWORD)

    office.pass_time(timedelta(seconds=61))
    await refused(office, made.id)
    office.pass_time(timedelta(seconds=61))
    await refused(office, made.id, password=PASSWORD)
    office.pass_time(timedelta(seconds=60))
    await office.sign_in(made.id)

    locks = [entry for entry in await office.audited() if entry[1] == "user.lock"]
    assert locks == [("anonymous", "user.lock", user.id)] * 2
    await refused(office, made.id)
    await office.sign_in(made.id)


async def test_many_guesses_at_once_are_no_more_than_many_in_a_row(office: Office) -> None:
    made = await office.organisation()
    await office.user(made.id)
    tried = 0
    verify = office.passwords.verify

    async def counted(kept: str, password: str) -> bool:
        nonlocal tried
        tried += 1
        return await verify(kept, password)

    office.passwords.verify = counted  # type: ignore[method-assign]
    await asyncio.gather(*(refused(office, made.id) for _ in range(20)))
    assert tried == FAILURES_FREE


async def test_a_session_ends_after_an_hour_unused_and_after_a_day_of_use(office: Office) -> None:
    made = await office.organisation()
    await office.user(made.id)
    token = (await office.sign_in(made.id)).token
    used = timedelta()
    while used < ABSOLUTE - IDLE / 2:
        assert await office.accounts.authenticate(token) is not None
        office.pass_time(IDLE / 2)
        used += IDLE / 2
    office.pass_time(IDLE / 2)
    assert await office.accounts.authenticate(token) is None

    idle = (await office.sign_in(made.id)).token
    office.pass_time(IDLE)
    assert await office.accounts.authenticate(idle) is None


async def test_signing_out_ends_the_session_within_a_second(office: Office) -> None:
    made = await office.organisation()
    await office.user(made.id)
    signed_in = await office.sign_in(made.id)
    caller = await office.accounts.authenticate(signed_in.token)
    assert caller is not None
    async with office.acting(caller) as tx:
        await office.accounts.sessions.end(tx, caller.id, signed_in.session.id)
    office.pass_time(timedelta(seconds=0.6))
    assert await office.accounts.authenticate(signed_in.token) is None


async def test_nobody_ends_the_session_of_another(office: Office) -> None:
    made = await office.organisation()
    await office.user(made.id)
    other = await office.user(made.id, login="han.meimei")
    signed_in = await office.sign_in(made.id)
    with pytest.raises(ApiProblem) as caught:
        async with office.acting() as tx:
            await office.accounts.sessions.end(tx, other.id, signed_in.session.id)
    assert caught.value.type is NOT_FOUND


async def test_a_user_has_a_bounded_number_of_sessions(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    first = await office.sign_in(made.id)
    for _ in range(SESSIONS_MAX):
        office.pass_time(timedelta(seconds=1))
        await office.sign_in(made.id)
    async with office.reading() as connection:
        sessions = await office.accounts.sessions.page(connection, user.id)
    assert len(sessions) == SESSIONS_MAX
    assert first.session.id not in {session.id for session in sessions}
    assert await office.accounts.authenticate(first.token) is None


async def test_another_password_ends_the_other_sessions(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    kept, ended = await office.sign_in(made.id), await office.sign_in(made.id)
    caller = await office.accounts.authenticate(kept.token)
    assert caller is not None
    await office.accounts.sessions.check_password(caller.id, PASSWORD)
    hashed = await office.accounts.users.hash_password("another horse battery", "li.lei")
    async with office.acting(caller) as tx:
        await office.accounts.users.set_password(tx, caller, user, hashed, keep=caller.session)
    office.pass_time(timedelta(seconds=0.6))
    assert await office.accounts.authenticate(ended.token) is None
    assert await office.accounts.authenticate(kept.token) is not None
    await refused(office, made.id, password=PASSWORD)
    await office.sign_in(made.id, password="another horse battery")


async def test_guessing_ones_own_password_locks_too(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    for _ in range(FAILURES_FREE):
        with pytest.raises(ApiProblem):
            await office.accounts.sessions.check_password(user.id, WRONG)
    with pytest.raises(ApiProblem):
        await office.accounts.sessions.check_password(user.id, PASSWORD)


async def test_a_hash_of_an_earlier_cost_is_renewed_at_the_next_sign_in(office: Office) -> None:
    made = await office.organisation()
    await office.user(made.id)
    later = Office(office.bench, Passwords(time_cost=2, memory_kib=64))
    await later.sign_in(made.id)
    async with office.reading() as connection:
        kept = await connection.fetchval("SELECT password FROM users")
    assert "t=2" in kept
    await later.sign_in(made.id)


async def test_suspending_a_user_or_his_organisation_ends_his_sessions(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    token = (await office.sign_in(made.id)).token
    async with office.acting() as tx:
        left = await office.accounts.users.suspend(tx, OPERATOR, user, "离岗")
    office.pass_time(timedelta(seconds=0.6))
    assert await office.accounts.authenticate(token) is None
    async with office.acting() as tx:
        await office.accounts.users.resume(tx, OPERATOR, left, "返岗")
    assert await office.accounts.authenticate(token) is None

    token = (await office.sign_in(made.id)).token
    async with office.acting() as tx:
        suspended = await office.accounts.organisations.suspend(tx, made, "违规")
    office.pass_time(timedelta(seconds=0.6))
    assert await office.accounts.authenticate(token) is None
    async with office.acting() as tx:
        await office.accounts.organisations.resume(tx, suspended, "已整改")
    assert await office.accounts.authenticate(token) is None


async def test_who_is_suspended_while_his_password_is_checked_gets_no_session(office: Office) -> None:
    made = await office.organisation()
    user = await office.user(made.id)
    verify = office.passwords.verify

    async def and_suspend(kept: str, password: str) -> bool:
        async with office.acting() as tx:
            if user.version == 1:
                await office.accounts.organisations.suspend(tx, made, "违规")
            else:
                await office.accounts.users.suspend(tx, OPERATOR, user, "离岗")
        return await verify(kept, password)

    office.passwords.verify = and_suspend  # type: ignore[method-assign]
    await refused(office, made.id, password=PASSWORD)
    async with office.acting() as tx:
        found = await office.accounts.organisations.lock(tx, OPERATOR, made.id)
        await office.accounts.organisations.resume(tx, found, "已整改")
        user = await office.accounts.users.set_role(tx, OPERATOR, user, Role.READER)
    await refused(office, made.id, password=PASSWORD)
    async with office.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM sessions") == 0


async def test_sessions_that_have_ended_are_deleted(office: Office) -> None:
    made = await office.organisation()
    await office.user(made.id)
    await office.sign_in(made.id)
    office.pass_time(ABSOLUTE)
    await office.accounts.purge()
    async with office.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM sessions") == 0
