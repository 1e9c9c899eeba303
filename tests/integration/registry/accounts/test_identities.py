"""Identities of organisations and people: barred with their owners, and found in the records that name them."""

from datetime import timedelta

import pytest

from protocol.handle import Handle
from protocol.value import HandleValue, ValueReference
from protocol.valuetypes import ValueReferences
from registry.accounts import references
from registry.accounts.roles import ROLE_RIGHTS, Caller, Role
from registry.outcomes import OPERATOR as HOST_OPERATOR
from registry.outcomes import Identity
from registry.problem_types import NOT_FOUND, UNPROCESSABLE, ApiProblem
from registry.problem_types.accounts import IDENTITY_TAKEN
from tests.integration.registry.accounts.office import OPERATOR, Office
from tests.integration.registry.bench import admin, secret, url

ZHANG = Identity(index=300, handle=Handle.parse("88.100.1/Zhang"))
SOON = timedelta(seconds=0.6)


@pytest.fixture
async def plant(office: Office) -> str:
    """Give an organisation that holds 88.100.1 and 88.100.3."""
    made = await office.organisation()
    for name in ("88.100.1", "88.100.3"):
        await office.bench.home(name, organisation=made.id)
    return made.id


async def assign(office: Office, organisation: str, subject: str, identity: Identity = ZHANG) -> None:
    async with office.acting() as tx:
        await office.accounts.identities.assign(tx, identity, organisation=organisation, subject=subject)


async def refusal(office: Office, organisation: str, subject: str, identity: Identity = ZHANG) -> ApiProblem:
    with pytest.raises(ApiProblem) as refused:
        await assign(office, organisation, subject, identity)
    return refused.value


async def test_an_identity_is_barred_together_with_its_user(office: Office, plant: str) -> None:
    user = await office.user(plant)
    await assign(office, plant, user.id)
    assert not await office.accounts.is_identity_barred(ZHANG)

    async with office.acting() as tx:
        await office.accounts.users.suspend(tx, OPERATOR, user, "离岗")
    office.pass_time(SOON)

    assert await office.accounts.is_identity_barred(ZHANG)
    assert await office.accounts.is_identity_barred(
        Identity(index=300, handle=Handle.parse("88.100.1/zhang"))
    )
    assert not await office.accounts.is_identity_barred(Identity(index=301, handle=ZHANG.handle))
    assert not await office.accounts.is_identity_barred(
        Identity(index=300, handle=Handle.parse("88.100.1/li"))
    )


async def test_an_identity_is_barred_together_with_its_organisation(office: Office, plant: str) -> None:
    await assign(office, plant, plant)
    async with office.acting() as tx:
        found = await office.accounts.organisations.lock(tx, OPERATOR, plant)
        await office.accounts.organisations.suspend(tx, found, "违规")
    assert await office.accounts.is_identity_barred(ZHANG)


async def test_only_identities_below_prefixes_of_the_organisation_are_its_own(
    office: Office, plant: str
) -> None:
    other = await office.organisation(1)
    await office.bench.home("88.100.2", organisation=other.id)
    told = {
        (await refusal(office, plant, plant, Identity(index=300, handle=Handle.parse(name)))).detail
        for name in ("88.100.2/ADMIN", "88.100/ADMIN", "99.1/ADMIN", "0.NA/88.100.1", "88.100.1")
    }
    assert len(told) == 1


async def test_a_subject_belongs_to_the_organisation(office: Office, plant: str) -> None:
    other = await office.organisation(1)
    foreign = await office.user(other.id)
    told = {
        (await refusal(office, plant, subject)).detail
        for subject in (foreign.id, "usr_unknown", "key_unknown", other.id, "per_1", "nonsense")
    }
    assert len(told) == 1
    assert (await refusal(office, plant, foreign.id)).type is UNPROCESSABLE


async def test_an_identity_is_somebodys_once_and_can_be_withdrawn(office: Office, plant: str) -> None:
    await assign(office, plant, plant)
    assert (await refusal(office, plant, plant)).type is IDENTITY_TAKEN
    identities = office.accounts.identities
    async with office.reading() as connection:
        owned = await identities.page(connection, plant, after=(b"", 0), limit=10)
        assert not await identities.page(connection, plant, after=(owned[0].handle, owned[0].index), limit=10)
    assert [str(identity) for identity in owned] == ["300:88.100.1/ZHANG"]
    async with office.acting() as tx:
        await identities.withdraw(tx, ZHANG, organisation=plant)
    with pytest.raises(ApiProblem) as refused:
        async with office.acting() as tx:
            await identities.withdraw(tx, ZHANG, organisation=plant)
    assert refused.value.type is NOT_FOUND


async def test_what_still_names_a_leaver_is_listed_page_by_page(office: Office, plant: str) -> None:
    user = await office.user(plant)
    await assign(office, plant, user.id)
    await assign(office, plant, plant, Identity(index=300, handle=Handle.parse("88.100.1/ADMIN")))
    group = ValueReferences((ValueReference(b"88.100.1/zhang", 300),)).encode()
    create = office.bench.create
    await create("88.100.1/pump-1", url("https://plant.example/1"), admin(ZHANG))
    await create(
        "88.100.1/pump-2", url("https://plant.example/2"), admin(Identity(index=0, handle=ZHANG.handle))
    )
    await create("88.100.1/pump-3", url("https://plant.example/3"), admin())
    await create(
        "88.100.1/pump-4", admin(ZHANG, index=101), HandleValue(index=200, type="HS_VLIST", data=group)
    )
    await create(
        "88.100.1/pump-5", url("https://plant.example/5"), admin(Identity(index=7, handle=ZHANG.handle))
    )
    await create(
        "88.100.3/pump-6", HandleValue(index=9, type="HS_ADMIN", data=admin(ZHANG).data, permissions=0b1100)
    )
    await create("88.100.1/pump-0", url("https://plant.example/0"), admin(ZHANG))
    await office.bench.operations.delete([Handle.parse("88.100.1/pump-0")], by=HOST_OPERATOR)

    named: list[tuple[str, int, str]] = []
    after, parts = None, 0
    while True:
        part = await office.accounts.references(plant, subject=user.id, after=after, limit=1)
        named += [(str(found.handle), found.value, found.identity) for found in part.found]
        after, parts = part.next, parts + 1
        if after is None:
            break

    assert named == [
        ("88.100.1/pump-1", 100, "300:88.100.1/Zhang"),
        ("88.100.1/pump-2", 100, "0:88.100.1/Zhang"),
        ("88.100.1/pump-4", 101, "300:88.100.1/Zhang"),
        ("88.100.1/pump-4", 200, "300:88.100.1/zhang"),
        ("88.100.3/pump-6", 9, "300:88.100.1/Zhang"),
    ]
    assert parts == 5
    everybody = await office.accounts.references(plant, subject=None, after=None, limit=100)
    assert len(everybody.found) == 5


async def test_a_part_of_the_report_looks_at_a_bounded_number_of_records(
    office: Office, plant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "EXAMINED_MAX", 3)
    await assign(office, plant, plant)
    for number in range(5):
        await office.bench.create(f"88.100.1/pump-{number}", url("https://plant.example"), admin())
    first = await office.accounts.references(plant, subject=None, after=None, limit=100)
    assert (first.found, first.examined, first.next) == ([], 3, b"88.100.1/PUMP-2")
    rest = await office.accounts.references(plant, subject=None, after=first.next, limit=100)
    assert (rest.found, rest.examined, rest.next) == ([], 2, None)


async def test_nothing_names_who_has_no_identity(office: Office, plant: str) -> None:
    part = await office.accounts.references(plant, subject="usr_unknown", after=None, limit=10)
    assert (part.found, part.next) == ([], None)


async def test_a_member_who_is_barred_is_not_authenticated(office: Office, plant: str) -> None:
    await office.bench.create("88.100.1/zhang", admin(ZHANG), secret("key of Zhang"))
    office.bench.operations.is_barred = office.accounts.is_identity_barred
    user = await office.user(plant)
    await assign(office, plant, user.id)
    assert await office.bench.operations.authenticate(ZHANG, b"key of Zhang") is not None
    by = Caller(
        id="usr_1", organisation=plant, rights=ROLE_RIGHTS[Role.ENTERPRISE_ADMINISTRATOR], kind="user"
    )
    async with office.acting(by) as tx:
        await office.accounts.users.suspend(tx, by, user, "离岗")
    office.pass_time(SOON)
    assert await office.bench.operations.authenticate(ZHANG, b"key of Zhang") is None


async def test_every_identity_below_a_prefix_is_barred_together_with_its_holder(
    office: Office, plant: str
) -> None:
    """Also one that nobody has assigned: whoever registers can make a key in any record."""
    made = Identity(index=301, handle=Handle.parse("88.100.3/Made-Today"))
    assert not await office.accounts.is_identity_barred(made)
    async with office.acting() as tx:
        found = await office.accounts.organisations.lock(tx, OPERATOR, plant)
        await office.accounts.organisations.suspend(tx, found, "违规")
    office.pass_time(SOON)
    assert await office.accounts.is_identity_barred(made)
    assert not await office.accounts.is_identity_barred(
        Identity(index=300, handle=Handle.parse("88.100/ADMIN"))
    )
