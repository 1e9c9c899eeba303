"""The settings that both daemons share: where they listen, and whom they serve how much."""

import os
import ssl
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar

import msgspec
from msgspec import Meta

from protocol.errors import SettingsError
from protocol.runtime.sampling import QuerySampler
from protocol.transport.answer_cache import OCTETS_MAX
from protocol.transport.buckets import Buckets
from protocol.transport.connections import CONNECTIONS_PER_SOURCE_MAX
from protocol.transport.http_cache import OCTETS_MAX as HTTP_OCTETS_MAX
from protocol.transport.sockets import family_of
from protocol.transport.source import SourceCheck, parse_networks

Port = Annotated[int, Meta(ge=0, le=65_535)]
WORKERS_MAX: Final = 63  # six bits of a session id name the worker, and 0 names none
CONNECTIONS_SHARE_MIN: Final = 8  # the kernel spreads the connections of a source by chance
FIXED_WHILE_RUNNING: Final = (
    "listen_addresses",
    "handle_port",
    "http_port",
    "admin_address",
    "admin_port",
)
"""Settings that decide, with the number of workers, which sockets there are; a change of them takes a restart."""


Settings = TypeVar("Settings", bound="ListenSettings")


class ListenSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the settings of both daemons begin with. A port of 0 opens no such listener."""

    name: Annotated[str, Meta(min_length=1, max_length=100)] = "handlegrid"
    """What logs and status call this node."""

    listen_addresses: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)] = ("0.0.0.0", "::")  # noqa: S104
    """Literal addresses; one that this machine does not have is passed over when it is a wildcard."""

    handle_port: Port = 2641
    """The Handle protocol over UDP and TCP."""

    http_port: Port = 8000
    """HTTP, and HTTPS when a certificate is set."""

    admin_address: str = "127.0.0.1"
    """Metrics and health; never a public address."""

    admin_port: Port = 9641

    public_addresses: tuple[str, ...] = ()
    """Literal IP addresses that our site record tells the world; default: the listen addresses that are no wildcard,
    else the loopback address."""

    description: str = ""
    """Text of the attribute `desc` of our site record."""

    tls_certificate_file: Path | None = None
    """PEM, with its chain; together with tls_key_file it opens HTTPS on http_port."""

    tls_key_file: Path | None = None

    allow_networks: tuple[str, ...] = ()
    """CIDR networks that may ask; empty for all."""

    deny_networks: tuple[str, ...] = ()
    """CIDR networks that may not ask, even when allowed above."""

    source_rate_per_s: Annotated[float, Meta(ge=0)] = 2_000
    """Requests per second of one source network, IPv4 /24 or IPv6 /56; 0 for no limit."""

    source_burst: Annotated[int, Meta(ge=1)] = 4_000
    """Requests that a quiet source network may send at once."""

    source_unlimited_networks: tuple[str, ...] = ()
    """CIDR networks without that limit, such as a plant's own recursive nodes."""

    tcp_connections_per_source_max: Annotated[int, Meta(ge=1)] = CONNECTIONS_PER_SOURCE_MAX
    """Open connections of one source network, for TCP and HTTP each."""

    answer_cache_octets_max: Annotated[int, Meta(ge=0)] = OCTETS_MAX
    """Memory for encoded answers; 0 for none."""

    http_cache_octets_max: Annotated[int, Meta(ge=0)] = HTTP_OCTETS_MAX
    """Memory for HTTP answers; 0 for none."""

    query_sample_every: Annotated[int, Meta(ge=0)] = 0
    """Every n-th resolution is logged with name, types and source network; 0 logs none."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    workers: Annotated[int, Meta(ge=0, le=WORKERS_MAX)] = 1
    """Processes that answer, beside one that supervises them; 1 for a single process, 0 for one per core."""

    def worker_count(self) -> int:
        """How many processes answer."""
        return self.workers or min(WORKERS_MAX, cores())

    def share(self, workers: int) -> Self:
        """The settings of one of so many workers, so that together they keep to what is set for the node."""
        return msgspec.structs.replace(
            self,
            answer_cache_octets_max=part_of(self.answer_cache_octets_max, workers),
            http_cache_octets_max=part_of(self.http_cache_octets_max, workers),
            tcp_connections_per_source_max=part_of(
                self.tcp_connections_per_source_max, workers, at_least=CONNECTIONS_SHARE_MIN
            ),
        )

    def needs_restart(self, after: "ListenSettings") -> list[str]:
        """Which of the settings that cannot change while the node runs have other values afterwards."""
        changed = [name for name in FIXED_WHILE_RUNNING if getattr(self, name) != getattr(after, name)]
        return changed if self.worker_count() == after.worker_count() else ["workers", *changed]

    def faults(self) -> list[str]:
        """What is wrong across fields, one sentence each; subclasses add theirs to super().faults()."""
        found = []
        for name in ("listen_addresses", "admin_address"):
            given = getattr(self, name)
            for address in (given,) if isinstance(given, str) else given:
                found.extend(_address_faults(name, address))
        for name in ("allow_networks", "deny_networks", "source_unlimited_networks"):
            found.extend(_network_faults(name, getattr(self, name)))
        found.extend(_public_address_faults(self.public_addresses))
        if self.workers != 1 and sys.platform != "linux":
            found.append("workers: only Linux steers requests among processes; set 1 here")
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            found.append("tls_certificate_file and tls_key_file must both be set, or neither")
        elif self.tls_certificate_file is not None:
            found.extend(self._certificate_faults())
        return found

    def published_addresses(self) -> tuple[str, ...]:
        """The addresses for our site record, never empty."""
        listened = tuple(
            address for address in self.listen_addresses if not ip_address(address).is_unspecified
        )
        return self.public_addresses or listened or ("127.0.0.1",)

    def source_check(self, shared: Buckets | None = None) -> SourceCheck:
        """The check that every listener of this daemon shares. shared: buckets that other workers have too."""
        return SourceCheck(
            allow=self.allow_networks,
            deny=self.deny_networks,
            rate_per_s=self.source_rate_per_s,
            burst=self.source_burst,
            unlimited=self.source_unlimited_networks,
            buckets=shared,
        )

    def query_sampler(self) -> QuerySampler | None:
        """What picks the resolutions that are logged."""
        return QuerySampler(self.query_sample_every) if self.query_sample_every else None

    def tls_context(self) -> ssl.SSLContext | None:
        """The server side of TLS, or None when no certificate is set."""
        if self.tls_certificate_file is None or self.tls_key_file is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.tls_certificate_file, self.tls_key_file)
        return context

    def _certificate_faults(self) -> list[str]:
        try:
            self.tls_context()
        except (OSError, ssl.SSLError) as error:
            files = f"tls_certificate_file {self.tls_certificate_file} and tls_key_file {self.tls_key_file}"
            return [f"{files} cannot be used: {error.strerror or 'they are no matching PEM files'}"]
        return []


def with_workers(settings: Settings, workers: int | None) -> Settings:
    """The settings with another number of workers, when one is given. Raises SettingsError."""
    if workers is None:
        return settings
    if not 0 <= workers <= WORKERS_MAX:
        raise SettingsError([f"--workers: {workers} is not between 0 and {WORKERS_MAX}"])
    changed = msgspec.structs.replace(settings, workers=workers)
    faults = changed.faults()
    if faults:
        raise SettingsError(faults)
    return changed


def part_of(whole: int, workers: int, *, at_least: int = 0) -> int:
    """The part of a limit that each of so many workers keeps to, and never less than at_least."""
    return max(-(-whole // workers), min(whole, at_least))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _address_faults(name: str, address: str) -> list[str]:
    try:
        family_of(address)
    except ValueError:
        return [f"{name}: {address!r} is no IPv4 or IPv6 address; host names are not looked up"]
    return []


def _public_address_faults(addresses: tuple[str, ...]) -> list[str]:
    found = []
    for address in addresses:
        try:
            unspecified = ip_address(address).is_unspecified
        except ValueError:
            unspecified = True
        if unspecified:
            found.append(f"public_addresses: {address!r} is no address that a client could reach")
    return found


def _network_faults(name: str, networks: tuple[str, ...]) -> list[str]:
    found = []
    for network in networks:
        try:
            parse_networks([network])
        except ValueError as error:
            found.append(f"{name}: {error}; write a network like 10.0.0.0/8")
    return found
