"""Acts on prefixes: each writes the allocation, its record 0.NA/<prefix> and what the node knows of it at once."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from protocol.codes import ResponseCode
from protocol.handle import Prefix
from protocol.site import Site
from protocol.statuses import Status, StatusText
from protocol.value import ValueList
from registry.allocation import tables
from registry.allocation.lifecycle import Hosting, IllegalTransition, PrefixAct, PrefixState, change
from registry.allocation.model import AllocatedPrefix
from registry.allocation.records import Withholding, dropping_keys, moved_values, placing, restoring
from registry.allocation.terms import (
    Terms,
    check_idle,
    checked_reason,
    expect,
    locked,
    refuse,
    sentence,
)
from registry.changes import Edit
from registry.initialise import administrator_of
from registry.outcomes import OPERATOR, Rejected
from registry.own_site import next_serial
from registry.prefixes import PrefixRow, PrefixStatus
from registry.problem_types import ApiProblem
from registry.problem_types.allocation import (
    NODE_NOT_PROVED,
    PREFIX_HOSTING,
    PREFIX_NOT_EMPTY,
    PREFIX_STATE,
)
from registry.record import stamp_octets
from registry.transaction import Transaction
from registry.writing import Action

_NOTHING: Final = ValueList(b"", 0)


async def begin(tx: Transaction, prefix: Prefix, act: PrefixAct, *, idle: bool = True) -> AllocatedPrefix:
    """The prefix, locked, in the state that the act leads to. Raises ApiProblem: 404, 409.

    idle: whether the act has to wait while all records of the prefix are worked on.
    """
    allocated = await locked(tx, prefix)
    try:
        state = change(allocated.state, act, prefix=str(allocated.prefix))
    except IllegalTransition as error:
        raise ApiProblem(PREFIX_STATE, sentence(error)) from None
    if idle:
        await check_idle(tx, allocated.prefix)
    return replace(allocated, state=state)


async def finish(
    tx: Transaction,
    allocated: AllocatedPrefix,
    act: PrefixAct,
    reason: str,
    detail: Mapping[str, str] | None = None,
) -> AllocatedPrefix:
    """Store the allocation after an act, with its history and its entry in the audit log."""
    done = replace(allocated, version=allocated.version + 1, reason=checked_reason(reason), changed=tx.now)
    await tables.update_allocation(tx.connection, done)
    await note(tx, done, act, detail)
    return done


async def note(
    tx: Transaction, allocated: AllocatedPrefix, act: PrefixAct, detail: Mapping[str, str] | None = None
) -> None:
    """Enter an act into the history of the prefix and into the audit log."""
    await tables.insert_history(tx.connection, allocated, act, tx.origin.actor)
    told = {"reason": allocated.reason, **(detail or {})}
    tx.audit(f"prefix.{act}", str(allocated.prefix), organisation=allocated.organisation, detail=told)


async def suspend(tx: Transaction, terms: Terms, prefix: Prefix, *, reason: str) -> AllocatedPrefix:
    """Let nothing below the prefix be answered any more but that it is suspended, why and since when.

    Its record keeps saying so; who serves the prefix is withheld until it is resumed. The reason is public.
    Prefixes that are allocated below it are suspended each on its own.
    """
    allocated = await begin(tx, prefix, PrefixAct.SUSPEND, idle=False)
    text = status_text(Status.SUSPENDED, terms, tx.now, reason)
    withholding = Withholding(text, stamp(tx))
    await edit_record(tx, allocated, withholding)
    hidden = replace(allocated, withheld=withholding.withheld, namespace=withholding.namespace)
    done = await finish(tx, hidden, PrefixAct.SUSPEND, reason)
    await tell(tx, done, status=PrefixStatus.SUSPENDED, text=text)
    return done


async def resume(tx: Transaction, prefix: Prefix, *, reason: str) -> AllocatedPrefix:
    """Answer again as before the suspension."""
    allocated = await begin(tx, prefix, PrefixAct.RESUME, idle=False)
    await edit_record(tx, allocated, restoring(allocated.withheld, allocated.namespace, stamp(tx)))
    shown = replace(allocated, withheld=(), namespace=None)
    done = await finish(tx, shown, PrefixAct.RESUME, reason)
    await tell(tx, done, status=PrefixStatus.ACTIVE, text="")
    return done


async def revoke(tx: Transaction, terms: Terms, prefix: Prefix, *, reason: str) -> AllocatedPrefix:
    """End the allocation: the record is deleted, the keys of a hosted prefix end, and what is stored below is not
    answered any more. It is kept, and the prefix given to nobody, until the quarantine is over. The reason is public.
    """
    allocated = await begin(tx, prefix, PrefixAct.REVOKE)
    await check_childless(tx, allocated)
    (result,) = await tx.delete([allocated.prefix.record], by=OPERATOR)
    if isinstance(result, Rejected) and result.code is not ResponseCode.HANDLE_NOT_FOUND:
        refuse(result)
    if allocated.hosting is Hosting.HOSTED:
        await drop_keys(tx, allocated.prefix)
    text = status_text(Status.REVOKED, terms, tx.now, reason)
    bare = replace(allocated, withheld=(), namespace=None, revoked=tx.now)
    done = await finish(tx, bare, PrefixAct.REVOKE, reason)
    await tell(tx, done, status=PrefixStatus.REVOKED, text=text)
    return done


async def change_route(
    tx: Transaction, terms: Terms, prefix: Prefix, site: Site, *, reason: str, proved: bool = False
) -> AllocatedPrefix:
    """Let a delegated prefix be served at other addresses of its holder's node.

    proved: whether the node has proved that it holds the keys of the site; without, they must be those it had.
    The serial number of the site is raised where it is not higher than before, since clients compare it.
    """
    allocated = await begin(tx, prefix, PrefixAct.CHANGE_ROUTE)
    if allocated.hosting is not Hosting.DELEGATED:
        raise ApiProblem(
            PREFIX_HOSTING, f"{allocated.prefix} is hosted by this node and served at its addresses."
        )
    terms.check_route(site, allocated.prefix)
    if not proved and not _keys(site) <= _keys(allocated.site):
        raise ApiProblem(NODE_NOT_PROVED, "The site names a key that the node has not proved to hold.")
    site = following(site, allocated.site)
    if site == allocated.site:
        return await locked(tx, prefix)
    await edit_record(tx, allocated, placing(site, terms.ttl_s, stamp(tx), alone=False))
    return await finish(
        tx, replace(allocated, site=site), PrefixAct.CHANGE_ROUTE, reason, {"at": addresses(site)}
    )


async def switch_to_delegated(
    tx: Transaction, terms: Terms, prefix: Prefix, site: Site, *, reason: str
) -> AllocatedPrefix:
    """Let the holder's own node serve a prefix that this node hosted: record, allocation and what we answer at once.

    From the commit on, whoever still asks here is referred to the site (302), and writes are refused with its address.
    The caller has copied the records, and has had the node proved and probed.
    """
    allocated = await begin(tx, prefix, PrefixAct.MOVE, idle=False)
    if allocated.hosting is not Hosting.HOSTED:
        raise ApiProblem(PREFIX_HOSTING, f"{allocated.prefix} is not hosted by this node.")
    terms.check_route(site, allocated.prefix)
    await check_childless(tx, allocated)
    await edit_record(tx, allocated, placing(site, terms.ttl_s, stamp(tx), alone=True))
    there = replace(allocated, hosting=Hosting.DELEGATED, site=site)
    done = await finish(tx, there, PrefixAct.MOVE, reason, {"to": "delegated", "at": addresses(site)})
    row = await known(tx, done)
    await tx.save_prefix(replace(row, homed=False, frozen=False, moved=moved_values(site, terms.ttl_s)))
    log_home(tx, done.prefix, Action.UNHOME)
    return done


async def switch_to_hosted(tx: Transaction, terms: Terms, prefix: Prefix, *, reason: str) -> AllocatedPrefix:
    """Let this node serve a prefix that the holder's own node served: record, allocation and what we answer at once.

    The caller has copied the records.
    """
    allocated = await begin(tx, prefix, PrefixAct.MOVE, idle=False)
    if allocated.hosting is not Hosting.DELEGATED:
        raise ApiProblem(PREFIX_HOSTING, f"{allocated.prefix} is hosted by this node already.")
    await edit_record(tx, allocated, placing(terms.site, terms.ttl_s, stamp(tx), alone=True))
    here = replace(allocated, hosting=Hosting.HOSTED, site=terms.site, probed=None, probe_fault=None)
    done = await finish(tx, here, PrefixAct.MOVE, reason, {"to": "hosted"})
    row = await known(tx, done)
    await tx.save_prefix(replace(row, homed=True, frozen=False, moved=None, organisation=done.organisation))
    log_home(tx, done.prefix, Action.HOME)
    return done


async def renew_route(tx: Transaction, terms: Terms, prefix: Prefix) -> bool:
    """Let the record of a hosted prefix name our present site; whether it named another one.

    What a suspension withholds stays withheld.
    """
    allocated = await tables.allocation(tx.connection, prefix.key, lock=True)
    if allocated is None or allocated.hosting is not Hosting.HOSTED or allocated.site == terms.site:
        return False
    if allocated.state is PrefixState.REVOKED:
        return False
    edit = placing(terms.site, terms.ttl_s, stamp(tx), alone=False)
    (result,) = await tx.edit([allocated.prefix.record], edit, by=OPERATOR)
    if isinstance(result, Rejected) and result.code is not ResponseCode.HANDLE_NOT_FOUND:
        refuse(result)
    await tables.update_allocation(tx.connection, replace(allocated, site=terms.site))
    return True


# What the acts share.


async def edit_record(tx: Transaction, allocated: AllocatedPrefix, edit: Edit) -> None:
    """Change the record of a prefix. Raises ApiProblem (409) when it cannot be written."""
    (result,) = await tx.edit([allocated.prefix.record], edit, by=OPERATOR)
    expect(result)


async def drop_keys(tx: Transaction, prefix: Prefix) -> None:
    """End the keys of a hosted prefix's administrator."""
    handle = administrator_of(prefix).handle
    (result,) = await tx.edit([handle], dropping_keys(stamp(tx)), by=OPERATOR)
    if isinstance(result, Rejected) and result.code is not ResponseCode.HANDLE_NOT_FOUND:
        refuse(result)


async def known(tx: Transaction, allocated: AllocatedPrefix) -> PrefixRow:
    """What the node knows of a prefix, or what it would say of one that it has not needed to know anything of."""
    row = await tx.prefix_row(allocated.prefix.key)
    if row is not None:
        return row
    stored = (await tx.writing.find([allocated.prefix.record.key])).get(allocated.prefix.record.key)
    copy = stored.public if stored is not None and stored.stored else _NOTHING
    return PrefixRow(
        key=allocated.prefix.key,
        name=allocated.prefix.octets,
        homed=False,
        authorisation=copy,
        organisation=allocated.organisation,
    )


async def tell(tx: Transaction, allocated: AllocatedPrefix, *, status: PrefixStatus, text: str) -> None:
    """Let the node answer so for everything below the prefix, from the commit on."""
    row = await known(tx, allocated)
    await tx.save_prefix(replace(row, status=status, status_text=text))


async def check_childless(tx: Transaction, allocated: AllocatedPrefix) -> None:
    """Raises ApiProblem (409) while prefixes are allocated below this one."""
    child = await tables.child_of(tx.connection, allocated.prefix.key)
    if child is not None:
        name = child.decode("utf-8", "replace")
        raise ApiProblem(
            PREFIX_NOT_EMPTY, f"Prefixes are allocated below {allocated.prefix}, such as {name}."
        )


def log_home(tx: Transaction, prefix: Prefix, action: Action) -> None:
    """Note in the transaction log that the node homes a prefix from now on, or no longer."""
    record = prefix.record
    tx.record([(record.key, record.octets, action, 1, tx.now_ms)])


def status_text(status: Status, terms: Terms, now: datetime, reason: str) -> str:
    """What the public is told of a prefix that is not active."""
    told = checked_reason(reason)
    return str(StatusText(status=status, since_s=int(now.timestamp()), reason=told, by=terms.operator))


def following(site: Site, previous: Site) -> Site:
    """A site as it follows another one: with a higher serial number, unless nothing else differs."""
    if site.serial > previous.serial:
        return site
    if replace(site, serial=previous.serial) == previous:
        return previous
    return replace(site, serial=next_serial(previous.serial))


def addresses(site: Site) -> str:
    """Where a site is, for people."""
    return ", ".join(sorted({str(server.ip) for server in site.servers}))


def stamp(tx: Transaction) -> bytes:
    """The timestamp of values that change in this transaction."""
    return stamp_octets(tx.now_ms / 1_000)


def _keys(site: Site) -> frozenset[bytes]:
    return frozenset(server.public_key for server in site.servers)
