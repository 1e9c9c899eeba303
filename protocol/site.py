"""Service, Site, Server, Interface: who serves a prefix, and which server of a site is responsible for a handle.

The encoding is the data of HS_SITE values and the body of a get-site-info answer (PROTOCOL.md §2.6, vector V11).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from protocol.errors import InvalidValue, Malformed
from protocol.handle import Handle
from protocol.wire import Reader, Writer

FORMAT_VERSION: Final = 1
MAX_SERVERS: Final = 1_024  # of one site; the largest real site has 16
MAX_INTERFACES: Final = 64  # of one server; there are eight sensible ones
MAX_ATTRIBUTES: Final = 256
_IPV4_PADDING: Final = bytes(12)


class InterfaceProtocol(IntEnum):
    """How an interface is spoken to."""

    UDP = 0
    TCP = 1
    HTTP = 2
    HTTPS = 3


class HashOption(IntEnum):
    """Which part of a handle chooses the server of a site."""

    PREFIX = 0
    SUFFIX = 1
    WHOLE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One way to reach a server."""

    admin: bool
    query: bool
    protocol: int
    """An InterfaceProtocol; numbers in no list are kept."""
    port: int
    other_bits: int = 0
    """Bits of the type octet beside admin (1) and query (2), kept as they came."""

    @property
    def kind(self) -> int:
        """The type octet: 1 admin, 2 query, 3 both, 0 out of service."""
        return int(self.admin) | int(self.query) << 1 | self.other_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One machine of a site."""

    server_id: int
    address: bytes
    """Sixteen octets; an IPv4 address stands in the last four, behind twelve zeros."""
    public_key: bytes = b""
    """A public-key blob (valuetypes.hs_pubkey), verbatim; may be empty."""
    interfaces: tuple[Interface, ...] = ()

    @property
    def ip(self) -> IPv4Address | IPv6Address:
        """The address; ::1 and :: are IPv6 although they too begin with twelve zeros."""
        if self.address[:12] == _IPV4_PADDING and self.address[12:] not in (bytes(4), b"\0\0\0\1"):
            return IPv4Address(self.address[12:])
        return IPv6Address(self.address)

    @staticmethod
    def pack_address(ip: IPv4Address | IPv6Address) -> bytes:
        """The sixteen octets of an address."""
        return ip.packed if ip.version == 6 else _IPV4_PADDING + ip.packed


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A full copy of a service: the primary or a mirror."""

    format_version: int = FORMAT_VERSION
    protocol_major: int = 2
    protocol_minor: int = 11
    serial: int = 1
    """Raised with every change of the record."""
    primary: bool = True
    multi_primary: bool = False
    other_flags: int = 0
    """Bits of the flag octet beside primary (0x80) and multi-primary (0x40), kept as they came."""
    hash_option: int = HashOption.WHOLE
    hash_filter: bytes = b""
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    servers: tuple[Server, ...] = ()

    def attribute(self, name: bytes) -> bytes | None:
        """The first attribute of that name, or None."""
        return next((value for key, value in self.attributes if key == name), None)

    def encode(self) -> bytes:
        """The octets of the site record."""
        flags = int(self.primary) << 7 | int(self.multi_primary) << 6 | self.other_flags
        writer = Writer().u16(self.format_version).u8(self.protocol_major).u8(self.protocol_minor)
        writer.u16(self.serial).u8(flags).u8(self.hash_option).counted(self.hash_filter)
        writer.u32(len(self.attributes))
        for name, value in self.attributes:
            writer.counted(name).counted(value)
        writer.u32(len(self.servers))
        for server in self.servers:
            _encode_server(writer, server)
        return writer.octets()

    @classmethod
    def decode(cls, octets: bytes) -> "Site":
        """The site record that octets hold. Raises WireError, also for surplus octets, as deployed decoders do."""
        reader = Reader(octets)
        site = _decode_site(reader)
        reader.expect_end()
        return site

    def responsible_server(self, handle: Handle) -> Server:
        """The server of this site that holds the handle. Raises InvalidValue when the site has no server.

        The last four octets of MD5(upper-cased part), signed, absolute, modulo the number of servers, give a position
        in the list, not a server id. Source: PROTOCOL.md §6.1, vector V30.
        """
        if not self.servers:
            raise InvalidValue("a site without servers")
        return self.servers[self.responsible_position(handle)]

    def responsible_position(self, handle: Handle) -> int:
        """Where that server stands in the list of a site that has servers."""
        if len(self.servers) == 1:
            return 0
        return selection_hash(handle, self.hash_option) % len(self.servers)


@dataclass(frozen=True, slots=True)
class Service:
    """All sites of one service; name says whose, for traces and errors."""

    name: str
    sites: tuple[Site, ...]


def single_server_site(
    *,
    addresses: Sequence[str],
    tcp_port: int,
    udp_port: int,
    http_port: int,
    https: bool,
    primary: bool,
    public_key: bytes = b"",
    description: str = "",
    serial: int = 1,
    udp_administration: bool = False,
) -> Site:
    """The site of one server, TCP first, as every node of ours describes itself.

    addresses: literal, at least one; the first is the server's, a second one becomes the attribute alt_addr, since
    several servers would mean that handles are divided among them. A port of 0 means no such interface. Only a
    primary takes administration: over connections, and over UDP if udp_administration says so; deployed servers do not
    by default. Source: PROTOCOL.md §2.6, §12.
    """
    attributes = [(b"desc", description.encode())] if description else []
    attributes += [(b"alt_addr", other.encode()) for other in addresses[1:2]]
    offered = (
        (InterfaceProtocol.TCP, tcp_port, primary),
        (InterfaceProtocol.UDP, udp_port, primary and udp_administration),
        (InterfaceProtocol.HTTP, http_port, primary),
        (InterfaceProtocol.HTTPS, http_port if https else 0, primary),
    )
    server = Server(
        server_id=1,
        address=Server.pack_address(ip_address(addresses[0])),
        public_key=public_key,
        interfaces=tuple(
            Interface(admin=admin, query=True, protocol=protocol, port=port)
            for protocol, port, admin in offered
            if port
        ),
    )
    return Site(serial=serial, primary=primary, attributes=tuple(attributes), servers=(server,))


def selection_hash(handle: Handle, hash_option: int) -> int:
    """The number, 0 or more, whose remainder chooses a server. Source: PROTOCOL.md §6.1."""
    if hash_option == HashOption.PREFIX:
        part = handle.prefix.octets
    elif hash_option == HashOption.SUFFIX:
        part = handle.suffix
    else:
        part = handle.octets
    digest = hashlib.md5(part.upper(), usedforsecurity=False).digest()
    return abs(int.from_bytes(digest[-4:], "big", signed=True))


def _encode_server(writer: Writer, server: Server) -> None:
    assert len(server.address) == 16
    writer.u32(server.server_id).raw(server.address).counted(server.public_key)
    writer.u32(len(server.interfaces))
    for interface in server.interfaces:
        writer.u8(interface.kind).u8(interface.protocol).u32(interface.port)


def _decode_site(reader: Reader) -> Site:
    format_version = reader.u16()
    if format_version != FORMAT_VERSION:
        raise Malformed(f"site record of format {format_version}; {FORMAT_VERSION} is known")
    major, minor, serial, flags, hash_option = (
        reader.u8(),
        reader.u8(),
        reader.u16(),
        reader.u8(),
        reader.u8(),
    )
    hash_filter = reader.counted()
    attributes = tuple((reader.counted(), reader.counted()) for _ in range(reader.count(MAX_ATTRIBUTES, 8)))
    servers = tuple(_decode_server(reader) for _ in range(reader.count(MAX_SERVERS, 28)))
    return Site(
        format_version=format_version,
        protocol_major=major,
        protocol_minor=minor,
        serial=serial,
        primary=bool(flags & 0x80),
        multi_primary=bool(flags & 0x40),
        other_flags=flags & 0x3F,
        hash_option=hash_option,
        hash_filter=hash_filter,
        attributes=attributes,
        servers=servers,
    )


def _decode_server(reader: Reader) -> Server:
    server_id, address, public_key = reader.u32(), reader.take(16), reader.counted()
    interfaces = tuple(_decode_interface(reader) for _ in range(reader.count(MAX_INTERFACES, 6)))
    return Server(server_id=server_id, address=address, public_key=public_key, interfaces=interfaces)


def _decode_interface(reader: Reader) -> Interface:
    kind, protocol, port = reader.u8(), reader.u8(), reader.u32()
    return Interface(
        admin=bool(kind & 1), query=bool(kind & 2), protocol=protocol, port=port, other_bits=kind & 0xFC
    )
