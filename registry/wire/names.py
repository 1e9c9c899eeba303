"""Names that requests about prefixes carry."""

from protocol.codes import ResponseCode
from protocol.errors import InvalidHandle
from protocol.handle import Handle, Prefix
from registry.record import Refusal


def prefix_of(record: Handle) -> Prefix:
    """The prefix P that 0.NA/P, or P without a slash, names. Raises Refusal (102) for any other name."""
    try:
        if record.is_prefix_record:
            return record.subject
    except InvalidHandle:
        pass
    raise Refusal(ResponseCode.INVALID_HANDLE, "the handle is no prefix record 0.NA/<prefix>")
