"""What is asked, what comes of it, and what one response message says: Question, Found, Denied, Answer."""

from dataclasses import dataclass
from typing import Final

from protocol.bodies import ErrorBody, ReferralBody, ResolutionResponse
from protocol.codes import REFERRALS, OpFlag, ResponseCode
from protocol.errors import InvalidHandle, Malformed, WireError
from protocol.handle import Handle
from protocol.message import Message, matches_digest, response_code_of, split_digest
from protocol.value import ValueList

CLOCK_SKEW_S: Final = 300  # how far a server's clock may be behind ours before its answer counts as expired
MAX_MESSAGE_CHARACTERS: Final = 500  # of a server's own words that we pass on; real ones have below 100
NO_VALUES: Final = ValueList(b"", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which handle, and which of its values: those with one of the indexes or types, all when both are empty."""

    handle: Handle
    indexes: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    authoritative: bool = False
    """Whether only a primary site may answer, past every cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The authority's values."""

    handle: Handle
    """As the question spelled it."""
    values: ValueList
    authoritative: bool
    """Whether a primary site answered."""
    site_serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The authority's word that there is no such handle, no such value, or no answer for us."""

    handle: Handle
    """As the question spelled it."""
    code: int
    """A ResponseCode, never SUCCESS or a referral."""
    message: str
    authoritative: bool = False


Reply = Found | Denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response to a resolution request, decoded and found to belong to it."""

    code: int
    values: ValueList = NO_VALUES
    """Of the handle when code is SUCCESS, of the referral when it is one, else none."""
    referral: Handle | None = None
    """The service handle of a referral without values."""
    message: str = ""
    authoritative: bool = False
    site_serial: int = 0

    def reply(self, handle: Handle) -> Reply:
        """The answer as the reply to whoever asked for handle; not for referrals."""
        assert self.code not in REFERRALS
        if self.code == ResponseCode.SUCCESS:
            return Found(
                handle=handle,
                values=self.values,
                authoritative=self.authoritative,
                site_serial=self.site_serial,
            )
        return Denied(handle=handle, code=self.code, message=self.message, authoritative=self.authoritative)


def read_answer(request: Message, response: Message, handle: Handle, wall_s: float) -> Answer:
    """What a response says about the handle that the request asked for.

    wall_s: Unix seconds, against which the response's expiration is held. Raises WireError when it cannot be decoded
    or answers another question: other request id, operation, handle or request digest, or expired long ago.
    Source: PROTOCOL.md §3.2, §3.8, §4.1-4.3.
    """
    body = check_response(request, response, wall_s)
    code = response_code_of(response)
    authoritative = response.has(OpFlag.AUTH)
    serial = response.header.site_serial
    try:
        if code == ResponseCode.SUCCESS:
            values = _values(body, handle)
            return Answer(code=code, values=values, authoritative=authoritative, site_serial=serial)
        if code in REFERRALS:
            referral = ReferralBody.decode(body)
            return Answer(
                code=code,
                values=referral.values if referral.values is not None else NO_VALUES,
                referral=referral.handle,
                authoritative=authoritative,
                site_serial=serial,
            )
    except InvalidHandle as error:
        raise Malformed(f"the answer holds a name that is none: {error}") from None
    return Answer(code=code, message=error_text(body), authoritative=authoritative, site_serial=serial)


def check_response(request: Message, response: Message, wall_s: float) -> bytes:
    """The body of a response without its digest, after everything that ties it to the request has been compared.

    Raises WireError for a response to another request.
    """
    if response.envelope.request_id != request.envelope.request_id:
        raise Malformed("the answer carries another request id")
    if response.header.op_code != request.header.op_code:
        raise Malformed(f"the answer is to operation {response.header.op_code}, not {request.header.op_code}")
    if response.header.response_code == 0:
        raise Malformed("the answer is a request")
    if response.header.expiration < wall_s - CLOCK_SKEW_S:
        raise Malformed("the answer has expired; compare the clocks")
    digest, body = split_digest(response)
    if digest is not None and not matches_digest(request, digest):
        raise Malformed("the answer carries the digest of another request")
    if request.has(OpFlag.RRDG) and digest is None:
        raise Malformed("the answer lacks the request digest that was asked for")
    return body


def error_text(body: bytes) -> str:
    """A server's words, bounded and without control characters; empty when the body holds none that can be read."""
    try:
        message = ErrorBody.decode(body).message
    except WireError:
        return ""
    printable = "".join(character if character.isprintable() else " " for character in message)
    return printable[:MAX_MESSAGE_CHARACTERS]


def _values(body: bytes, handle: Handle) -> ValueList:
    response = ResolutionResponse.decode(body)
    if response.handle != handle:
        raise Malformed(f"the answer is about {response.handle}, not {handle}")
    return response.values
