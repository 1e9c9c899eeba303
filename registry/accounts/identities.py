"""Identities: HS_ADMIN identities that belong to somebody here.

Who proves himself with the key of a record (Basic authentication, Handle protocol) is no user; this table says whose
identity it is, so that it is barred together with its owner, and so that what a leaver could still change is listed.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from protocol.handle import Handle
from registry.accounts.authentication import BELIEVED_S
from registry.context import Context
from registry.outcomes import Identity
from registry.problem_types import NOT_FOUND, UNPROCESSABLE, ApiProblem, FieldFault
from registry.problem_types.accounts import IDENTITY_TAKEN
from registry.store import Connection
from registry.transaction import Transaction

REMEMBERED_MAX: Final = 10_000
"""Identities of which it is remembered whether they are barred."""

_BARRED: Final = """
    SELECT EXISTS (
        SELECT FROM identities AS i LEFT JOIN organisations AS o ON o.id = i.organisation
        LEFT JOIN users AS u ON u.id = i.subject LEFT JOIN api_keys AS k ON k.id = i.subject
        WHERE i.handle = $1 AND i.index IN ($2, 0)
            AND (o.suspended_reason IS NOT NULL OR u.state <> 'active' OR k.state <> 'active')
    ) OR EXISTS (
        SELECT FROM prefixes AS p JOIN organisations AS o ON o.id = p.organisation
        WHERE p.prefix = $3 AND o.suspended_reason IS NOT NULL)"""
_INSERT: Final = """
    INSERT INTO identities (handle, index, organisation, subject, created) VALUES ($1, $2, $3, $4, $5)"""
_OWNER: Final = "SELECT FROM {table} WHERE id = $1 AND organisation = $2"
_LIST: Final = """
    SELECT handle, index, subject, created FROM identities
    WHERE organisation = $1 AND (handle, index) > ($2, $3) ORDER BY handle, index LIMIT $4"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedIdentity:
    """An identity and whose it is."""

    handle: bytes
    """Storage key of the record that holds its key."""
    index: int
    subject: str
    created: datetime

    def __str__(self) -> str:
        return f"{self.index}:{Handle(self.handle)}"


class Identities:
    """Whose identities there are."""

    def __init__(self, context: Context, monotonic: Callable[[], float]) -> None:
        self._context = context
        self._monotonic = monotonic
        self._known: OrderedDict[tuple[bytes, int], tuple[float, bool]] = OrderedDict()

    async def is_barred(self, identity: Identity) -> bool:
        """Whether the owner of an identity is suspended or gone, or whoever holds its prefix; False where nobody here
        does.
        """
        key = (self._context.key_of(identity.handle), identity.index)
        kept = self._known.get(key)
        now_s = self._monotonic()
        if kept is not None and now_s < kept[0]:
            return kept[1]
        async with self._context.store.connection() as connection:
            barred: bool = await connection.fetchval(_BARRED, *key, identity.handle.prefix.key)
        self._known[key] = (now_s + BELIEVED_S, barred)
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return barred

    async def assign(
        self, tx: Transaction, identity: Identity, *, organisation: str, subject: str
    ) -> OwnedIdentity:
        """Note whose an identity is. Raises ApiProblem: 422 unless its record is below a prefix that this node hosts
        for the organisation and the subject belongs to it, 409 when it is assigned already.
        """
        row = await tx.prefix_row(identity.handle.prefix.key)
        if row is None or row.organisation != organisation or identity.handle.is_prefix_record:
            faults = [
                FieldFault("/identity", "is not below a prefix that this node hosts for the organisation")
            ]
            raise ApiProblem(UNPROCESSABLE, "The identity is not the organisation's.", errors=faults)
        await _check_subject(tx, organisation, subject)
        key = self._context.key_of(identity.handle)
        try:
            await tx.connection.execute(_INSERT, key, identity.index, organisation, subject, tx.now)
        except asyncpg.UniqueViolationError:
            raise ApiProblem(IDENTITY_TAKEN, "The identity is assigned to somebody.") from None
        owned = OwnedIdentity(handle=key, index=identity.index, subject=subject, created=tx.now)
        tx.audit("identity.assign", str(owned), organisation=organisation, detail={"subject": subject})
        return owned

    async def withdraw(self, tx: Transaction, identity: Identity, *, organisation: str) -> None:
        """Forget whose an identity is. Raises ApiProblem (404)."""
        key = self._context.key_of(identity.handle)
        query = "DELETE FROM identities WHERE handle = $1 AND index = $2 AND organisation = $3"
        if await tx.connection.execute(query, key, identity.index, organisation) != "DELETE 1":
            raise ApiProblem(NOT_FOUND, "There is no such identity.")
        tx.audit("identity.withdraw", str(identity), organisation=organisation)

    async def page(
        self, connection: Connection, organisation: str, *, after: tuple[bytes, int], limit: int
    ) -> list[OwnedIdentity]:
        """The identities of an organisation and its people, after this one (handle, index)."""
        records = await connection.fetch(_LIST, organisation, *after, limit)
        return [OwnedIdentity(**record) for record in records]


async def _check_subject(tx: Transaction, organisation: str, subject: str) -> None:
    """Raises ApiProblem unless the subject is the organisation, or a user or key of it."""
    if subject == organisation:
        return
    table = {"usr": "users", "key": "api_keys"}.get(subject.partition("_")[0])
    query = _OWNER.format(table=table)
    if table is None or await tx.connection.fetchrow(query, subject, organisation) is None:
        faults = [FieldFault("/subject", "is neither the organisation nor a user or key of it")]
        raise ApiProblem(UNPROCESSABLE, "There is no such subject.", errors=faults)
