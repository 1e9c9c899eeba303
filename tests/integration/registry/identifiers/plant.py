"""A node that hosts prefixes for organisations, and short words for what tests do with their identifiers."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec

from protocol.handle import Handle, Prefix
from protocol.value import ValueList
from registry.accounts.roles import ROLE_RIGHTS, Caller, Role
from registry.identifiers.forms import BatchForm, NewIdentifier, NewRange, NewValues, Release, StateChange
from registry.identifiers.ranges import Range
from registry.identifiers.reading import Identifier
from registry.identifiers.service import Done, Identifiers, make_identifiers
from registry.outcomes import SYSTEM, Created
from registry.prefixes import PrefixRow
from registry.problem_types import PRECONDITION_FAILED, ApiProblem
from registry.transaction import Transaction
from tests.integration.registry.bench import Bench, admin

ACME = "org_" + "a" * 20
RIVAL = "org_" + "b" * 20
ACME_PREFIX = "88.100.1"
RIVAL_PREFIX = "88.100.2"
URL = {"index": 1, "type": "URL", "data": "https://www.example.com/"}


def caller(organisation: str | None = ACME, role: Role = Role.ENTERPRISE_EDITOR, **changes: Any) -> Caller:
    """Somebody of an organisation; None: of the node."""
    plain: dict[str, Any] = {
        "id": f"usr_of_{organisation}",
        "organisation": organisation,
        "rights": ROLE_RIGHTS[role],
        "kind": "user",
    }
    return Caller(**{**plain, **changes})


EDITOR = caller()
RIVAL_EDITOR = caller(RIVAL)
AUDITOR = caller(None, Role.AUDITOR)


def any_version(_: str) -> None:
    """Match whatever is there."""


def version(wanted: int) -> Callable[[str], None]:
    """Match one version only, as If-Match does."""

    def match(etag: str) -> None:
        if etag != str(wanted):
            raise ApiProblem(PRECONDITION_FAILED, etag)

    return match


class Plant:
    """One node."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.identifiers: Identifiers = make_identifiers(bench.operations, default_ttl_s=600)
        self.by = EDITOR

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """Open a node that hosts a prefix for each of two organisations."""
        bench = await Bench.open(dsn, homes=("88.100",))
        plant = cls(bench)
        await plant.host(ACME_PREFIX, ACME)
        await plant.host(RIVAL_PREFIX, RIVAL)
        return plant

    async def host(self, name: str, organisation: str | None, **changes: Any) -> None:
        """Host a prefix for an organisation; changes are further fields of its row."""
        prefix = Prefix.parse(name)
        row: dict[str, Any] = {
            "key": prefix.key,
            "name": prefix.octets,
            "homed": True,
            "authorisation": ValueList.of([admin()]),
            "organisation": organisation,
        }
        async with self.bench.operations.transaction(SYSTEM) as tx:
            await tx.save_prefix(PrefixRow(**{**row, **changes}))

    @asynccontextmanager
    async def writing(self, by: Caller | None = None, *, commit: bool = True) -> AsyncIterator[Transaction]:
        """A transaction of somebody; the editor of ACME unless said otherwise."""
        origin = (by or self.by).origin("request-1")
        async with self.bench.operations.transaction(origin, commit=commit) as tx:
            yield tx

    async def create(self, name: str | None = None, by: Caller | None = None, **members: Any) -> Created:
        """Register an identifier; members are those of the form."""
        form = {"values": [URL], **members} | ({} if name is None else {"identifier": name})
        async with self.writing(by) as tx:
            return await self.identifiers.create(tx, msgspec.convert(form, NewIdentifier), by or self.by)

    async def replace(
        self,
        name: str,
        *values: dict[str, Any],
        by: Caller | None = None,
        match: Callable[[str], None] = any_version,
    ) -> Done:
        """Give an identifier new values."""
        form = msgspec.convert({"values": values}, NewValues)
        async with self.writing(by) as tx:
            return await self.identifiers.replace(tx, name, form.values, by or self.by, match=match)

    async def delete(self, name: str, by: Caller | None = None) -> Done:
        """Delete an identifier."""
        async with self.writing(by) as tx:
            return await self.identifiers.delete(tx, name, by or self.by, match=any_version)

    async def state(self, name: str, state: str, by: Caller | None = None, **members: Any) -> Done:
        """Change the state of an identifier."""
        form = msgspec.convert({"state": state, **members}, StateChange)
        async with self.writing(by) as tx:
            return await self.identifiers.set_state(tx, name, form, by or self.by, match=any_version)

    async def batch(
        self, *items: dict[str, Any], mode: str = "best_effort", by: Caller | None = None, commit: bool = True
    ) -> list[Done | ApiProblem]:
        """Do several things at once."""
        form = msgspec.convert({"mode": mode, "items": items}, BatchForm)
        async with self.writing(by, commit=commit) as tx:
            return await self.identifiers.batch(tx, form, by or self.by)

    async def read(self, name: str, by: Caller | None = None) -> Identifier:
        """An identifier as it is."""
        return await self.identifiers.reader.read(Handle.parse(name), by or self.by)

    async def reserve(self, pattern: str, count: int, by: Caller | None = None, **members: Any) -> Range:
        """Reserve a range below the prefix of ACME."""
        form = {"prefix": ACME_PREFIX, "pattern": pattern, "count": count, **members}
        async with self.writing(by) as tx:
            return await self.identifiers.ranges.reserve(tx, msgspec.convert(form, NewRange), by or self.by)

    async def release(self, identity: str, by: Caller | None = None, **members: Any) -> Range:
        """Release what of a range is unused."""
        async with self.writing(by) as tx:
            return await self.identifiers.ranges.release(
                tx, identity, msgspec.convert(members, Release), by or self.by
            )

    async def acts(self) -> list[tuple[str, str, int]]:
        """Action, target and number of changed handles of every entry of the audit log."""
        async with self.bench.store.connection() as connection:
            records = await connection.fetch("SELECT action, target, items FROM audit_log ORDER BY xact, id")
        return [(record[0], record[1], record[2]) for record in records]
