"""What the operator allocates by commands on the node's own host, without an application and an organisation."""

from dataclasses import replace
from datetime import timedelta

from protocol.codes import ResponseCode
from protocol.handle import Prefix
from protocol.site import Site
from registry.allocation import tables
from registry.allocation.acts import edit_record, finish, note, stamp
from registry.allocation.allocating import claim
from registry.allocation.lifecycle import Hosting, PrefixAct, PrefixState
from registry.allocation.model import AllocatedPrefix
from registry.allocation.records import placing, record_values
from registry.allocation.terms import QUARANTINE, TTL_S, check_holder
from registry.outcomes import OPERATOR, Created, Creation, Identity, Rejected
from registry.problem_types import ApiProblem
from registry.problem_types.allocation import PREFIX_HOSTING, PREFIX_PARENT, PREFIX_STATE, PREFIX_TAKEN
from registry.transaction import Transaction


async def delegate(
    tx: Transaction,
    prefix: Prefix,
    site: Site,
    *,
    administrator: Identity,
    ttl_s: int = TTL_S,
    quarantine: timedelta = QUARANTINE,
) -> bool:
    """Delegate a prefix below ours to its node, or renew the delegation with a changed site; whether its record is new.

    The operator answers for it himself: neither rules of names nor of addresses are applied.
    administrator: who may do everything with the prefix. ttl_s: of the values that say who serves it.
    quarantine: how long a revoked prefix is given to nobody. Raises ApiProblem.
    """
    before = await tables.allocation(tx.connection, prefix.key, lock=True)
    if before is not None and before.state is not PrefixState.REVOKED:
        await _renew(tx, before, site, ttl_s)
        return False
    fresh = AllocatedPrefix(
        prefix=prefix,
        parent=prefix.parent,
        organisation=None,
        hosting=Hosting.DELEGATED,
        state=PrefixState.ACTIVE,
        reason="",
        version=1,
        site=site,
        allocated=tx.now,
        changed=tx.now,
    )
    done = await claim(tx, fresh, quarantine)
    is_new = await _write(tx, done, administrator, ttl_s)
    await note(tx, done, PrefixAct.ALLOCATE, {"hosting": done.hosting.value})
    return is_new


async def _renew(tx: Transaction, allocated: AllocatedPrefix, site: Site, ttl_s: int) -> None:
    if allocated.state is not PrefixState.ACTIVE:
        raise ApiProblem(PREFIX_STATE, f"{allocated.prefix} is {allocated.state}.")
    if allocated.hosting is not Hosting.DELEGATED:
        raise ApiProblem(PREFIX_HOSTING, f"{allocated.prefix} is hosted by this node; move it instead.")
    if site == allocated.site:
        return
    await edit_record(tx, allocated, placing(site, ttl_s, stamp(tx), alone=False))
    await finish(tx, replace(allocated, site=site), PrefixAct.CHANGE_ROUTE, "")


async def _write(tx: Transaction, allocated: AllocatedPrefix, administrator: Identity, ttl_s: int) -> bool:
    """Put the places into the record where one exists already, else make it; whether it is new."""
    record = allocated.prefix.record
    (result,) = await tx.edit([record], placing(allocated.site, ttl_s, stamp(tx), alone=False), by=OPERATOR)
    if isinstance(result, Rejected) and result.code is ResponseCode.HANDLE_NOT_FOUND:
        values = record_values(allocated.site, administrator, ttl_s)
        (result,) = await tx.create([Creation(record, values)], by=OPERATOR)
    if isinstance(result, Rejected):
        raise ApiProblem(PREFIX_PARENT, f"{result.message}.")
    return isinstance(result, Created)


async def assign(tx: Transaction, prefix: Prefix, organisation: str) -> None:
    """Let an organisation hold a prefix that this node serves in its own name, so that its users and keys may register.

    Raises ApiProblem: the prefix is not the node's own (409), the organisation is unknown (404) or not approved (409).
    """
    row = await tx.prefix_row(prefix.key)
    if row is None or not row.homed or await tables.allocation(tx.connection, prefix.key) is not None:
        raise ApiProblem(PREFIX_TAKEN, f"{prefix} is not a prefix of this node's own.")
    await check_holder(tx.connection, organisation)
    await tx.save_prefix(replace(row, organisation=organisation))
    tx.audit("prefix.assign", str(prefix), organisation=organisation)
