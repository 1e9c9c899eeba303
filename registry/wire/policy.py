"""What the operator decides about the wire: which proofs are accepted, and what is told before one."""

from dataclasses import dataclass
from typing import Final

from protocol.codes import OpCode
from protocol.message import Version
from protocol.site import Interface, InterfaceProtocol, Site
from protocol.transport.base import TransportName

ADMINISTRATION: Final = frozenset(
    {
        OpCode.CREATE_HANDLE,
        OpCode.DELETE_HANDLE,
        OpCode.ADD_VALUE,
        OpCode.REMOVE_VALUE,
        OpCode.MODIFY_VALUE,
        OpCode.HOME_PREFIX,
        OpCode.UNHOME_PREFIX,
    }
)
"""Operations that change something: they go to interfaces for administration of a primary site, and are done once."""
LISTING: Final = frozenset({OpCode.LIST_HANDLES, OpCode.LIST_DERIVED_PREFIXES, OpCode.LIST_HOMED_PREFIXES})
"""Operations whose answers have several messages, which no datagram carries (PROTOCOL.md §4.11, §10.52)."""
_PROTOCOLS: Final[dict[TransportName, frozenset[int]]] = {
    "udp": frozenset({InterfaceProtocol.UDP}),
    "tcp": frozenset({InterfaceProtocol.TCP}),
    "http": frozenset({InterfaceProtocol.HTTP, InterfaceProtocol.HTTPS}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WirePolicy:
    """See RegistrySettings, where each has its setting."""

    existence_before_challenge: bool = False
    refuse_sessionless_writes: bool = False
    authentication_version_min: Version = (2, 1)


def offers_administration(site: Site, transport: TransportName) -> bool:
    """Whether the site record says that administration is taken over this transport."""
    return any(
        _is_for_administration(interface, transport)
        for server in site.servers
        for interface in server.interfaces
    )


def _is_for_administration(interface: Interface, transport: TransportName) -> bool:
    return interface.admin and interface.protocol in _PROTOCOLS[transport]
