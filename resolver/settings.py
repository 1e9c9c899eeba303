"""Everything that the operator of a recursive node can set: the [resolver] table of its TOML file."""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import msgspec
from msgspec import Meta

from protocol.errors import HandleError
from protocol.handle import Prefix
from protocol.runtime.configuration import SecretText, load_settings, read_secret
from protocol.runtime.listen_settings import ListenSettings, part_of

TABLE: Final = "resolver"
EVERYTHING: Final = "*"  # in place of a prefix: every prefix
MIB: Final = 1_048_576

SHARED_LIMITS: Final = (
    "value_entries_max",
    "value_octets_max",
    "delegation_entries_max",
    "delegation_octets_max",
    "denial_entries_max",
    "denial_octets_max",
    "waiters_max",
    "resolutions_max",
    "service_exchanges_max",
    "redis_requests_max",
)
"""What holds for a node as a whole: each worker keeps to an equal part."""

PositiveInt = Annotated[int, Meta(ge=1)]
Octets = Annotated[int, Meta(ge=65_536)]
RedirectScheme = Literal["http", "https", "ftp"]
_FIELD_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_FIELDS_WITH_A_MEANING: Final = frozenset({"host", "accept", "connection", "content-length", "if-none-match"})


class OpenNetwork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network that is not routable on the Internet, and the prefixes whose site records may name it."""

    network: str
    """In CIDR form, such as "127.0.0.0/8"."""

    prefixes: tuple[str, ...]
    """Prefixes with everything derived from them, such as ["88"]; ["*"] opens the network to every prefix."""


class ForwardRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prefix whose questions go to other recursive nodes instead of being walked from the root."""

    prefix: str
    """With everything derived from it; "*" stands for every prefix. The longest rule that fits is taken."""

    addresses: tuple[str, ...]
    """The other nodes as "address:port" ("[address]:port" for IPv6), in the order in which they are tried."""


class ResolverSettings(ListenSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [resolver] table; the environment overrides a field as HANDLEGRID_RESOLVER_<FIELD>."""

    root_site_file: Path
    """The root bundle: site information of the root service (PROTOCOL §7.1). There is no safe default."""

    site_serial: Annotated[int, Meta(ge=1, le=32_767)] = 1
    """Serial number of our site record: raise it when addresses or ports change. Deployed clients read it signed."""

    server_key_file: Path | None = None
    """RSA key (PEM) by which we sign answers, made at the first start; its public half stands in our site record.
    Default: resolver.key beside `root_site_file`."""

    open_networks: tuple[OpenNetwork, ...] = ()
    """Private networks that referrals may point into, each for named prefixes only; none by default."""

    forwarding: tuple[ForwardRule, ...] = ()
    """What is asked of other recursive nodes; everything else is walked from the root."""

    recursion_limit: Annotated[int, Meta(ge=1, le=255)] = 10
    """Recursive nodes that one question may have passed; deployed servers refuse at 10 (PROTOCOL §7.6)."""

    resolution_time_s: Annotated[float, Meta(gt=0, le=60)] = 10.0
    """Budget of one question, all exchanges and retries together; deployed clients give up after a few seconds."""

    exchange_time_s: Annotated[float, Meta(gt=0, le=60)] = 1.5
    """Patience with one interface of one server, before the next is tried: long enough for a second datagram, short
    enough that a client learns of a dead server before it gives up on us after three seconds."""

    value_entries_max: PositiveInt = 500_000
    """Records kept in memory."""

    value_octets_max: Octets = 256 * MIB
    """Octets of records kept in memory, book-keeping included; the bound that counts when records are large."""

    delegation_entries_max: PositiveInt = 50_000
    """Prefix records kept in memory; losing one costs an exchange with an upper node."""

    delegation_octets_max: Octets = 64 * MIB
    """Octets of prefix records kept in memory."""

    denial_entries_max: PositiveInt = 100_000
    """Denials kept in memory, apart from the records so that a scan of unknown names evicts none of them."""

    denial_octets_max: Octets = 32 * MIB
    """Octets of denials kept in memory."""

    ttl_max_s: Annotated[int, Meta(ge=1, le=86_400)] = 86_400
    """A record is kept for its smallest TTL, but never longer than this."""

    negative_ttl_s: Annotated[int, Meta(ge=0, le=3_600)] = 30
    """How long a denial is kept; 0 turns that off. A newly registered name is visible after this time. That a prefix is
    suspended or unknown is remembered as long, and never longer than 30 seconds."""

    waiters_max: PositiveInt = 2_000
    """Questions that may wait for one resolution in flight; more are told that we are busy."""

    resolutions_max: PositiveInt = 4_000
    """Resolutions in flight at once; more are told that we are busy. Each holds some ten kilobytes."""

    service_exchanges_max: PositiveInt = 2_000
    """Questions that may wait for one service at once; more are told that we are busy, so that one silent service
    cannot use up resolutions_max."""

    redis_url: SecretText = ""
    """Second cache tier, shared between nodes: redis://, rediss:// or unix://; empty for none. May hold a password,
    so it prints as ***."""

    redis_url_file: Path | None = None
    """File that holds the address instead, so that a password stays out of the settings file."""

    redis_cluster: bool = False
    """Whether the address is a node of a Redis Cluster."""

    redis_namespace: Annotated[str, Meta(min_length=1, max_length=64)] = "handlegrid"
    """Begins every key; nodes under the same root share one, different hierarchies never do."""

    redis_timeout_s: Annotated[float, Meta(gt=0, le=5)] = 0.05
    """Patience with one look-up; longer than that an upstream exchange is as quick."""

    redis_requests_max: PositiveInt = 32
    """Look-ups at once; the cluster client refuses more than it has connections instead of waiting."""

    redis_pause_s: Annotated[float, Meta(ge=0, le=300)] = 2.0
    """How long the second tier is left alone after a failure, so that a dead one costs nothing."""

    statistics_database: SecretText = ""
    """Postgres, as a DSN, that keeps the counters of each day; empty for none. Prints as ***."""

    statistics_database_file: Path | None = None
    """File that holds the DSN instead."""

    statistics_interval_s: Annotated[float, Meta(gt=0, le=3_600)] = 5.0
    """Seconds between two writes of the day's counters; what a crash can lose of them."""

    statistics_sources_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000
    """Source networks counted per day; the rest is counted together as `other`."""

    redirect_schemes: Annotated[tuple[RedirectScheme, ...], Meta(min_length=1)] = ("http", "https")
    """Schemes of addresses that a browser is sent to and that pages link to; no others can be named, since a scheme
    such as javascript or file would act in the visitor's name."""

    country_header: str = ""
    """Request header in which a proxy in front tells the visitor's country as two letters; empty for none. Whoever
    reaches the node without that proxy may claim any country."""

    def share(self, workers: int) -> Self:
        """The settings of one of so many workers; see ListenSettings."""
        parts = {name: part_of(getattr(self, name), workers) for name in SHARED_LIMITS}
        return msgspec.structs.replace(super().share(workers), **parts)

    def faults(self) -> list[str]:
        """What is wrong across fields, one sentence each; empty when all is well."""
        return [
            *super().faults(),
            *_open_network_faults(self),
            *_forwarding_faults(self),
            *_pair_faults(self),
            *_country_faults(self.country_header),
        ]

    def signing_key_file(self) -> Path:
        """Return the path of the key by which we sign."""
        return self.server_key_file or self.root_site_file.with_name("resolver.key")

    def redis_address(self) -> str:
        """Return the address of the second tier, empty for none. Raises SettingsError when its file is unreadable."""
        path = self.redis_url_file
        return self.redis_url if path is None else read_secret("redis_url_file", path)

    def statistics_dsn(self) -> str:
        """Return the DSN for day counters, empty for none. Raises SettingsError when its file is unreadable."""
        path = self.statistics_database_file
        return self.statistics_database if path is None else read_secret("statistics_database_file", path)


def load_resolver_settings(path: Path, environment: Mapping[str, str] = os.environ) -> ResolverSettings:
    """Load and check the settings file of a recursive node.

    Raises SettingsError that names every fault at once, with file and key.
    """
    return load_settings(path, TABLE, ResolverSettings, environment)


def _open_network_faults(settings: ResolverSettings) -> list[str]:
    faults = []
    for rule in settings.open_networks:
        try:
            ip_network(rule.network)
        except ValueError as error:
            faults.append(f"open_networks: {rule.network!r} is no network such as 127.0.0.0/8: {error}")
        if not rule.prefixes:
            faults.append(f'open_networks: {rule.network} names no prefixes; write ["88"], or ["*"] for all')
        faults += [
            f"open_networks: {name!r} is no prefix" for name in rule.prefixes if not is_prefix_or_all(name)
        ]
    return faults


def _forwarding_faults(settings: ResolverSettings) -> list[str]:
    faults = []
    for rule in settings.forwarding:
        if not is_prefix_or_all(rule.prefix):
            faults.append(f'forwarding: {rule.prefix!r} is no prefix; write one such as "88", or "*" for all')
        if not rule.addresses:
            faults.append(f"forwarding: the rule for {rule.prefix} names no addresses")
        for address in rule.addresses:
            try:
                parse_endpoint(address)
            except ValueError as error:
                faults.append(f"forwarding: {address!r}: {error}")
    named = [rule.prefix.upper() for rule in settings.forwarding]
    twice = sorted({name for name in named if named.count(name) > 1})
    return [
        *faults,
        *(f"forwarding: {name} stands in two rules; give it one with all addresses" for name in twice),
    ]


def is_prefix_or_all(name: str) -> bool:
    """Whether a setting names a prefix, or "*" for every prefix."""
    if name == EVERYTHING:
        return True
    try:
        return bool(Prefix.parse(name).octets)
    except HandleError:
        return False


def parse_endpoint(endpoint: str) -> tuple[str, int]:
    """Split "address:port" or "[address]:port"; the port may be left out and is 2641 then.

    Raises ValueError with what would be right. Names are refused: whoever answers for a name could move the traffic.
    """
    host, port = _split_endpoint(endpoint)
    try:
        address = ip_address(host)
    except ValueError:
        raise ValueError('write a literal IP address with a port, such as "10.1.2.3:2641"') from None
    if address.is_unspecified or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65_535:
        raise ValueError("the address must be a real one and the port from 1 to 65535")
    return str(address), int(port)


def _split_endpoint(endpoint: str) -> tuple[str, str]:
    if endpoint.startswith("["):
        host, _, rest = endpoint[1:].partition("]")
        return host, rest[1:] if rest.startswith(":") else "" if rest else "2641"
    if endpoint.count(":") > 1:
        return endpoint, "2641"
    host, colon, port = endpoint.partition(":")
    return host, port if colon else "2641"


def _country_faults(header: str) -> list[str]:
    if not header:
        return []
    if not _FIELD_NAME.fullmatch(header) or header.lower() in _FIELDS_WITH_A_MEANING:
        return [f"country_header: {header!r} names no header of its own; write one such as CF-IPCountry"]
    return []


def _pair_faults(settings: ResolverSettings) -> list[str]:
    faults = []
    if settings.redis_url and settings.redis_url_file is not None:
        faults.append("redis_url: set either `redis_url` or `redis_url_file`, not both")
    if settings.statistics_database and settings.statistics_database_file is not None:
        faults.append("statistics_database: set it or `statistics_database_file`, not both")
    return faults
