"""API keys: made, rotated, suspended and revoked."""

from datetime import timedelta
from typing import Final

from protocol.handle import Prefix
from registry.accounts.key import ApiKey
from registry.accounts.keys import NewKey, ShownKey
from registry.accounts.roles import Right
from registry.api.call import Call, Reply
from registry.api.id_pages import id_cursor, id_position
from registry.api.route import Route
from registry.api.schemas.apikeys import (
    ApiKeyFilter,
    ApiKeys,
    ApiKeyShown,
    ApiKeyView,
    KeyRotation,
    NewApiKey,
)
from registry.api.schemas.organisations import Reason
from registry.problem_types import QUOTA_EXCEEDED
from registry.problem_types.accounts import KEY_STATE, RIGHTS_NOT_GRANTABLE

TAG: Final = "API keys"
PATH: Final = "/api/v1/api-keys"
ONE: Final = PATH + "/{key}"


async def create(call: Call) -> Reply:
    """Makes an API key; its token is in this answer and in no other."""
    body = call.body_as(NewApiKey)
    prefixes = None if body.prefixes is None else frozenset(Prefix.parse(text).key for text in body.prefixes)
    new = NewKey(
        organisation=body.organisation or call.signed_in.organisation,
        name=body.name,
        rights=frozenset(body.rights),
        prefixes=prefixes,
        test=body.test,
        validity=timedelta(days=body.valid_days),
    )
    shown = await call.services.accounts.keys.create(call.tx, call.signed_in, new)
    return _shown(shown, location=f"{PATH}/{shown.key.id}")


async def list_all(call: Call) -> Reply:
    """The API keys that the caller sees, in the order of their ids, revoked and expired ones too."""
    query = call.query_as(ApiKeyFilter)
    async with call.services.store.connection() as connection:
        found = await call.services.accounts.keys.page(
            connection,
            call.signed_in,
            organisation=query.organisation,
            after=id_position(query.cursor),
            limit=query.limit + 1,
        )
    items = [_view(key) for key in found[: query.limit]]
    return Reply(body=ApiKeys(items=items, next=id_cursor(found, query.limit)))


async def read(call: Call) -> Reply:
    """One API key, without its secret."""
    async with call.services.store.connection() as connection:
        return _reply(await call.services.accounts.keys.get(connection, call.signed_in, call.path["key"]))


async def rotate(call: Call) -> Reply:
    """Gives the key another token; the present one stays valid for the overlap."""
    body = call.body_as(KeyRotation)
    shown = await call.services.accounts.keys.rotate(
        call.tx,
        call.signed_in,
        await _lock(call),
        overlap=timedelta(days=body.overlap_days),
        validity=timedelta(days=body.valid_days),
    )
    return _shown(shown)


async def suspend(call: Call) -> Reply:
    """Refuses the key within a second, until it is resumed."""
    reason = call.body_as(Reason).reason
    return _reply(await call.services.accounts.keys.suspend(call.tx, await _lock(call), reason))


async def resume(call: Call) -> Reply:
    """Accepts the key again."""
    reason = call.body_as(Reason).reason
    return _reply(await call.services.accounts.keys.resume(call.tx, await _lock(call), reason))


async def revoke(call: Call) -> Reply:
    """Refuses the key for good, within a second."""
    await call.services.accounts.keys.revoke(call.tx, await _lock(call))
    return Reply()


async def _lock(call: Call) -> ApiKey:
    found = await call.services.accounts.keys.lock(call.tx, call.signed_in, call.path["key"])
    call.check_match(str(found.version))
    return found


def _shown(shown: ShownKey, *, location: str | None = None) -> Reply:
    body = ApiKeyShown(key=_view(shown.key), token=shown.token)
    return Reply(body=body, etag=str(shown.key.version), location=location)


def _reply(key: ApiKey) -> Reply:
    return Reply(body=_view(key), etag=str(key.version))


def _view(key: ApiKey) -> ApiKeyView:
    prefixes = None if key.prefixes is None else sorted(str(Prefix(prefix)) for prefix in key.prefixes)
    return ApiKeyView(
        id=key.id,
        version=key.version,
        organisation=key.organisation,
        name=key.name,
        rights=sorted(key.rights),
        prefixes=prefixes,
        test=key.test,
        state=key.state,
        token_start=key.token_start,
        expires=key.expires,
        previous_until=key.previous_until,
        last_used=key.last_used,
        created=key.created,
        created_by=key.created_by,
    )


ROUTES: Final = (
    Route(
        method="POST",
        path=PATH,
        name="key.create",
        summary="Make an API key",
        tag=TAG,
        handler=create,
        right=Right.KEY_WRITE,
        body=NewApiKey,
        reply=ApiKeyShown,
        status=201,
        etag=True,
        secret_reply=True,
        problems=(RIGHTS_NOT_GRANTABLE, QUOTA_EXCEEDED),
    ),
    Route(
        method="GET",
        path=PATH,
        name="key.list",
        summary="List API keys",
        tag=TAG,
        handler=list_all,
        right=Right.KEY_READ,
        query=ApiKeyFilter,
        reply=ApiKeys,
    ),
    Route(
        method="GET",
        path=ONE,
        name="key.read",
        summary="Read an API key",
        tag=TAG,
        handler=read,
        right=Right.KEY_READ,
        reply=ApiKeyView,
        etag=True,
    ),
    Route(
        method="POST",
        path=ONE + "/rotation",
        name="key.rotate",
        summary="Rotate an API key",
        tag=TAG,
        handler=rotate,
        right=Right.KEY_WRITE,
        heeds_match=True,
        body=KeyRotation,
        reply=ApiKeyShown,
        etag=True,
        secret_reply=True,
        problems=(RIGHTS_NOT_GRANTABLE, KEY_STATE),
    ),
    Route(
        method="POST",
        path=ONE + "/suspension",
        name="key.suspend",
        summary="Suspend an API key",
        tag=TAG,
        handler=suspend,
        right=Right.KEY_WRITE,
        heeds_match=True,
        body=Reason,
        reply=ApiKeyView,
        etag=True,
        problems=(KEY_STATE,),
    ),
    Route(
        method="POST",
        path=ONE + "/resumption",
        name="key.resume",
        summary="Resume an API key",
        tag=TAG,
        handler=resume,
        right=Right.KEY_WRITE,
        heeds_match=True,
        body=Reason,
        reply=ApiKeyView,
        etag=True,
        problems=(KEY_STATE,),
    ),
    Route(
        method="DELETE",
        path=ONE,
        name="key.revoke",
        summary="Revoke an API key",
        tag=TAG,
        handler=revoke,
        right=Right.KEY_WRITE,
        heeds_match=True,
        status=204,
    ),
)
