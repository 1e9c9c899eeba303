"""A node without listeners: its database, its keys and its operations, opened from the node's settings.

The daemon puts listeners in front of it; commands on the node's host (import, prefix) use it as it is.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from protocol.generations import Generations
from protocol.site import Site
from registry.elsewhere import Elsewhere
from registry.initialise import GENERATIONS_FILE, NodeSettings, initialise
from registry.operations import Operations
from registry.outcomes import Identity
from registry.prefixes import Prefixes
from registry.reads import WAITING_READS
from registry.seal import Sealer
from registry.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What an open node consists of."""

    site: Site
    """Our own site record."""
    store: Store
    prefixes: Prefixes
    generations: Generations
    """Shared with every process that has opened the same node on this host."""
    operations: Operations


@asynccontextmanager
async def open_node(
    settings: NodeSettings,
    *,
    unsafe: bool = False,
    on_wait: Callable[[float], None] | None = None,
    on_limit: Callable[[str], None] | None = None,
    wall_clock: Callable[[], float] = time.time,
    elsewhere: Elsewhere | None = None,
) -> AsyncIterator[Node]:
    """Initialise the node where that is not done yet, and open it for the duration of the block.

    unsafe: accept a database that may lose acknowledged writes in a crash.
    on_wait: see Store.open. on_limit: told of every request that met a named limit. elsewhere: finds keys and groups of
        other nodes; it stays the caller's.
    Raises SettingsError (what to change) or StoreUnavailable (the database does not answer).
    """
    site = await initialise(settings, unsafe=unsafe, wall_clock=wall_clock)
    store = await Store.open(
        settings.dsn(),
        connections_min=settings.database_connections_min,
        connections_max=settings.database_connections_max,
        unsafe=unsafe,
        on_wait=on_wait,
        on_busy=partial(on_limit, WAITING_READS) if on_limit else None,
        lookups=settings.lookups(),
    )
    generations = Generations(settings.data_dir / GENERATIONS_FILE)
    try:
        prefixes = Prefixes(store.prefix_rows, generations, template_delimiter=settings.template_delimiter)
        operations = Operations(
            store=store,
            prefixes=prefixes,
            sealer=Sealer.of_file(settings.sealing_key_file()),
            generations=generations,
            wall_clock=wall_clock,
            case_sensitive=settings.case_sensitive,
            on_limit=on_limit,
            elsewhere=elsewhere,
            server_admins=map(Identity.parse, settings.server_admins),
        )
        yield Node(site=site, store=store, prefixes=prefixes, generations=generations, operations=operations)
    finally:
        await store.close()
        generations.close()
