"""Calls about organisations, their people, review, identities and quotas."""

from collections.abc import AsyncIterator
from typing import Final

from registry.accounts.person import Person
from registry.accounts.profile import Profile
from registry.api.schemas.base import Paging
from registry.api.schemas.organisations import (
    Decision,
    Identities,
    IdentityView,
    NewIdentity,
    NewOrganisation,
    OrganisationAct,
    OrganisationActs,
    OrganisationChange,
    OrganisationFilter,
    OrganisationQuotas,
    Organisations,
    OrganisationView,
    PersonChange,
    PersonView,
    Reason,
    ReferenceFilter,
    ReferencePage,
    ReferenceView,
    ReviewDecision,
)
from registry.client.address import path_of
from registry.client.area import Area
from registry.client.connection import ONCE, Write

ORGANISATIONS: Final = "organisations"
EVERY: Final = OrganisationFilter()


class OrganisationCalls(Area):
    """Organisations. `version`, where a call takes it, is that of the organisation as it was read."""

    async def create(self, new: NewOrganisation, *, how: Write = ONCE) -> OrganisationView:
        """Take an organisation in, as a draft or submitted for review."""
        answer = await self._connection.write(
            "POST", path_of(ORGANISATIONS), OrganisationView, body=new, how=how
        )
        return answer.body

    async def get(self, organisation: str) -> OrganisationView:
        """One organisation."""
        answer = await self._connection.get(path_of(ORGANISATIONS, organisation), OrganisationView)
        return answer.body

    def every(self, which: OrganisationFilter = EVERY) -> AsyncIterator[OrganisationView]:
        """The organisations that the caller sees."""
        return self._every(path_of(ORGANISATIONS), Organisations, which)

    async def change(
        self, organisation: str, profile: Profile, *, version: int, how: Write = ONCE
    ) -> OrganisationView:
        """Replace the profile; where it touches what reviewers check, it is reviewed again."""
        answer = await self._connection.write(
            "PUT",
            path_of(ORGANISATIONS, organisation),
            OrganisationView,
            body=OrganisationChange(profile=profile),
            if_match=str(version),
            how=how,
        )
        return answer.body

    async def submit(self, organisation: str, *, how: Write = ONCE) -> OrganisationView:
        """Ask for the review of a draft or of a rejected organisation."""
        path = path_of(ORGANISATIONS, organisation, "submission")
        return (await self._connection.write("POST", path, OrganisationView, how=how)).body

    async def review(
        self,
        organisation: str,
        decision: Decision,
        *,
        reason: str | None = None,
        version: int,
        how: Write = ONCE,
    ) -> OrganisationView:
        """Approve or reject the version that was read; a rejection takes a reason."""
        answer = await self._connection.write(
            "POST",
            path_of(ORGANISATIONS, organisation, "review"),
            OrganisationView,
            body=ReviewDecision(decision=decision, reason=reason),
            if_match=str(version),
            how=how,
        )
        return answer.body

    async def suspend(self, organisation: str, reason: str, *, how: Write = ONCE) -> OrganisationView:
        """Bar its users, keys and identities, within a second."""
        return await self._because(organisation, "suspension", reason, how)

    async def resume(self, organisation: str, reason: str, *, how: Write = ONCE) -> OrganisationView:
        """Let them in again."""
        return await self._because(organisation, "resumption", reason, how)

    async def set_quotas(
        self, organisation: str, quotas: OrganisationQuotas, *, version: int, how: Write = ONCE
    ) -> OrganisationView:
        """Allow it more or less."""
        answer = await self._connection.write(
            "PUT",
            path_of(ORGANISATIONS, organisation, "quotas"),
            OrganisationView,
            body=quotas,
            if_match=str(version),
            how=how,
        )
        return answer.body

    def history(self, organisation: str) -> AsyncIterator[OrganisationAct]:
        """What was done to it, the latest first."""
        return self._every(path_of(ORGANISATIONS, organisation, "history"), OrganisationActs, Paging())

    async def name_legal_representative(
        self, organisation: str, person: Person, *, version: int, how: Write = ONCE
    ) -> OrganisationView:
        """Name another legal representative; it is reviewed again."""
        return await self._name(organisation, "legal-representative", person, version, how)

    async def name_contact(
        self, organisation: str, person: Person, *, version: int, how: Write = ONCE
    ) -> OrganisationView:
        """Name another contact."""
        return await self._name(organisation, "contact", person, version, how)

    async def read_person(self, organisation: str, person: str) -> PersonView:
        """What is known of a person, in the clear; every reading is audited."""
        return (
            await self._connection.get(path_of(ORGANISATIONS, organisation, "people", person), PersonView)
        ).body

    async def erase_person(self, organisation: str, person: str, *, how: Write = ONCE) -> None:
        """Forget everything of a person but the id."""
        path = path_of(ORGANISATIONS, organisation, "people", person)
        await self._connection.write("DELETE", path, type(None), how=how)

    async def assign_identity(
        self, organisation: str, identity: str, subject: str, *, how: Write = ONCE
    ) -> IdentityView:
        """Note whose an HS_ADMIN identity (`index:handle`) is."""
        body = NewIdentity(identity=identity, subject=subject)
        path = path_of(ORGANISATIONS, organisation, "identities")
        return (await self._connection.write("POST", path, IdentityView, body=body, how=how)).body

    def identities(self, organisation: str) -> AsyncIterator[IdentityView]:
        """The HS_ADMIN identities of the organisation, its users and keys."""
        return self._every(path_of(ORGANISATIONS, organisation, "identities"), Identities, Paging())

    async def withdraw_identity(self, organisation: str, identity: str, *, how: Write = ONCE) -> None:
        """Forget whose an identity is."""
        path = path_of(ORGANISATIONS, organisation, "identities", identity)
        await self._connection.write("DELETE", path, type(None), how=how)

    def references(self, organisation: str, *, subject: str | None = None) -> AsyncIterator[ReferenceView]:
        """Values of records that still name identities of the organisation, or of one subject of it."""
        path = path_of(ORGANISATIONS, organisation, "references")
        return self._every(path, ReferencePage, ReferenceFilter(subject=subject))

    async def _because(self, organisation: str, act: str, reason: str, how: Write) -> OrganisationView:
        path = path_of(ORGANISATIONS, organisation, act)
        body = Reason(reason=reason)
        return (await self._connection.write("POST", path, OrganisationView, body=body, how=how)).body

    async def _name(
        self, organisation: str, place: str, person: Person, version: int, how: Write
    ) -> OrganisationView:
        answer = await self._connection.write(
            "PUT",
            path_of(ORGANISATIONS, organisation, place),
            OrganisationView,
            body=PersonChange(person=person),
            if_match=str(version),
            how=how,
        )
        return answer.body
