"""API keys: what they may be given, rotation, ends, and what authentication costs."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from registry.accounts.authentication import HOLDERS_MAX
from registry.accounts.key import OVERLAP, VALIDITY, VALIDITY_MAX, KeyState
from registry.accounts.keys import NewKey, ShownKey
from registry.accounts.organisation import Quotas
from registry.accounts.roles import ROLE_RIGHTS, Caller, Right, Role
from registry.accounts.service import HOST
from registry.accounts.tokens import TokenKind, new_token
from registry.problem_types import NOT_FOUND, QUOTA_EXCEEDED, UNPROCESSABLE, ApiProblem
from registry.problem_types.accounts import KEY_STATE, RIGHTS_NOT_GRANTABLE
from tests.integration.registry.accounts.office import OPERATOR, Office

RIGHTS = frozenset({Right.IDENTIFIER_READ, Right.IDENTIFIER_WRITE})
SOON = timedelta(seconds=0.6)


def administrator(organisation: str) -> Caller:
    rights = ROLE_RIGHTS[Role.ENTERPRISE_ADMINISTRATOR]
    return Caller(id="usr_administrator", organisation=organisation, rights=rights, kind="user")


async def make(office: Office, by: Caller, organisation: str | None, **fields: object) -> ShownKey:
    """A key with RIGHTS."""
    new = NewKey(**{"organisation": organisation, "name": "ERP", "rights": RIGHTS, **fields})  # type: ignore[arg-type]
    async with office.acting(by) as tx:
        return await office.accounts.keys.create(tx, by, new)


async def refusal(office: Office, by: Caller, organisation: str | None, **fields: object) -> ApiProblem:
    with pytest.raises(ApiProblem) as refused:
        await make(office, by, organisation, **fields)
    return refused.value


async def test_a_key_has_the_rights_and_prefixes_that_it_was_given(office: Office) -> None:
    made = await office.organisation()
    await office.bench.home("88.100.1", organisation=made.id)
    shown = await make(office, administrator(made.id), made.id, prefixes=frozenset({b"88.100.1"}))
    caller = await office.accounts.authenticate(shown.token)
    assert caller == Caller(
        id=shown.key.id, organisation=made.id, rights=RIGHTS, prefixes=frozenset({b"88.100.1"}), kind="key"
    )
    assert shown.token.startswith(shown.key.token_start)
    assert shown.key.expires - shown.key.created == VALIDITY


async def test_a_token_is_stored_as_a_digest_and_shown_once(office: Office) -> None:
    made = await office.organisation()
    shown = await make(office, administrator(made.id), made.id)
    secret = shown.token.split("_")[3]
    assert secret not in repr(shown)
    async with office.reading() as connection:
        row = await connection.fetchval("SELECT k::text FROM api_keys AS k")
        entries = await connection.fetchval("SELECT string_agg(a::text, '') FROM audit_log AS a")
    assert secret not in row + entries


async def test_a_test_key_is_marked_as_one(office: Office) -> None:
    made = await office.organisation()
    shown = await make(office, administrator(made.id), made.id, test=True)
    assert shown.token.startswith("hg_test_")
    caller = await office.accounts.authenticate(shown.token)
    assert caller is not None
    assert caller.test


async def test_a_key_gets_no_more_than_its_maker_has(office: Office) -> None:
    made, other = await office.organisation(), await office.organisation(1)
    by = administrator(made.id)
    for rights in ({Right.NODE_OPERATE}, {Right.ORGANISATION_REVIEW}, {Right.PREFIX_OPERATE}):
        assert (await refusal(office, by, made.id, rights=frozenset(rights))).type is RIGHTS_NOT_GRANTABLE
    assert (await refusal(office, by, other.id)).type is RIGHTS_NOT_GRANTABLE
    assert (await refusal(office, by, None)).type is RIGHTS_NOT_GRANTABLE
    assert (await refusal(office, OPERATOR, made.id)).type is RIGHTS_NOT_GRANTABLE


async def test_foreign_and_unknown_prefixes_are_refused_alike(office: Office) -> None:
    made, other = await office.organisation(), await office.organisation(1)
    await office.bench.home("88.100.2", organisation=other.id)
    told = [
        await refusal(office, administrator(made.id), made.id, prefixes=frozenset({name}))
        for name in (b"88.100.2", b"88.100", b"99.99")
    ]
    assert {(problem.type, problem.detail, problem.errors) for problem in told} == {
        (UNPROCESSABLE, told[0].detail, told[0].errors)
    }


async def test_a_key_that_a_key_has_made_ends_with_it(office: Office) -> None:
    made = await office.organisation()
    rights = RIGHTS | {Right.KEY_WRITE}
    shown = await make(office, administrator(made.id), made.id, rights=rights, validity=timedelta(days=2))
    maker = await office.accounts.authenticate(shown.token)
    assert maker is not None
    child = await make(office, maker, made.id, rights=rights, validity=VALIDITY_MAX)
    assert child.key.expires == shown.key.expires
    async with office.acting(maker) as tx:
        key = await office.accounts.keys.lock(tx, maker, shown.key.id)
        rotated = await office.accounts.keys.rotate(tx, maker, key, validity=VALIDITY_MAX)
    assert rotated.key.expires == shown.key.expires


async def test_the_quota_of_keys_counts_those_that_are_valid(office: Office) -> None:
    made = await office.organisation()
    by = administrator(made.id)
    async with office.acting() as tx:
        await office.accounts.organisations.set_quotas(tx, made, Quotas(keys_max=1))
    first = await make(office, by, made.id)
    assert (await refusal(office, by, made.id)).type is QUOTA_EXCEEDED
    async with office.acting(by) as tx:
        await office.accounts.keys.revoke(tx, first.key)
    await make(office, by, made.id, validity=timedelta(days=1))
    office.pass_time(timedelta(days=1))
    await make(office, by, made.id)


async def test_a_rotation_leaves_two_tokens_valid_and_never_three(office: Office) -> None:
    made = await office.organisation()
    by, keys = administrator(made.id), office.accounts.keys
    tokens = [(await make(office, by, made.id))]
    for _ in range(2):
        async with office.acting(by) as tx:
            key = await keys.lock(tx, by, tokens[0].key.id)
            tokens.append(await keys.rotate(tx, by, key))
    texts = [shown.token for shown in tokens]
    assert [await office.accounts.authenticate(text) is not None for text in texts] == [False, True, True]
    assert tokens[2].key.previous_until == tokens[2].key.created + OVERLAP
    office.pass_time(OVERLAP)
    assert [await office.accounts.authenticate(text) is not None for text in texts] == [False, False, True]


async def test_an_overlap_of_nothing_ends_the_old_token_at_once(office: Office) -> None:
    made = await office.organisation()
    by = administrator(made.id)
    shown = await make(office, by, made.id)
    async with office.acting(by) as tx:
        rotated = await office.accounts.keys.rotate(tx, by, shown.key, overlap=timedelta())
    assert await office.accounts.authenticate(shown.token) is None
    assert await office.accounts.authenticate(rotated.token) is not None


async def test_who_has_fewer_rights_than_a_key_does_not_get_its_token(office: Office) -> None:
    made = await office.organisation()
    shown = await make(office, administrator(made.id), made.id)
    weak = Caller(id="key_weak", organisation=made.id, rights=frozenset({Right.KEY_WRITE}), kind="key")
    for by in (weak, OPERATOR):
        with pytest.raises(ApiProblem) as refused:
            async with office.acting(by) as tx:
                await office.accounts.keys.rotate(tx, by, shown.key)
        assert refused.value.type is RIGHTS_NOT_GRANTABLE


async def test_a_key_is_suspended_resumed_and_revoked_within_a_second(office: Office) -> None:
    made = await office.organisation()
    by, keys = administrator(made.id), office.accounts.keys
    shown = await make(office, by, made.id)
    assert await office.accounts.authenticate(shown.token) is not None

    async with office.acting(by) as tx:
        suspended = await keys.suspend(tx, shown.key, "泄露")
    office.pass_time(SOON)
    assert await office.accounts.authenticate(shown.token) is None
    async with office.acting(by) as tx:
        resumed = await keys.resume(tx, suspended, "误报")
    assert await office.accounts.authenticate(shown.token) is not None
    async with office.acting(by) as tx:
        revoked = await keys.revoke(tx, resumed)
        assert await keys.revoke(tx, revoked) == revoked
    office.pass_time(SOON)
    assert await office.accounts.authenticate(shown.token) is None
    for act in (keys.suspend, keys.resume):
        with pytest.raises(ApiProblem) as refused:
            async with office.acting(by) as tx:
                await act(tx, revoked, "reason")
        assert refused.value.type is KEY_STATE
    with pytest.raises(ApiProblem) as refused:
        async with office.acting(by) as tx:
            await keys.rotate(tx, by, revoked)
    assert refused.value.type is KEY_STATE
    assert revoked.state is KeyState.REVOKED


async def test_suspending_the_organisation_bars_its_keys_within_a_second(office: Office) -> None:
    made = await office.organisation()
    shown = await make(office, administrator(made.id), made.id)
    assert await office.accounts.authenticate(shown.token) is not None
    async with office.acting() as tx:
        await office.accounts.organisations.suspend(tx, made, "违规")
    office.pass_time(SOON)
    assert await office.accounts.authenticate(shown.token) is None


async def test_an_expired_key_is_refused(office: Office) -> None:
    made = await office.organisation()
    shown = await make(office, administrator(made.id), made.id, validity=timedelta(days=1))
    office.pass_time(timedelta(days=1))
    assert await office.accounts.authenticate(shown.token) is None
    with pytest.raises(ApiProblem, match="expired"):
        async with office.acting(administrator(made.id)) as tx:
            await office.accounts.keys.rotate(tx, administrator(made.id), shown.key)


async def test_a_key_of_another_organisation_is_as_good_as_none(office: Office) -> None:
    made, other = await office.organisation(), await office.organisation(1)
    foreign = await make(office, administrator(other.id), other.id)
    by = administrator(made.id)
    details = set()
    for name in (foreign.key.id, "key_unknown"):
        with pytest.raises(ApiProblem) as refused:
            async with office.acting(by) as tx:
                await office.accounts.keys.lock(tx, by, name)
        assert refused.value.type is NOT_FOUND
        details.add(refused.value.detail)
    assert len(details) == 1
    async with office.reading() as connection:
        assert not await office.accounts.keys.page(connection, by, organisation=other.id, after="", limit=9)
        seen = await office.accounts.keys.page(connection, OPERATOR, organisation=None, after="", limit=9)
    assert [key.id for key in seen] == [foreign.key.id]


async def test_the_keys_of_a_leaver_are_counted_and_revoked(office: Office) -> None:
    made = await office.organisation()
    by = administrator(made.id)
    shown = [await make(office, by, made.id) for _ in range(2)]
    async with office.acting() as tx:
        assert await office.accounts.keys.count_made_by(tx.connection, by.id, tx.now) == 2
        assert await office.accounts.keys.revoke_made_by(tx, by.id, "离岗") == 2
        assert await office.accounts.keys.count_made_by(tx.connection, by.id, tx.now) == 0
    assert await office.accounts.authenticate(shown[0].token) is None


async def test_the_keys_that_the_keys_of_a_leaver_have_made_are_his_too(office: Office) -> None:
    made = await office.organisation()
    by = administrator(made.id)
    first = await make(office, by, made.id)
    with_first = replace(by, id=first.key.id, kind="key")
    second = await make(office, with_first, made.id)
    third = await make(office, replace(with_first, id=second.key.id), made.id)
    others = await make(office, replace(by, id="usr_colleague"), made.id)
    async with office.acting() as tx:
        assert await office.accounts.keys.count_made_by(tx.connection, by.id, tx.now) == 3
        assert await office.accounts.keys.revoke_made_by(tx, by.id, "离岗") == 3
    for shown in (first, second, third):
        assert await office.accounts.authenticate(shown.token) is None
    assert await office.accounts.authenticate(others.token) is not None


async def test_the_last_use_is_written_once_a_minute(office: Office) -> None:
    made = await office.organisation()
    by = administrator(made.id)
    shown = await make(office, by, made.id)

    async def last_used() -> object:
        async with office.reading() as connection:
            return (await office.accounts.keys.get(connection, by, shown.key.id)).last_used

    assert await last_used() is None
    await office.accounts.authenticate(shown.token)
    first = await last_used()
    assert first == shown.key.created
    office.pass_time(timedelta(seconds=30))
    await office.accounts.authenticate(shown.token)
    assert await last_used() == first
    office.pass_time(timedelta(seconds=30))
    await office.accounts.authenticate(shown.token)
    assert await last_used() == shown.key.created + timedelta(seconds=60)


async def test_what_is_no_token_of_ours_costs_no_statement(office: Office) -> None:
    await office.bench.store.close()
    text = new_token(TokenKind.LIVE).text
    for token in (
        "",
        "hg_live_",
        "x" * 4_096,
        text[:-1],
        text + "x",
        text.replace("live", "liv3"),
        "hg_\ud800",
    ):
        assert await office.accounts.authenticate(token) is None


async def test_unknown_ids_and_wrong_secrets_are_nobody(office: Office) -> None:
    made = await office.organisation()
    shown = await make(office, administrator(made.id), made.id)
    for kind in TokenKind:
        assert await office.accounts.authenticate(new_token(kind).text) is None
        assert await office.accounts.authenticate(new_token(kind, shown.key.lookup).text) is None


async def test_many_requests_at_once_cost_one_read(office: Office) -> None:
    made = await office.organisation()
    shown = await make(office, administrator(made.id), made.id)
    await office.accounts.authenticate(shown.token)
    office.pass_time(SOON)
    store, reads = office.bench.store, 0
    connection = store.connection

    def counted() -> object:
        nonlocal reads
        reads += 1
        return connection()

    store.connection = counted  # type: ignore[assignment, method-assign]
    callers = await asyncio.gather(*(office.accounts.authenticate(shown.token) for _ in range(100)))
    callers += [await office.accounts.authenticate(shown.token) for _ in range(100)]
    assert len({id(caller) for caller in callers}) == 1
    assert reads == 1


async def test_a_client_that_goes_away_takes_the_answer_of_nobody_else(office: Office) -> None:
    made = await office.organisation()
    shown = await make(office, administrator(made.id), made.id)
    leaving = asyncio.create_task(office.accounts.authenticate(shown.token))
    staying = asyncio.create_task(office.accounts.authenticate(shown.token))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying) is not None


async def test_the_memory_of_holders_is_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.accounts.authentication.HOLDERS_MAX", 2)
    made = await office.organisation()
    shown = [await make(office, administrator(made.id), made.id) for _ in range(4)]
    for key in [*shown, *shown]:
        assert await office.accounts.authenticate(key.token) is not None
    assert len(office.accounts._authentication._holders) == 2 < HOLDERS_MAX


async def test_the_operators_key_is_made_at_the_nodes_own_host(office: Office) -> None:
    async with office.acting(HOST) as tx:
        shown = await office.accounts.make_operator_key(tx)
    caller = await office.accounts.authenticate(shown.token)
    assert caller is not None
    assert caller.rights == ROLE_RIGHTS[Role.OPERATOR]
    assert caller.organisation is None
    assert ("operator", "key.create", shown.key.id) in await office.audited()
    async with office.reading() as connection:
        holder = await office.accounts.holder(connection, caller)
    assert holder.key is not None
    assert holder.key.name == "operator of this node"
