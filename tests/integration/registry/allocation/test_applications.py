"""Applications: made, reviewed once, withdrawn, and never for what nobody may have."""

import asyncio
from ipaddress import ip_network

import pytest

from protocol.client.selection import Opening
from protocol.handle import Prefix
from registry.allocation.lifecycle import ApplicationState
from registry.problem_types import ApiProblem
from tests.integration.registry.allocation.office import (
    ACME,
    APPLICANT,
    DRAFTED,
    REVIEWER,
    RIVAL,
    SEVEN,
    Office,
    a_site,
)


def slug(caught: "pytest.ExceptionInfo[ApiProblem]") -> str:
    return caught.value.type.slug


async def test_an_application_waits_until_it_is_decided(office: Office) -> None:
    application = await office.apply()

    assert application.state is ApplicationState.APPLIED
    assert application.version == 1
    assert application.applied_by == "usr_applicant"
    assert await office.allocation.application(application.id) == application
    assert await office.acts() == [("application.create", application.id, ACME)]


async def test_an_approved_application_has_its_prefix(office: Office) -> None:
    approved = await office.approved()

    assert approved.state is ApplicationState.APPROVED
    assert approved.prefix == SEVEN
    assert (approved.decided_by, approved.reason) == ("usr_reviewer", "fine")


async def test_a_rejected_application_says_why(office: Office) -> None:
    application = await office.apply()
    async with office.writing(REVIEWER) as tx:
        rejected = await office.allocation.review(tx, application.id, approve=False, reason="no such plant")

    assert rejected.state is ApplicationState.REJECTED
    assert rejected.reason == "no such plant"
    with pytest.raises(ApiProblem) as caught:
        await office.allocate(rejected)
    assert slug(caught) == "application-state"


async def test_of_two_reviewers_one_decides(office: Office) -> None:
    application = await office.apply()

    async def decide(*, approve: bool) -> object:
        async with office.writing(REVIEWER) as tx:
            return await office.allocation.review(tx, application.id, approve=approve, reason="mine")

    results = await asyncio.gather(decide(approve=True), decide(approve=False), return_exceptions=True)

    refusals = [result for result in results if isinstance(result, ApiProblem)]
    assert [problem.type.slug for problem in refusals] == ["application-state"]
    assert (await office.allocation.application(application.id)).version == 2


async def test_nobody_reviews_what_he_applied_for(office: Office) -> None:
    application = await office.apply()
    with pytest.raises(ApiProblem) as caught:
        async with office.writing(APPLICANT) as tx:
            await office.allocation.review(tx, application.id, approve=True, reason="mine")
    assert slug(caught) == "own-application"


async def test_a_withdrawn_application_is_not_allocated(office: Office) -> None:
    application = await office.approved()
    async with office.writing(APPLICANT) as tx:
        await office.allocation.withdraw(tx, application.id)

    with pytest.raises(ApiProblem) as caught:
        await office.allocate(application)
    assert slug(caught) == "application-state"
    assert "withdrawn" in str(caught.value)


@pytest.mark.parametrize("organisation", [DRAFTED, "org_" + "z" * 20])
async def test_only_approved_organisations_apply(office: Office, organisation: str) -> None:
    with pytest.raises(ApiProblem) as caught:
        await office.apply(organisation=organisation)
    assert slug(caught) in {"organisation-not-approved", "not-found"}


async def test_a_suspended_organisation_gets_nothing(office: Office) -> None:
    application = await office.approved()
    await office.execute("UPDATE organisations SET suspended_reason = 'fraud' WHERE id = $1", ACME)

    for attempt in (office.apply("8"), office.allocate(application)):
        with pytest.raises(ApiProblem) as caught:
            await attempt
        assert slug(caught) == "organisation-not-approved"


@pytest.mark.parametrize(
    ("parent", "label", "problem"),
    [
        ("88.100", "admin", "prefix-name"),
        ("88.100", "a\u200bb", "prefix-name"),
        ("88.100", "x" * 129, "prefix-name"),
        ("88.101", "7", "prefix-parent"),
        ("88", "101", "prefix-parent"),
        (None, "89", "prefix-parent"),
        ("88.100.9", "7", "prefix-parent"),
        ("1.2.3.4.5", "7", "prefix-parent"),
    ],
)
async def test_what_nobody_may_have_is_not_applied_for(
    office: Office, parent: str | None, label: str, problem: str
) -> None:
    with pytest.raises(ApiProblem) as caught:
        await office.apply(label, parent=parent)
    assert slug(caught) == problem


async def test_what_is_allocated_is_not_applied_for_in_any_case(office: Office) -> None:
    await office.allocated("Pump")
    with pytest.raises(
        ApiProblem, match=r"88\.100\.PUMP is allocated as 88\.100\.Pump \(differs in case only\)"
    ):
        await office.apply("PUMP")


async def test_below_a_hosted_prefix_its_holder_alone_applies(office: Office) -> None:
    await office.allocated()

    with pytest.raises(ApiProblem) as caught:
        await office.apply("1", parent="88.100.7", organisation=RIVAL)
    assert slug(caught) == "prefix-parent"
    assert (await office.apply("1", parent="88.100.7")).wish.parent == SEVEN


async def test_a_delegated_prefix_needs_a_site_and_a_hosted_one_has_ours(office: Office) -> None:
    application = await office.apply(site=a_site())
    assert application.wish.site == a_site()


async def test_a_site_in_a_private_network_is_refused(office: Office) -> None:
    with pytest.raises(ApiProblem) as caught:
        await office.apply(site=a_site("10.0.0.1"))
    assert slug(caught) == "route-refused"


async def test_a_network_that_the_operator_opened_is_accepted(database: str) -> None:
    opened = (Opening(network=ip_network("10.0.0.0/8"), prefix=Prefix.parse("88.100")),)
    office = await Office.open(database, openings=opened)
    assert (await office.apply(site=a_site("10.0.0.1"))).wish.site is not None
    await office.bench.close()


async def test_applications_that_wait_are_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.allocation.applications.OPEN_MAX", 2)
    await office.apply("1")
    first = await office.apply("2")
    with pytest.raises(ApiProblem) as caught:
        await office.apply("3")
    assert slug(caught) == "applications-open"
    async with office.writing(APPLICANT) as tx:
        await office.allocation.withdraw(tx, first.id)
    await office.apply("3")


async def test_applications_are_listed_newest_first_in_pages(office: Office) -> None:
    made = [await office.apply(str(number)) for number in range(1, 6)]
    await office.approve(made[0])

    first = await office.allocation.applications(limit=2)
    second = await office.allocation.applications(limit=2, before=first.items[-1].number)
    rest = await office.allocation.applications(limit=2, before=second.items[-1].number)

    ids = [application.id for application in (*first.items, *second.items, *rest.items)]
    assert ids == [application.id for application in reversed(made)]
    assert (first.more, second.more, rest.more) == (True, True, False)
    approved = await office.allocation.applications(state=ApplicationState.APPROVED, limit=10)
    assert [application.id for application in approved.items] == [made[0].id]
    assert not (await office.allocation.applications(organisation=RIVAL, limit=10)).items


async def test_a_purpose_that_hides_something_is_refused(office: Office) -> None:
    application = await office.apply()
    with pytest.raises(ApiProblem) as caught:
        async with office.writing(REVIEWER) as tx:
            await office.allocation.review(tx, application.id, approve=False, reason="no\u202e!")
    assert slug(caught) == "invalid-request"
