"""Organisations: taken in, reviewed, changed, suspended; and who may see them."""

import asyncio
from datetime import date

import pytest

from registry.accounts.organisation import FilingState, Organisation, Quotas, Review
from registry.accounts.organisation_rows import read_organisation, require_approved
from registry.accounts.person import Person, Purpose
from registry.accounts.roles import ROLE_RIGHTS, Caller, Role
from registry.problem_types import NOT_FOUND, UNPROCESSABLE, ApiProblem
from registry.problem_types.accounts import (
    CERTIFICATE_TAKEN,
    ORGANISATION_NOT_APPROVED,
    ORGANISATION_STATE,
    SELF_REVIEW,
)
from tests.integration.registry.accounts.office import OPERATOR, REVIEWER, Office, profile


def member(organisation: str) -> Caller:
    """An enterprise administrator."""
    rights = ROLE_RIGHTS[Role.ENTERPRISE_ADMINISTRATOR]
    return Caller(id="usr_member", organisation=organisation, rights=rights, kind="user")


async def test_an_organisation_is_submitted_reviewed_and_approved(office: Office) -> None:
    submitted = await office.organisation(approved=False)
    assert (submitted.review, submitted.version, submitted.submitted_by) == (
        Review.SUBMITTED,
        1,
        "usr_operator",
    )

    async with office.acting(REVIEWER) as tx:
        approved = await office.accounts.organisations.review(tx, submitted, approve=True, reason="")

    assert (approved.review, approved.version, approved.state) == (Review.APPROVED, 2, "approved")
    async with office.reading() as connection:
        assert await require_approved(connection, approved.id) == approved
    assert await office.audited() == [
        ("usr_operator", "organisation.create", submitted.id),
        ("usr_reviewer", "organisation.approve", submitted.id),
    ]


async def test_a_rejection_says_why_and_leads_back_through_a_submission(office: Office) -> None:
    service = office.accounts.organisations
    submitted = await office.organisation(approved=False)
    async with office.acting(REVIEWER) as tx:
        rejected = await service.review(tx, submitted, approve=False, reason="证照不清晰")
    assert (rejected.review, rejected.reason) == (Review.REJECTED, "证照不清晰")

    async with office.acting() as tx:
        changed = await service.change(tx, rejected, profile(1))
        again = await service.submit(tx, changed)

    assert (changed.review, again.review, again.reason) == (Review.REJECTED, Review.SUBMITTED, "")
    async with office.reading() as connection:
        acts = await service.history(connection, submitted.id, before=None, limit=10)
        older = await service.history(connection, submitted.id, before=3, limit=1)
    assert [(act.act, act.reason, act.actor) for act in acts] == [
        ("submit", "", "usr_operator"),
        ("change", "", "usr_operator"),
        ("reject", "证照不清晰", "usr_reviewer"),
        ("create", "", "usr_operator"),
    ]
    assert [act.version for act in older] == [2]


async def test_of_two_reviewers_the_first_one_decides(office: Office) -> None:
    service = office.accounts.organisations
    submitted = await office.organisation(approved=False)

    async def decide(name: str, approve: bool) -> Organisation:
        reviewer = Caller(id=name, organisation=None, rights=REVIEWER.rights, kind="user")
        async with office.acting(reviewer) as tx:
            found = await service.lock(tx, reviewer, submitted.id)
            return await service.review(tx, found, approve=approve, reason="no" if not approve else "")

    results = await asyncio.gather(decide("usr_1", True), decide("usr_2", False), return_exceptions=True)

    (refused,) = [result for result in results if isinstance(result, ApiProblem)]
    (decided,) = [result for result in results if isinstance(result, Organisation)]
    assert refused.type is ORGANISATION_STATE
    assert str(decided.review) in refused.detail
    async with office.reading() as connection:
        assert await read_organisation(connection, submitted.id) == decided


async def test_nobody_reviews_what_he_submitted_or_changed_last(office: Office) -> None:
    service = office.accounts.organisations
    both = Caller(id="usr_both", organisation=None, rights=REVIEWER.rights | OPERATOR.rights, kind="user")
    submitted = await office.organisation(approved=False)
    async with office.acting(both) as tx:
        changed = await service.change(tx, submitted, profile(name="示例阀门厂"))
    with pytest.raises(ApiProblem) as refused:
        async with office.acting(both) as tx:
            await service.review(tx, changed, approve=True, reason="")
    assert refused.value.type is SELF_REVIEW


async def test_a_change_of_what_was_reviewed_is_reviewed_again(office: Office) -> None:
    service = office.accounts.organisations
    approved = await office.organisation()
    async with office.acting() as tx:
        described = await service.change(tx, approved, profile(introduction="水泵与阀门"))
        renamed = await service.change(tx, described, profile(name="示例阀门厂"))
    assert (described.review, renamed.review) == (Review.APPROVED, Review.SUBMITTED)
    with pytest.raises(ApiProblem) as refused:
        async with office.reading() as connection:
            await require_approved(connection, approved.id)
    assert refused.value.type is ORGANISATION_NOT_APPROVED


async def test_a_certificate_is_approved_once(office: Office) -> None:
    await office.organisation()
    second = await office.organisation(approved=False)
    with pytest.raises(ApiProblem) as refused:
        async with office.acting(REVIEWER) as tx:
            await office.accounts.organisations.review(tx, second, approve=True, reason="")
    assert refused.value.type is CERTIFICATE_TAKEN


async def test_suspension_works_whatever_the_review_says_and_is_beside_it(office: Office) -> None:
    service = office.accounts.organisations
    for approved in (False, True):
        made = await office.organisation(1 if approved else 0, approved=approved)
        async with office.acting() as tx:
            suspended = await service.suspend(tx, made, "违规")
        assert (suspended.state, suspended.review) == ("suspended", made.review)
        with pytest.raises(ApiProblem) as refused:
            async with office.acting() as tx:
                await service.suspend(tx, suspended, "again")
        assert refused.value.type is ORGANISATION_STATE
        async with office.acting() as tx:
            resumed = await service.resume(tx, suspended, "已整改")
        assert resumed.state == made.review


async def test_a_wrong_profile_is_refused_with_every_fault(office: Office) -> None:
    wrong = profile(certificate_number="91350100M000100Y44", established=date(9999, 1, 1))
    with pytest.raises(ApiProblem) as refused:
        async with office.acting() as tx:
            await office.accounts.organisations.create(tx, wrong)
    assert refused.value.type is UNPROCESSABLE
    assert {fault.pointer for fault in refused.value.errors} == {
        "/profile/certificate_number",
        "/profile/established",
    }


async def test_another_organisation_is_as_good_as_none(office: Office) -> None:
    made, other = await office.organisation(), await office.organisation(1)
    service = office.accounts.organisations

    async def refusal(caller: Caller, organisation: str) -> tuple[object, str, str]:
        with pytest.raises(ApiProblem) as refused:
            async with office.acting(caller) as tx:
                await service.lock(tx, caller, organisation)
        async with office.reading() as connection:
            with pytest.raises(ApiProblem) as unread:
                await service.get(connection, caller, organisation)
        assert unread.value.detail == refused.value.detail
        return refused.value.type, refused.value.detail, refused.value.remedy

    foreign = await refusal(member(made.id), other.id)
    assert foreign == await refusal(member(made.id), "org_unknown")
    assert foreign[0] is NOT_FOUND
    async with office.reading() as connection:
        own = await service.page(connection, member(made.id), after="", limit=10)
        everything = await service.page(connection, OPERATOR, after="", limit=10)
    assert [found.id for found in own] == [made.id]
    assert [found.id for found in everything] == sorted([made.id, other.id])


async def test_lists_are_filtered_by_state_and_certificate(office: Office) -> None:
    service = office.accounts.organisations
    approved, submitted = await office.organisation(), await office.organisation(1, approved=False)
    suspended = await office.organisation(2)
    async with office.acting() as tx:
        await service.suspend(tx, suspended, "违规")
    async with office.reading() as connection:

        async def ids(**filters: str) -> list[str]:
            return [
                found.id for found in await service.page(connection, OPERATOR, after="", limit=10, **filters)
            ]

        assert await ids(state="approved") == [approved.id]
        assert await ids(state="submitted") == [submitted.id]
        assert await ids(state="suspended") == [suspended.id]
        assert await ids(certificate="uscc:91110000600037341L") == [submitted.id]
        first = await service.page(connection, OPERATOR, after="", limit=2)
        rest = await service.page(connection, OPERATOR, after=first[-1].id, limit=2)
    assert len({found.id for found in [*first, *rest]}) == 3


async def test_filing_and_quotas_are_noted(office: Office) -> None:
    made = await office.organisation()
    async with office.acting() as tx:
        filed = await office.accounts.set_filing(tx, made.id, state=FilingState.REFUSED, reason="重复备案")
        quotas = Quotas(requests_per_minute=1, identifiers_per_day=2, users_max=3, keys_max=4)
        allowed = await office.accounts.organisations.set_quotas(tx, filed, quotas)
    assert (filed.filing.state, filed.filing.reason) == (FilingState.REFUSED, "重复备案")
    assert allowed.quotas == quotas
    assert allowed.filing.at is not None


async def test_what_was_approved_again_is_filed_again(office: Office) -> None:
    service, made = office.accounts.organisations, await office.organisation()
    async with office.acting() as tx:
        filed = await office.accounts.set_filing(tx, made.id, state=FilingState.FILED)
        changed = await service.change(tx, filed, profile(name="示例阀门厂"))
    assert changed.filing.state is FilingState.FILED
    async with office.acting(REVIEWER) as tx:
        again = await service.review(tx, changed, approve=True, reason="")
    assert (again.filing.state, again.filing.at) == (FilingState.NONE, None)


async def test_another_legal_representative_is_reviewed_again_and_the_former_one_released(
    office: Office,
) -> None:
    service = office.accounts.organisations
    made = await office.organisation(contact=Person(name="韩梅梅", mobile="13800138000"))
    assert made.contact is not None
    async with office.acting() as tx:
        contact = await service.set_person(tx, made, Purpose.CONTACT, Person(name="李雷"))
        legal = await service.set_person(tx, contact, Purpose.LEGAL_REPRESENTATIVE, Person(name="王芳"))
    assert (contact.review, legal.review) == (Review.APPROVED, Review.SUBMITTED)
    async with office.reading() as connection:
        former = await office.accounts.people.read(connection, made.contact)
        present = await office.accounts.people.read(connection, legal.contact or "")
    assert all(field.retain_until is not None for field in former)
    assert [(field.value, field.retain_until) for field in present] == [("李雷", None)]


async def test_the_data_of_a_person_are_checked(office: Office) -> None:
    made = await office.organisation()
    with pytest.raises(ApiProblem) as refused:
        async with office.acting() as tx:
            await office.accounts.organisations.set_person(
                tx, made, Purpose.CONTACT, Person(name="李雷", email="nowhere")
            )
    assert [fault.pointer for fault in refused.value.errors] == ["/person/email"]
    assert "nowhere" not in refused.value.errors[0].detail
