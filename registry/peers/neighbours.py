"""Neighbours as they are stored: nodes above, nodes below, and where they take requests."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from protocol.errors import WireError
from protocol.handle import Prefix
from protocol.site import Site
from registry.accounts.service import Accounts
from registry.allocation.routes import RouteRefused
from registry.allocation.service import Allocation
from registry.allocation.terms import Terms
from registry.operations import Operations
from registry.peers.exchange import (
    NodeClient,
    Peer,
    PeerUnreachable,
    place_of_url,
    places_of_site,
)
from registry.peers.node_key import NodeKey, key_id_of, key_of_site
from registry.plain_http import PlainHttpRule
from registry.store import Connection, Store

TEXT_MAX: Final = 1_000
"""Characters of a fault that are kept."""
_UPSTREAM: Final = "node, url, public_key, site, pinned, last_contact, fault, route_checked, route_fault"
_DOWNSTREAM: Final = (
    "node, number, public_key, site, offered_site, claim, organisation, state, reason, version, first_seen, last_seen,"
    " proved, probed, probe_fault"
)
_PIN: Final = """
    INSERT INTO upstream_nodes (node, url, public_key, site, pinned, last_contact) VALUES ($1, $2, $3, $4, $5, $5)
    ON CONFLICT (node) DO UPDATE SET url = excluded.url, site = excluded.site, last_contact = excluded.last_contact"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What every part of this package works with: this node, and how it speaks with others."""

    operations: Operations
    accounts: Accounts
    allocation: Allocation
    key: NodeKey
    site: Site
    client: NodeClient
    plain_http: PlainHttpRule
    utc_offset_s: int = 0
    """Where the days of reports begin, in seconds east of Greenwich."""

    @property
    def terms(self) -> Terms:
        """The rules by which this node allocates."""
        return self.allocation.terms

    @property
    def store(self) -> Store:
        """The node's database."""
        return self.operations.context.store

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self.operations.context.wall_clock(), UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A node above, whose key was pinned."""

    node: str
    url: str
    public_key: bytes
    site: bytes
    pinned: datetime
    last_contact: datetime | None
    fault: str
    route_checked: datetime | None
    route_fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Downstream:
    """A node below, which has proved that it holds its key."""

    node: str
    number: int
    public_key: bytes
    site: bytes
    offered_site: bytes | None
    claim: str | None
    organisation: str | None
    state: str
    reason: str
    version: str
    first_seen: datetime
    last_seen: datetime
    proved: datetime | None
    probed: datetime | None
    probe_fault: str | None


async def upstream(connection: Connection, node: str) -> Upstream | None:
    """A node above by its key id."""
    query = f"SELECT {_UPSTREAM} FROM upstream_nodes WHERE node = $1"  # noqa: S608 - columns of our own
    record = await connection.fetchrow(query, node)
    return None if record is None else Upstream(**record)


async def upstreams(connection: Connection) -> list[Upstream]:
    """Every node above; there are a handful at most."""
    query = f"SELECT {_UPSTREAM} FROM upstream_nodes ORDER BY pinned, node"  # noqa: S608
    return [Upstream(**record) for record in await connection.fetch(query)]


async def pin_upstream(
    connection: Connection, *, node: str, url: str, key: bytes, site: Site, now: datetime
) -> None:
    """Keep the key of a node above from the first contact on."""
    await connection.execute(_PIN, node, url, key, site.encode(), now)


async def note_site(connection: Connection, node: str, octets: bytes) -> None:
    """Keep where a node above says that it is; a site of another key, or none at all, is passed over."""
    try:
        same = key_id_of(key_of_site(Site.decode(octets))) == node
    except WireError:
        return
    if same:
        query = "UPDATE upstream_nodes SET site = $2 WHERE node = $1 AND site <> $2"
        await connection.execute(query, node, octets)


async def note_contact(connection: Connection, node: str, now: datetime, fault: str) -> None:
    """Note how the last attempt to reach a node above went. fault: empty when it went well."""
    query = """
        UPDATE upstream_nodes SET fault = $3, last_contact = CASE WHEN $3 = '' THEN $2 ELSE last_contact END
        WHERE node = $1"""
    await connection.execute(query, node, now, fault[:TEXT_MAX])


async def downstream(connection: Connection, node: str, *, lock: bool = False) -> Downstream | None:
    """A node below by its key id. lock: until the transaction ends."""
    query = f"SELECT {_DOWNSTREAM} FROM downstream_nodes WHERE node = $1"  # noqa: S608
    record = await connection.fetchrow(query + (" FOR UPDATE" if lock else ""), node)
    return None if record is None else Downstream(**record)


async def downstreams(
    connection: Connection, *, organisation: str | None, after: int, limit: int
) -> list[Downstream]:
    """Nodes below in the order in which they came. organisation: None for those of all."""
    condition, arguments = "number > $1", [after, limit]
    values: list[Any] = list(arguments)
    if organisation is not None:
        condition += " AND organisation = $3"
        values.append(organisation)
    query = f"SELECT {_DOWNSTREAM} FROM downstream_nodes WHERE {condition} ORDER BY number LIMIT $2"  # noqa: S608
    return [Downstream(**record) for record in await connection.fetch(query, *values)]


async def peer_above(home: Home, above: Upstream) -> Peer:
    """How to speak with a node above, whose URL our operator has named. Raises PeerUnreachable."""
    try:
        place = await place_of_url(above.url, rule=home.plain_http)
    except RouteRefused as error:
        raise PeerUnreachable(str(error)) from None
    return Peer(node=above.node, public_key=above.public_key, places=(place,))


def peer_below(home: Home, below: Downstream, prefix: Prefix, site: Site | None = None) -> Peer:
    """How to speak with a node below on behalf of a prefix. site: other than the stored one. Raises PeerUnreachable."""
    try:
        where = Site.decode(below.site) if site is None else site
        places = places_of_site(where, prefix, openings=home.terms.openings, rule=home.plain_http)
    except RouteRefused as error:
        raise PeerUnreachable(str(error)) from None
    return Peer(node=below.node, public_key=below.public_key, places=places)
