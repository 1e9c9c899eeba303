"""Delegation: what a prefix record says about who serves the prefix and who holds the prefix records below it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from protocol.errors import InvalidHandle, WireError
from protocol.handle import Handle, Prefix
from protocol.site import Site
from protocol.value import HandleValue, ValueList
from protocol.valuetypes.hs_namespace import Namespace
from protocol.valuetypes.hs_site import (
    BELOW_SERVICE_TYPES,
    BELOW_SITE_TYPES,
    BELOW_TYPES,
    HOME_SERVICE_TYPES,
    HOME_SITE_TYPES,
    HOME_TYPES,
)

NAMESPACE_TYPE: Final = "HS_NAMESPACE"
PREFIX_TYPES: Final = (*HOME_TYPES, *BELOW_TYPES, NAMESPACE_TYPE)
"""Values of a prefix record that a resolution needs."""

MAX_SITES: Final = 32  # sites taken from one record; the global service has about ten
MAX_SERVICES: Final = 8  # service handles taken from one record; real ones have one
GLOBAL_SERVICE: Final = Handle(b"0.NA/0.NA")


@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """Where a service is: sites to ask, or service handles whose records name the sites."""

    owner: Prefix | None
    """The prefix on whose behalf the sites are asked; None for sites that the operator named himself."""
    sites: tuple[Site, ...] = ()
    services: tuple[Handle, ...] = ()
    """Followed in order once there are no sites, or none of them answers."""
    trail: tuple[Handle, ...] = ()
    """The service handles that led here."""
    source: str = ""
    """The record that says so, for people."""

    def without_sites(self) -> "Locator":
        """The next thing to try after all sites have failed."""
        return replace(self, sites=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """What the record 0.NA/<prefix> says. Hashable and free of references to the message, so that it can be cached."""

    prefix: Prefix
    exists: bool = True
    """False when the authority said that there is no such record."""
    sites: tuple[Site, ...] = ()
    """HS_SITE and HS_SITE.6: who serves <prefix>/..."""
    prefix_sites: tuple[Site, ...] = ()
    """HS_SITE.PREFIX and HS_NA_DELEGATE: who holds the records 0.NA/<prefix>.x"""
    services: tuple[Handle, ...] = ()
    """HS_SERV: service handles whose records name the sites."""
    prefix_services: tuple[Handle, ...] = ()
    """HS_SERV.PREFIX, likewise."""
    inactive: str | None = None
    """Why the prefix is not served, where its HS_NAMESPACE or the denial of its record says so: suspended or revoked,
    by whom, since when."""
    ttl_s: int = field(default=0, compare=False)
    """Seconds for which this may be cached; 0 for never."""

    @property
    def delegates(self) -> bool:
        """Whether another service holds the prefix records below this prefix."""
        return bool(self.prefix_sites or self.prefix_services)

    @property
    def home(self) -> Locator:
        """Where handles of the prefix are; empty when the record does not say."""
        return Locator(
            owner=self.prefix, sites=self.sites, services=self.services, source=str(self.prefix.record)
        )

    @property
    def below(self) -> Locator:
        """Where the prefix records below are; empty when the record does not say."""
        return Locator(
            owner=self.prefix,
            sites=self.prefix_sites,
            services=self.prefix_services,
            source=str(self.prefix.record),
        )


def read_delegation(prefix: Prefix, values: ValueList, *, wall_s: float, empty_ttl_s: int) -> Delegation:
    """The delegation that the public values of a prefix record describe.

    values: whatever the authority sent; values of other types and values that cannot be decoded count as absent.
    wall_s: Unix seconds, for absolute TTLs. empty_ttl_s: how long to remember that the record says nothing.
    """
    wanted = values.select(types=PREFIX_TYPES, public_only=True)
    inactive = _read_inactive(wanted)
    ttl_s = wanted.smallest_ttl_s(wall_s) if wanted.count else empty_ttl_s
    return Delegation(
        prefix=prefix,
        sites=read_sites(wanted, HOME_SITE_TYPES),
        prefix_sites=read_sites(wanted, BELOW_SITE_TYPES),
        services=read_services(wanted, HOME_SERVICE_TYPES),
        prefix_services=read_services(wanted, BELOW_SERVICE_TYPES),
        inactive=inactive,
        ttl_s=ttl_s if inactive is None else min(ttl_s, empty_ttl_s),  # resumed as soon as a denial ends
    )


def _read_inactive(values: ValueList) -> str | None:
    """What the first HS_NAMESPACE value that can be read says of a prefix that it calls inactive."""
    for value in values.select(types=(NAMESPACE_TYPE,)):
        try:
            namespace = Namespace.decode(value.data)
        except WireError:
            continue
        return None if namespace.active else (namespace.status_message or "inactive").strip()
    return None


def read_sites(values: ValueList, types: tuple[str, ...]) -> tuple[Site, ...]:
    """The site records among the values, at most MAX_SITES, in the order of the values."""
    return tuple(islice(_decoded_sites(values.select(types=types)), MAX_SITES))


def read_services(values: ValueList, types: tuple[str, ...]) -> tuple[Handle, ...]:
    """The service handles among the values, at most MAX_SERVICES, in the order of the values, none twice."""
    handles = dict.fromkeys(_decoded_handles(values.select(types=types)))
    return tuple(islice(handles, MAX_SERVICES))


def _decoded_sites(values: Iterable[HandleValue]) -> Iterator[Site]:
    for value in values:
        try:
            yield Site.decode(value.data)
        except WireError:
            continue  # one bad site record must not hide the others


def _decoded_handles(values: Iterable[HandleValue]) -> Iterator[Handle]:
    for value in values:
        try:
            yield Handle.parse(value.data).resolved
        except InvalidHandle:
            continue
