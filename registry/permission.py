"""Permission: may this administrator do this? The one rule that every front end goes through.

Pure. All needed rights must stand together in one HS_ADMIN value that names the administrator; nothing is summed up
over several (PROTOCOL §5.5). What an operation needs follows §5.6. Groups are told from outside, since reading them
is I/O.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.errors import WireError
from protocol.handle import Handle
from protocol.value import Permission, ValueReference
from protocol.valuetypes import Admin, AdminPermission
from registry.outcomes import Identity
from registry.record import HS_ADMIN, HS_SECKEY, data_of, permissions_of, same_value, type_of, values_of_type

NOTHING: Final = AdminPermission(0)
KEY_TYPES: Final = frozenset({HS_SECKEY, b"HS_PUBKEY", b"HS_VLIST"})
"""Types of values by which others prove who they are, or count as administrators."""
Reference = tuple[bytes, int]
"""A value somewhere: handle, its prefix folded and its suffix as spelled, and index; index 0 stands for any."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one HS_ADMIN value gives, and to whom."""

    rights: AdminPermission
    administrator: Reference


@dataclass(frozen=True, slots=True)
class Need:
    """Rights that together allow an operation: on the record itself and on its prefix, both where both are set."""

    record: AdminPermission = NOTHING
    prefix: AdminPermission = NOTHING


@dataclass(frozen=True, slots=True)
class Difference:
    """How two states of a record differ."""

    rights: AdminPermission
    """What changing one into the other takes, value by value; NOTHING where a public-write value changes that neither
    was nor becomes one of KEY_TYPES."""
    protected: tuple[int, ...]
    """Indexes of changed values without admin-write: they cannot be changed in place by anybody (RC 401)."""
    overwritten: bool
    """Whether a stored value is changed or removed."""


def reference_of(value: ValueReference) -> Reference:
    """A reference in the form that both rules about the case of suffixes can compare."""
    return Handle(value.handle).fold(case_sensitive=True), value.index


def grants_in(values: Iterable[bytes]) -> tuple[Grant, ...]:
    """The grants of the HS_ADMIN values among these; one that does not decode grants nothing."""
    grants = []
    for value in values_of_type(values, HS_ADMIN):
        try:
            admin = Admin.decode(data_of(value))
        except WireError:
            continue
        grants.append(Grant(AdminPermission(admin.permissions & 0x1FFF), reference_of(admin.reference)))
    return tuple(grants)


def names(identity: Identity, *, case_sensitive: bool = False) -> Callable[[Reference], bool]:
    """A test whether a reference names this identity directly: same handle, and same index or 0.

    case_sensitive: the node's rule about suffixes; where it holds, ADMIN and admin are two administrators.
    """
    indexes = (0, identity.index)
    if case_sensitive:
        spelled = identity.handle.fold(case_sensitive=True)
        return lambda reference: reference[1] in indexes and reference[0] == spelled
    key = identity.handle.key
    return lambda reference: reference[1] in indexes and reference[0].upper() == key


def is_granted(
    needed: AdminPermission, grants: Iterable[Grant], is_named: Callable[[Reference], bool]
) -> bool:
    """Whether one grant to the one who is named holds all needed rights. Needing nothing is always granted."""
    if not needed:
        return True
    return any(grant.rights & needed == needed and is_named(grant.administrator) for grant in grants)


def right_to_create(handle: Handle) -> AdminPermission:
    """What creating takes on the prefix: prefix records are derived prefixes, everything else is a handle."""
    return AdminPermission.ADD_DERIVED_PREFIX if handle.is_prefix_record else AdminPermission.ADD_HANDLE


def difference(old: Mapping[int, bytes], new: Mapping[int, bytes]) -> Difference:
    """How the record old becomes the record new, timestamps aside.

    To give a restricted value as it is takes what changing it would take: else the right guess would pass where the
    wrong one does not.
    """
    rights = NOTHING
    protected = []
    for index, value in new.items():
        stored = old.get(index)
        if stored is None:
            rights |= AdminPermission.ADD_ADMIN if type_of(value) == HS_ADMIN else AdminPermission.ADD_VALUE
            continue
        same = same_value(stored, value)
        if not same or not permissions_of(stored) & Permission.PUBLIC_READ:
            rights |= _right_to_modify(stored, value)
        if not same and not permissions_of(stored) & Permission.ADMIN_WRITE:
            protected.append(index)
    removed = [value for index, value in old.items() if index not in new]
    overwritten = bool(removed) or any(
        index in old and not same_value(old[index], new[index]) for index in new
    )
    return Difference(rights | right_to_remove(removed), tuple(protected), overwritten)


def right_over_keys(old: Mapping[int, bytes], new: Mapping[int, bytes]) -> AdminPermission:
    """What a principal needs besides, to turn one record into the other: values of KEY_TYPES are for whoever may
    appoint administrators.

    With an HS_SECKEY of one's own in a record that administers a prefix, one would have every right on the prefix, for
    longer than the right to write.
    """
    values = [value for index, value in new.items() if not same_value(value, old.get(index))]
    values += [value for index, value in old.items() if not same_value(value, new.get(index))]
    return AdminPermission.MODIFY_ADMIN if any(type_of(value) in KEY_TYPES for value in values) else NOTHING


def right_to_remove(values: Iterable[bytes]) -> AdminPermission:
    """What removing these values takes."""
    rights = NOTHING
    for value in values:
        rights |= AdminPermission.REMOVE_ADMIN if type_of(value) == HS_ADMIN else AdminPermission.REMOVE_VALUE
    return rights


def needs_to_replace(handle: Handle, change: Difference) -> tuple[Need, ...]:
    """The alternatives that allow a whole record to become another; any one is enough (PROTOCOL §5.6).

    Changing values in place by the rights of the difference (unless an administrator is added) or by ADD_ADMIN; or to
    delete and create anew, which no value can forbid.
    """
    anew = Need(AdminPermission.DELETE_HANDLE, right_to_create(handle))
    if change.protected:
        return (anew,)
    in_place = [Need(AdminPermission.ADD_ADMIN)]
    if not change.rights & AdminPermission.ADD_ADMIN:
        in_place.insert(0, Need(change.rights))
    return (*in_place, anew)


def _right_to_modify(stored: bytes, value: bytes) -> AdminPermission:
    was_admin, is_admin = type_of(stored) == HS_ADMIN, type_of(value) == HS_ADMIN
    if was_admin and is_admin:
        return AdminPermission.MODIFY_ADMIN
    if was_admin:
        return AdminPermission.REMOVE_ADMIN | AdminPermission.MODIFY_VALUE
    if is_admin:
        return AdminPermission.MODIFY_VALUE | AdminPermission.ADD_ADMIN
    is_about_keys = bool(
        KEY_TYPES & {type_of(stored), type_of(value)}
    )  # which are never for everybody to write
    is_open = permissions_of(stored) & Permission.PUBLIC_WRITE and not is_about_keys
    return NOTHING if is_open else AdminPermission.MODIFY_VALUE
