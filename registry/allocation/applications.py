"""Applications for prefixes: made, reviewed, withdrawn."""

from dataclasses import replace
from typing import Final

from protocol.handle import Prefix
from registry.allocation import tables
from registry.allocation.lifecycle import (
    ApplicationAct,
    ApplicationState,
    Hosting,
    IllegalTransition,
    PrefixState,
    decide,
)
from registry.allocation.model import Application, Wish
from registry.allocation.numbers import first_number, free_number
from registry.allocation.terms import (
    NO_APPLICATION,
    Terms,
    check_holder,
    checked_reason,
    parent_row,
    sentence,
)
from registry.ids import new_id
from registry.problem_types import INVALID_REQUEST, NOT_FOUND, ApiProblem, FieldFault
from registry.problem_types.allocation import (
    APPLICATION_STATE,
    APPLICATIONS_OPEN,
    OWN_APPLICATION,
    PREFIX_TAKEN,
)
from registry.transaction import Transaction

OPEN_MAX: Final = 100
"""Applications of one organisation that wait for something: more than a reviewer decides in a day for one applicant."""


async def apply(tx: Transaction, terms: Terms, wish: Wish, *, proved: bool = False) -> Application:
    """Apply for a prefix.

    proved: whether the node of the site has proved just now that it holds its key.
    Raises ApiProblem: the organisation is not approved, has too many open applications, or nobody may be given this.
    """
    wish = await _checked(tx, terms, wish)
    if await tables.open_applications(tx.connection, wish.organisation, OPEN_MAX) >= OPEN_MAX:
        raise ApiProblem(
            APPLICATIONS_OPEN, f"{OPEN_MAX} applications of the organisation wait for a decision."
        )
    made = await tables.insert_application(
        tx.connection, new_id("app"), wish, at=tx.now, by=tx.origin.actor, proved=proved
    )
    tx.audit(
        "application.create",
        made.id,
        organisation=wish.organisation,
        detail={"prefix": wished(wish), "hosting": wish.hosting.value},
    )
    return made


async def _checked(tx: Transaction, terms: Terms, wish: Wish) -> Wish:
    checked_reason(wish.purpose, "/purpose")
    if (wish.site is not None) is not (wish.hosting is Hosting.DELEGATED):
        fault = FieldFault("/site", "is given for a delegated prefix, and for no other")
        raise ApiProblem(
            INVALID_REQUEST, "A delegated prefix needs a site, a hosted one has ours.", errors=[fault]
        )
    await check_holder(tx.connection, wish.organisation)
    row = await parent_row(tx, wish.parent, wish.organisation)
    parent = None if wish.parent is None else Prefix(row.name)
    if wish.label is None:
        example = first_number(terms, parent)
    else:
        example = terms.name(parent, wish.label)
        await _check_free(tx, example)
    if wish.site is not None:
        terms.check_route(wish.site, example)
    return replace(wish, parent=parent)


async def _check_free(tx: Transaction, prefix: Prefix) -> None:
    """Tell early what the allocation would tell late. Raises ApiProblem (409)."""
    known = await tables.allocation(tx.connection, prefix.key)
    if known is not None and known.state is not PrefixState.REVOKED:
        raise taken(prefix, known.prefix)


def taken(prefix: Prefix, known: Prefix) -> ApiProblem:
    """The answer that a prefix is allocated, perhaps in another spelling."""
    spelling = "" if prefix.octets == known.octets else f" as {known} (differs in case only)"
    return ApiProblem(PREFIX_TAKEN, f"{prefix} is allocated{spelling}.")


def wished(wish: Wish) -> str:
    """What is wished, for people: 88.100.7, or 88.100.* for the next free number."""
    label = "*" if wish.label is None else wish.label
    return label if wish.parent is None else f"{wish.parent}.{label}"


async def review(tx: Transaction, terms: Terms, id_: str, *, approve: bool, reason: str) -> Application:
    """Decide an application; an approved one gets its prefix, which is allocated in a second step.

    Raises ApiProblem: unknown (404), decided already (409), the reviewer's own (403), or it cannot be allocated.
    """
    application = await lock(tx, id_)
    act = ApplicationAct.APPROVE if approve else ApplicationAct.REJECT
    state = next_state(application, act)
    if application.applied_by == tx.origin.actor:
        raise ApiProblem(OWN_APPLICATION, "You made this application yourself.")
    prefix = await _prefix_for(tx, terms, application.wish) if approve else None
    return await _decided(tx, application, act, replace(application, state=state, prefix=prefix), reason)


async def _prefix_for(tx: Transaction, terms: Terms, wish: Wish) -> Prefix:
    await check_holder(tx.connection, wish.organisation)
    await parent_row(tx, wish.parent, wish.organisation)
    if wish.label is None:
        return await free_number(tx, terms, wish.parent)
    prefix = terms.name(wish.parent, wish.label)
    await _check_free(tx, prefix)
    return prefix


async def withdraw(tx: Transaction, id_: str, *, reason: str) -> Application:
    """Take an application back. Raises ApiProblem: unknown (404), rejected, withdrawn or allocated already (409)."""
    application = await lock(tx, id_)
    state = next_state(application, ApplicationAct.WITHDRAW)
    changed = replace(application, state=state)
    return await _decided(tx, application, ApplicationAct.WITHDRAW, changed, reason)


async def note_proof(tx: Transaction, id_: str) -> Application:
    """Note that the node of the application's site has proved that it holds its key."""
    application = await lock(tx, id_)
    if application.state not in (ApplicationState.APPLIED, ApplicationState.APPROVED):
        raise ApiProblem(APPLICATION_STATE, f"The application is {application.state}.")
    tx.audit("application.prove", id_, organisation=application.wish.organisation)
    return await tables.update_application(tx.connection, replace(application, proved=tx.now))


async def _decided(
    tx: Transaction, before: Application, act: ApplicationAct, after: Application, reason: str
) -> Application:
    reason = checked_reason(reason) if reason else ""
    decided = replace(after, reason=reason, decided=tx.now, decided_by=tx.origin.actor)
    stored = await tables.update_application(tx.connection, decided)
    detail = {"prefix": wished(before.wish) if after.prefix is None else str(after.prefix), "reason": reason}
    tx.audit(f"application.{act}", before.id, organisation=before.wish.organisation, detail=detail)
    return stored


async def lock(tx: Transaction, id_: str) -> Application:
    """An application, locked until the transaction ends. Raises ApiProblem (404)."""
    found = await tables.application(tx.connection, id_, lock=True)
    if found is None:
        raise ApiProblem(NOT_FOUND, NO_APPLICATION)
    return found


def next_state(application: Application, act: ApplicationAct) -> ApplicationState:
    """The state after an act. Raises ApiProblem (409)."""
    try:
        return decide(application.state, act)
    except IllegalTransition as error:
        raise ApiProblem(APPLICATION_STATE, sentence(error)) from None
