"""Homing: which prefixes the node answers for, changed on request of an administrator of the node."""

from typing import Final

from protocol.codes import ResponseCode
from protocol.handle import Prefix
from protocol.value import HandleValue, ValueList, ValueReference
from protocol.valuetypes import Admin
from registry.outcomes import Actor, Identity, Rejected
from registry.prefixes import PrefixRow
from registry.transaction import Transaction
from registry.writing import Action

HS_ADMIN_INDEX: Final = 100
"""Where an administrator stands by custom."""


def admin_value(administrator: Identity, *, index: int = HS_ADMIN_INDEX) -> HandleValue:
    """An HS_ADMIN value that gives an administrator every right."""
    reference = ValueReference(administrator.handle.octets, administrator.index)
    return HandleValue(index=index, type="HS_ADMIN", data=Admin(reference).encode())


async def home_prefix(transaction: Transaction, prefix: Prefix, authorisation: ValueList) -> None:
    """Home a prefix that the node does not home, with the copy of its record by which its writers are authorised."""
    row = PrefixRow(key=prefix.key, name=prefix.octets, homed=True, authorisation=authorisation)
    await transaction.save_prefix(row)
    _log(transaction, prefix, Action.HOME)


async def home(transaction: Transaction, prefix: Prefix, by: Actor) -> Rejected | None:
    """Home a prefix; nothing happens when it is homed. See Operations.home."""
    await transaction.writing.lock_prefix(prefix.key)
    row = await transaction.prefix_row(prefix.key)
    if row is None:
        await home_prefix(transaction, prefix, await _authorisation(transaction, prefix, by))
    elif row.organisation is not None or row.moved is not None:
        return _decided_elsewhere(prefix)
    elif not row.homed:
        authorisation = (
            row.authorisation if row.authorisation.count else await _authorisation(transaction, prefix, by)
        )
        await home_prefix(transaction, prefix, authorisation)
    return None


async def unhome(transaction: Transaction, prefix: Prefix, by: Actor) -> Rejected | None:
    """Answer for a prefix no more. See Operations.unhome."""
    await transaction.writing.lock_prefix(prefix.key)
    row = await transaction.prefix_row(prefix.key)
    if row is None or not row.homed:
        message = f"this node does not home the prefix {prefix}"
        return Rejected(prefix.record, ResponseCode.SERVER_NOT_RESPONSIBLE, message)
    if row.organisation is not None:
        return _decided_elsewhere(prefix)
    if isinstance(by, Identity) and by.handle.prefix.key == prefix.key:
        message = "the record by which you are known lies below this prefix; you could not undo it"
        return Rejected(prefix.record, ResponseCode.OPERATION_NOT_SUPPORTED, message)
    gone = PrefixRow(key=row.key, name=row.name, homed=False, authorisation=row.authorisation)
    await transaction.save_prefix(gone)
    _log(transaction, prefix, Action.UNHOME)
    return None


async def _authorisation(transaction: Transaction, prefix: Prefix, by: Actor) -> ValueList:
    """Its record, where this node holds that; else who homes the prefix has every right until the parent's is handed
    over.
    """
    row = (await transaction.writing.find([prefix.record.key])).get(prefix.record.key)
    if row is not None and row.in_force:
        return row.public
    return ValueList.of([admin_value(by)] if isinstance(by, Identity) else [])


def _decided_elsewhere(prefix: Prefix) -> Rejected:
    message = f"the prefix {prefix} is allocated to an organisation; its life is decided there, not by homing"
    return Rejected(prefix.record, ResponseCode.OPERATION_NOT_SUPPORTED, message)


def _log(transaction: Transaction, prefix: Prefix, action: Action) -> None:
    record = prefix.record
    transaction.record([(record.key, record.octets, action, 1, transaction.now_ms)])
