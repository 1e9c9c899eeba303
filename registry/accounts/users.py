"""Users: made, changed, suspended and removed. Who they are stands under seal; everything else knows an id."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg

from registry.accounts.organisation_rows import read_organisation
from registry.accounts.passwords import Passwords, password_fault
from registry.accounts.people import People, PersonalField
from registry.accounts.person import Person, Purpose, person_faults
from registry.accounts.roles import Caller, Role
from registry.accounts.user import User, UserState, grant_fault, login_fault, login_key
from registry.ids import new_id
from registry.problem_types import NOT_FOUND, QUOTA_EXCEEDED, UNPROCESSABLE, ApiProblem, FieldFault
from registry.problem_types.accounts import LOGIN_TAKEN, ROLE_NOT_GRANTABLE, SELF_CHANGE, USER_STATE
from registry.seal import Sealer
from registry.store import Connection
from registry.transaction import Transaction

LOGIN_FIELD: Final = "login"
_LOGIN_PURPOSE: Final = b"login"
_COLUMNS: Final = (
    "id, version, organisation, role, person, state, password_changed, locked_until, last_sign_in, created,"
    " created_by"
)
_INSERT: Final = """
    INSERT INTO users (id, version, organisation, role, person, login_digest, password, password_changed, state,
        created, created_by)
    VALUES ($1, 1, $2, $3, $4, $5, $6, $7, 'active', $7, $8)"""
_MAKERS: Final = """
    WITH RECURSIVE makers (id) AS (
        SELECT created_by FROM api_keys WHERE id = $1
        UNION SELECT k.created_by FROM api_keys AS k JOIN makers ON k.id = makers.id)
    SELECT id FROM makers"""
"""Who made a key, who made the key that it was made with, and so on."""
_COUNT: Final = "SELECT count(*) FROM users WHERE organisation = $1 AND state <> 'removed'"


class Users:
    """The users of a node."""

    def __init__(self, people: People, sealer: Sealer, passwords: Passwords) -> None:
        self._people = people
        self._sealer = sealer
        self._passwords = passwords

    def digest(self, organisation: str | None, login: str) -> bytes:
        """What a login is found by."""
        return self._sealer.digest(_LOGIN_PURPOSE, login_key(organisation, login))

    async def hash_password(self, password: str, login: str = "") -> str:
        """The hash of a new password, if it is accepted. Raises ApiProblem (422, 429)."""
        fault = password_fault(password, login)
        if fault is not None:
            faults = [FieldFault("/password", fault)]
            raise ApiProblem(UNPROCESSABLE, "The password is not accepted.", errors=faults)
        with self._passwords.turn():
            return await self._passwords.hash(password)

    async def create(
        self,
        tx: Transaction,
        caller: Caller,
        *,
        organisation: str | None,
        role: Role,
        login: str,
        person: Person,
        password_hash: str,
    ) -> User:
        """Make a user. Raises ApiProblem: 403 for a role that is not the caller's to give, 409 for a taken login, 422,
        429 when the organisation has as many users as its quota allows.
        """
        check_grant(caller, role, organisation)
        _check_person(person, login)
        if organisation is not None:
            await _check_room(tx, organisation)
        fields = {LOGIN_FIELD: login, **person.fields()}
        known = await self._people.register(
            tx, organisation=organisation, purpose=Purpose.SIGN_IN, fields=fields
        )
        user = new_id("usr")
        digest = self.digest(organisation, login)
        row = (user, organisation, role.value, known, digest, password_hash, tx.now, tx.origin.actor)
        try:
            await tx.connection.execute(_INSERT, *row)
        except asyncpg.UniqueViolationError:
            raise ApiProblem(LOGIN_TAKEN, "The organisation has a user with this login.") from None
        return await self._noted(tx, user, "user.create", {"role": role.value})

    async def get(self, connection: Connection, caller: Caller, user: str) -> User:
        """One user. Raises ApiProblem (404) for an unknown one and for one the caller does not see, alike."""
        return await self._find(connection, caller, user, "")

    async def lock(self, tx: Transaction, caller: Caller, user: str) -> User:
        """As get, and nobody else changes him until the transaction ends."""
        return await self._find(tx.connection, caller, user, " FOR UPDATE")

    async def page(
        self, connection: Connection, caller: Caller, *, organisation: str | None, after: str, limit: int
    ) -> list[User]:
        """The users that the caller sees, by id, after this one. organisation: those of one, else all."""
        of = caller.organisation or organisation
        where = "id > $1" if of is None else "id > $1 AND organisation = $3"
        query = f"SELECT {_COLUMNS} FROM users WHERE {where} ORDER BY id LIMIT $2"  # noqa: S608
        records = await connection.fetch(query, after, limit, *([] if of is None else [of]))
        return [_user(tuple(record)) for record in records]

    async def personal(self, connection: Connection, user: User) -> Sequence[PersonalField]:
        """Who a user is, in the clear; the caller audits that it was read."""
        return await self._people.read(connection, user.person)

    async def login_of(self, connection: Connection, user: User) -> str:
        """The login of a user, to compare a password with; empty once he is removed."""
        known = await self._people.read(connection, user.person)
        return next((field.value for field in known if field.field == LOGIN_FIELD), "")

    async def set_person(self, tx: Transaction, caller: Caller, user: User, person: Person) -> User:
        """Write anew who a user is; the login stays. Raises ApiProblem (403, 409, 422)."""
        if user.id != tx.origin.actor:
            check_grant(caller, user.role, user.organisation)
        _check_state(user, UserState.ACTIVE, UserState.SUSPENDED)
        _check_person(person)
        await self._people.replace(
            tx.connection, user.person, person.fields(), purpose=Purpose.SIGN_IN, keep=LOGIN_FIELD
        )
        return await self._change(tx, user, "user.person", {"person": user.person}, {})

    async def set_role(self, tx: Transaction, caller: Caller, user: User, role: Role) -> User:
        """Give another role; it counts within a second."""
        await _check_other(tx, user)
        check_grant(caller, user.role, user.organisation)
        check_grant(caller, role, user.organisation)
        return await self._change(
            tx, user, "user.role", {"role": role.value}, {"from": user.role.value, "to": role.value}
        )

    async def suspend(self, tx: Transaction, caller: Caller, user: User, reason: str) -> User:
        """Let him in no more and end his sessions, within a second."""
        await _check_other(tx, user)
        check_grant(caller, user.role, user.organisation)
        _check_state(user, UserState.ACTIVE)
        await end_sessions(tx.connection, user.id)
        return await self._change(
            tx, user, "user.suspend", {"state": UserState.SUSPENDED.value}, {"reason": reason}
        )

    async def resume(self, tx: Transaction, caller: Caller, user: User, reason: str) -> User:
        """Let him in again."""
        await _check_other(tx, user)
        check_grant(caller, user.role, user.organisation)
        _check_state(user, UserState.SUSPENDED)
        return await self._change(
            tx, user, "user.resume", {"state": UserState.ACTIVE.value}, {"reason": reason}
        )

    async def remove(self, tx: Transaction, caller: Caller, user: User) -> User:
        """For good: sessions end, personal data are erased, the id stays."""
        await _check_other(tx, user)
        check_grant(caller, user.role, user.organisation)
        _check_state(user, UserState.ACTIVE, UserState.SUSPENDED)
        await end_sessions(tx.connection, user.id)
        await self._people.erase(tx, user.person, organisation=user.organisation)
        changes = {"state": UserState.REMOVED.value, "login_digest": None, "password": ""}
        return await self._change(tx, user, "user.remove", changes, {})

    async def set_password(
        self, tx: Transaction, caller: Caller, user: User, password_hash: str, *, keep: str | None = None
    ) -> User:
        """Set a password and end the other sessions. One's own takes the present one, which was checked before.

        keep: the session that goes on.
        """
        if user.id != tx.origin.actor:
            check_grant(caller, user.role, user.organisation)
        _check_state(user, UserState.ACTIVE, UserState.SUSPENDED)
        await end_sessions(tx.connection, user.id, keep=keep)
        changes = {
            "password": password_hash,
            "password_changed": tx.now,
            "failures": 0,
            "locked_until": None,
        }
        return await self._change(tx, user, "user.password", changes, {})

    async def _find(self, connection: Connection, caller: Caller, user: str, lock: str) -> User:
        found = await _read(connection, user, lock)
        if found is None or not caller.sees(found.organisation):
            raise ApiProblem(NOT_FOUND, "There is no such user.")
        return found

    async def _change(
        self,
        tx: Transaction,
        user: User,
        action: str,
        changes: Mapping[str, object],
        detail: Mapping[str, str],
    ) -> User:
        """Write the next version; changes: values by column, the names of columns from this file alone."""
        columns = ", ".join(f"{column} = ${place}" for place, column in enumerate(changes, start=2))
        query = f"UPDATE users SET version = version + 1, {columns} WHERE id = $1"  # noqa: S608
        await tx.connection.execute(query, user.id, *changes.values())
        return await self._noted(tx, user.id, action, detail)

    async def _noted(self, tx: Transaction, user: str, action: str, detail: Mapping[str, str]) -> User:
        changed = await _read(tx.connection, user, "")
        assert changed is not None
        tx.audit(action, user, organisation=changed.organisation, detail=dict(detail))
        return changed


async def end_sessions(connection: Connection, user: str, *, keep: str | None = None) -> None:
    """End the sessions of a user; keep: the id of one that goes on."""
    query = "DELETE FROM sessions WHERE user_id = $1 AND ($2::text IS NULL OR id <> $2)"
    await connection.execute(query, user, keep)


def check_grant(caller: Caller, role: Role, organisation: str | None) -> None:
    """Raises ApiProblem (403) unless the caller may give this role there."""
    fault = grant_fault(caller, role, organisation)
    if fault is not None:
        raise ApiProblem(ROLE_NOT_GRANTABLE, fault)


async def _read(connection: Connection, user: str, lock: str) -> User | None:
    query = f"SELECT {_COLUMNS} FROM users WHERE id = $1{lock}"  # noqa: S608
    record = await connection.fetchrow(query, user)
    return None if record is None else _user(tuple(record))


async def _check_room(tx: Transaction, organisation: str) -> None:
    """Raises ApiProblem unless the organisation is there and may have one more user; others wait until we end."""
    found = await read_organisation(tx.connection, organisation, lock=True)
    if found is None:
        faults = [FieldFault("/organisation", "is unknown")]
        raise ApiProblem(UNPROCESSABLE, "There is no such organisation.", errors=faults)
    count = await tx.connection.fetchval(_COUNT, organisation)
    if count >= found.quotas.users_max:
        raise ApiProblem(QUOTA_EXCEEDED, f"The organisation has {count} users, as many as its quota allows.")


def _check_person(person: Person, login: str | None = None) -> None:
    faults = person_faults(person)
    if login is not None and (fault := login_fault(login)) is not None:
        faults.append(FieldFault("/login", fault))
    if faults:
        raise ApiProblem(UNPROCESSABLE, "The data of the user break a rule.", errors=faults)


async def _check_other(tx: Transaction, user: User) -> None:
    """Raises ApiProblem when the user acts on himself, through a key that he made, or that such a key made, too."""
    makers = {record[0] for record in await tx.connection.fetch(_MAKERS, tx.origin.actor)}
    if user.id == tx.origin.actor or user.id in makers:
        raise ApiProblem(SELF_CHANGE, "This is the user who asks for it.")


def _check_state(user: User, *allowed: UserState) -> None:
    if user.state not in allowed:
        raise ApiProblem(USER_STATE, f"The user is {user.state.value}.")


def _user(record: Sequence[Any]) -> User:
    identity, version, organisation, role, person, state, *times, creator = record
    password_changed, locked_until, last_sign_in, created = times
    return User(
        id=identity,
        version=version,
        organisation=organisation,
        role=Role(role),
        person=person,
        state=UserState(state),
        password_changed=password_changed,
        locked_until=locked_until,
        last_sign_in=last_sign_in,
        created=created,
        created_by=creator,
    )
