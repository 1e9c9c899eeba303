"""Systems: what an organisation runs for its identifiers, who built and runs it, and where it shows itself. Pure.

The part of tables T1 and T6 that is about machines rather than about the organisation itself.
"""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from registry.text import Line

ADDRESSES_MAX: Final = 16
"""Addresses of one system: a handful of servers, each by IPv4 and IPv6."""
SITES_MAX: Final = 20
"""Web sites and domain licences of one organisation."""

_DOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)([0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?)(\.[0-9A-Za-z-]{1,63})*"
)
_ENDPOINT: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+)):(?P<port>[1-9][0-9]{0,4})")
_PORT_MAX: Final = 65_535

Domain = Annotated[str, Meta(min_length=1, max_length=253, pattern="^[0-9A-Za-z.-]+$")]
"""A domain name in ASCII; one outside it as xn--…"""
Address = Annotated[str, Meta(min_length=2, max_length=45, pattern="^[0-9A-Fa-f:.]+$")]
"""A literal IPv4 or IPv6 address."""
Endpoint = Annotated[str, Meta(min_length=9, max_length=53, pattern="^[0-9A-Fa-f:.\\[\\]]+$")]
"""Address and port: 203.0.113.7:443, or [2001:db8::7]:443."""


class Effort(StrEnum):
    """Whose work it is."""

    OWN = "own"
    """自营."""
    ENTRUSTED = "entrusted"
    """委托."""


class Undertaking(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who built a system, or runs it."""

    effort: Effort
    contractor: Line | None = None
    """To whom it is entrusted; needed then, and then only."""
    contract: Line | None = None
    """Number of the contract with the contractor."""


class DomainLicence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A licence for a domain (域名许可)."""

    domain: Domain
    number: Line
    """许可证号."""


class PublicWebsite(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A web site by which the service is offered (对外网站)."""

    name: Line
    domain: Domain
    addresses: Annotated[list[Address], Meta(max_length=ADDRESSES_MAX)] = []
    """IPv4 and IPv6 alike."""


def is_domain(text: str) -> bool:
    """Whether a text is a domain name in ASCII."""
    return _DOMAIN.fullmatch(text) is not None


def undertaking_faults(undertaking: Undertaking) -> Iterator[tuple[str, str]]:
    """What is wrong with who does something, by field."""
    if undertaking.effort is Effort.ENTRUSTED:
        if undertaking.contractor is None:
            yield "contractor", "is needed for what is entrusted"
        return
    for field in ("contractor", "contract"):
        if getattr(undertaking, field) is not None:
            yield field, "has no place in what the organisation does itself"


def licence_faults(licences: Iterable[DomainLicence]) -> Iterator[tuple[str, str]]:
    """What is wrong with licences for domains, by place and field."""
    for place, licence in enumerate(licences):
        if not is_domain(licence.domain):
            yield f"{place}/domain", "is no domain name"


def website_faults(sites: Iterable[PublicWebsite]) -> Iterator[tuple[str, str]]:
    """What is wrong with web sites, by place and field."""
    for place, site in enumerate(sites):
        if not is_domain(site.domain):
            yield f"{place}/domain", "is no domain name"
        for number, address in enumerate(site.addresses):
            if not _is_address(address):
                yield f"{place}/addresses/{number}", "is no IPv4 or IPv6 address"


def endpoint_faults(endpoints: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with addresses and ports, by place. They are kept for people, and never asked by us."""
    for place, endpoint in enumerate(endpoints):
        found = _ENDPOINT.fullmatch(endpoint)
        if found is None or int(found["port"]) > _PORT_MAX or not _is_address(found["v6"] or found["v4"]):
            yield f"{place}", "is no address and port, such as 203.0.113.7:443 or [2001:db8::7]:443"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
