"""The predefined value types: one file for each kind of data; a type in no list is opaque octets.

A typed object keeps everything that its octets hold: `decode_typed(type, data).encode() == data` for all data that
decode, but for public keys, whose blobs are kept as octets where they are passed on.
"""

from collections.abc import Callable
from typing import Final, Protocol

from protocol.errors import InvalidValue, WireError
from protocol.site import Site
from protocol.value import HandleValue, type_key
from protocol.valuetypes.hs_admin import ALL_PERMISSIONS, Admin, AdminPermission
from protocol.valuetypes.hs_namespace import Namespace
from protocol.valuetypes.hs_pubkey import PublicKey
from protocol.valuetypes.hs_seckey import SecretKey
from protocol.valuetypes.hs_site import SERVICE_TYPES, SITE_TYPES
from protocol.valuetypes.hs_vlist import ValueReferences
from protocol.valuetypes.loc import Locations
from protocol.valuetypes.text import HandleName, Text
from protocol.valuetypes.url import Url


class Typed(Protocol):
    """Data whose meaning is known."""

    def encode(self) -> bytes:
        """The data of the value."""


_DECODERS: Final[dict[str, Callable[[bytes], Typed]]] = {
    "URL": Url.decode,
    "EMAIL": Text.decode,
    "DESC": Text.decode,
    "HS_ALIAS": HandleName.decode,
    "HS_ADMIN": Admin.decode,
    **dict.fromkeys(SITE_TYPES, Site.decode),
    **dict.fromkeys(SERVICE_TYPES, HandleName.decode),
    "HS_VLIST": ValueReferences.decode,
    "HS_PUBKEY": PublicKey.decode,
    "HS_SECKEY": SecretKey.decode,
    "HS_NAMESPACE": Namespace.decode,
    "10320/LOC": Locations.decode,
}
PREDEFINED_TYPES: Final = frozenset(_DECODERS)
"""Upper-case names of the types whose data are understood."""


def decode_typed(type_name: str, data: bytes) -> Typed | None:
    """What the data mean; None for a type in no list. Raises WireError for data that break their type's rules."""
    decoder = _DECODERS.get(type_key(type_name))
    return decoder(data) if decoder else None


def check_data(value: HandleValue) -> None:
    """Raises InvalidValue, naming index and type, when the data break the rules of a predefined type."""
    try:
        decode_typed(value.type, value.data)
    except WireError as error:
        raise InvalidValue(f"value {value.index} of type {value.type}: {error}") from None


__all__ = [
    "ALL_PERMISSIONS",
    "PREDEFINED_TYPES",
    "Admin",
    "AdminPermission",
    "HandleName",
    "Locations",
    "Namespace",
    "PublicKey",
    "SecretKey",
    "Site",
    "Text",
    "Typed",
    "Url",
    "ValueReferences",
    "check_data",
    "decode_typed",
]
