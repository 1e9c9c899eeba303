"""Delegation: a parent's node allocates a prefix, and the child's node takes it over.

Allocating writes the child's prefix record, which makes it resolvable, and gives an authorisation copy of it; the copy
travels as a file, and accepting it homes the prefix on the child's node.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from protocol.codes import ResponseCode
from protocol.errors import HandleError, SettingsError
from protocol.handle import Handle, Prefix
from protocol.jsonform import record_to_json, values_from_json
from protocol.site import Site
from protocol.value import HandleValue, ValueList
from registry.allocation.commands import delegate
from registry.allocation.terms import QUARANTINE, TTL_S
from registry.homing import home_prefix
from registry.initialise import administrator_of
from registry.operations import Operations
from registry.outcomes import COMMAND, Identity, Origin
from registry.problem_types import ApiProblem
from registry.record import Refusal, stamp_octets, take_in
from registry.transaction import Transaction

FILE_KIND: Final = "handlegrid-authorisation"
FILE_VERSION: Final = 1
FILE_OCTETS_MAX: Final = 1_048_576  # a record of a full message in JSON stays below


class AllocationRefused(HandleError):
    """The node cannot allocate the prefix; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorisation:
    """The record of a prefix as its parent hands it over."""

    prefix: Prefix
    values: ValueList
    is_new: bool = field(default=False, compare=False)
    """Whether the allocation made the record, instead of renewing it; the file does not tell."""


async def allocate(
    operations: Operations,
    prefix: Prefix,
    site: Site,
    *,
    administrator: Identity | None = None,
    ttl_s: int = TTL_S,
    quarantine: timedelta = QUARANTINE,
) -> Authorisation:
    """Delegate a prefix below ours to the site of its node, or renew the delegation with a changed site.

    The record then names the site in HS_SITE (who serves its handles) and HS_SITE.PREFIX (who serves the prefixes
    below), HS_ADMIN and a group of administrators (HS_VLIST); a record that exists keeps its other values.
    administrator: who may do everything with the prefix; default 300:<prefix>/ADMIN.
    ttl_s, quarantine: as the node's settings say.
    Returns what the child's node needs. Raises AllocationRefused, StoreUnavailable.
    """
    try:
        async with operations.transaction(COMMAND) as transaction:
            is_new = await delegate(
                transaction,
                prefix,
                site,
                administrator=administrator or administrator_of(prefix),
                ttl_s=ttl_s,
                quarantine=quarantine,
            )
            stored = (await transaction.writing.find([prefix.record.key]))[prefix.record.key]
    except ApiProblem as problem:
        raise AllocationRefused(f"cannot allocate {prefix}: {problem.detail}") from None
    return Authorisation(prefix=prefix, values=stored.public, is_new=is_new)


def check_addressee(authorisation: Authorisation, own: Site) -> None:
    """Raises SettingsError when the parent delegated the prefix to another node than ours.

    own: the node's site. A node is told by its server key; where the record names none, anybody may accept it.
    """
    sites = [Site.decode(value.data) for value in authorisation.values.select((), ("HS_SITE",))]
    servers = [server for site in sites for server in site.servers]
    keys = {server.public_key for server in servers}
    if not keys or b"" in keys or keys & {server.public_key for server in own.servers}:
        return
    places = ", ".join(sorted({str(server.ip) for server in servers}))
    fault = (
        f"{authorisation.prefix} is delegated to another node, the one at {places}: accept it there, or let the "
        "parent allocate it to this node"
    )
    raise SettingsError([fault])


async def accept(operations: Operations, authorisation: Authorisation, *, origin: Origin = COMMAND) -> bool:
    """Home the prefix on this node with its authorisation copy, or renew the copy; whether it was new here."""
    async with operations.transaction(origin) as transaction:
        return await accept_in(transaction, authorisation)


async def accept_in(transaction: Transaction, authorisation: Authorisation) -> bool:
    """Do the same in a transaction that does more."""
    prefix = authorisation.prefix
    row = await transaction.prefix_row(prefix.key)
    if row is not None and row.homed:
        if row.authorisation != authorisation.values:
            await transaction.save_prefix(replace(row, authorisation=authorisation.values))
            transaction.audit("prefix.renew", str(prefix))
        return False
    await home_prefix(transaction, prefix, authorisation.values)
    return True


def write_authorisation(path: Path, authorisation: Authorisation) -> None:
    """Write the file that the child's node accepts: the record as JSON, with kind and version. Raises SettingsError."""
    record = record_to_json(ResponseCode.SUCCESS, authorisation.prefix.record, values=authorisation.values)
    form = {"kind": FILE_KIND, "version": FILE_VERSION, "prefix": str(authorisation.prefix), "record": record}
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    try:
        fresh.write_text(json.dumps(form, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise SettingsError([f"cannot write {path}: {error.strerror}"]) from None


def read_authorisation(path: Path) -> Authorisation:
    """Read what write_authorisation wrote. Raises SettingsError, with what is wrong, for anything else."""
    form = _read_json(path)
    if not isinstance(form, dict) or form.get("kind") != FILE_KIND:
        raise SettingsError([f"{path}: is no authorisation file; `handlegrid prefix allocate` writes one"])
    if form.get("version") != FILE_VERSION:
        raise SettingsError(
            [f"{path}: has version {form.get('version')!r}; this program reads {FILE_VERSION}"]
        )
    try:
        return _authorisation(form)
    except (HandleError, Refusal) as error:
        raise SettingsError([f"{path}: {error}"]) from None


def _read_json(path: Path) -> object:
    try:
        with path.open("rb") as file:
            octets = file.read(FILE_OCTETS_MAX + 1)
    except OSError as error:
        raise SettingsError([f"cannot read {path}: {error.strerror}"]) from None
    if len(octets) > FILE_OCTETS_MAX:
        raise SettingsError([f"{path}: is larger than {FILE_OCTETS_MAX} octets"])
    try:
        return json.loads(octets)
    except (ValueError, RecursionError):
        raise SettingsError([f"{path}: is no JSON"]) from None


def _authorisation(form: dict[str, Any]) -> Authorisation:
    record = form.get("record")
    name, spelled = form.get("prefix"), record.get("handle") if isinstance(record, dict) else None
    if not isinstance(name, str) or not isinstance(spelled, str):
        raise SettingsError(["`prefix` and `record.handle` must be texts"])
    prefix = Prefix.parse(name)
    if Handle.parse(spelled) != prefix.record:
        raise SettingsError([f"the record is that of {spelled}, not of {prefix.record}"])
    return Authorisation(prefix=prefix, values=_checked(values_from_json(record)))


def _checked(values: Sequence[HandleValue]) -> ValueList:
    listed = ValueList.of(values)
    _, administered = take_in(listed, stamp_octets(0))
    if not administered:
        raise SettingsError(["the record names no administrator (HS_ADMIN)"])
    return listed.sorted()
