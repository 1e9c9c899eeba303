"""Which messages of a session are encrypted though nobody asked for it. Source: PROTOCOL.md §3.10."""

from typing import Final

from protocol.admin_bodies import ValuesRequest
from protocol.bodies import ResolutionResponse
from protocol.codes import OpCode, ResponseCode
from protocol.errors import InvalidHandle, WireError
from protocol.message import Message, Version, split_digest
from protocol.value import ValueList

SINCE: Final[Version] = (2, 8)
_WRITES: Final = frozenset({OpCode.CREATE_HANDLE, OpCode.ADD_VALUE, OpCode.MODIFY_VALUE})


def must_be_encrypted(message: Message) -> bool:
    """Whether a message holds a value that not everybody may read, in a version that encrypts those."""
    if message.envelope.version < SINCE:
        return False
    values = _values_of(message)
    return values is not None and len(values.select(public_only=True)) < len(values)


def _values_of(message: Message) -> ValueList | None:
    operation, code = message.header.op_code, message.header.response_code
    try:
        if operation == OpCode.RESOLUTION and code == ResponseCode.SUCCESS:
            return ResolutionResponse.decode(split_digest(message)[1]).values
        if operation in _WRITES and not code:
            return ValuesRequest.decode(message.body).values
    except (WireError, InvalidHandle):
        return None
    return None
