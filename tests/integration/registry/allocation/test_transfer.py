"""Transfer: another organisation holds the prefix, and nothing names the former holder any more."""

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.value import HandleValue, ValueReference
from protocol.valuetypes import Admin, ValueReferences
from registry.allocation import jobs, tables
from registry.allocation.model import AllocatedPrefix
from registry.outcomes import OPERATOR, Created, Found, Identity, Rejected, Replaced
from registry.problem_types import ApiProblem
from tests.integration.registry.allocation.office import ACME, RIVAL, SEVEN, Office, a_site, principal
from tests.integration.registry.bench import admin, creation, secret, url

ALICE = Identity(index=300, handle=Handle.parse("88.100/users/alice"))
THIRD_PARTY = Identity(index=300, handle=Handle.parse("88.100/SERVICE"))
BELOW = Identity(index=300, handle=Handle.parse("88.100.7/bob"))
P_ADMIN = "300:88.100.7/ADMIN"


async def named(office: Office, name: str) -> set[str]:
    """Everybody whom a record names in HS_ADMIN and groups."""
    found = set()
    for value in await office.bench.values(name, OPERATOR):
        if value.type == "HS_ADMIN":
            found.add(str(Admin.decode(value.data).reference))
        if value.type == "HS_VLIST":
            found |= {str(member) for member in ValueReferences.decode(value.data).members}
    return found


async def with_records(office: Office) -> AllocatedPrefix:
    allocated = await office.allocated()
    await office.execute(
        "INSERT INTO identities VALUES ($1, 300, $2, 'usr_alice', now())", ALICE.handle.key, ACME
    )
    group = ValueReferences(
        (ValueReference(ALICE.handle.octets, 300), ValueReference(THIRD_PARTY.handle.octets, 300))
    )
    everybody = HandleValue(index=200, type="HS_VLIST", data=group.encode())
    await office.bench.create("88.100.7/alices", url("https://a.example/"), admin(ALICE))
    await office.bench.create("88.100.7/any-key", admin(Identity(index=0, handle=ALICE.handle)))
    await office.bench.create("88.100.7/partners", url("https://a.example/"), admin(THIRD_PARTY))
    await office.bench.create("88.100.7/bob", secret("bob's"), admin(BELOW))
    await office.bench.create("88.100.7/bobs", url("https://a.example/"), admin(BELOW))
    await office.bench.create("88.100.7/group", everybody, admin(THIRD_PARTY))
    await office.bench.create("88.100.7/plain", url("https://a.example/"))
    return allocated


async def test_records_that_named_the_former_holder_name_the_prefixs_administrator(office: Office) -> None:
    await with_records(office)
    await office.transfer()

    assert await named(office, "88.100.7/alices") == {P_ADMIN}
    assert await named(office, "88.100.7/any-key") == {P_ADMIN}
    assert await named(office, "88.100.7/bobs") == {P_ADMIN}
    assert await named(office, "88.100.7/partners") == {str(THIRD_PARTY)}
    assert await named(office, "88.100.7/group") == {P_ADMIN, str(THIRD_PARTY)}
    assert await named(office, "88.100.7/plain") == set()
    assert await named(office, "0.NA/88.100.7") == {P_ADMIN}


async def test_whoever_is_named_below_another_prefix_of_the_former_holder_is_replaced_too(
    office: Office,
) -> None:
    """Keys that he made there and that nobody has assigned."""
    await office.allocated()
    await office.allocated("8")
    await office.allocated("9", organisation=RIVAL)
    for suffix, identity in {"his": "88.100.8/line", "anybody's": "88.100.9/line"}.items():
        await office.bench.create(
            f"88.100.7/{suffix}", admin(Identity(index=300, handle=Handle.parse(identity)))
        )
    await office.transfer()
    assert await named(office, "88.100.7/his") == {P_ADMIN}
    assert await named(office, "88.100.7/anybody's") == {"300:88.100.9/line"}


async def test_identities_below_the_prefix_are_the_former_holders_no_more(office: Office) -> None:
    await office.allocated()
    await office.allocated("70")
    add = "INSERT INTO identities VALUES ($1, 300, $2, 'usr_bob', now())"
    kept = Handle.parse("88.100.70/bob").key
    for key in (BELOW.handle.key, kept):
        await office.execute(add, key, ACME)
    await office.transfer()
    rows = await office.fetch("SELECT handle FROM identities WHERE organisation = $1", ACME)
    assert {row["handle"] for row in rows} == {kept, Handle.parse("88.100.70/ADMIN").key}


async def test_values_keep_everything_else(office: Office) -> None:
    await with_records(office)
    (before,) = [value for value in await office.bench.values("88.100.7/alices") if value.type == "URL"]
    await office.transfer()
    (after,) = [value for value in await office.bench.values("88.100.7/alices") if value.type == "URL"]
    assert before == after


async def test_records_that_name_nobody_of_his_are_not_touched(office: Office) -> None:
    await with_records(office)
    await office.transfer()
    rows = await office.fetch("SELECT name, version FROM handles WHERE prefix = $1", SEVEN.key)
    versions = {row["name"]: row["version"] for row in rows}
    assert versions[b"88.100.7/partners"] == versions[b"88.100.7/plain"] == 1
    assert versions[b"88.100.7/alices"] == 2


async def test_the_new_holder_registers_and_the_former_does_not(office: Office) -> None:
    await with_records(office)
    async with office.writing() as tx:
        administrator, key = await office.allocation.make_administrator_key(tx, SEVEN)
    await office.transfer()

    assert isinstance(await office.bench.create("88.100.7/x", admin(), by=principal(RIVAL)), Created)
    assert isinstance(await office.bench.create("88.100.7/y", admin(), by=principal(ACME)), Rejected)
    assert await office.bench.operations.authenticate(administrator, key.encode()) is None
    assert isinstance(
        await office.bench.put("88.100.7/alices", url("https://b.example/"), by=ALICE), Rejected
    )
    replaced = await office.bench.put("88.100.7/alices", url("https://b.example/"), by=principal(RIVAL))
    assert isinstance(replaced, Replaced)
    ((organisation,),) = await office.fetch(
        "SELECT organisation FROM identities WHERE handle = $1", b"88.100.7/ADMIN"
    )
    assert organisation == RIVAL


async def test_while_records_are_handed_over_they_are_read_but_not_written(office: Office) -> None:
    await with_records(office)
    async with office.writing() as tx:
        await office.allocation.transfer(tx, SEVEN, RIVAL, reason="sold")

    refused = await office.bench.put("88.100.7/plain", url("https://b.example/"), by=principal(RIVAL))
    assert isinstance(refused, Rejected)
    assert refused.code is ResponseCode.SERVER_BACKUP
    assert isinstance(await office.bench.ask("88.100.7/plain"), Found)
    with pytest.raises(ApiProblem) as caught:
        await office.transfer(ACME)
    assert caught.value.type.slug == "prefix-busy"

    await office.allocation.run_jobs()
    written = await office.bench.put("88.100.7/plain", url("https://b.example/"), by=principal(RIVAL))
    assert isinstance(written, Replaced)
    _, job = await office.allocation.work(SEVEN)
    assert job is not None
    assert job.ended is not None
    assert job.changed == 5


async def test_an_interrupted_job_goes_on_where_it_was(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "BATCH_RECORDS", 10)
    await office.allocated()
    names = [f"88.100.7/p{number:03}" for number in range(35)]
    await office.bench.operations.create([creation(name, admin(BELOW)) for name in names], by=OPERATOR)
    async with office.writing() as tx:
        await office.allocation.transfer(tx, SEVEN, RIVAL, reason="sold")

    assert await jobs.run_batch(office.bench.operations)
    _, job = await office.allocation.work(SEVEN)
    assert job is not None
    assert (job.records, job.ended) == (10, None)
    with pytest.raises(ZeroDivisionError):
        await _interrupted(office)
    await office.allocation.run_jobs()

    row, job = await office.allocation.work(SEVEN)
    assert row is not None
    assert job is not None
    assert (job.records, job.changed, row.frozen) == (36, 35, False)
    assert {frozenset(await named(office, name)) for name in names} == {frozenset({P_ADMIN})}
    versions = await office.fetch("SELECT DISTINCT version FROM handles WHERE key LIKE '88.100.7/P0%'::bytea")
    assert [row["version"] for row in versions] == [2]


async def _interrupted(office: Office) -> None:
    """Do a batch whose transaction fails at its end."""

    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "update_job", fail)
        await jobs.run_batch(office.bench.operations)


async def test_a_writer_that_began_before_the_transfer_is_waited_for(office: Office) -> None:
    """Else a long batch of the former holder would be committed behind the job, with his administrators."""
    await office.allocated()
    batch = [creation("88.100.7/a-late-one", url("https://a.example/"), admin(BELOW))]
    async with office.writing() as late:
        (created,) = await late.create(batch, by=principal())
        assert isinstance(created, Created)
        await office.transfer()
        row, job = await office.allocation.work(SEVEN)
        assert row is not None
        assert job is not None
        assert (row.frozen, job.ended) == (True, None)
    await office.allocation.run_jobs()
    row, _ = await office.allocation.work(SEVEN)
    assert row is not None
    assert not row.frozen
    assert await named(office, "88.100.7/a-late-one") == {P_ADMIN}


async def test_both_organisations_find_the_transfer_in_the_audit_log(office: Office) -> None:
    await office.allocated()
    await office.transfer()
    acts = [(action, organisation) for action, _, organisation in await office.acts()]
    assert ("prefix.transfer", RIVAL) in acts
    assert ("prefix.leave", ACME) in acts
    assert ("prefix.rewrite", RIVAL) in acts


async def test_a_delegated_prefix_changes_its_holder_alone(office: Office) -> None:
    await office.allocated(site=a_site(), proved=True)
    given = await office.transfer()
    assert given.organisation == RIVAL
    assert await office.allocation.work(SEVEN) == (None, None)


@pytest.mark.parametrize(("organisation", "problem"), [(ACME, "conflict"), ("org_" + "z" * 20, "not-found")])
async def test_nobody_else_is_given_a_prefix(office: Office, organisation: str, problem: str) -> None:
    await office.allocated()
    with pytest.raises(ApiProblem) as caught:
        await office.transfer(organisation)
    assert caught.value.type.slug == problem
