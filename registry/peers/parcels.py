"""Parcels: pages and prefix records as they stand in messages."""

import msgspec

from protocol.value import ValueList
from registry.peers.intake import PageRefused
from registry.peers.messages import Record, SealedPage
from registry.peers.node_key import NodeKey, Sealed, SealUnreadable, seal_for
from registry.peers.pages import Page
from registry.record import HS_ADMIN, Refusal, parse_stored, stamp_octets, take_in, values_of_type


def wrap(page: Page, move: str, public_key: bytes) -> SealedPage:
    """A page for the node with this key."""
    sealed = seal_for(public_key, move.encode(), msgspec.msgpack.encode(page))
    return SealedPage(key=sealed.key, nonce=sealed.nonce, octets=sealed.octets)


def unwrap(parcel: SealedPage, move: str, key: NodeKey) -> Page:
    """The page that was sealed for us. Raises PageRefused."""
    try:
        clear = key.open(move.encode(), Sealed(key=parcel.key, nonce=parcel.nonce, octets=parcel.octets))
        return msgspec.msgpack.decode(clear, type=Page)
    except SealUnreadable as error:
        raise PageRefused(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise PageRefused(f"the page cannot be read: {error}") from None


def record_of(values: ValueList) -> Record:
    """The values of a prefix record, for a message."""
    return Record(count=values.count, values=values.octets)


def values_of(record: Record) -> ValueList:
    """The values of a prefix record from a message. Raises PageRefused for what is none."""
    values = ValueList(record.values, record.count)
    try:
        take_in(values, stamp_octets(0))
    except Refusal as refusal:
        raise PageRefused(f"the prefix record cannot be stored: {refusal.message}") from None
    if not values_of_type(parse_stored(values).values(), HS_ADMIN):
        raise PageRefused("the prefix record names no administrator (HS_ADMIN)")
    return values.sorted()
