"""API keys: made, rotated, suspended and revoked. Of a token only its digest is kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from registry.accounts.key import (
    OVERLAP,
    VALIDITY,
    VALIDITY_MAX,
    ApiKey,
    KeyState,
    rights_fault,
)
from registry.accounts.organisation_rows import read_organisation
from registry.accounts.roles import Caller, Right
from registry.accounts.tokens import TokenKind, new_token
from registry.ids import new_id
from registry.problem_types import NOT_FOUND, QUOTA_EXCEEDED, UNPROCESSABLE, ApiProblem, FieldFault
from registry.problem_types.accounts import KEY_STATE, RIGHTS_NOT_GRANTABLE
from registry.store import Connection
from registry.transaction import Transaction

_COLUMNS: Final = (
    "id, version, organisation, name, rights, prefixes, test, lookup, state, expires, previous_until, last_used,"
    " created, created_by"
)
_INSERT: Final = """
    INSERT INTO api_keys (id, version, organisation, name, rights, prefixes, test, lookup, digest, state, expires,
        created, created_by)
    VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, 'active', $9, $10, $11)"""
_COUNT: Final = (
    "SELECT count(*) FROM api_keys WHERE organisation = $1 AND state <> 'revoked' AND expires > $2"
)
_MADE_BY: Final = """
    WITH RECURSIVE made (id) AS (
        SELECT id FROM api_keys WHERE created_by = $1
        UNION SELECT k.id FROM api_keys AS k JOIN made ON k.created_by = made.id)
    SELECT id FROM made"""
"""Keys that a user has made, and those that were made with these: whoever keeps one of them keeps its rights."""
_HELD: Final = "SELECT prefix FROM prefixes WHERE prefix = ANY($1::bytea[]) AND organisation = $2"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What a key shall be."""

    organisation: str | None
    name: str
    rights: frozenset[Right]
    prefixes: frozenset[bytes] | None = None
    """Folded; None for all that the organisation holds."""
    test: bool = False
    validity: timedelta = VALIDITY


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownKey:
    """A key with its new token, which is shown once."""

    key: ApiKey
    token: str = field(repr=False)


class Keys:
    """The API keys of a node."""

    async def create(self, tx: Transaction, caller: Caller, new: NewKey) -> ShownKey:
        """Make a key. Raises ApiProblem: 403 for rights that are not the caller's to give, 422 for prefixes that the
        organisation does not hold, 429 when it has as many keys as its quota allows.
        """
        _check_rights(caller, new.organisation, new.rights, new.prefixes)
        if new.organisation is not None:
            await _check_room(tx, new.organisation)
        await _check_prefixes(tx, new)
        token = new_token(TokenKind.TEST if new.test else TokenKind.LIVE)
        key = new_id("key")
        await tx.connection.execute(
            _INSERT,
            key,
            new.organisation,
            new.name,
            sorted(new.rights),
            None if new.prefixes is None else sorted(new.prefixes),
            new.test,
            token.lookup,
            token.digest,
            await _expiry(tx, new.validity),
            tx.now,
            tx.origin.actor,
        )
        made = await self._noted(tx, key, "key.create", {"rights": " ".join(sorted(new.rights))})
        return ShownKey(key=made, token=token.text)

    async def get(self, connection: Connection, caller: Caller, key: str) -> ApiKey:
        """One key. Raises ApiProblem (404) for an unknown one and for one the caller does not see, alike."""
        return await self._find(connection, caller, key, "")

    async def lock(self, tx: Transaction, caller: Caller, key: str) -> ApiKey:
        """As get, and nobody else changes it until the transaction ends."""
        return await self._find(tx.connection, caller, key, " FOR UPDATE")

    async def page(
        self, connection: Connection, caller: Caller, *, organisation: str | None, after: str, limit: int
    ) -> list[ApiKey]:
        """The keys that the caller sees, by id, after this one. organisation: those of one, else all."""
        of = caller.organisation or organisation
        where = "id > $1" if of is None else "id > $1 AND organisation = $3"
        query = f"SELECT {_COLUMNS} FROM api_keys WHERE {where} ORDER BY id LIMIT $2"  # noqa: S608
        records = await connection.fetch(query, after, limit, *([] if of is None else [of]))
        return [_key(tuple(record)) for record in records]

    async def rotate(
        self,
        tx: Transaction,
        caller: Caller,
        key: ApiKey,
        *,
        overlap: timedelta = OVERLAP,
        validity: timedelta = VALIDITY,
    ) -> ShownKey:
        """Give a key another token; the present one stays valid for the overlap, one before it ends now.

        It takes the rights of the key, since who gets the token has them.
        """
        _check_rights(caller, key.organisation, key.rights, key.prefixes)
        if key.state is not KeyState.ACTIVE or key.expires <= tx.now:
            raise ApiProblem(KEY_STATE, f"The key is {_state_text(key, tx.now)}.")
        token = new_token(key.kind, key.lookup)
        query = """
            UPDATE api_keys SET version = version + 1, previous_digest = digest, previous_until = least($2, expires),
                digest = $3, expires = $4 WHERE id = $1"""
        expires = await _expiry(tx, validity)
        await tx.connection.execute(query, key.id, tx.now + overlap, token.digest, expires)
        rotated = await self._noted(tx, key.id, "key.rotate", {})
        return ShownKey(key=rotated, token=token.text)

    async def suspend(self, tx: Transaction, key: ApiKey, reason: str) -> ApiKey:
        """Refuse it, within a second, until it is resumed."""
        return await self._move(
            tx, key, before=KeyState.ACTIVE, after=KeyState.SUSPENDED, action="key.suspend", reason=reason
        )

    async def resume(self, tx: Transaction, key: ApiKey, reason: str) -> ApiKey:
        """Accept it again."""
        return await self._move(
            tx, key, before=KeyState.SUSPENDED, after=KeyState.ACTIVE, action="key.resume", reason=reason
        )

    async def revoke(self, tx: Transaction, key: ApiKey, reason: str = "") -> ApiKey:
        """Refuse it for good, within a second. A revoked one stays as it is."""
        if key.state is KeyState.REVOKED:
            return key
        return await self._move(
            tx, key, before=key.state, after=KeyState.REVOKED, action="key.revoke", reason=reason
        )

    async def revoke_made_by(self, tx: Transaction, user: str, reason: str) -> int:
        """Revoke every key that a user has made, and every one that was made with these; gives how many."""
        query = f"""
            SELECT {_COLUMNS} FROM api_keys WHERE id IN ({_MADE_BY}) AND state <> 'revoked'
            ORDER BY id FOR UPDATE"""  # noqa: S608
        records = await tx.connection.fetch(query, user)
        for record in records:
            await self.revoke(tx, _key(tuple(record)), reason)
        return len(records)

    async def count_made_by(self, connection: Connection, user: str, now: datetime) -> int:
        """How many keys that a user has made, or that were made with these, still count."""
        query = f"""
            SELECT count(*) FROM api_keys WHERE id IN ({_MADE_BY}) AND state = 'active' AND expires > $2"""  # noqa: S608
        count: int = await connection.fetchval(query, user, now)
        return count

    async def _find(self, connection: Connection, caller: Caller, key: str, lock: str) -> ApiKey:
        found = await _read(connection, key, lock)
        if found is None or not caller.sees(found.organisation):
            raise ApiProblem(NOT_FOUND, "There is no such key.")
        return found

    async def _move(
        self, tx: Transaction, key: ApiKey, *, before: KeyState, after: KeyState, action: str, reason: str
    ) -> ApiKey:
        if key.state is not before:
            raise ApiProblem(KEY_STATE, f"The key is {_state_text(key, tx.now)}.")
        query = "UPDATE api_keys SET version = version + 1, state = $2 WHERE id = $1"
        await tx.connection.execute(query, key.id, after.value)
        return await self._noted(tx, key.id, action, {"reason": reason} if reason else {})

    async def _noted(self, tx: Transaction, key: str, action: str, detail: Mapping[str, str]) -> ApiKey:
        changed = await _read(tx.connection, key, "")
        assert changed is not None
        tx.audit(action, key, organisation=changed.organisation, detail=dict(detail))
        return changed


async def _read(connection: Connection, key: str, lock: str) -> ApiKey | None:
    record = await connection.fetchrow(f"SELECT {_COLUMNS} FROM api_keys WHERE id = $1{lock}", key)  # noqa: S608
    return None if record is None else _key(tuple(record))


def _check_rights(
    caller: Caller, organisation: str | None, rights: Iterable[Right], prefixes: frozenset[bytes] | None
) -> None:
    fault = rights_fault(caller, organisation, rights, prefixes)
    if fault is not None:
        raise ApiProblem(RIGHTS_NOT_GRANTABLE, fault)


async def _check_room(tx: Transaction, organisation: str) -> None:
    """Raises ApiProblem unless the organisation is there and may have one more key; others wait until we end."""
    found = await read_organisation(tx.connection, organisation, lock=True)
    if found is None:
        faults = [FieldFault("/organisation", "is unknown")]
        raise ApiProblem(UNPROCESSABLE, "There is no such organisation.", errors=faults)
    count = await tx.connection.fetchval(_COUNT, organisation, tx.now)
    if count >= found.quotas.keys_max:
        raise ApiProblem(QUOTA_EXCEEDED, f"The organisation has {count} keys, as many as its quota allows.")


async def _check_prefixes(tx: Transaction, new: NewKey) -> None:
    """Raises ApiProblem for a prefix that is not the organisation's, the same whether it is anybody's."""
    if new.prefixes is None:
        return
    held = {record[0] for record in await tx.connection.fetch(_HELD, list(new.prefixes), new.organisation)}
    if new.prefixes - held:
        faults = [FieldFault("/prefixes", "holds a prefix that this node does not host for the organisation")]
        raise ApiProblem(UNPROCESSABLE, "The key is limited to a prefix that is not there.", errors=faults)


async def _expiry(tx: Transaction, validity: timedelta) -> datetime:
    """When a key ends that is made now; not after the key that makes it, lest that lives on for ever."""
    expires = tx.now + min(validity, VALIDITY_MAX)
    maker: datetime | None = await tx.connection.fetchval(
        "SELECT expires FROM api_keys WHERE id = $1", tx.origin.actor
    )
    return expires if maker is None else min(expires, maker)


def _state_text(key: ApiKey, now: datetime) -> str:
    return "expired" if key.state is KeyState.ACTIVE and key.expires <= now else key.state.value


def _key(record: Sequence[Any]) -> ApiKey:
    identity, version, organisation, name, rights, prefixes, test, lookup, state, *rest = record
    expires, previous_until, last_used, created, created_by = rest
    return ApiKey(
        id=identity,
        version=version,
        organisation=organisation,
        name=name,
        rights=frozenset(map(Right, rights)),
        prefixes=None if prefixes is None else frozenset(prefixes),
        test=test,
        lookup=lookup,
        state=KeyState(state),
        expires=expires,
        previous_until=previous_until,
        last_used=last_used,
        created=created,
        created_by=created_by,
    )
