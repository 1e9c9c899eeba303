"""What an operation answers, before it is a message: response code, body, and what the header says besides."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from protocol.codes import ResponseCode
from protocol.generations import Stamp

Part = tuple[bytes, bool]
"""The body of one message, and whether another message follows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The answer to one call; of several messages when more is given."""

    code: ResponseCode = ResponseCode.SUCCESS
    body: bytes = b""
    clear: int = 0
    """Flags of the request that the answer does not echo."""
    expires_s: float | None = None
    """Monotonic time until which the answer cache may repeat it, as long as the stamp is current; None: never."""
    stamp: Stamp | None = None
    session_id: int | None = None
    """In the envelope, where that is not what the request says."""
    more: AsyncGenerator[Part, None] | None = None
    """What follows this message; None when nothing does."""
