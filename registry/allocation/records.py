"""What stands in the record 0.NA/<prefix>: who serves the prefix, who administers it, and that it is suspended.

Pure: values, and edits that turn one state of a record into the next. Everything that allocates a prefix writes these.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.errors import WireError
from protocol.handle import Handle
from protocol.site import Site
from protocol.value import HandleValue, Permission, ValueList, ValueReference
from protocol.valuetypes import Admin, AdminPermission, ValueReferences
from protocol.valuetypes.hs_site import SERVICE_TYPES, SITE_TYPES
from protocol.valuetypes.xml import parse_xml
from registry.changes import Plan
from registry.homing import HS_ADMIN_INDEX, admin_value
from registry.initialise import SITE_INDEX
from registry.outcomes import Identity
from registry.record import (
    HS_ADMIN,
    Values,
    check_total,
    data_of,
    permissions_of,
    same_record,
    same_value,
    type_of,
)

PREFIX_SITE_INDEX: Final = 2
NAMESPACE_INDEX: Final = 10
"""Where HS_NAMESPACE is put, or at the next free index."""
GROUP_INDEX: Final = 200
"""Where the prefix's administrators are listed: clients such as pyhandle make `200:0.NA/<prefix>` the administrator of
what they register, unless told otherwise."""
STATUS_TTL_S: Final = 30
"""TTL of what says that a prefix is suspended: as short as that of a denial, so that a resumption is soon seen."""
PLACE_TYPES: Final = frozenset(name.encode() for name in (*SITE_TYPES, *SERVICE_TYPES))
HS_NAMESPACE: Final = b"HS_NAMESPACE"
HS_VLIST: Final = b"HS_VLIST"
KEY_TYPES: Final = frozenset({b"HS_SECKEY", b"HS_PUBKEY"})

_PERMISSIONS_AT: Final = 13
_NO_RIGHTS: Final = AdminPermission(0)
_PUBLIC: Final = int(Permission.PUBLIC_READ)
IsHolders = Callable[[Handle, int], bool]
"""Whether an identity belongs to the holder that is replaced."""


def place_values(site: Site, ttl_s: int) -> list[HandleValue]:
    """HS_SITE (who serves the handles of the prefix) and HS_SITE.PREFIX (who serves the prefixes below)."""
    data = site.encode()
    return [
        HandleValue(index=SITE_INDEX, type="HS_SITE", data=data, ttl=ttl_s),
        HandleValue(index=PREFIX_SITE_INDEX, type="HS_SITE.PREFIX", data=data, ttl=ttl_s),
    ]


def record_values(site: Site, administrator: Identity, ttl_s: int) -> ValueList:
    """The record of a prefix: its places, its administrator, and a group of administrators."""
    group = ValueReferences((ValueReference(administrator.handle.octets, administrator.index),))
    return ValueList.of(
        [
            *place_values(site, ttl_s),
            admin_value(administrator, index=HS_ADMIN_INDEX),
            HandleValue(index=GROUP_INDEX, type="HS_VLIST", data=group.encode()),
        ]
    )


def moved_values(site: Site, ttl_s: int) -> ValueList:
    """What clients are referred to that still ask here for a prefix that is served elsewhere."""
    return ValueList.of(place_values(site, ttl_s)[:1])


def placing(site: Site, ttl_s: int, stamp: bytes, *, alone: bool) -> Callable[[Values], Plan]:
    """Let another site serve the prefix.

    alone: whether other places, such as mirrors, are dropped. They are kept where the same holder's site has changed,
    and with them who may read the values: what is withheld stays withheld.
    """

    def edit(old: Values) -> Plan:
        kept = {index: value for index, value in old.items() if not (alone and type_of(value) in PLACE_TYPES)}
        places = {value.index: value.encode() for value in place_values(site, ttl_s)}
        for index in kept.keys() & places.keys():
            places[index] = _with_permissions(places[index], permissions_of(kept[index]))
        return _plan(old, kept | places, stamp)

    return edit


@dataclass(slots=True)
class Withholding:
    """Says in a record that its prefix is suspended, and withholds who serves it; keeps what takes that back."""

    text: str
    """What people are told, in HS_NAMESPACE."""
    stamp: bytes
    withheld: tuple[int, ...] = ()
    """Indexes of the values that were public."""
    namespace: bytes | None = None
    """The HS_NAMESPACE value that stood there before, in wire form."""

    def __call__(self, old: Values) -> Plan:
        """The edit."""
        places = [index for index, value in old.items() if type_of(value) in PLACE_TYPES]
        self.withheld = tuple(index for index in places if permissions_of(old[index]) & _PUBLIC)
        standing = [index for index, value in old.items() if type_of(value) == HS_NAMESPACE]
        index = standing[0] if standing else _free_index(old, NAMESPACE_INDEX)
        self.namespace = old.get(index)
        document = inactive_document(data_of(old[index]) if standing else None, self.text)
        told = HandleValue(index=index, type="HS_NAMESPACE", data=document, ttl=STATUS_TTL_S)
        hidden = {
            index: _with_permissions(old[index], permissions_of(old[index]) & ~_PUBLIC)
            for index in self.withheld
        }
        return _plan(old, old | hidden | {index: told.encode()}, self.stamp)


def restoring(withheld: Iterable[int], namespace: bytes | None, stamp: bytes) -> Callable[[Values], Plan]:
    """Take a Withholding back: the values that it hid are public again, and HS_NAMESPACE is what it was."""

    def edit(old: Values) -> Plan:
        if namespace is None:
            new = {index: value for index, value in old.items() if type_of(value) != HS_NAMESPACE}
        else:
            new = old | {int.from_bytes(namespace[:4], "big"): namespace}
        for index in withheld:
            if index in new:
                new[index] = _with_permissions(new[index], permissions_of(new[index]) | _PUBLIC)
        return _plan(old, new, stamp)

    return edit


def inactive_document(previous: bytes | None, text: str) -> bytes:
    """A namespace document that says inactive, with the rest of what the previous one said. Source: PROTOCOL §1.6."""
    try:
        return _inactive(ET.Element("namespace") if previous is None else parse_xml(previous), text)
    except (
        WireError,
        RecursionError,
    ):  # no document, or one nested so deeply that it cannot be written again
        return _inactive(ET.Element("namespace"), text)


def _inactive(root: ET.Element, text: str) -> bytes:
    for name, content in (("status", "inactive"), ("statusmsg", text)):
        for element in root.findall(name):
            root.remove(element)
        ET.SubElement(root, name).text = content
    return ET.tostring(root, encoding="unicode").encode()


def dropping_keys(stamp: bytes) -> Callable[[Values], Plan]:
    """Remove the keys of a record, so that nobody can prove to be its administrator any more."""

    def edit(old: Values) -> Plan:
        return _plan(
            old, {index: value for index, value in old.items() if type_of(value) not in KEY_TYPES}, stamp
        )

    return edit


def rewriting(is_holders: IsHolders, successor: Identity, stamp: bytes) -> Callable[[Values], Plan]:
    """Put another administrator in the place of every identity of the former holder, in HS_ADMIN and in groups."""
    reference = ValueReference(successor.handle.octets, successor.index)

    def edit(old: Values) -> Plan:
        return _plan(
            old, {index: _rewritten(value, is_holders, reference) for index, value in old.items()}, stamp
        )

    return edit


def references_in(values: Iterable[bytes]) -> set[tuple[bytes, int]]:
    """Every identity that HS_ADMIN values and groups name: octets of the handle, and index."""
    found: set[tuple[bytes, int]] = set()
    for value in values:
        for reference in _references(value):
            found.add((reference.handle, reference.index))
    return found


def _references(value: bytes) -> tuple[ValueReference, ...]:
    kind = type_of(value)
    try:
        if kind == HS_ADMIN:
            return (Admin.decode(data_of(value)).reference,)
        return ValueReferences.decode(data_of(value)).members if kind == HS_VLIST else ()
    except WireError:
        return ()


def _rewritten(value: bytes, is_holders: IsHolders, successor: ValueReference) -> bytes:
    references = _references(value)
    if not any(is_holders(Handle(reference.handle), reference.index) for reference in references):
        return value
    replaced = tuple(
        dict.fromkeys(
            successor if is_holders(Handle(reference.handle), reference.index) else reference
            for reference in references
        )
    )
    decoded = HandleValue.decode(value)
    if type_of(value) == HS_ADMIN:
        admin = Admin.decode(decoded.data)
        data = Admin(replaced[0], admin.permissions, admin.tail).encode()
    else:
        data = ValueReferences(replaced).encode()
    return HandleValue(
        index=decoded.index,
        type=decoded.type,
        data=data,
        ttl=decoded.ttl,
        ttl_type=decoded.ttl_type,
        permissions=decoded.permissions,
        references=decoded.references,
    ).encode()


def _with_permissions(value: bytes, permissions: int) -> bytes:
    return value[:_PERMISSIONS_AT] + bytes((permissions,)) + value[_PERMISSIONS_AT + 1 :]


def _free_index(values: Mapping[int, bytes], start: int) -> int:
    index = start
    while index in values:
        index += 1
    return index


def _plan(old: Values, new: Values, stamp: bytes) -> Plan:
    """The plan that makes the new record of the old one; what has changed gets the timestamp."""
    stamped = {
        index: old[index] if same_value(value, old.get(index)) else value[:4] + stamp + value[8:]
        for index, value in new.items()
    }
    check_total(stamped)
    return Plan(stamped, _NO_RIGHTS, changes=not same_record(old, stamped))
