"""Allocating: what is allocated resolves, once, and costs the same however many prefixes there are."""

import asyncio
from collections import Counter

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Prefix
from protocol.site import Site
from registry.allocation.lifecycle import ApplicationState, Hosting, PrefixAct, PrefixState
from registry.outcomes import Created, Found, Referred, Rejected
from registry.problem_types import ApiProblem
from tests.integration.registry.allocation.office import ACME, RIVAL, SEVEN, Office, a_site, principal
from tests.integration.registry.bench import ADMINISTRATOR, url

RECORD = "0.NA/88.100.7"


async def test_a_hosted_prefix_resolves_and_its_holder_registers(office: Office) -> None:
    allocated = await office.allocated()

    assert (allocated.state, allocated.hosting, allocated.version) == (PrefixState.ACTIVE, Hosting.HOSTED, 1)
    record = {value.type: value for value in await office.bench.values(RECORD)}
    assert list(record) == ["HS_SITE", "HS_SITE.PREFIX", "HS_ADMIN", "HS_VLIST"]
    assert Site.decode(record["HS_SITE"].data) == office.allocation.terms.site
    assert record["HS_SITE"].ttl == office.allocation.terms.ttl_s
    created = await office.bench.create(
        "88.100.7/pump", url("https://a.example/"), by=principal(), inherit_admin=True
    )
    assert isinstance(created, Created)
    assert isinstance(await office.bench.ask("88.100.7/pump"), Found)


async def test_nobody_else_registers_below_it(office: Office) -> None:
    await office.allocated()
    for stranger in (principal(RIVAL), ADMINISTRATOR):
        result = await office.bench.create("88.100.7/pump", url("https://a.example/"), by=stranger)
        assert isinstance(result, Rejected)


async def test_its_administrator_has_no_key_until_one_is_made(office: Office) -> None:
    await office.allocated()
    assert [value.type for value in await office.bench.values("88.100.7/ADMIN")] == ["HS_ADMIN"]

    async with office.writing() as tx:
        administrator, secret = await office.allocation.make_administrator_key(tx, SEVEN)

    assert str(administrator) == "300:88.100.7/ADMIN"
    assert await office.bench.operations.authenticate(administrator, secret.encode()) == administrator
    assert isinstance(
        await office.bench.create(
            "88.100.7/pump", url("https://a.example/"), by=administrator, inherit_admin=True
        ),
        Created,
    )
    async with office.writing() as tx:
        _, second = await office.allocation.make_administrator_key(tx, SEVEN)
    assert await office.bench.operations.authenticate(administrator, secret.encode()) is None
    assert await office.bench.operations.authenticate(administrator, second.encode()) == administrator


async def test_its_administrator_belongs_to_the_holder(office: Office) -> None:
    await office.allocated()
    ((handle, index, organisation),) = await office.fetch(
        "SELECT handle, index, organisation FROM identities"
    )
    assert (handle, index, organisation) == (b"88.100.7/ADMIN", 300, ACME)


async def test_everything_is_told_in_history_and_audit(office: Office) -> None:
    allocated = await office.allocated()

    (entry,) = (await office.allocation.history(SEVEN, limit=10)).items
    assert (entry.act, entry.state, entry.actor) == (PrefixAct.ALLOCATE, PrefixState.ACTIVE, "usr_operator")
    acts = [act for act in await office.acts() if act[0] == "prefix.allocate"]
    assert acts == [("prefix.allocate", "88.100.7", ACME)]
    (application,) = (await office.allocation.applications(limit=10)).items
    assert (application.state, application.prefix) == (ApplicationState.ALLOCATED, allocated.prefix)


async def test_a_delegated_prefix_is_referred_to_its_node(office: Office) -> None:
    await office.allocated(site=a_site(), proved=True)

    answer = await office.bench.ask("88.100.7/pump")
    assert isinstance(answer, Referred)
    assert answer.code is ResponseCode.SERVICE_REFERRAL
    assert not await office.fetch("SELECT FROM identities")
    assert not await office.fetch("SELECT FROM prefixes WHERE prefix = $1", SEVEN.key)


async def test_a_node_that_has_proved_nothing_gets_nothing(office: Office) -> None:
    application = await office.approved(site=a_site())
    with pytest.raises(ApiProblem) as caught:
        await office.allocate(application)
    assert caught.value.type.slug == "node-not-proved"

    async with office.writing() as tx:
        await office.allocation.note_proof(tx, application.id)
    assert (await office.allocate(application)).site == a_site()


async def test_the_future_record_is_the_record(office: Office) -> None:
    promised = office.allocation.future_record(SEVEN, a_site())
    await office.allocated(site=a_site(), proved=True)
    stored = await office.bench.values(RECORD)
    assert [(value.index, value.type, value.data) for value in promised] == [
        (value.index, value.type, value.data) for value in stored
    ]


async def test_of_200_who_allocate_one_prefix_one_gets_it(office: Office) -> None:
    applications = [await office.apply() for _ in range(100)]
    applications += [await office.apply(organisation=RIVAL) for _ in range(100)]
    for application in applications:
        await office.approve(application)

    results = await asyncio.gather(
        *(office.allocate(application) for application in applications), return_exceptions=True
    )

    refusals = [result for result in results if isinstance(result, ApiProblem)]
    assert Counter(problem.type.slug for problem in refusals) == {"prefix-taken": 199}
    (winner,) = [result for result in results if not isinstance(result, BaseException)]
    assert await office.allocation.prefix(SEVEN) == winner
    assert len((await office.allocation.history(SEVEN, limit=200)).items) == 1
    assert len([act for act in await office.acts() if act[0] == "prefix.allocate"]) == 1


async def test_next_free_numbers_are_given_to_one_each(office: Office) -> None:
    applications = [await office.apply(None) for _ in range(20)]
    approved = await asyncio.gather(*(office.approve(application) for application in applications))
    prefixes = sorted(str(application.prefix) for application in approved)
    assert len(set(prefixes)) == 20
    allocated = [await office.allocate(application) for application in approved]
    assert {str(one.prefix) for one in allocated} == set(prefixes)


async def test_a_number_that_somebody_named_is_left_out(office: Office) -> None:
    await office.allocated("1")
    await office.allocated("3")
    assert [str((await office.allocated(None)).prefix) for _ in range(3)] == [
        "88.100.2",
        "88.100.4",
        "88.100.5",
    ]


async def test_a_number_that_the_node_homes_itself_is_left_out(office: Office) -> None:
    await office.execute(
        """
        INSERT INTO prefixes (prefix, name, homed, authorisation_values, authorisation_count)
        VALUES ('88.100.1', '88.100.1', true, '', 0)"""
    )
    assert str((await office.allocated(None)).prefix) == "88.100.2"


async def test_many_named_numbers_in_a_row_are_left_out(office: Office) -> None:
    await office.execute(
        """
        INSERT INTO allocations (prefix, name, parent, hosting, state, version, site, site_digest, allocated, changed)
        SELECT convert_to('88.100.' || n, 'UTF8'), convert_to('88.100.' || n, 'UTF8'), '88.100', 'hosted', 'active', 1,
            ''::bytea, ''::bytea, now(), now() FROM generate_series(1, 1000) AS n"""
    )
    assert str((await office.approved(None)).prefix) == "88.100.1001"


async def test_a_failed_allocation_leaves_nothing_behind(office: Office) -> None:
    application = await office.approved()
    await office.bench.create(RECORD, url("https://in.the.way/"))

    with pytest.raises(ApiProblem) as caught:
        await office.allocate(application)

    assert caught.value.type.slug == "prefix-taken"
    assert not await office.fetch("SELECT FROM allocations")
    assert not await office.fetch("SELECT FROM prefixes WHERE prefix = $1", SEVEN.key)
    assert (await office.allocation.application(application.id)).state is ApplicationState.APPROVED


async def test_the_nodes_own_prefix_is_not_allocated(office: Office) -> None:
    await office.bench.home("88.100.7")
    application = await office.approved()
    with pytest.raises(ApiProblem, match="own"):
        await office.allocate(application)


async def test_what_a_parent_lost_is_not_allocated(office: Office) -> None:
    await office.allocated()
    below = await office.approved("1", parent="88.100.7")
    await office.suspend()
    with pytest.raises(ApiProblem) as caught:
        await office.allocate(below)
    assert caught.value.type.slug == "prefix-parent"


async def test_prefixes_are_listed_in_pages(office: Office) -> None:
    for label in ("b", "a", "c"):
        await office.allocated(label)
    await office.allocated("d", organisation=RIVAL)

    first = await office.allocation.prefixes(limit=3)
    rest = await office.allocation.prefixes(limit=3, after=first.items[-1].prefix.key)
    assert [str(one.prefix) for one in (*first.items, *rest.items)] == [f"88.100.{label}" for label in "abcd"]
    mine = await office.allocation.prefixes(organisation=RIVAL, limit=3)
    assert [str(one.prefix) for one in mine.items] == ["88.100.d"]
    among = await office.allocation.prefixes(organisation=ACME, among={b"88.100.C"}, limit=3)
    assert [str(one.prefix) for one in among.items] == ["88.100.c"]


async def test_an_organisation_may_be_let_hold_a_prefix_of_the_nodes_own(office: Office) -> None:
    async with office.writing() as tx:
        await office.allocation.assign(tx, Prefix.parse("88.100"), ACME)
    created = await office.bench.create(
        "88.100/pump", url("https://a.example/"), by=principal(), inherit_admin=True
    )
    assert isinstance(created, Created)


async def test_a_root_allocates_prefixes_of_one_label(database: str) -> None:
    root = await Office.open(database, homes=("0.0", "0.NA"))
    allocated = await root.allocated("88", parent=None, site=a_site(), proved=True)

    assert (str(allocated.prefix), allocated.parent) == ("88", None)
    assert isinstance(await root.bench.ask("0.NA/88"), Found)
    assert isinstance(await root.bench.ask("88/x"), Referred)
    assert str((await root.approved(None, parent=None)).prefix) == "10"
    with pytest.raises(ApiProblem) as caught:
        await root.apply("100", parent="88")
    assert caught.value.type.slug == "prefix-parent"
    await root.bench.close()
