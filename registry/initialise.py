"""Initialisation: make of an empty database and an empty directory a node that can serve; safe to repeat.

Everything happens under the lock of the migrations, so that two starters do not make two keys. Files come before the
rows that depend on them: a crash in between is repaired by the next start.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import asyncpg

from protocol.errors import SettingsError
from protocol.generations import Generations
from protocol.handle import ROOT_PREFIX_OCTETS, Handle, Prefix
from protocol.runtime.server_key import make_server_key, public_key_of
from protocol.site import Site, single_server_site
from protocol.value import SECRET_PERMISSIONS, HandleValue, ValueList
from registry.database import check_connection
from registry.homing import admin_value, home_prefix
from registry.lookup_facts import note_types
from registry.lookups import LookupTypes
from registry.migrate import migrate, migration_lock
from registry.node_keys import load_node_keys, make_node_keys
from registry.operations import Operations
from registry.outcomes import COMMAND, OPERATOR, Creation, Identity, Rejected, Result
from registry.own_site import next_serial
from registry.prefixes import Prefixes
from registry.seal import SealBroken, Sealer
from registry.secret_files import make_secret
from registry.store import ACQUIRE_WAIT_S, Store, outages

ADMIN_SECRET_FILE: Final = "admin.secret"  # noqa: S105 - a file name
GENERATIONS_FILE: Final = "generations"
SERVER_KEY_FILE: Final = "server.key"
ADMIN_SUFFIX: Final = b"/ADMIN"
ADMIN_INDEX: Final = 300
"""Where the key of an administrator record stands by custom."""
SITE_INDEX: Final = 1
_SITE_FACT: Final = "site"
KEY_CHECK_FACT: Final = "node_key_check"
"""Fact of the node by which a wrong key file is noticed at the start: KEY_CHECK under seal."""
KEY_CHECK: Final = b"handlegrid node key"


class NodeSettings(Protocol):
    """What initialising and opening a node takes from its settings."""

    @property
    def data_dir(self) -> Path:
        """Directory of the node's own files."""

    @property
    def database_connections_min(self) -> int:
        """Database connections kept open."""

    @property
    def database_connections_max(self) -> int:
        """Database connections at most."""

    @property
    def case_sensitive(self) -> bool:
        """Whether suffixes that differ in the case of ASCII letters are different names."""

    @property
    def template_delimiter(self) -> str:
        """What parts names that templates make, where no template says."""

    @property
    def server_admins(self) -> Sequence[str]:
        """Administrators of the node itself, as index:handle."""

    @property
    def udp_administration(self) -> bool:
        """Whether administration is offered over UDP."""

    @property
    def description(self) -> str:
        """Text for the site record."""

    @property
    def handle_port(self) -> int:
        """Port of UDP and TCP; 0 for none."""

    @property
    def http_port(self) -> int:
        """Port of HTTP; 0 for none."""

    @property
    def tls_certificate_file(self) -> Path | None:
        """Set when HTTP also speaks TLS."""

    def dsn(self) -> str:
        """Where the database is."""

    def sealing_key_file(self) -> Path:
        """Where the node key is."""

    def lookups(self) -> LookupTypes:
        """Types whose values are written down so that handles are found by them."""

    def published_addresses(self) -> tuple[str, ...]:
        """Literal addresses for the site record."""

    def home_prefixes(self) -> tuple[Prefix, ...]:
        """Prefixes that the node homes from the beginning."""


async def initialise(
    settings: NodeSettings, *, unsafe: bool = False, wall_clock: Callable[[], float] = time.time
) -> Site:
    """Bring database, keys, homed prefixes, administrator record and site record to what the settings say.

    Returns our site record; its serial number is one higher whenever anything else in it has changed.
    Raises SettingsError (what to change) or StoreUnavailable.
    """
    _make_directory(settings.data_dir)
    with outages():
        connection = await asyncpg.connect(settings.dsn(), timeout=ACQUIRE_WAIT_S)
        try:
            await check_connection(connection, unsafe=unsafe)
            async with migration_lock(connection):
                await migrate(connection)
                return await _initialise_locked(settings, unsafe=unsafe, wall_clock=wall_clock)
        finally:
            await connection.close(timeout=ACQUIRE_WAIT_S)


async def _initialise_locked(
    settings: NodeSettings, *, unsafe: bool, wall_clock: Callable[[], float]
) -> Site:
    store = await Store.open(settings.dsn(), connections_max=2, unsafe=unsafe, lookups=settings.lookups())
    generations = Generations(settings.data_dir / GENERATIONS_FILE)
    try:
        is_new = await store.fact(KEY_CHECK_FACT) is None
        await note_types(store, settings.lookups(), is_new=is_new)
        sealer = await _open_sealer(store, settings.sealing_key_file())
        homes = settings.home_prefixes()
        administrator = administrator_of(homes[0])
        operations = Operations(
            store=store,
            prefixes=Prefixes(store.prefix_rows, generations),
            sealer=sealer,
            generations=generations,
            wall_clock=wall_clock,
            case_sensitive=settings.case_sensitive,
        )
        await _home(operations, homes, administrator)
        await _create_administrator(store, operations, administrator, settings.data_dir / ADMIN_SECRET_FILE)
        site = await _publish_site(store, settings)
        if any(home.key == ROOT_PREFIX_OCTETS for home in homes):
            await _publish_root(operations, site, administrator)
        return site
    finally:
        await store.close()
        generations.close()


def administrator_of(prefix: Prefix) -> Identity:
    """The administrator of the node whose first home is this prefix: 300:<prefix>/ADMIN."""
    return Identity(index=ADMIN_INDEX, handle=Handle(prefix.octets + ADMIN_SUFFIX))


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError([f"data_dir: cannot make {path}: {error.strerror}"]) from None


async def _open_sealer(store: Store, path: Path) -> Sealer:
    """The sealer of this node; a new database gets a new node key, any other only opens with the key it knows."""
    check = await store.fact(KEY_CHECK_FACT)
    if check is None:
        sealer = Sealer(make_node_keys(path))
        await store.put_fact(KEY_CHECK_FACT, sealer.seal_octets(KEY_CHECK, KEY_CHECK))
        return sealer
    sealer = Sealer(load_node_keys(path))
    try:
        sealer.open_octets(KEY_CHECK, check)
    except SealBroken:
        raise SettingsError(
            [f"node_key_file: {path} is not the key that this database was sealed with"]
        ) from None
    return sealer


async def _home(operations: Operations, homes: Sequence[Prefix], administrator: Identity) -> None:
    """Home what is not homed yet; until a parent hands over its record, the node's administrator has all rights."""
    authorisation = ValueList.of([admin_value(administrator)])
    async with operations.transaction(COMMAND) as transaction:
        known = await transaction.writing.prefix_rows([prefix.key for prefix in homes])
        for prefix in homes:
            if prefix.key not in known:
                await home_prefix(transaction, prefix, authorisation)


async def _create_administrator(
    store: Store, operations: Operations, administrator: Identity, secret_file: Path
) -> None:
    """Create the administrator record with a fresh secret, unless there is or ever was one."""
    if await store.read(administrator.handle.key) is not None:
        return
    secret = HandleValue(
        index=administrator.index,
        type="HS_SECKEY",
        data=make_secret(secret_file),
        permissions=SECRET_PERMISSIONS,
    )
    values = ValueList.of([admin_value(administrator), secret])
    _expect(await operations.create([Creation(administrator.handle, values)], by=OPERATOR))


async def _publish_site(store: Store, settings: NodeSettings) -> Site:
    stored = await store.fact(_SITE_FACT)
    site = single_server_site(
        addresses=settings.published_addresses(),
        tcp_port=settings.handle_port,
        udp_port=settings.handle_port,
        http_port=settings.http_port,
        https=settings.tls_certificate_file is not None,
        primary=True,
        udp_administration=settings.udp_administration,
        public_key=public_key_of(make_server_key(settings.data_dir / SERVER_KEY_FILE)),
        description=settings.description,
    )
    if stored is not None:
        previous = Site.decode(stored)
        if replace(previous, serial=1) == replace(site, serial=1):
            return previous
        site = replace(site, serial=next_serial(previous.serial))
    await store.put_fact(_SITE_FACT, site.encode())
    return site


async def _publish_root(operations: Operations, site: Site, administrator: Identity) -> None:
    """The root's own prefix record 0.NA/0.NA, from which bundles are made, says where the root is."""
    record = Prefix(ROOT_PREFIX_OCTETS).record
    place = HandleValue(index=SITE_INDEX, type="HS_SITE", data=site.encode())
    put = await operations.put_values(record, ValueList.of([place]), by=OPERATOR)
    if isinstance(put, Rejected):
        values = ValueList.of([place, admin_value(administrator)])
        _expect(await operations.create([Creation(record, values)], by=OPERATOR))


def _expect(results: Sequence[Result]) -> None:
    for result in results:
        if isinstance(result, Rejected):
            raise SettingsError([f"homes: cannot write {result.handle}: {result.message}"])
