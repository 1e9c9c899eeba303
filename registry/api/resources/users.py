"""Users: made, given roles and passwords, suspended and removed."""

from typing import Final

from registry.accounts.person import Person
from registry.accounts.roles import Right
from registry.accounts.user import User
from registry.accounts.users import check_grant
from registry.api.call import Call, Reply, lack_of
from registry.api.id_pages import id_cursor, id_position
from registry.api.resources.people import person_view
from registry.api.route import Access, Route
from registry.api.schemas.organisations import PersonView, Reason
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
from registry.problem_types import FORBIDDEN, QUOTA_EXCEEDED, UNPROCESSABLE, ApiProblem, FieldFault
from registry.problem_types.accounts import (
    LOGIN_TAKEN,
    ROLE_NOT_GRANTABLE,
    SELF_CHANGE,
    SIGN_IN_BUSY,
    SIGN_IN_REFUSED,
    USER_STATE,
)

TAG: Final = "Users"
PATH: Final = "/api/v1/users"
ONE: Final = PATH + "/{user}"


async def create(call: Call) -> Reply:
    """Makes a user, of the caller's own organisation unless the node's operator names another."""
    body, caller = call.body_as(NewUser), call.signed_in
    organisation = body.organisation or caller.organisation
    check_grant(caller, body.role, organisation)  # before the work of hashing
    users = call.services.accounts.users
    password_hash = await users.hash_password(body.password, body.login)
    made = await users.create(
        await call.begin(),
        caller,
        organisation=organisation,
        role=body.role,
        login=body.login,
        person=Person(name=body.name, email=body.email, mobile=body.mobile),
        password_hash=password_hash,
    )
    return _reply(made, location=f"{PATH}/{made.id}")


async def list_all(call: Call) -> Reply:
    """The users that the caller sees, in the order of their ids, removed ones too."""
    query = call.query_as(UserFilter)
    async with call.services.store.connection() as connection:
        found = await call.services.accounts.users.page(
            connection,
            call.signed_in,
            organisation=query.organisation,
            after=id_position(query.cursor),
            limit=query.limit + 1,
        )
    items = [_view(user) for user in found[: query.limit]]
    return Reply(body=Users(items=items, next=id_cursor(found, query.limit)))


async def read(call: Call) -> Reply:
    """One user, without personal data."""
    async with call.services.store.connection() as connection:
        return _reply(await call.services.accounts.users.get(connection, call.signed_in, call.path["user"]))


async def read_personal(call: Call) -> Reply:
    """Who the user is: login, name and the like; every reading is audited."""
    users = call.services.accounts.users
    async with call.services.store.connection() as connection:
        user = await users.get(connection, call.signed_in, call.path["user"])
        call.read_of = user.organisation
        return Reply(body=person_view(user.person, await users.personal(connection, user)))


async def change_personal(call: Call) -> Reply:
    """Replaces name, e-mail address and telephone number; the login stays."""
    body, user = call.body_as(UserPerson), await _lock(call)
    call.require_match(str(user.version))
    person = Person(name=body.name, email=body.email, mobile=body.mobile)
    return _reply(await call.services.accounts.users.set_person(call.tx, call.signed_in, user, person))


async def change_role(call: Call) -> Reply:
    """Gives another role; it counts within a second. Nobody changes his own."""
    user = await _lock(call)
    call.require_match(str(user.version))
    role = call.body_as(RoleChange).role
    return _reply(await call.services.accounts.users.set_role(call.tx, call.signed_in, user, role))


async def suspend(call: Call) -> Reply:
    """Ends the user's sessions and lets him in no more; tells how many keys of his making still count."""
    body, user = call.body_as(UserSuspension), await _lock(call)
    accounts = call.services.accounts
    suspended = await accounts.users.suspend(call.tx, call.signed_in, user, body.reason)
    revoked = await accounts.keys.revoke_made_by(call.tx, user.id, body.reason) if body.revoke_keys else 0
    left = await accounts.keys.count_made_by(call.tx.connection, user.id, call.tx.now)
    reply = UserSuspended(user=_view(suspended), keys_revoked=revoked, keys_left=left)
    return Reply(body=reply, etag=str(suspended.version))


async def resume(call: Call) -> Reply:
    """Lets the user in again."""
    user = await _lock(call)
    reason = call.body_as(Reason).reason
    return _reply(await call.services.accounts.users.resume(call.tx, call.signed_in, user, reason))


async def remove(call: Call) -> Reply:
    """For good: ends the user's sessions and erases who he is; the id and what he did stay."""
    user = await _lock(call)
    await call.services.accounts.users.remove(call.tx, call.signed_in, user)
    return Reply()


async def change_password(call: Call) -> Reply:
    """Sets a password and ends the user's other sessions; one's own takes the present one."""
    body, caller, users = call.body_as(PasswordChange), call.signed_in, call.services.accounts.users
    own = caller.id == call.path["user"]
    if not own and not caller.may(Right.USER_WRITE):
        raise lack_of(Right.USER_WRITE)
    async with call.services.store.connection() as connection:
        user = await users.get(connection, caller, call.path["user"])
        login = await users.login_of(connection, user)
    call.check_match(str(user.version))
    if own:
        await _check_current(call, body)
    else:
        check_grant(caller, user.role, user.organisation)
    password_hash = await users.hash_password(body.password, login)
    tx = await call.begin()
    user = await users.lock(tx, caller, user.id)
    call.check_match(str(user.version))
    await users.set_password(tx, caller, user, password_hash, keep=caller.session if own else None)
    return Reply()


async def _check_current(call: Call, body: PasswordChange) -> None:
    if body.current is None:
        faults = [FieldFault("/current", "is needed to change one's own password")]
        raise ApiProblem(UNPROCESSABLE, "The present password is missing.", errors=faults)
    await call.services.accounts.sessions.check_password(call.signed_in.id, body.current)


async def _lock(call: Call) -> User:
    found = await call.services.accounts.users.lock(call.tx, call.signed_in, call.path["user"])
    call.check_match(str(found.version))
    return found


def _reply(user: User, *, location: str | None = None) -> Reply:
    return Reply(body=_view(user), etag=str(user.version), location=location)


def _view(user: User) -> UserView:
    return UserView(
        id=user.id,
        version=user.version,
        organisation=user.organisation,
        role=user.role,
        state=user.state,
        locked_until=user.locked_until,
        last_sign_in=user.last_sign_in,
        password_changed=user.password_changed,
        created=user.created,
        created_by=user.created_by,
    )


ROUTES: Final = (
    Route(
        method="POST",
        path=PATH,
        name="user.create",
        summary="Make a user",
        tag=TAG,
        handler=create,
        right=Right.USER_WRITE,
        body=NewUser,
        reply=UserView,
        status=201,
        etag=True,
        eager=False,
        problems=(ROLE_NOT_GRANTABLE, LOGIN_TAKEN, QUOTA_EXCEEDED, SIGN_IN_BUSY),
    ),
    Route(
        method="GET",
        path=PATH,
        name="user.list",
        summary="List users",
        tag=TAG,
        handler=list_all,
        right=Right.USER_READ,
        query=UserFilter,
        reply=Users,
    ),
    Route(
        method="GET",
        path=ONE,
        name="user.read",
        summary="Read a user",
        tag=TAG,
        handler=read,
        right=Right.USER_READ,
        reply=UserView,
        etag=True,
    ),
    Route(
        method="GET",
        path=ONE + "/personal",
        name="user.read_personal",
        summary="Read who a user is",
        tag=TAG,
        handler=read_personal,
        right=Right.PERSONAL_READ,
        reply=PersonView,
        audited_read=True,
    ),
    Route(
        method="PUT",
        path=ONE + "/personal",
        name="user.change_personal",
        summary="Correct who a user is",
        tag=TAG,
        handler=change_personal,
        right=Right.USER_WRITE,
        body=UserPerson,
        reply=UserView,
        etag=True,
        if_match=True,
        problems=(ROLE_NOT_GRANTABLE, USER_STATE),
    ),
    Route(
        method="PUT",
        path=ONE + "/role",
        name="user.change_role",
        summary="Give a user another role",
        tag=TAG,
        handler=change_role,
        right=Right.USER_WRITE,
        body=RoleChange,
        reply=UserView,
        etag=True,
        if_match=True,
        problems=(ROLE_NOT_GRANTABLE, SELF_CHANGE),
    ),
    Route(
        method="POST",
        path=ONE + "/suspension",
        name="user.suspend",
        summary="Suspend a user",
        tag=TAG,
        handler=suspend,
        right=Right.USER_WRITE,
        heeds_match=True,
        body=UserSuspension,
        reply=UserSuspended,
        etag=True,
        problems=(ROLE_NOT_GRANTABLE, SELF_CHANGE, USER_STATE),
    ),
    Route(
        method="POST",
        path=ONE + "/resumption",
        name="user.resume",
        summary="Resume a user",
        tag=TAG,
        handler=resume,
        right=Right.USER_WRITE,
        heeds_match=True,
        body=Reason,
        reply=UserView,
        etag=True,
        problems=(ROLE_NOT_GRANTABLE, SELF_CHANGE, USER_STATE),
    ),
    Route(
        method="DELETE",
        path=ONE,
        name="user.remove",
        summary="Remove a user",
        tag=TAG,
        handler=remove,
        right=Right.USER_WRITE,
        heeds_match=True,
        status=204,
        problems=(ROLE_NOT_GRANTABLE, SELF_CHANGE, USER_STATE),
    ),
    Route(
        method="PUT",
        path=ONE + "/password",
        name="user.change_password",
        summary="Set a password",
        tag=TAG,
        handler=change_password,
        access=Access.SIGNED_IN,
        heeds_match=True,
        body=PasswordChange,
        status=204,
        eager=False,
        problems=(FORBIDDEN, ROLE_NOT_GRANTABLE, SIGN_IN_BUSY, SIGN_IN_REFUSED, USER_STATE),
    ),
)
