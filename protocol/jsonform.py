"""The JSON form of handles, values and sites, shared by both HTTP interfaces. Source: PROTOCOL.md §8.4, vector V34.

Objects are plain dicts; encoding them to text is the caller's.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final

from protocol.codes import ResponseCode
from protocol.errors import InvalidHandle, InvalidValue, WireError
from protocol.handle import Handle
from protocol.site import HashOption, Interface, InterfaceProtocol, Server, Site
from protocol.value import (
    DEFAULT_PERMISSIONS,
    DEFAULT_TTL_S,
    HandleValue,
    TtlType,
    ValueList,
    ValueReference,
    check_index,
    format_permissions,
    parse_permissions,
)
from protocol.valuetypes.hs_admin import Admin, format_mask, parse_mask
from protocol.valuetypes.hs_pubkey import DSA, RSA, PublicKey
from protocol.valuetypes.hs_vlist import ValueReferences
from protocol.wire import encode_text, text

Json = dict[str, Any]

MAX_REFERENCES: Final = 1_024
_U32_MAX: Final = 0xFFFF_FFFF
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x14-\x1f\x7f\ud800-\udfff]")  # 0x09-0x13 pass, as deployed
_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
_JWK_NUMBERS: Final = {"RSA": ("e", "n"), "DSA": ("q", "p", "g", "y")}
_JWK_ALGORITHMS: Final = {"RSA": RSA, "DSA": DSA}
_KEY_TYPES: Final = {RSA: "RSA", DSA: "DSA"}


def record_to_json(
    response_code: int,
    handle: Handle | None = None,
    *,
    values: ValueList | Iterable[HandleValue] | None = None,
    message: str = "",
) -> Json:
    """The reply object of the record API: responseCode, handle, message, values, those that there are."""
    reply: Json = {"responseCode": int(response_code)}
    if message:
        reply["message"] = message
    if handle is not None:
        reply["handle"] = printable(handle.octets)
    if values is not None:
        reply["values"] = [value_to_json(value) for value in values]
    return reply


def printable(octets: bytes) -> str:
    """Octets as text that JSON can carry; what is no UTF-8 shows as the replacement character."""
    return octets.decode("utf-8", "replace")


def value_to_json(value: HandleValue) -> Json:
    """One value: index, type, data, and what differs from the defaults."""
    form: Json = {
        "index": value.index,
        "type": printable(encode_text(value.type)),
        "data": data_to_json(value),
    }
    if value.permissions != DEFAULT_PERMISSIONS:
        form["permissions"] = format_permissions(value.permissions)
    form["ttl"] = value.ttl if value.ttl_type == TtlType.RELATIVE else _time(value.ttl)
    if value.timestamp:
        form["timestamp"] = _time(value.timestamp)
    if value.references:
        form["references"] = [_reference_to_json(reference) for reference in value.references]
    return form


def data_to_json(value: HandleValue) -> Json:
    """The data as {"format", "value"}: structured for types with a structure, else string, else base64."""
    writer = _FORMAT_WRITERS.get(value.type.upper())
    if writer is not None:
        try:
            return writer(value.data)
        except (WireError, InvalidHandle):
            return _base64(value.data)
    try:
        string = value.data.decode()
    except UnicodeDecodeError:
        return _base64(value.data)
    return _base64(value.data) if _UNPRINTABLE.search(string) else {"format": "string", "value": string}


def _base64(data: bytes) -> Json:
    return {"format": "base64", "value": base64.b64encode(data).decode()}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(_TIME_FORMAT)


def _reference_to_json(reference: ValueReference) -> Json:
    return {"handle": printable(reference.handle), "index": reference.index}


def _admin_to_json(data: bytes) -> Json:
    admin = Admin.decode(data)
    form = _reference_to_json(admin.reference) | {"permissions": format_mask(admin.permissions)}
    return {"format": "admin", "value": form}


def _vlist_to_json(data: bytes) -> Json:
    members = ValueReferences.decode(data).members
    return {"format": "vlist", "value": [_reference_to_json(member) for member in members]}


def _site_data_to_json(data: bytes) -> Json:
    return {"format": "site", "value": site_to_json(Site.decode(data))}


def _key_to_json(data: bytes) -> Json:
    key = PublicKey.decode(data)
    if key.algorithm not in _KEY_TYPES:
        return _base64(data)
    kind = _KEY_TYPES[key.algorithm]
    numbers = {name: _base64url(number) for name, number in zip(_JWK_NUMBERS[kind], key.numbers, strict=True)}
    return {"format": "key", "value": {"kty": kind} | numbers}


def _base64url(number: int) -> str:
    octets = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


_FORMAT_WRITERS: Final[dict[str, Callable[[bytes], Json]]] = {
    "HS_ADMIN": _admin_to_json,
    "HS_VLIST": _vlist_to_json,
    "HS_SITE": _site_data_to_json,
    "HS_SITE.6": _site_data_to_json,
    "HS_SITE.PREFIX": _site_data_to_json,
    "HS_NA_DELEGATE": _site_data_to_json,
    "HS_PUBKEY": _key_to_json,
}


def site_to_json(site: Site) -> Json:
    """A site record: versions, serial, roles, attributes, servers."""
    form: Json = {
        "version": site.format_version,
        "protocolVersion": f"{site.protocol_major}.{site.protocol_minor}",
        "serialNumber": site.serial,
        "primarySite": site.primary,
        "multiPrimary": site.multi_primary,
    }
    if site.hash_option != HashOption.WHOLE:
        form["hashOption"] = site.hash_option
    if site.hash_filter:
        form["hashFilter"] = printable(site.hash_filter)
    form["attributes"] = [
        {"name": printable(name), "value": printable(value)} for name, value in site.attributes
    ]
    form["servers"] = [_server_to_json(server) for server in site.servers]
    return form


def _server_to_json(server: Server) -> Json:
    form: Json = {"serverId": server.server_id, "address": str(server.ip)}
    if server.public_key:
        try:
            form["publicKey"] = _key_to_json(server.public_key)
        except WireError:
            form["publicKey"] = _base64(server.public_key)
    form["interfaces"] = [_interface_to_json(interface) for interface in server.interfaces]
    return form


def _interface_to_json(interface: Interface) -> Json:
    known = interface.protocol in InterfaceProtocol.__members__.values()
    return {
        "query": interface.query,
        "admin": interface.admin,
        "protocol": InterfaceProtocol(interface.protocol).name if known else str(interface.protocol),
        "port": interface.port,
    }


def value_from_json(form: object) -> HandleValue:
    """A value that somebody wrote. Raises InvalidValue naming the member that is wrong; the timestamp is ignored."""
    members = _object(form, "a value")
    ttl_type, ttl = _ttl(members.get("ttl", DEFAULT_TTL_S))
    type_name = _string(members.get("type"), "type")
    if not type_name:
        raise InvalidValue("type: must not be empty")
    permissions = members.get("permissions")
    return HandleValue(
        index=check_index(_integer(members.get("index"), "index")),
        type=type_name,
        data=data_from_json(members.get("data")),
        ttl_type=ttl_type,
        ttl=ttl,
        permissions=DEFAULT_PERMISSIONS
        if permissions is None
        else parse_permissions(_string(permissions, "permissions")),
        references=_references(members.get("references", [])),
    )


def values_from_json(form: object) -> list[HandleValue]:
    """The values of a PUT body: an array of values, an object with `values`, or one value. Raises InvalidValue."""
    if isinstance(form, Mapping) and "values" in form:
        form = form["values"]
    items = form if isinstance(form, list) else [form]
    return [value_from_json(item) for item in items]


def data_from_json(form: object) -> bytes:
    """The octets of `data`: a bare string, or {"format", "value"}. Raises InvalidValue."""
    if isinstance(form, str):
        return _utf8(form, "data")
    members = _object(form, "data")
    name = _string(members.get("format"), "data.format").lower()
    reader = _FORMAT_READERS.get(name)
    if reader is None:
        raise InvalidValue(f"data.format: {name[:20]!r} is none of {', '.join(_FORMAT_READERS)}")
    return reader(members.get("value"))


def _utf8(form: object, member: str) -> bytes:
    try:
        return _string(form, member).encode()
    except UnicodeEncodeError:
        raise InvalidValue(f"{member}: holds half a surrogate pair, which is no text") from None


def _string_data(form: object) -> bytes:
    return _utf8(form, "data.value")


def _base64_data(form: object) -> bytes:
    try:
        return base64.b64decode(_string(form, "data.value"), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue("data.value: is no base64") from None


def _hex_data(form: object) -> bytes:
    try:
        return bytes.fromhex(_string(form, "data.value"))
    except ValueError:
        raise InvalidValue("data.value: is no hexadecimal") from None


def _admin_data(form: object) -> bytes:
    members = _object(form, "data.value")
    permissions = parse_mask(_string(members.get("permissions"), "data.value.permissions"))
    return Admin(_reference(members, lowest_index=0), permissions).encode()


def _vlist_data(form: object) -> bytes:
    members = _array(form, "data.value", MAX_REFERENCES)
    return ValueReferences(tuple(_reference(member, lowest_index=0) for member in members)).encode()


def _site_data(form: object) -> bytes:
    return site_from_json(form).encode()


def _key_data(form: object) -> bytes:
    members = _object(form, "data.value")
    kind = _string(members.get("kty"), "data.value.kty")
    if kind not in _JWK_NUMBERS:
        raise InvalidValue(f"data.value.kty: {kind[:20]!r} is neither RSA nor DSA")
    numbers = tuple(_jwk_number(members.get(name), name) for name in _JWK_NUMBERS[kind])
    return PublicKey(_JWK_ALGORITHMS[kind], numbers).encode()


def _jwk_number(form: object, name: str) -> int:
    octets = _string(form, f"data.value.{name}").encode("ascii", "replace")
    try:
        return int.from_bytes(base64.b64decode(octets + b"==", altchars=b"-_"), "big")
    except (binascii.Error, ValueError):
        raise InvalidValue(f"data.value.{name}: is no base64url") from None


_FORMAT_READERS: Final[dict[str, Callable[[object], bytes]]] = {
    "string": _string_data,
    "base64": _base64_data,
    "hex": _hex_data,
    "admin": _admin_data,
    "vlist": _vlist_data,
    "site": _site_data,
    "key": _key_data,
}


def site_from_json(form: object) -> Site:
    """A site record from its JSON form. Raises InvalidValue."""
    members = _object(form, "site")
    major, dot, minor = _string(members.get("protocolVersion", "2.11"), "protocolVersion").partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal() and int(major) < 256 and int(minor) < 256):
        raise InvalidValue("protocolVersion: two numbers with a dot, such as 2.11")
    attributes = [
        _object(item, "attributes") for item in _array(members.get("attributes", []), "attributes", 256)
    ]
    servers = _array(members.get("servers", []), "servers", 1_024)
    return Site(
        format_version=_integer(members.get("version", 1), "version", 0xFFFF),
        protocol_major=int(major),
        protocol_minor=int(minor),
        serial=_integer(members.get("serialNumber", 1), "serialNumber", 0xFFFF),
        primary=_boolean(members.get("primarySite", False), "primarySite"),
        multi_primary=_boolean(members.get("multiPrimary", False), "multiPrimary"),
        hash_option=_integer(members.get("hashOption", HashOption.WHOLE), "hashOption", 0xFF),
        hash_filter=_utf8(members.get("hashFilter", ""), "hashFilter"),
        attributes=tuple(
            (_utf8(item.get("name"), "name"), _utf8(item.get("value"), "value")) for item in attributes
        ),
        servers=tuple(_server_from_json(server) for server in servers),
    )


def _server_from_json(form: object) -> Server:
    members = _object(form, "servers")
    try:
        address = Server.pack_address(ip_address(_string(members.get("address"), "address")))
    except ValueError:
        raise InvalidValue("address: is neither an IPv4 nor an IPv6 address") from None
    key = members.get("publicKey")
    interfaces = _array(members.get("interfaces", []), "interfaces", 64)
    return Server(
        server_id=_integer(members.get("serverId"), "serverId", _U32_MAX),
        address=address,
        public_key=b"" if key is None else data_from_json(key),
        interfaces=tuple(_interface_from_json(interface) for interface in interfaces),
    )


def _interface_from_json(form: object) -> Interface:
    members = _object(form, "interfaces")
    name = _string(members.get("protocol"), "protocol").upper()
    if name not in InterfaceProtocol.__members__:
        raise InvalidValue(f"protocol: {name[:20]!r} is none of {', '.join(InterfaceProtocol.__members__)}")
    return Interface(
        query=_boolean(members.get("query", False), "query"),
        admin=_boolean(members.get("admin", False), "admin"),
        protocol=InterfaceProtocol[name],
        port=_integer(members.get("port"), "port", 65_535),
    )


def _ttl(form: object) -> tuple[TtlType, int]:
    if isinstance(form, str):
        try:
            moment = datetime.fromisoformat(form)
            seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        except (ValueError, OverflowError):
            raise InvalidValue(
                "ttl: is neither a number of seconds nor a time such as 2027-01-15T08:00:00Z"
            ) from None
        return TtlType.ABSOLUTE, _integer(seconds, "ttl", _U32_MAX)
    return TtlType.RELATIVE, _integer(form, "ttl", _U32_MAX)


def _references(form: object) -> tuple[ValueReference, ...]:
    return tuple(_reference(item, lowest_index=0) for item in _array(form, "references", MAX_REFERENCES))


def _reference(form: object, *, lowest_index: int) -> ValueReference:
    members = _object(form, "a reference")
    handle = _utf8(members.get("handle"), "handle")
    try:
        Handle.parse(handle)
    except InvalidHandle as error:
        raise InvalidValue(f"handle: {error}") from None
    index = _integer(members.get("index"), "index", _U32_MAX)
    if index < lowest_index:
        raise InvalidValue(f"index: {index} is too small")
    return ValueReference(handle, index)


def _object(form: object, member: str) -> Mapping[str, Any]:
    if not isinstance(form, Mapping):
        raise InvalidValue(f"{member}: must be an object")
    return form


def _array(form: object, member: str, items_max: int) -> list[Any]:
    if not isinstance(form, list):
        raise InvalidValue(f"{member}: must be an array")
    if len(form) > items_max:
        raise InvalidValue(f"{member}: {len(form)} items, {items_max} allowed")
    return form


def _string(form: object, member: str) -> str:
    if not isinstance(form, str):
        raise InvalidValue(f"{member}: must be a string")
    return form


def _boolean(form: object, member: str) -> bool:
    if not isinstance(form, bool):
        raise InvalidValue(f"{member}: must be true or false")
    return form


def _integer(form: object, member: str, highest: int = _U32_MAX) -> int:
    if isinstance(form, bool) or not isinstance(form, int):
        raise InvalidValue(f"{member}: must be a whole number")
    if not 0 <= form <= highest:
        raise InvalidValue(f"{member}: must lie between 0 and {highest}")
    return form


def site_reply(site: Site) -> Json:
    """The answer of /api/site."""
    return {"responseCode": int(ResponseCode.SUCCESS), "site": site_to_json(site)}


__all__ = [
    "data_from_json",
    "data_to_json",
    "printable",
    "record_to_json",
    "site_from_json",
    "site_reply",
    "site_to_json",
    "text",
    "value_from_json",
    "value_to_json",
    "values_from_json",
]
