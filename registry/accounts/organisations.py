"""Organisations: taken in, changed, reviewed, suspended and filed; every act is a version with reason and actor."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import asyncpg
import msgspec

from registry.accounts.organisation import (
    SUSPENDED,
    TRANSITIONS,
    Act,
    Filing,
    FilingState,
    Organisation,
    Quotas,
    Review,
    possible_acts,
)
from registry.accounts.organisation_rows import COLUMNS, known, organisation_of, read_organisation
from registry.accounts.people import People
from registry.accounts.person import Person, Purpose, person_faults
from registry.accounts.profile import Profile, needs_review, profile_faults
from registry.accounts.roles import Caller
from registry.audit.entry import Detail
from registry.ids import new_id
from registry.problem_types import UNPROCESSABLE, ApiProblem
from registry.problem_types.accounts import (
    CERTIFICATE_TAKEN,
    ORGANISATION_STATE,
    SELF_REVIEW,
)
from registry.store import Connection
from registry.transaction import Transaction

_INSERT: Final = """
    INSERT INTO organisations (id, version, review, profile, certificate, submitted_by, legal_representative, contact,
        created, changed)
    VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $8)"""
_HISTORY: Final = """
    INSERT INTO organisation_history (organisation, version, act, reason, actor, at)
    VALUES ($1, $2, $3, $4, $5, $6)"""
_END_SESSIONS: Final = "DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE organisation = $1)"
_PERSON_COLUMNS: Final = {
    Purpose.LEGAL_REPRESENTATIVE: "legal_representative",
    Purpose.CONTACT: "contact",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One version of an organisation: what was done, why and by whom."""

    version: int
    act: str
    reason: str
    actor: str
    at: datetime


class Organisations:
    """The organisations of a node. Who may do what has been asked before; what the states allow is asked here."""

    def __init__(self, people: People) -> None:
        self._people = people

    async def get(self, connection: Connection, caller: Caller, organisation: str) -> Organisation:
        """One organisation. Raises ApiProblem (404) for an unknown one and for one the caller does not see, alike."""
        found = await read_organisation(connection, organisation) if caller.sees(organisation) else None
        return known(found)

    async def lock(self, tx: Transaction, caller: Caller, organisation: str) -> Organisation:
        """As get, and nobody else changes it, or what is counted per organisation, until the transaction ends."""
        if not caller.sees(organisation):
            return known(None)
        return known(await read_organisation(tx.connection, organisation, lock=True))

    async def page(
        self,
        connection: Connection,
        caller: Caller,
        *,
        after: str,
        limit: int,
        state: str | None = None,
        certificate: str | None = None,
    ) -> list[Organisation]:
        """Those that the caller sees, by id, after this one. state: of the review, or suspended."""
        arguments: list[object] = [after, limit]
        clauses = ["id > $1"]
        for column, value in (("id", caller.organisation), ("certificate", certificate)):
            if value is not None:
                arguments.append(value)
                clauses.append(f"{column} = ${len(arguments)}")
        if state == SUSPENDED:
            clauses.append("suspended_reason IS NOT NULL")
        elif state is not None:
            arguments.append(state)
            clauses.append(f"review = ${len(arguments)} AND suspended_reason IS NULL")
        query = f"SELECT {COLUMNS} FROM organisations WHERE {' AND '.join(clauses)} ORDER BY id LIMIT $2"  # noqa: S608
        return [organisation_of(tuple(record)) for record in await connection.fetch(query, *arguments)]

    async def create(
        self,
        tx: Transaction,
        profile: Profile,
        *,
        submit: bool = True,
        legal_representative: Person | None = None,
        contact: Person | None = None,
    ) -> Organisation:
        """Take an organisation in, as a draft or submitted for review. Raises ApiProblem (422)."""
        _check_profile(profile, tx.now.date())
        organisation = new_id("org")
        people = [
            await self._register(tx, organisation, purpose, person, f"/{_PERSON_COLUMNS[purpose]}")
            for purpose, person in (
                (Purpose.LEGAL_REPRESENTATIVE, legal_representative),
                (Purpose.CONTACT, contact),
            )
        ]
        review, submitter = (Review.SUBMITTED, tx.origin.actor) if submit else (Review.DRAFT, None)
        document = msgspec.json.encode(profile).decode()
        row = (organisation, review.value, document, profile.certificate, submitter, *people, tx.now)
        await tx.connection.execute(_INSERT, *row)
        return await self._note(tx, organisation, Act.CREATE, "")

    async def change(self, tx: Transaction, organisation: Organisation, profile: Profile) -> Organisation:
        """Replace the profile. What reviewers check stands at once, but an approved organisation is reviewed again."""
        _check_profile(profile, tx.now.date())
        changes: dict[str, object] = {
            "profile": msgspec.json.encode(profile).decode(),
            "certificate": profile.certificate,
        }
        if needs_review(organisation.profile, profile):
            changes |= _again(organisation, tx.origin.actor)
        return await self._apply(tx, organisation, Act.CHANGE, changes)

    async def set_person(
        self, tx: Transaction, organisation: Organisation, purpose: Purpose, person: Person
    ) -> Organisation:
        """Name another legal representative, which is reviewed again, or contact; the former one is released."""
        column = _PERSON_COLUMNS[purpose]
        former: str | None = getattr(organisation, column)
        if former is not None:
            await self._people.release(tx, former)
        changes: dict[str, object] = {
            column: await self._register(tx, organisation.id, purpose, person, "/person")
        }
        if purpose is Purpose.LEGAL_REPRESENTATIVE:
            changes |= _again(organisation, tx.origin.actor)
        return await self._apply(tx, organisation, Act.CHANGE, changes)

    async def submit(self, tx: Transaction, organisation: Organisation) -> Organisation:
        """Ask for the review."""
        review = _step(organisation, Act.SUBMIT)
        _check_profile(organisation.profile, tx.now.date())
        changes = {"review": review.value, "submitted_by": tx.origin.actor, "reason": ""}
        return await self._apply(tx, organisation, Act.SUBMIT, changes)

    def check_review(self, organisation: Organisation, *, approve: bool) -> None:
        """Raises ApiProblem (409) unless there is something to decide."""
        _step(organisation, Act.APPROVE if approve else Act.REJECT)

    async def review(
        self, tx: Transaction, organisation: Organisation, *, approve: bool, reason: str
    ) -> Organisation:
        """Decide. Raises ApiProblem: 409 when it is not submitted or the certificate is taken, 403 for one's own."""
        act = Act.APPROVE if approve else Act.REJECT
        changes: dict[str, object] = {
            "review": _step(organisation, act).value,
            "reason": "" if approve else reason,
        }
        if organisation.submitted_by == tx.origin.actor:
            raise ApiProblem(SELF_REVIEW, "You submitted this organisation, or changed it last.")
        if approve:  # what was filed with the node above is filed afresh
            changes["approved_certificate"] = organisation.profile.certificate
            changes |= {"filing_state": FilingState.NONE.value, "filing_reason": "", "filed_at": None}
        try:
            return await self._apply(tx, organisation, act, changes, reason)
        except asyncpg.UniqueViolationError:
            raise ApiProblem(
                CERTIFICATE_TAKEN, "Another organisation was approved with the same certificate."
            ) from None

    async def suspend(self, tx: Transaction, organisation: Organisation, reason: str) -> Organisation:
        """Bar its users and keys, within a second, and end its sessions."""
        if organisation.suspended:
            raise ApiProblem(ORGANISATION_STATE, "The organisation is suspended already.")
        await tx.connection.execute(_END_SESSIONS, organisation.id)
        return await self._apply(tx, organisation, Act.SUSPEND, {"suspended_reason": reason}, reason)

    async def resume(self, tx: Transaction, organisation: Organisation, reason: str) -> Organisation:
        """Let its users and keys in again."""
        if not organisation.suspended:
            raise ApiProblem(ORGANISATION_STATE, f"The organisation is {organisation.state}, not suspended.")
        return await self._apply(tx, organisation, Act.RESUME, {"suspended_reason": None}, reason)

    async def set_quotas(self, tx: Transaction, organisation: Organisation, quotas: Quotas) -> Organisation:
        """Allow it more or less."""
        changes: dict[str, object] = {
            "requests_per_minute": quotas.requests_per_minute,
            "identifiers_per_day": quotas.identifiers_per_day,
            "users_max": quotas.users_max,
            "keys_max": quotas.keys_max,
        }
        return await self._apply(tx, organisation, Act.QUOTA, changes)

    async def set_filing(self, tx: Transaction, organisation: Organisation, filing: Filing) -> Organisation:
        """Note where the filing with the node above stands."""
        changes: dict[str, object] = {
            "filing_state": filing.state.value,
            "filing_reason": filing.reason,
            "filed_at": filing.at,
        }
        return await self._apply(tx, organisation, Act.FILE, changes, filing.reason)

    async def history(
        self, connection: Connection, organisation: str, *, before: int | None, limit: int
    ) -> list[HistoryEntry]:
        """The versions, the latest first. before: a version of which those before it are wanted."""
        query = """
            SELECT version, act, reason, actor, at FROM organisation_history
            WHERE organisation = $1 AND ($2::bigint IS NULL OR version < $2) ORDER BY version DESC LIMIT $3"""
        records = await connection.fetch(query, organisation, before, limit)
        return [HistoryEntry(**record) for record in records]

    async def _register(
        self, tx: Transaction, organisation: str, purpose: Purpose, person: Person | None, path: str
    ) -> str | None:
        if person is None:
            return None
        if faults := person_faults(person, path):
            raise ApiProblem(UNPROCESSABLE, "The data of a person break a rule.", errors=faults)
        return await self._people.register(
            tx, organisation=organisation, purpose=purpose, fields=person.fields()
        )

    async def _apply(
        self,
        tx: Transaction,
        organisation: Organisation,
        act: Act,
        changes: dict[str, Any],
        reason: str = "",
    ) -> Organisation:
        """Write the next version; changes: values by column, the names of columns from this file alone."""
        columns = ", ".join(f"{column} = ${place}" for place, column in enumerate(changes, start=3))
        query = f"UPDATE organisations SET version = version + 1, changed = $2, {columns} WHERE id = $1"  # noqa: S608
        await tx.connection.execute(query, organisation.id, tx.now, *changes.values())
        return await self._note(tx, organisation.id, act, reason)

    async def _note(self, tx: Transaction, organisation: str, act: Act, reason: str) -> Organisation:
        changed = await read_organisation(tx.connection, organisation)
        assert changed is not None
        entry = (organisation, changed.version, act.value, reason, tx.origin.actor, tx.now)
        await tx.connection.execute(_HISTORY, *entry)
        detail: dict[str, Detail] = {"version": changed.version}
        if reason:
            detail["reason"] = reason
        tx.audit(f"organisation.{act.value}", organisation, organisation=organisation, detail=detail)
        return changed


def _check_profile(profile: Profile, today: date) -> None:
    if faults := profile_faults(profile, today=today, path="/profile"):
        raise ApiProblem(UNPROCESSABLE, "The description of the organisation breaks a rule.", errors=faults)


def _again(organisation: Organisation, actor: str) -> dict[str, object]:
    """What follows from changing what reviewers check."""
    if organisation.review is Review.APPROVED:
        return {"review": Review.SUBMITTED.value, "submitted_by": actor}
    return {"submitted_by": actor} if organisation.review is Review.SUBMITTED else {}


def _step(organisation: Organisation, act: Act) -> Review:
    """Where the act leads. Raises ApiProblem (409) when it does not start from the present state."""
    review = TRANSITIONS[act].get(organisation.review)
    if review is None:
        possible = possible_acts(organisation.review)
        remedy = f"Possible is: {', '.join(possible)}." if possible else "Change it first."
        raise ApiProblem(
            ORGANISATION_STATE, f"The review of the organisation is {organisation.review}.", remedy=remedy
        )
    return review
