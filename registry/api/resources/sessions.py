"""Sessions: signing in and out, and who the caller is."""

from typing import Final

from protocol.handle import Prefix
from protocol.transport.source import source_network
from registry.accounts.user import SignIn
from registry.api.call import Call, Reply
from registry.api.resources.people import person_view
from registry.api.route import Access, Route
from registry.api.schemas.organisations import PersonView
from registry.api.schemas.sessions import SessionList, SessionOpened, SessionView, Whoami
from registry.problem_types import FORBIDDEN, ApiProblem
from registry.problem_types.accounts import SIGN_IN_BUSY, SIGN_IN_REFUSED

TAG: Final = "Sessions"
PATH: Final = "/api/v1/sessions"
WHOAMI: Final = "/api/v1/whoami"
CURRENT: Final = "current"
"""Stands for the session of the request itself."""


async def sign_in(call: Call) -> Reply:
    """Opens a session with login and password; after five wrong ones the login is locked for a minute, then longer."""
    opened = await call.services.accounts.sessions.sign_in(
        call.body_as(SignIn), call.begin, source=source_network(call.peer)
    )
    body = SessionOpened(
        id=opened.session.id,
        token=opened.token,
        user=opened.user,
        organisation=opened.organisation,
        expires=opened.session.expires,
    )
    return Reply(body=body, location=f"{PATH}/{opened.session.id}")


async def list_own(call: Call) -> Reply:
    """The sessions of the caller."""
    user = _user(call)
    async with call.services.store.connection() as connection:
        found = await call.services.accounts.sessions.page(connection, user)
    items = [
        SessionView(
            id=session.id,
            created=session.created,
            last_used=session.last_used,
            expires=session.expires,
            present=session.id == call.signed_in.session,
        )
        for session in found
    ]
    return Reply(body=SessionList(items=items, next=None))


async def sign_out(call: Call) -> Reply:
    """Ends a session of the caller; `current` is the one of the request."""
    user, session = _user(call), call.path["session"]
    if session == CURRENT:
        session = call.signed_in.session or ""
    await call.services.accounts.sessions.end(call.tx, user, session)
    return Reply()


async def whoami(call: Call) -> Reply:
    """Who the caller is, and what he may do."""
    caller = call.signed_in
    async with call.services.store.connection() as connection:
        holder = await call.services.accounts.holder(connection, caller)
    prefixes = None if caller.prefixes is None else sorted(str(Prefix(key)) for key in caller.prefixes)
    body = Whoami(
        kind=caller.kind,
        id=caller.id,
        organisation=caller.organisation,
        role=None if holder.user is None else holder.user.role,
        name=None if holder.key is None else holder.key.name,
        rights=sorted(caller.rights),
        prefixes=prefixes,
        test=caller.test,
        session=caller.session,
        expires=None if holder.key is None else holder.key.expires,
    )
    return Reply(body=body)


async def read_own_personal(call: Call) -> Reply:
    """What the node knows of the user who asks."""
    _user(call)
    users = call.services.accounts.users
    async with call.services.store.connection() as connection:
        user = await users.get(connection, call.signed_in, call.signed_in.id)
        return Reply(body=person_view(user.person, await users.personal(connection, user)))


def _user(call: Call) -> str:
    """Raises ApiProblem (403) for an API key."""
    if call.signed_in.kind != "user":
        raise ApiProblem(FORBIDDEN, "An API key is no user.", remedy="Sign in as a user.")
    return call.signed_in.id


ROUTES: Final = (
    Route(
        method="POST",
        path=PATH,
        name="session.create",
        summary="Sign in",
        tag=TAG,
        handler=sign_in,
        access=Access.PUBLIC,
        body=SignIn,
        reply=SessionOpened,
        status=201,
        eager=False,
        secret_reply=True,
        problems=(SIGN_IN_REFUSED, SIGN_IN_BUSY),
    ),
    Route(
        method="GET",
        path=PATH,
        name="session.list",
        summary="List one's own sessions",
        tag=TAG,
        handler=list_own,
        access=Access.SIGNED_IN,
        reply=SessionList,
        problems=(FORBIDDEN,),
    ),
    Route(
        method="DELETE",
        path=PATH + "/{session}",
        name="session.end",
        summary="Sign out",
        tag=TAG,
        handler=sign_out,
        access=Access.SIGNED_IN,
        status=204,
        problems=(FORBIDDEN,),
    ),
    Route(
        method="GET",
        path=WHOAMI,
        name="whoami",
        summary="Who the caller is",
        tag=TAG,
        handler=whoami,
        access=Access.SIGNED_IN,
        reply=Whoami,
    ),
    Route(
        method="GET",
        path=WHOAMI + "/personal",
        name="whoami.read_personal",
        summary="What is known of the caller",
        tag=TAG,
        handler=read_own_personal,
        access=Access.SIGNED_IN,
        reply=PersonView,
        audited_read=True,
        problems=(FORBIDDEN,),
    ),
)
