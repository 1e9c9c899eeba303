"""Rows of organisations: how they are read from the database."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from registry.accounts.organisation import Filing, FilingState, Organisation, Quotas, Review
from registry.accounts.profile import Profile
from registry.problem_types import NOT_FOUND, ApiProblem
from registry.problem_types.accounts import ORGANISATION_NOT_APPROVED
from registry.store import Connection

COLUMNS: Final = (
    "id, version, review, reason, suspended_reason, profile, legal_representative, contact, submitted_by,"
    " requests_per_minute, identifiers_per_day, users_max, keys_max, filing_state, filing_reason, filed_at,"
    " created, changed"
)


async def read_organisation(
    connection: Connection, organisation: str, *, lock: bool = False
) -> Organisation | None:
    """One organisation, or None. lock: keep others from changing it until the transaction ends."""
    query = f"SELECT {COLUMNS} FROM organisations WHERE id = $1{' FOR UPDATE' if lock else ''}"  # noqa: S608
    record = await connection.fetchrow(query, organisation)
    return None if record is None else organisation_of(tuple(record))


async def require_approved(connection: Connection, organisation: str) -> Organisation:
    """The organisation, if it may be given prefixes. Raises ApiProblem: 409, and 404 for an unknown id."""
    found = known(await read_organisation(connection, organisation))
    if found.suspended or found.review is not Review.APPROVED:
        raise ApiProblem(ORGANISATION_NOT_APPROVED, f"The organisation is {found.state}.")
    return found


def known(organisation: Organisation | None) -> Organisation:
    """The organisation. Raises ApiProblem (404) for None, the same whether it is unknown or somebody else's."""
    if organisation is None:
        raise ApiProblem(NOT_FOUND, "There is no such organisation.")
    return organisation


def organisation_of(record: Sequence[Any]) -> Organisation:
    """The organisation from a record with COLUMNS."""
    identity, version, review, reason, suspended, profile, legal, contact, submitter, *rest = record
    requests, identifiers, users, keys, filing_state, filing_reason, filed_at, created, changed = rest
    return Organisation(
        id=identity,
        version=version,
        review=Review(review),
        reason=reason,
        suspended_reason=suspended,
        profile=msgspec.json.decode(profile, type=Profile),
        legal_representative=legal,
        contact=contact,
        submitted_by=submitter,
        quotas=Quotas(
            requests_per_minute=requests, identifiers_per_day=identifiers, users_max=users, keys_max=keys
        ),
        filing=Filing(state=FilingState(filing_state), reason=filing_reason, at=filed_at),
        created=created,
        changed=changed,
    )
