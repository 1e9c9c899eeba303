"""Everything that the operator of a registry node can set: the [registry] table of its TOML file."""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import msgspec
from msgspec import Meta

from protocol.errors import InvalidHandle
from protocol.handle import Prefix
from protocol.runtime.configuration import load_settings, read_secret
from protocol.runtime.listen_settings import ListenSettings, part_of
from protocol.value import MAX_TYPE_OCTETS
from registry.lookups import LookupTypes

TABLE: Final = "registry"

IDENTITY_PATTERN: Final = r"^[0-9]{1,10}:.+$"
VERSION_PATTERN: Final = r"^2\.[0-9]{1,2}$"
SecretAnswer = Literal["pbkdf2-hmac-sha1", "hmac-sha256", "hmac-sha1", "sha256", "sha1", "md5"]
PositiveInt = Annotated[int, Meta(ge=1)]
CONNECTIONS_SHARE_MIN: Final = 2
"""Of a worker: a long transaction must not keep its reads waiting."""
EVERY_PREFIX: Final = "*"


class OpenNetwork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network that is not routable on the Internet, and the prefixes whose nodes may stand in it."""

    network: str
    """In CIDR form, such as "10.0.0.0/8"."""

    prefixes: tuple[str, ...]
    """Prefixes with everything derived from them, such as ["88.100"]; ["*"] opens the network to every prefix."""


class PrefixRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the labels of one level of prefixes look like; 88 has level 1, 88.100 level 2."""

    level: Annotated[int, Meta(ge=1, le=16)]
    """Number of labels of the prefix."""

    pattern: Annotated[str, Meta(min_length=1, max_length=200)]
    """Regular expression that the whole label matches; \\d and \\w mean ASCII."""

    number_min: Annotated[int, Meta(ge=0)] = 1
    """The first number that is given to who asks for the next free one."""


class RegistrySettings(ListenSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [registry] table; the environment overrides a field as HANDLEGRID_REGISTRY_<FIELD>."""

    data_dir: Path
    """Directory of the node's own files: node key, server key, administrator's secret. No safe default."""

    homes: tuple[str, ...]
    """Prefixes that the node homes from its initialisation on; the first one names the administrator record
    `<prefix>/ADMIN`. A root homes ["0.0", "0.NA"]. Prefixes accepted later are kept in the database."""

    database: str = ""
    """Postgres 15-18 as a DSN. Either this or `database_file`. A password in it is not shown."""

    database_file: Path | None = None
    """File that holds the DSN instead, so that the password stays out of the settings file."""

    database_connections_min: PositiveInt = 1
    """Connections that are kept open while the node is idle."""

    database_connections_max: PositiveInt = 10
    """Connections at most, of all workers together, beside the few of each that only look handles up (reads.py); a
    two-core database is saturated by about this many."""

    node_key_file: Path | None = None
    """Keys that seal values without public-read and personal data, mode 0600; default `data_dir`/node.key. Made at the
    first start; rotated with `handlegrid nodekey`."""

    case_sensitive: bool = False
    """Whether suffixes that differ only in the case of ASCII letters are different names (PROTOCOL §1.2).
    It decides the storage keys: never change it once handles are stored."""

    template_delimiter: Annotated[str, Meta(max_length=16)] = ""
    """What parts a name that is not stored in base and extension, below prefixes whose template names no delimiter. A
    prefix without a template then answers for every extension with the values of the base; empty: it answers 100."""

    plain_http_credentials: Literal["refuse", "loopback"] = "refuse"
    """Who may send a password over HTTP without TLS: nobody, or peers on a loopback address only."""

    server_admins: tuple[Annotated[str, Meta(pattern=IDENTITY_PATTERN)], ...] = ()
    """Administrators of the node itself, as index:handle, such as "300:88.100/ADMIN"; index 0 stands for any key of the
    handle. They have every right on every handle, home and unhome prefixes, and read the status. Nobody by default."""

    existence_before_challenge: bool = False
    """Whether who has proved nothing is told over the wire that a handle exists (101) or that what he would modify does
    not (100, 200), in the order of the documents; by default a challenge comes first."""

    refuse_sessionless_writes: bool = False
    """Whether writes outside sessions and logins get 403 in place of a challenge. IDIS clients take a challenge for
    success; CNRI's need it."""

    udp_administration: bool = False
    """Whether the site record offers administration over UDP too, beside TCP and HTTP."""

    authentication_version_min: Annotated[str, Meta(pattern=VERSION_PATTERN)] = "2.1"
    """Protocol version below which no proof is believed; before 2.1 it is a bare MD5, before 2.7 one of SHA-1."""

    secret_key_answers: tuple[SecretAnswer, ...] = ("pbkdf2-hmac-sha1", "sha1")
    """Forms of answers by secret key that are believed. Clients since 2.7 answer by PBKDF2, older ones by SHA-1."""

    public_key_hashes: tuple[Literal["sha-256", "sha-1"], ...] = ("sha-256", "sha-1")
    """Hashes that an answer by public key may be signed with. Clients before 2.7 know SHA-1 alone."""

    dsa_answers: bool = False
    """Whether answers by DSA keys are believed; by default RSA alone."""

    pbkdf2_iterations_max: Annotated[int, Meta(ge=10_000, le=1_000_000)] = 100_000
    """Iterations that an answer by secret key may ask of us; clients ask for 10,000, which takes five milliseconds."""

    verification_threads: Annotated[int, Meta(ge=1, le=64)] = 2
    """Threads of each worker that check proofs of identity; what they do not manage waits, each source network by
    turns."""

    default_ttl_s: Annotated[int, Meta(ge=0, le=172_800)] = 86_400
    """TTL of a value that is registered without one; clients never keep a value longer than two days."""

    session_idle_max_s: Annotated[int, Meta(ge=10, le=86_400)] = 3_600
    """Seconds that a session of the Handle protocol lives unused at most; clients may ask for less. Deployed servers
    allow a day. An hour, since the key that opened a session may be withdrawn meanwhile, and clients set up a new one
    without being told."""

    session_source: Literal["address", "network", "any"] = "address"
    """From where the messages of a session are taken: the address that set it up; its network, IPv4 /24 or IPv6 /56,
    for clients behind a translator with several addresses; or anywhere."""

    statistics_interval_s: Annotated[float, Meta(gt=0, le=3_600)] = 5.0
    """Seconds between two writes of the day's counters; what a crash can lose of them."""

    statistics_sources_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000
    """Source networks counted per day; the rest is counted together as `other`."""

    statistics_utc_offset_s: Annotated[int, Meta(ge=-50_400, le=50_400)] = 0
    """Where the counted day begins, in seconds east of Greenwich: 28800 for China Standard Time."""

    open_networks: tuple[OpenNetwork, ...] = ()
    """Private networks in which the nodes of our prefixes may stand, each for named prefixes only; none by default."""

    root_site_file: Path | None = None
    """Root bundle, from which keys and groups of other nodes are found; read again when it changes. Without one, only
    administrators whose keys are stored here can prove who they are."""

    unsigned_prefixes: tuple[str, ...] = ()
    """Prefixes whose services are believed without a signature when keys are looked up, such as ["88.7"]; "0.NA" for
    the root service. Whoever stands between us and such a service can be anybody; none by default."""

    prefix_rules: tuple[PrefixRule, ...] = ()
    """Rules for the labels of prefixes that this node allocates; a rule here replaces the usual one of its level."""

    prefix_labels_reserved: tuple[str, ...] = ()
    """Labels that nobody is given, beside the usual ones (admin, root, test and the like)."""

    prefix_quarantine_days: Annotated[int, Meta(ge=0, le=36_500)] = 365
    """Days after its revocation before a prefix may be given to anybody again: its labels are still on products."""

    delegation_ttl_s: Annotated[int, Meta(ge=1, le=86_400)] = 3_600
    """TTL of the records by which prefixes are allocated: for so long others may not notice that one was suspended or
    has moved. Shorter costs more look-ups here."""

    reverse_lookup: Literal["off", "authenticated", "open"] = "off"
    """Who may search for handles by their values: nobody, whoever proves an identity of this node, or everybody.
    Searching tells which handles there are, and every registration pays for it: so it is off by default."""

    reverse_lookup_types: tuple[str, ...] = ("URL", "CHECKSUM")
    """Types whose public values are found, as deployed clients search for them by default. Values of people (EMAIL)
    are not: anybody could ask for all of them. After a change run `handlegrid lookups build`."""

    audit_checkpoints_file: Path | None = None
    """File to which heads of the audit chain are appended, default `data_dir`/audit.heads. It shows a chain that was
    made anew in the database; on another machine or medium it also shows that to who can write this host's disks."""

    audit_checkpoint_interval_s: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    """Seconds between two checkpoints; how much of the chain's end could be cut off unseen."""

    def checkpoints_file(self) -> Path:
        """Return the path of the audit's checkpoints."""
        return self.audit_checkpoints_file or self.data_dir / "audit.heads"

    peers_interval_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    """Seconds between two looks at what is to be done with other nodes: moves, applications, messages."""

    heartbeat_interval_s: Annotated[float, Meta(ge=1, le=86_400)] = 60.0
    """Seconds between two messages to the node above that this one is alive, and where."""

    def dsn(self) -> str:
        """Return the DSN of the database, from the file when there is one.

        Raises SettingsError when the file cannot be read or is empty.
        """
        if self.database_file is None:
            return self.database
        return read_secret("database_file", self.database_file)

    def sealing_key_file(self) -> Path:
        """Return the path of the node key."""
        return self.node_key_file or self.data_dir / "node.key"

    def lookups(self) -> LookupTypes:
        """Return the types whose values are written down so that handles are found by them; none while it is off."""
        return LookupTypes.of(() if self.reverse_lookup == "off" else self.reverse_lookup_types)

    def home_prefixes(self) -> tuple[Prefix, ...]:
        """Return the prefixes of `homes`, in their order."""
        return tuple(Prefix.parse(home) for home in self.homes)

    def share(self, workers: int) -> Self:
        """Return the settings of one of so many workers; see ListenSettings."""
        return msgspec.structs.replace(
            super().share(workers),
            database_connections_min=part_of(self.database_connections_min, workers),
            database_connections_max=part_of(
                self.database_connections_max, workers, at_least=CONNECTIONS_SHARE_MIN
            ),
        )

    def faults(self) -> list[str]:
        """Return what is wrong across fields, one sentence each with key and remedy; empty when all is well."""
        return [
            *super().faults(),
            *_database_faults(self),
            *_home_faults(self),
            *_allocation_faults(self),
            *_lookup_faults(self),
        ]


def load_registry_settings(
    path: Path | None, environment: Mapping[str, str] = os.environ
) -> RegistrySettings:
    """Load and check the settings of a registry node.

    path: the TOML file; None for the environment alone.
    Raises SettingsError that names every fault at once, with file and key.
    """
    return load_settings(path, TABLE, RegistrySettings, environment)


def _database_faults(settings: RegistrySettings) -> list[str]:
    faults = []
    if bool(settings.database) == (settings.database_file is not None):
        faults.append("database: set either `database` (a DSN) or `database_file`, not both and not neither")
    if settings.database and not settings.database.startswith(("postgresql://", "postgres://")):
        faults.append("database: must begin with postgresql://, as in postgresql://handlegrid@/handlegrid")
    if settings.database_connections_min > settings.database_connections_max:
        faults.append("database_connections_min: must not exceed database_connections_max")
    return faults


def _home_faults(settings: RegistrySettings) -> list[str]:
    faults = [] if settings.homes else ['homes: name at least one prefix, such as ["88.100"]']
    for home in settings.homes:
        try:
            Prefix.parse(home)
        except InvalidHandle as error:
            faults.append(f"homes: {error}")
    return faults


def _allocation_faults(settings: RegistrySettings) -> list[str]:
    faults = []
    for network in settings.open_networks:
        try:
            ip_network(network.network)
        except ValueError as error:
            faults.append(f"open_networks: {network.network!r} is no network such as 10.0.0.0/8: {error}")
        if not network.prefixes:
            faults.append(
                f'open_networks: {network.network} names no prefixes; write ["88"], or ["*"] for all'
            )
        faults += [
            f"open_networks: {name!r} is no prefix" for name in network.prefixes if not _is_prefix(name)
        ]
    faults += [
        f"unsigned_prefixes: {name!r} is no prefix; each level is named by itself"
        for name in settings.unsigned_prefixes
        if name == EVERY_PREFIX or not _is_prefix(name)
    ]
    for rule in settings.prefix_rules:
        try:
            re.compile(rule.pattern, re.ASCII)
        except re.error as error:
            faults.append(
                f"prefix_rules: level {rule.level}: {rule.pattern!r} is no regular expression: {error}"
            )
    return faults


def _lookup_faults(settings: RegistrySettings) -> list[str]:
    faults = []
    for name in settings.reverse_lookup_types:
        if not 0 < len(name.encode()) <= MAX_TYPE_OCTETS:
            faults.append(f"reverse_lookup_types: {name!r} is no type: it has 1 to {MAX_TYPE_OCTETS} octets")
        if name.upper() == "HS_SECKEY":
            faults.append("reverse_lookup_types: HS_SECKEY holds secrets, which nobody may search for")
    if settings.reverse_lookup != "off" and not settings.reverse_lookup_types:
        faults.append('reverse_lookup_types: name at least one type, such as ["URL"]')
    return faults


def _is_prefix(name: str) -> bool:
    try:
        return name == EVERY_PREFIX or bool(Prefix.parse(name))
    except InvalidHandle:
        return False
