"""What every operation works with, and the questions that all of them ask: keys, rights, groups, announcements."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.codes import ResponseCode
from protocol.generations import Generations
from protocol.handle import ROOT_PREFIX_OCTETS, Handle
from protocol.site import InterfaceProtocol, Server, Site
from protocol.value import ValueList
from protocol.valuetypes import AdminPermission
from protocol.valuetypes.hs_site import BELOW_TYPES
from registry.authenticate import named_by_group
from registry.authority import BelowHome, Homed, Place, locate
from registry.elsewhere import Elsewhere, GroupElsewhere
from registry.outcomes import Actor, Anybody, Identity, Operator, Principal
from registry.permission import Grant, Need, Reference, is_granted, names
from registry.prefixes import (
    Prefixes,
    PrefixRow,
    PrefixStatus,
    PrefixTable,
    authorising_prefix,
    subject_key,
)
from registry.record import Refusal, Values, parse_stored
from registry.seal import Sealer
from registry.store import Store
from registry.writing import Row

RECORD_KEY_START: Final = ROOT_PREFIX_OCTETS + b"/"
"""What the keys of prefix records begin with."""
RETIRED: Final = "the handle is retired for good and does not change any more"


class Reader(Protocol):
    """Reads rows: the store, each time on a connection of its own, or a transaction on that of its own."""

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """The rows of those handles that have one."""

    async def prefix_rows(self, keys: Sequence[bytes]) -> dict[bytes, PrefixRow]:
        """What the node knows of those folded prefixes of which it knows anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts of one node that its operations share."""

    store: Store
    prefixes: Prefixes
    sealer: Sealer
    generations: Generations
    wall_clock: Callable[[], float]
    case_sensitive: bool = False
    on_limit: Callable[[str], None] | None = None
    """Told which named limit a question met."""
    server_admins: frozenset[Reference] = frozenset()
    """Administrators of the node itself, who have every right on every handle; index 0 stands for any."""
    elsewhere: Elsewhere | None = None
    """Finds keys and groups of other nodes; None for a node that knows its own alone."""

    def key_of(self, handle: Handle) -> bytes:
        """The storage key of a handle under this node's case rule."""
        return handle.fold(case_sensitive=True) if self.case_sensitive else handle.key

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return int(self.wall_clock() * 1_000)

    def values_of(self, row: Row) -> Values:
        """Every value of a row by index, restricted data in the clear. Raises SealBroken."""
        values = parse_stored(row.public)
        if row.restricted_count:
            opened = self.sealer.open(row.key, row.restricted)
            values.update((int.from_bytes(value[:4], "big"), value) for value in opened)
        return values

    async def read_record(self, handle: Handle, reader: Reader | None = None) -> Values | None:
        """Every value of a handle that is stored here and in force, or None.

        None too for what was left behind when its prefix was homed no more: what is true of it is elsewhere.
        """
        source, key = reader or self.store, self.key_of(handle)
        row = (await source.find([key])).get(key)
        if row is None or not row.in_force:
            return None
        table = await self.prefixes.around(handle, source.prefix_rows)
        return self.values_of(row) if isinstance(locate(handle, table.homed), Homed | BelowHome) else None

    async def is_allowed(
        self,
        actor: Actor,
        need: Need,
        record: Sequence[Grant],
        prefix: Sequence[Grant],
        reader: Reader,
        *,
        held: PrefixRow | None = None,
    ) -> bool:
        """Whether the actor has the rights that one alternative needs, directly or as a member of a group.

        held: what is known of the handle's own prefix, by which a principal has rights.
        """
        if isinstance(actor, Operator):
            return True
        if isinstance(actor, Principal):
            return holds(actor, held, need.record | need.prefix)
        if isinstance(actor, Anybody):
            return not (need.record | need.prefix)
        sides = ((need.record, record), (need.prefix, prefix))
        is_named = await self._names(actor, reader)
        if self._is_server_admin(is_named) or all(
            is_granted(rights, grants, is_named) for rights, grants in sides
        ):
            return True
        groups = await self._groups_of(actor, [*record, *prefix], reader)
        if not groups:
            return False
        return all(
            is_granted(rights, grants, lambda reference: is_named(reference) or reference in groups)
            for rights, grants in sides
        )

    async def is_administrator(
        self, actor: Actor, record: Sequence[Grant], reader: Reader, *, held: PrefixRow | None = None
    ) -> bool:
        """Whether any grant of the record names the actor, directly or as a member of a group."""
        if isinstance(actor, Operator):
            return True
        if isinstance(actor, Principal):
            return holds(actor, held, AdminPermission(0))
        if isinstance(actor, Anybody):
            return False
        is_named = await self._names(actor, reader)
        if self._is_server_admin(is_named):
            return True
        if any(grant.rights and is_named(grant.administrator) for grant in record):
            return True
        return bool(await self._groups_of(actor, [grant for grant in record if grant.rights], reader))

    async def is_server_admin(self, actor: Actor) -> bool:
        """Whether somebody is an administrator of the node itself, or its operator."""
        if isinstance(actor, Identity):
            return self._is_server_admin(await self._names(actor, self.store))
        return isinstance(actor, Operator)

    def _is_server_admin(self, is_named: Callable[[Reference], bool]) -> bool:
        return any(is_named(reference) for reference in self.server_admins)

    async def _groups_of(
        self, identity: Identity, grants: Sequence[Grant], reader: Reader
    ) -> frozenset[Reference]:
        async def read_group(handle: Handle) -> Values | None:
            return await self._read_group(handle, reader)

        return await named_by_group(await self._names(identity, reader), grants, read_group)

    async def _names(self, identity: Identity, reader: Reader) -> Callable[[Reference], bool]:
        """A test whether a reference names this identity.

        The suffix of one whose key another node holds counts as it is spelled: that node may tell names apart by case.
        """
        exact = self.case_sensitive or not await self.is_homed(identity.handle, reader)
        return names(identity, case_sensitive=exact)

    async def is_homed(self, handle: Handle, reader: Reader | None = None) -> bool:
        """Whether what is not stored here of a handle does not exist anywhere; never asks another node."""
        if self.elsewhere is None:
            return True
        table = await self.prefixes.around(handle, (reader or self.store).prefix_rows)
        return isinstance(locate(handle, table.homed), Homed)

    async def _read_group(self, handle: Handle, reader: Reader) -> Values | None:
        """The record that holds a group; that of a prefix of ours may be known by its authorisation copy alone.

        Raises GroupElsewhere for one of another node that is not known yet, within a transaction.
        """
        if handle.is_prefix_record:
            subject = handle.key[len(RECORD_KEY_START) :]
            copy = (await self.prefixes.around(handle, reader.prefix_rows)).authorisation(subject)
            if copy is not None:
                return parse_stored(copy)
        record = await self.read_record(handle, reader)
        if record is not None or self.elsewhere is None or await self.is_homed(handle, reader):
            return record
        if reader is self.store:
            await self.elsewhere.learn_group(handle)
        known = self.elsewhere.remembered(handle)
        if known is None:
            raise GroupElsewhere(handle)
        return known

    async def prefix_values(self, handle: Handle, table: PrefixTable, reader: Reader) -> ValueList | None:
        """The record 0.NA/P that says who may create the handle: our copy, or the record if it is stored here."""
        prefix = authorising_prefix(handle)
        copy = table.authorisation(prefix)
        if copy is not None:
            return copy
        record = RECORD_KEY_START + prefix
        row = (await reader.find([record])).get(record)
        return row.public if row is not None and row.in_force else None

    def announce(self, keys: Sequence[bytes], prefixes: Collection[bytes] = ()) -> None:
        """Let every process of this host know what has changed; after the commit, before the answer.

        keys: storage keys. prefixes: folded; every cached answer below them ends, and what was read of them.
        A prefix record ends what was read of its prefix too.
        """
        folded = [key.upper() for key in keys] if self.case_sensitive else keys
        start = len(RECORD_KEY_START)
        subjects = [key[start:] for key in folded if key.startswith(RECORD_KEY_START)]
        self.generations.bump(folded, [*subjects, *prefixes])


def holds(principal: Principal, held: PrefixRow | None, needed: AdminPermission) -> bool:
    """Whether a principal has these rights on the handles of a prefix: its organisation holds the prefix."""
    return (
        held is not None
        and held.organisation == principal.organisation
        and (principal.prefixes is None or held.key in principal.prefixes)
        and not needed & ~principal.rights
    )


def check_place(handle: Handle, place: Place) -> None:
    """Raises Refusal (301) unless the handle belongs on this node."""
    if not isinstance(place, Homed | BelowHome):
        slashless = "" if b"/" in handle.octets else ": without a slash it names a prefix itself"
        raise Refusal(
            ResponseCode.SERVER_NOT_RESPONSIBLE, f"this node does not home the prefix of {handle}{slashless}"
        )


def check_homed(handle: Handle, table: PrefixTable) -> Place:
    """Where the handle stands. Raises Refusal: 301 unless it belongs on this node, with the new place if it moved."""
    place = locate(handle, table.homed)
    row = None if handle.is_prefix_record else table.rows.get(handle.prefix.key)
    if row is not None and row.moved is not None and not row.homed:
        raise Refusal(
            ResponseCode.SERVER_NOT_RESPONSIBLE,
            f"the prefix {handle.prefix} has moved to another node: {_addresses(row.moved)}; write there",
        )
    check_place(handle, place)
    return place


def check_writable(handle: Handle, table: PrefixTable, by: Actor, *, moving: bool = False) -> None:
    """Raises Refusal when nobody, or nobody but the operator, may write below the handle's prefix now.

    moving: whether it is the move itself, for which the prefix is frozen, that writes.
    """
    if handle.is_prefix_record:
        _check_record_writable(handle, table, by)
        return
    row = table.rows.get(handle.prefix.key)
    if row is None:
        return
    if row.frozen and not moving:
        raise Refusal(
            ResponseCode.SERVER_BACKUP, f"the prefix {handle.prefix} is moving; write again in a few seconds"
        )
    if row.status is not PrefixStatus.ACTIVE and not isinstance(by, Operator):
        raise Refusal(ResponseCode.ACCESS_DENIED, f"the prefix {handle.prefix} is {row.status_text}")


def _check_record_writable(handle: Handle, table: PrefixTable, by: Actor) -> None:
    """Raises Refusal when an administrator would undo what was decided about a prefix by writing its record.

    The record names its holder as administrator. Where this node hosts the prefix, the holder could otherwise lift a
    suspension, let any address serve the prefix, or make prefixes below it that nobody has allocated.
    """
    if not isinstance(by, Identity | Anybody):
        return
    own = table.rows.get(by.handle.prefix.key) if isinstance(by, Identity) else None
    if own is not None and own.organisation is not None:
        raise Refusal(
            ResponseCode.ACCESS_DENIED,
            "the record of a prefix is written by who allocates it, not by its holder",
        )
    subject = table.rows.get(subject_key(handle))
    if subject is not None and subject.status is not PrefixStatus.ACTIVE:
        raise Refusal(ResponseCode.ACCESS_DENIED, f"the prefix is {subject.status_text}")


def _addresses(sites: ValueList) -> str:
    """Where sites are, for a person."""
    servers = [server for value in sites for server in Site.decode(value.data).servers]
    return ", ".join(sorted({_address(server) for server in servers}))


def _address(server: Server) -> str:
    """Where a server is, and the port of its API."""
    web = (InterfaceProtocol.HTTP, InterfaceProtocol.HTTPS)
    port = next((interface.port for interface in server.interfaces if interface.protocol in web), None)
    return str(server.ip) if port is None else f"{server.ip} (HTTP port {port})"


def delegating(rows: dict[bytes, Row], records: Iterable[Handle]) -> ValueList | None:
    """The public delegation values of the first of these prefix records that delegates, or None."""
    for record in records:
        row = rows.get(record.key)
        if row is not None and row.in_force:
            values = row.public.select(types=BELOW_TYPES)
            if values.count:
                return values
    return None
