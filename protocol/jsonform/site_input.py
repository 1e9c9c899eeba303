"""From a JSON object to a site record."""

import re
from ipaddress import ip_address
from typing import Final

from protocol.errors import InvalidValue
from protocol.jsonform.checks import U32_MAX, a_boolean, a_string, an_array, an_integer, an_object, utf8
from protocol.jsonform.key_input import key_from_json, octets_from_base64
from protocol.site import (
    MAX_ATTRIBUTES,
    MAX_INTERFACES,
    MAX_SERVERS,
    HashOption,
    Interface,
    InterfaceProtocol,
    Server,
    Site,
)

U8_MAX: Final = 0xFF
_VERSION: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})")


def site_from_json(form: object) -> Site:
    """A site record from its JSON form. Raises InvalidValue."""
    members = an_object(form, "site")
    version = _VERSION.fullmatch(a_string(members.get("protocolVersion", "2.11"), "protocolVersion"))
    if version is None or int(version[1]) > U8_MAX or int(version[2]) > U8_MAX:
        raise InvalidValue("protocolVersion: two numbers with a dot, such as 2.11")
    attributes = [
        an_object(item, "attributes")
        for item in an_array(members.get("attributes", []), "attributes", MAX_ATTRIBUTES)
    ]
    servers = an_array(members.get("servers", []), "servers", MAX_SERVERS)
    return Site(
        format_version=an_integer(members.get("version", 1), "version", 0xFFFF),
        protocol_major=int(version[1]),
        protocol_minor=int(version[2]),
        serial=an_integer(members.get("serialNumber", 1), "serialNumber", 0xFFFF),
        primary=a_boolean(members.get("primarySite", False), "primarySite"),
        multi_primary=a_boolean(members.get("multiPrimary", False), "multiPrimary"),
        hash_option=an_integer(members.get("hashOption", HashOption.WHOLE), "hashOption", 0xFF),
        hash_filter=utf8(members.get("hashFilter", ""), "hashFilter"),
        attributes=tuple(
            (utf8(item.get("name"), "name"), utf8(item.get("value"), "value")) for item in attributes
        ),
        servers=tuple(_server_from_json(server) for server in servers),
    )


def _server_from_json(form: object) -> Server:
    members = an_object(form, "servers")
    try:
        address = Server.pack_address(ip_address(a_string(members.get("address"), "address")))
    except ValueError:
        raise InvalidValue("address: is neither an IPv4 nor an IPv6 address") from None
    key = members.get("publicKey")
    interfaces = an_array(members.get("interfaces", []), "interfaces", MAX_INTERFACES)
    return Server(
        server_id=an_integer(members.get("serverId"), "serverId", U32_MAX),
        address=address,
        public_key=b"" if key is None else _public_key(key),
        interfaces=tuple(_interface_from_json(interface) for interface in interfaces),
    )


def _public_key(form: object) -> bytes:
    members = an_object(form, "publicKey")
    if a_string(members.get("format"), "publicKey.format") == "base64":
        return octets_from_base64(members.get("value"))
    return key_from_json(members.get("value"))


def _interface_from_json(form: object) -> Interface:
    members = an_object(form, "interfaces")
    name = a_string(members.get("protocol"), "protocol").upper()
    if name not in InterfaceProtocol.__members__:
        raise InvalidValue(f"protocol: {name[:20]!r} is none of {', '.join(InterfaceProtocol.__members__)}")
    return Interface(
        query=a_boolean(members.get("query", False), "query"),
        admin=a_boolean(members.get("admin", False), "admin"),
        protocol=InterfaceProtocol[name],
        port=an_integer(members.get("port"), "port", 65_535),
    )
