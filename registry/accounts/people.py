"""People: the one table of personal data, each field sealed with the node key, with purpose and end of retention.

Everything else names a person by an opaque id, which outlives the data: erasing leaves the id, so that what
was reviewed or signed stays attributable without saying to whom.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from registry.accounts.person import Purpose
from registry.ids import new_id
from registry.seal import Sealer
from registry.store import Connection
from registry.transaction import Transaction

RETENTION: Final = timedelta(days=180)
"""How long data are kept after their purpose has ended: as long as the logs that may raise questions about them."""
PURGE_ROWS_MAX: Final = 1_000
"""Rows of one purge; the next one follows soon enough."""

_PUT: Final = """
    INSERT INTO personal_fields (person, field, sealed, purpose, retain_until)
    SELECT $1, f.field, f.sealed, $2, $3 FROM unnest($4::text[], $5::bytea[]) AS f (field, sealed)
    ON CONFLICT (person, field) DO UPDATE
    SET sealed = excluded.sealed, purpose = excluded.purpose, retain_until = excluded.retain_until"""
_READ: Final = (
    "SELECT field, sealed, purpose, retain_until FROM personal_fields WHERE person = $1 ORDER BY field"
)
_PURGE: Final = """
    DELETE FROM personal_fields WHERE (person, field) IN (
        SELECT person, field FROM personal_fields WHERE retain_until < $1 ORDER BY retain_until LIMIT $2
        FOR UPDATE SKIP LOCKED)
    RETURNING person"""
_MARK_ERASED: Final = """
    UPDATE people SET erased = $2 WHERE id = ANY($1::text[]) AND erased IS NULL
    AND NOT EXISTS (SELECT FROM personal_fields WHERE person = people.id)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalField:
    """One thing that is known of a person."""

    field: str
    value: str
    purpose: str
    retain_until: datetime | None

    def __repr__(self) -> str:
        """Its name only: this may end up in a log."""
        return f"PersonalField({self.field}=***)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRow:
    """A person without what is known of him."""

    id: str
    organisation: str | None
    erased: datetime | None


class People:
    """Personal data under seal. Reading them is privileged and audited by who calls."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def register(
        self, tx: Transaction, *, organisation: str | None, purpose: Purpose, fields: Mapping[str, str]
    ) -> str:
        """Take in a person; gives the id by which everything else names him."""
        person = new_id("per")
        await tx.connection.execute(
            "INSERT INTO people (id, organisation, created) VALUES ($1, $2, $3)", person, organisation, tx.now
        )
        await self.put(tx.connection, person, fields, purpose=purpose)
        return person

    async def put(
        self, connection: Connection, person: str, fields: Mapping[str, str], *, purpose: Purpose
    ) -> None:
        """Write fields of a person, each over what was there of it."""
        sealed = [
            self._sealer.seal_octets(binding(person, field), value.encode())
            for field, value in fields.items()
        ]
        await connection.execute(_PUT, person, purpose.value, None, list(fields), sealed)

    async def replace(
        self, connection: Connection, person: str, fields: Mapping[str, str], *, purpose: Purpose, keep: str
    ) -> None:
        """Write all fields of a person anew but one, which is kept."""
        query = "DELETE FROM personal_fields WHERE person = $1 AND field <> $2"
        await connection.execute(query, person, keep)
        await self.put(connection, person, fields, purpose=purpose)

    async def find(self, connection: Connection, person: str) -> PersonRow | None:
        """The person without his data, or None for an unknown id."""
        record = await connection.fetchrow(
            "SELECT id, organisation, erased FROM people WHERE id = $1", person
        )
        return None if record is None else PersonRow(**record)

    async def read(self, connection: Connection, person: str) -> list[PersonalField]:
        """What is known of a person, in the clear; empty once he is erased. Raises SealBroken."""
        return [
            PersonalField(
                field=field,
                value=self._sealer.open_octets(binding(person, field), sealed).decode(),
                purpose=purpose,
                retain_until=retain_until,
            )
            for field, sealed, purpose, retain_until in await connection.fetch(_READ, person)
        ]

    async def release(self, tx: Transaction, person: str) -> None:
        """The purpose has ended: the data go when the retention is over."""
        await tx.connection.execute(
            "UPDATE personal_fields SET retain_until = $2 WHERE person = $1 AND retain_until IS NULL",
            person,
            tx.now + RETENTION,
        )

    async def erase(self, tx: Transaction, person: str, *, organisation: str | None) -> None:
        """Forget everything of a person but his id."""
        await tx.connection.execute("DELETE FROM personal_fields WHERE person = $1", person)
        await tx.connection.execute(_MARK_ERASED, [person], tx.now)
        tx.audit("person.erase", person, organisation=organisation)

    async def purge(self, tx: Transaction) -> int:
        """Delete the fields whose retention is over, PURGE_ROWS_MAX at most; gives how many."""
        records = await tx.connection.fetch(_PURGE, tx.now, PURGE_ROWS_MAX)
        if records:
            await tx.connection.execute(_MARK_ERASED, sorted({record[0] for record in records}), tx.now)
            tx.audit("person.purge", "personal_fields", detail={"fields": len(records)})
        return len(records)


def binding(person: str, field: str) -> bytes:
    """What a sealed field is bound to, so that it opens nowhere else."""
    return f"{person}/{field}".encode()
