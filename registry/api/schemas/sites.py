"""Site records in bodies and replies: the JSON form of the Handle System, as GET /api/site gives it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocol.errors import WireError
from protocol.jsonform import site_from_json, site_to_json
from protocol.site import Site
from registry.api.schemas.base import Body

Short = Annotated[str, Meta(max_length=255)]
Number = Annotated[str, Meta(min_length=1, max_length=2_800, pattern="^[A-Za-z0-9_=-]*$")]
"""Of a key, as base64url; 16,384 bits have 2,731 characters."""
Blob = Annotated[str, Meta(min_length=1, max_length=8_192)]


class WebKey(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An RSA key as JSON web key."""

    kty: Literal["RSA"]
    n: Number
    e: Number


class ServerKey(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The public key of a server."""

    format: Literal["key", "base64"]
    value: WebKey | Blob
    """A JSON web key, or the key's octets as base64."""


class InterfaceForm(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to reach a server."""

    protocol: Annotated[str, Meta(pattern="^(TCP|UDP|HTTP|HTTPS|[0-9]{1,3})$")]
    port: Annotated[int, Meta(ge=1, le=65_535)]
    query: bool = False
    """Whether it answers resolutions."""
    admin: bool = False
    """Whether it takes administration."""


class ServerForm(Body, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One machine of a site."""

    server_id: Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
    address: Annotated[str, Meta(min_length=2, max_length=45)]
    """A literal IPv4 or IPv6 address."""
    public_key: ServerKey | None = None
    interfaces: Annotated[tuple[InterfaceForm, ...], Meta(max_length=64)] = ()


class AttributeForm(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named text of a site."""

    name: Short
    value: Short


class SiteForm(Body, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Who serves a prefix: a site and its servers."""

    version: Annotated[int, Meta(ge=1, le=0xFFFF)] = 1
    protocol_version: Annotated[str, Meta(pattern=r"^[0-9]{1,3}\.[0-9]{1,3}$")] = "2.11"
    serial_number: Annotated[int, Meta(ge=0, le=0xFFFF)] = 1
    primary_site: bool = True
    multi_primary: bool = False
    hash_option: Annotated[int, Meta(ge=0, le=0xFF)] = 2
    hash_filter: Short = ""
    attributes: Annotated[tuple[AttributeForm, ...], Meta(max_length=256)] = ()
    servers: Annotated[tuple[ServerForm, ...], Meta(max_length=1_024)]

    def site(self) -> Site:
        """The site record. Raises ValueError for one that cannot be encoded."""
        try:
            return site_from_json(msgspec.json.decode(msgspec.json.encode(self)))
        except WireError as error:
            raise ValueError(str(error)) from None


def site_form(site: Site) -> SiteForm:
    """The form of a site record."""
    return msgspec.convert(site_to_json(site), SiteForm)
