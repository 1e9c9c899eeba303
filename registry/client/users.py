"""Calls about users and sessions."""

from collections.abc import AsyncIterator
from typing import Final

from registry.accounts.roles import Role
from registry.accounts.user import SignIn
from registry.api.schemas.organisations import PersonView, Reason
from registry.api.schemas.sessions import SessionList, SessionOpened, SessionView, Whoami
from registry.api.schemas.users import (
    NewUser,
    PasswordChange,
    RoleChange,
    UserFilter,
    UserPerson,
    Users,
    UserSuspended,
    UserSuspension,
    UserView,
)
from registry.client.address import path_of
from registry.client.area import Area
from registry.client.connection import ONCE, Write

USERS: Final = "users"
SESSIONS: Final = "sessions"
EVERY: Final = UserFilter()


class UserCalls(Area):
    """Users. `version`, where a call takes it, is that of the user as he was read."""

    async def create(self, new: NewUser, *, how: Write = ONCE) -> UserView:
        """Make a user."""
        return (await self._connection.write("POST", path_of(USERS), UserView, body=new, how=how)).body

    async def get(self, user: str) -> UserView:
        """One user, without personal data."""
        return (await self._connection.get(path_of(USERS, user), UserView)).body

    def every(self, which: UserFilter = EVERY) -> AsyncIterator[UserView]:
        """The users that the caller sees."""
        return self._every(path_of(USERS), Users, which)

    async def read_person(self, user: str) -> PersonView:
        """Who the user is, in the clear; every reading is audited."""
        return (await self._connection.get(path_of(USERS, user, "personal"), PersonView)).body

    async def change_person(
        self, user: str, person: UserPerson, *, version: int, how: Write = ONCE
    ) -> UserView:
        """Replace what is known of the user; the login stays."""
        path = path_of(USERS, user, "personal")
        answer = await self._connection.write(
            "PUT", path, UserView, body=person, if_match=str(version), how=how
        )
        return answer.body

    async def change_role(self, user: str, role: Role, *, version: int, how: Write = ONCE) -> UserView:
        """Give another role; it counts within a second."""
        path = path_of(USERS, user, "role")
        body = RoleChange(role=role)
        answer = await self._connection.write(
            "PUT", path, UserView, body=body, if_match=str(version), how=how
        )
        return answer.body

    async def suspend(
        self, user: str, reason: str, *, revoke_keys: bool = False, how: Write = ONCE
    ) -> UserSuspended:
        """Let him in no more, within a second; revoke_keys: the API keys that he has made end too."""
        body = UserSuspension(reason=reason, revoke_keys=revoke_keys)
        path = path_of(USERS, user, "suspension")
        return (await self._connection.write("POST", path, UserSuspended, body=body, how=how)).body

    async def resume(self, user: str, reason: str, *, how: Write = ONCE) -> UserView:
        """Let him in again."""
        path = path_of(USERS, user, "resumption")
        return (
            await self._connection.write("POST", path, UserView, body=Reason(reason=reason), how=how)
        ).body

    async def remove(self, user: str, *, how: Write = ONCE) -> None:
        """For good: sessions end, personal data are erased, the id stays."""
        await self._connection.write("DELETE", path_of(USERS, user), type(None), how=how)

    async def set_password(
        self, user: str, password: str, *, current: str | None = None, how: Write = ONCE
    ) -> None:
        """Set a password; the user's other sessions end. current: the present one, for one's own."""
        body = PasswordChange(password=password, current=current)
        await self._connection.write("PUT", path_of(USERS, user, "password"), type(None), body=body, how=how)


class SessionCalls(Area):
    """Sessions, and who the caller is."""

    async def sign_in(self, credentials: SignIn) -> SessionOpened:
        """Open a session; its token is the credential of a further client."""
        return (await self._connection.write("POST", path_of(SESSIONS), SessionOpened, body=credentials)).body

    async def list(self) -> list[SessionView]:
        """The sessions of the caller, the latest first."""
        return (await self._connection.get(path_of(SESSIONS), SessionList)).body.items

    async def sign_out(self, session: str) -> None:
        """End a session of the caller."""
        await self._connection.write("DELETE", path_of(SESSIONS, session), type(None))

    async def whoami(self) -> Whoami:
        """Who the caller is and what he may do."""
        return (await self._connection.get(path_of("whoami"), Whoami)).body
