"""Authentication: is a claimed identity who it says, and which groups is it in?

A secret is compared with the HS_SECKEY value that the identity names. Groups (HS_VLIST) are searched breadth-first,
each list once (PROTOCOL §5.4).
"""

import hashlib
import hmac
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final

from protocol.errors import WireError
from protocol.handle import Handle
from protocol.value import Permission, ValueReference
from protocol.valuetypes import ValueReferences
from registry.outcomes import Identity
from registry.permission import Grant, Reference, reference_of
from registry.record import HS_SECKEY, Values, data_of, permissions_of, type_of, values_of_type

GROUPS_MAX: Final = 256
"""Lists that are read to find out which groups somebody is in; real groups are two or three deep."""
HS_VLIST: Final = b"HS_VLIST"

RecordReader = Callable[[Handle], Awaitable[Values | None]]
"""Reads a stored record with its restricted values in the clear; None when it is not stored here."""


def is_believable(value: bytes) -> bool:
    """Whether a key or group counts: none that anybody may write, and no secret that anybody may read."""
    spoiling = Permission.PUBLIC_WRITE | (Permission.PUBLIC_READ if type_of(value) == HS_SECKEY else 0)
    return not permissions_of(value) & spoiling


def check_secret(claimed: Identity, record: Values | None, secret: bytes) -> Identity | None:
    """The identity whose HS_SECKEY value holds this secret, or None.

    record: the values of the claimed handle; None when it is not stored here, which takes as long as a wrong secret.
    A claimed index 0 stands for any HS_SECKEY value of the handle. An empty secret, and one that is not believable,
    never match.
    """
    offered = hashlib.sha256(secret).digest()  # the comparison of equal lengths tells nothing of the length
    matched: int | None = None
    for index, stored in _secrets_of(claimed, record):
        if hmac.compare_digest(hashlib.sha256(stored).digest(), offered) and stored and matched is None:
            matched = index
    return None if matched is None else Identity(index=matched, handle=claimed.handle)


def _secrets_of(claimed: Identity, record: Values | None) -> list[tuple[int, bytes]]:
    keys = [
        (index, data_of(value))
        for index, value in (record or {}).items()
        if type_of(value) == HS_SECKEY and claimed.index in (0, index) and is_believable(value)
    ]
    return keys or [(0, b"")]


async def named_by_group(
    is_named: Callable[[Reference], bool], grants: Sequence[Grant], read: RecordReader
) -> frozenset[Reference]:
    """The administrators among grants that are groups of which somebody is a member, directly or nested.

    is_named: whether a reference names that somebody. However many groups the grants name, GROUPS_MAX lists are read in
    all.
    """
    reads = iter(range(GROUPS_MAX))
    found = set()
    for reference in dict.fromkeys(grant.administrator for grant in grants):
        if reference[1] and await _is_member(reference, is_named, read, reads):
            found.add(reference)
    return frozenset(found)


async def _is_member(
    group: Reference, is_named: Callable[[Reference], bool], read: RecordReader, reads: Iterator[int]
) -> bool:
    """reads: an item for each list that may still be read."""
    waiting = deque([group])
    seen = {group}
    while waiting and next(reads, None) is not None:
        members = await _members(waiting.popleft(), read)
        if any(is_named(member) for member in members):
            return True
        fresh = [member for member in dict.fromkeys(members) if member[1] and member not in seen][:GROUPS_MAX]
        seen.update(fresh)
        waiting.extend(fresh)
    return False


async def _members(group: Reference, read: RecordReader) -> list[Reference]:
    record = await read(Handle(group[0]))
    value = (record or {}).get(group[1])
    if value is None or not is_believable(value):
        return []
    return [reference_of(member) for member in _references(values_of_type([value], HS_VLIST))]


def _references(lists: Iterable[bytes]) -> list[ValueReference]:
    references: list[ValueReference] = []
    for value in lists:
        try:
            references += ValueReferences.decode(data_of(value)).members
        except WireError:
            continue
    return references
