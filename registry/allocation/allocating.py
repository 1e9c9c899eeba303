"""Allocating: from an approved application to a prefix that resolves, in one transaction."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from protocol.handle import Prefix
from protocol.site import Site
from protocol.value import ValueList
from registry.allocation import tables
from registry.allocation.acts import known, log_home, note
from registry.allocation.applications import lock, next_state, taken
from registry.allocation.lifecycle import ApplicationAct, Hosting, PrefixAct, PrefixState
from registry.allocation.model import AllocatedPrefix, Application
from registry.allocation.records import record_values
from registry.allocation.terms import Terms, check_holder, checked_reason, expect, locked, parent_row
from registry.homing import admin_value
from registry.initialise import administrator_of
from registry.outcomes import OPERATOR, Created, Creation, Identity
from registry.prefixes import PrefixStatus
from registry.problem_types import ApiProblem
from registry.problem_types.allocation import (
    NODE_NOT_PROVED,
    PREFIX_NOT_EMPTY,
    PREFIX_QUARANTINED,
    PREFIX_TAKEN,
)
from registry.transaction import Transaction
from registry.writing import Action

_PUT_IDENTITY: Final = """
    INSERT INTO identities (handle, index, organisation, subject, created) VALUES ($1, $2, $3, $3, $4)
    ON CONFLICT (handle, index) DO UPDATE SET organisation = excluded.organisation, subject = excluded.subject"""


async def allocate(
    tx: Transaction, terms: Terms, id_: str, *, reason: str = "", proved: bool = False
) -> AllocatedPrefix:
    """Allocate what an approved application asked for.

    proved: whether the node of a delegated prefix has proved just now that it holds the key in its site.
    Raises ApiProblem: unknown (404), not approved, taken meanwhile, resting, the node has not proved itself (409).
    """
    application = await lock(tx, id_)
    state = next_state(application, ApplicationAct.ALLOCATE)
    wish, prefix = application.wish, application.prefix
    assert prefix is not None, "an approved application has one"
    if wish.hosting is Hosting.DELEGATED and not proved and application.proved is None:
        raise ApiProblem(NODE_NOT_PROVED, f"The node of {prefix} has not proved that it holds its key.")
    await check_holder(tx.connection, wish.organisation)
    await parent_row(tx, wish.parent, wish.organisation)
    if wish.site is not None:
        terms.check_route(wish.site, prefix)
    fresh = _fresh(tx, terms, application, prefix, reason)
    await _check_own(tx, fresh)
    done = await claim(tx, fresh, terms.quarantine)
    await _write_record(tx, terms, done)
    await note(tx, done, PrefixAct.ALLOCATE, {"application": application.id, "hosting": done.hosting.value})
    await tables.update_application(tx.connection, replace(application, state=state))
    return done


def future_record(terms: Terms, prefix: Prefix, site: Site) -> ValueList:
    """The public values that the record of a prefix will have once it is allocated to this site."""
    return record_values(site, administrator_of(prefix), terms.ttl_s)


def _fresh(
    tx: Transaction, terms: Terms, application: Application, prefix: Prefix, reason: str
) -> AllocatedPrefix:
    wish = application.wish
    return AllocatedPrefix(
        prefix=prefix,
        parent=wish.parent,
        organisation=wish.organisation,
        hosting=wish.hosting,
        state=PrefixState.ACTIVE,
        reason=checked_reason(reason) if reason else "",
        version=1,
        site=wish.site or terms.site,
        allocated=tx.now,
        changed=tx.now,
    )


async def _check_own(tx: Transaction, fresh: AllocatedPrefix) -> None:
    """Raises ApiProblem (409) for a prefix that the node serves in its own name."""
    row = await tx.prefix_row(fresh.prefix.key)
    if row is not None and row.homed and await tables.allocation(tx.connection, row.key) is None:
        raise ApiProblem(PREFIX_TAKEN, f"{fresh.prefix} is this node's own.")


async def claim(tx: Transaction, fresh: AllocatedPrefix, quarantine: timedelta) -> AllocatedPrefix:
    """Store the allocation, unless somebody holds the prefix; of many who try at once, one succeeds.

    Raises ApiProblem (409): it is taken, rests after a revocation, or holds identifiers of somebody else.
    """
    if await tables.insert_allocation(tx.connection, fresh):
        return fresh
    before = await locked(tx, fresh.prefix)
    if before.state is not PrefixState.REVOKED:
        raise taken(fresh.prefix, before.prefix)
    end = (before.revoked or before.changed) + quarantine
    if tx.now < end:
        until = end.strftime("%Y-%m-%dT%H:%M:%SZ")
        raise ApiProblem(PREFIX_QUARANTINED, f"{fresh.prefix} was revoked and rests until {until}.")
    if before.organisation != fresh.organisation and await tables.is_anything_below(
        tx.connection, fresh.prefix.key
    ):
        raise ApiProblem(
            PREFIX_NOT_EMPTY, f"Identifiers of its earlier holder are stored below {fresh.prefix}."
        )
    again = replace(fresh, version=before.version + 1, revoked=before.revoked)
    await tables.update_allocation(tx.connection, again)
    return again


async def _write_record(tx: Transaction, terms: Terms, allocated: AllocatedPrefix) -> None:
    """Make the prefix resolvable, and let this node serve it where it hosts it."""
    prefix = allocated.prefix
    administrator = administrator_of(prefix)
    values = record_values(allocated.site, administrator, terms.ttl_s)
    (result,) = await tx.create([Creation(prefix.record, values)], by=OPERATOR)
    expect(result)
    if not isinstance(result, Created):
        raise ApiProblem(PREFIX_TAKEN, f"{prefix.record} exists already.")
    if allocated.hosting is Hosting.HOSTED:
        await _host(tx, allocated, administrator)
    elif await tx.prefix_row(prefix.key) is not None:
        await _save(tx, allocated, homed=False)


async def _host(tx: Transaction, allocated: AllocatedPrefix, administrator: Identity) -> None:
    """Home the prefix for its holder, with an administrator who has no key yet."""
    await _save(tx, allocated, homed=True)
    log_home(tx, allocated.prefix, Action.HOME)
    keyless = Creation(administrator.handle, ValueList.of([admin_value(administrator)]))
    (result,) = await tx.create([keyless], by=OPERATOR, replace=True)
    expect(result)
    await put_identity(tx, administrator, allocated.organisation)


async def _save(tx: Transaction, allocated: AllocatedPrefix, *, homed: bool) -> None:
    row = await known(tx, allocated)
    fresh = replace(
        row,
        name=allocated.prefix.octets,
        homed=homed,
        organisation=allocated.organisation,
        status=PrefixStatus.ACTIVE,
        status_text="",
        frozen=False,
        moved=None,
    )
    await tx.save_prefix(fresh)


async def put_identity(tx: Transaction, identity: Identity, organisation: str | None) -> None:
    """Note to whom the administrator of a hosted prefix belongs."""
    if organisation is None:
        return
    key = tx.context.key_of(identity.handle)
    await tx.connection.execute(_PUT_IDENTITY, key, identity.index, organisation, tx.now)
