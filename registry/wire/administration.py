"""Writing over the wire: create, delete, add, remove and modify values, home and unhome.

In this order: is the request well formed, does its place lie with us, who asks, and then what the operation says. What
is stored is not told to somebody who has proved nothing, unless the policy says so (PROTOCOL.md §4.5-4.8, §10.35).
"""

from collections.abc import Awaitable, Callable
from typing import Final

from protocol.admin_bodies import CreateResponse, HandleRequest, RemoveValuesRequest, ValuesRequest
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.handle import Handle
from protocol.value import ValueList
from registry.operations import Operations, minted
from registry.outcomes import Creation, Rejected, Replaced, Result, Unchanged
from registry.permission import difference
from registry.record import Refusal, Values, take_in
from registry.single_creations import SingleCreations
from registry.transaction import Transaction
from registry.wire.call import Call, Unproven
from registry.wire.names import prefix_of
from registry.wire.policy import WirePolicy
from registry.wire.response import Response

VIA: Final = "handle"
_NO_TIME: Final = bytes(4)

Registered = Callable[[str, OpCode, Result], None]
"""Counts a write: via what, which operation, what came of it."""


class Administration:
    """Writes at one node. Every method raises Refusal, HandleError, or Unproven for who must say who he is."""

    def __init__(
        self,
        operations: Operations,
        creations: SingleCreations,
        policy: WirePolicy,
        registered: Registered,
    ) -> None:
        self._operations = operations
        self._creations = creations
        self._policy = policy
        self._registered = registered

    async def create(self, call: Call) -> Response:
        """OC 100: a record, or with OVRW what it shall be from now on; with MINT a name that nobody has."""
        body, minting = ValuesRequest.decode(call.request.body), call.request.has(OpFlag.MINT)
        _check_name(body.handle, minting=minting)
        await self._check_place(body.handle)
        _check_values(body.values)
        replacing = call.request.has(OpFlag.OVRW)
        if self._policy.existence_before_challenge and not replacing and not minting:
            await self._check_new(body.handle)
        by = call.proven()
        creation = Creation(minted(body.handle) if minting else body.handle, body.values)

        async def create() -> Result:
            return await self._creations.create(creation, by=by, replace=replacing, origin=call.origin)

        async def try_to(transaction: Transaction) -> Result:
            (result,) = await transaction.create([creation], by=by, replace=replacing, inherit_admin=True)
            return result

        result = await (self._in_transaction(call, try_to) if call.on_trial else create())
        if isinstance(result, Unchanged) and not replacing:  # that it exists is what was excluded
            result = Rejected(creation.handle, ResponseCode.HANDLE_ALREADY_EXISTS, "")
        self._judge(call, OpCode.CREATE_HANDLE, result)
        return _written(result, CreateResponse(handle=creation.handle).encode())

    async def delete(self, call: Call) -> Response:
        """OC 101."""
        handle = HandleRequest.decode(call.request.body).handle
        await self._check_place(handle)
        by = call.proven()

        async def act(transaction: Transaction) -> Result:
            (result,) = await transaction.delete([handle], by=by)
            return result

        return _written(await self._write(call, OpCode.DELETE_HANDLE, act))

    async def add_values(self, call: Call) -> Response:
        """OC 102: new values; with OVRW also in place of those that have their indexes."""
        body = ValuesRequest.decode(call.request.body)
        await self._check_place(body.handle)
        _check_values(body.values)
        by, overwrite = call.proven(), call.request.has(OpFlag.OVRW)

        async def act(transaction: Transaction) -> Result:
            return await transaction.put_values(body.handle, body.values, by=by, overwrite=overwrite)

        return _written(await self._write(call, OpCode.ADD_VALUE, act))

    async def remove_values(self, call: Call) -> Response:
        """OC 103."""
        body = RemoveValuesRequest.decode(call.request.body)
        await self._check_place(body.handle)
        by = call.proven()

        async def act(transaction: Transaction) -> Result:
            return await transaction.remove_values(body.handle, body.indexes, by=by)

        return _written(await self._write(call, OpCode.REMOVE_VALUE, act))

    async def modify_values(self, call: Call) -> Response:
        """OC 104: other values in place of those that have their indexes; anybody may, where all have public-write."""
        body = ValuesRequest.decode(call.request.body)
        await self._check_place(body.handle)
        new = _check_values(body.values)
        if self._policy.existence_before_challenge:
            await self._check_existing(body.handle, new)
        if call.identity is None and not await self._is_open(body.handle, new):
            raise Unproven

        async def act(transaction: Transaction) -> Result:
            return await transaction.modify_values(body.handle, body.values, by=call.by)

        return _written(await self._write(call, OpCode.MODIFY_VALUE, act))

    async def home(self, call: Call) -> Response:
        """OC 300: answer for a prefix from now on."""
        prefix = prefix_of(HandleRequest.decode(call.request.body).handle)
        await self.check_server_admin(call)
        return _homed(await self._operations.home(prefix, by=call.proven(), origin=call.origin))

    async def unhome(self, call: Call) -> Response:
        """OC 301: answer for a prefix no more."""
        prefix = prefix_of(HandleRequest.decode(call.request.body).handle)
        await self.check_server_admin(call)
        return _homed(await self._operations.unhome(prefix, by=call.proven(), origin=call.origin))

    async def check_server_admin(self, call: Call) -> None:
        """Raises Refusal unless it is an administrator of the node who asks, and proven: 400, 403; Unproven."""
        if not await self._operations.context.is_server_admin(call.proven()):
            message = "this is for administrators of the server (setting server_admins)"
            raise Refusal(ResponseCode.INVALID_ADMINISTRATOR, message)
        call.end_trial()

    async def _write(
        self, call: Call, operation: OpCode, act: Callable[[Transaction], Awaitable[Result]]
    ) -> Result:
        """What came of a write. Raises Refusal for one that was rejected; on trial always, and nothing is done."""
        result = await self._in_transaction(call, act)
        self._judge(call, operation, result)
        return result

    async def _in_transaction(self, call: Call, act: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """What came of a write in a transaction of its own, which is undone on trial."""

        async def write() -> Result:
            async with self._operations.transaction(call.origin, commit=not call.on_trial) as transaction:
                return await act(transaction)

        return await self._operations.knowing_groups(write)

    def _judge(self, call: Call, operation: OpCode, result: Result) -> None:
        """Count a write. Raises Refusal for one that was rejected, and on trial."""
        may_not = isinstance(result, Rejected) and result.code is ResponseCode.INVALID_ADMINISTRATOR
        if not may_not:
            call.end_trial()
        if not call.on_trial:
            self._registered(VIA, operation, result)
        if isinstance(result, Rejected):
            raise Refusal(result.code, result.message)

    async def _check_place(self, handle: Handle) -> None:
        rejected = await self._operations.misplaced(handle)
        if rejected is not None:
            raise Refusal(rejected.code, rejected.message)

    async def _check_new(self, handle: Handle) -> None:
        if await self._operations.stored(handle) is not None:
            raise Refusal(ResponseCode.HANDLE_ALREADY_EXISTS, "")

    async def _check_existing(self, handle: Handle, new: Values) -> None:
        stored = await self._operations.stored(handle)
        if stored is None:
            raise Refusal(ResponseCode.HANDLE_NOT_FOUND, "")
        if not new.keys() <= stored.keys():
            raise Refusal(ResponseCode.VALUES_NOT_FOUND, "")

    async def _is_open(self, handle: Handle, new: Values) -> bool:
        """Whether anybody may write these values over those that are stored (PROTOCOL.md §5.6)."""
        stored = await self._operations.stored(handle)
        if stored is None or not new.keys() <= stored.keys():
            return False
        change = difference({index: stored[index] for index in new}, new)
        return not change.rights and not change.protected


def _written(result: Result, body: bytes = b"") -> Response:
    """The answer to a write; OVRW in it says that something was overwritten, if only by itself (PROTOCOL.md §4.5)."""
    overwritten = isinstance(result, Unchanged) or (isinstance(result, Replaced) and result.overwritten)
    return Response(body=body, clear=0 if overwritten else OpFlag.OVRW)


def _homed(rejected: Rejected | None) -> Response:
    if rejected is not None:
        raise Refusal(rejected.code, rejected.message)
    return Response()


def _check_name(handle: Handle, *, minting: bool) -> None:
    """Raises Refusal (102) for a name that is no UTF-8, or of which no name can be minted."""
    if minting and b"/" not in handle.octets:
        message = "a name is minted from its beginning, which has the prefix and a slash"
        raise Refusal(ResponseCode.INVALID_HANDLE, message)
    try:
        handle.octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(ResponseCode.INVALID_HANDLE, "the handle is no valid UTF-8") from None


def _check_values(values: ValueList) -> Values:
    """The values, by index, as far as they can be judged without the record. Raises Refusal: 201, 202."""
    taken, _ = take_in(values, _NO_TIME)
    return taken
