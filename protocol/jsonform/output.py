"""From records, values and sites to JSON objects."""

import base64
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from protocol.codes import ResponseCode
from protocol.errors import InvalidHandle, WireError
from protocol.handle import Handle
from protocol.site import HashOption, Interface, InterfaceProtocol, Server, Site
from protocol.value import (
    DEFAULT_PERMISSIONS,
    HandleValue,
    TtlType,
    ValueList,
    ValueReference,
    format_permissions,
    type_key,
)
from protocol.valuetypes.hs_admin import Admin, format_mask
from protocol.valuetypes.hs_pubkey import DSA, RSA, PublicKey
from protocol.valuetypes.hs_site import SITE_TYPES
from protocol.valuetypes.hs_vlist import ValueReferences
from protocol.wire import encode_text

Json = dict[str, Any]

JWK_NUMBERS: Final = {"RSA": ("e", "n"), "DSA": ("q", "p", "g", "y")}
"""Members of a JSON web key, in the order of the numbers in a public-key blob."""
JWK_ALGORITHMS: Final = {"RSA": RSA, "DSA": DSA}
_KEY_TYPES: Final = {algorithm: kind for kind, algorithm in JWK_ALGORITHMS.items()}
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x14-\x1f\x7f\ud800-\udfff]")  # 0x09-0x13 pass, as deployed
_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"


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
    writer = _FORMAT_WRITERS.get(type_key(value.type))
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
    numbers = {name: _base64url(number) for name, number in zip(JWK_NUMBERS[kind], key.numbers, strict=True)}
    return {"format": "key", "value": {"kty": kind} | numbers}


def _base64url(number: int) -> str:
    octets = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


_FORMAT_WRITERS: Final[dict[str, Callable[[bytes], Json]]] = {
    "HS_ADMIN": _admin_to_json,
    "HS_VLIST": _vlist_to_json,
    **dict.fromkeys(SITE_TYPES, _site_data_to_json),
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


def site_reply(site: Site) -> Json:
    """The answer of /api/site."""
    return {"responseCode": int(ResponseCode.SUCCESS), "site": site_to_json(site)}
