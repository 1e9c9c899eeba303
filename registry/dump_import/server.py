"""The server that records come from: what it says about itself, and the key by which everything else is checked."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from protocol.bodies import ErrorBody, SiteInfoResponse
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode, rc_name
from protocol.credential import credential_of, verify
from protocol.errors import BadSignature, HandleError, WireError
from protocol.message import (
    ANSWER_LIFE_S,
    OUR_VERSION,
    Message,
    Version,
    matches_digest,
    response_code_of,
    split_digest,
)
from protocol.site import Site
from protocol.transport.exchanger import new_request_id
from protocol.transport.stream_link import open_link
from protocol.valuetypes import PublicKey
from protocol.wire import Writer, text

VERSION_MIN: Final[Version] = (
    2,
    7,
)  # before, signatures cover too little or are defective (PROTOCOL.md §3.3)
CONNECT_S: Final = 10.0
IDLE_S: Final = 300.0  # as deployed receivers; a source that looks long for the next record is not dead
SIGNED: Final = OpFlag.CERT | DEFAULT_FLAGS
_ANY_NAME: Final = b"/"


class SourceRefused(HandleError):
    """The other server says no; the text holds its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Time and chance, which recordings replace."""

    wall: Callable[[], float] = time.time
    request_id: Callable[[], int] = new_request_id


CLOCKS: Final = Clocks()


def fingerprint_of(key: PublicKey) -> str:
    """SHA-256 of the key's blob, hexadecimal: what a person compares."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleServer:
    """One server of a site, and the key with which it signs."""

    host: str
    port: int
    site: Site
    key: PublicKey
    version: Version
    """In which it is spoken to."""

    @property
    def fingerprint(self) -> str:
        """What tells its key from every other one."""
        return fingerprint_of(self.key)

    def __str__(self) -> str:
        return f"{self.host} TCP {self.port}"

    def request(
        self, op_code: OpCode, body: bytes, *, clocks: Clocks = CLOCKS, flags: int = SIGNED
    ) -> Message:
        """A request to it, whose response is to be signed."""
        request = Message.request(
            op_code,
            body,
            request_id=clocks.request_id(),
            expiration=int(clocks.wall()) + ANSWER_LIFE_S,
            flags=flags,
            version=self.version,
            site_serial=self.site.serial,
        )
        return replace(request, envelope=replace(request.envelope, suggested=self.version))


async def find_server(host: str, port: int, *, clocks: Clocks = CLOCKS) -> HandleServer:
    """Ask a server for its site record, signed.

    The key comes out of that record: whoever listens there could have sent one of his own, so its fingerprint is for a
    person to confirm. Raises Unreachable, WireError, SourceRefused, and BadSignature when no key of the site made the
    signature.
    """
    request = Message.request(
        OpCode.GET_SITE_INFO,
        Writer().counted(_ANY_NAME).octets(),
        request_id=clocks.request_id(),
        expiration=int(clocks.wall()) + ANSWER_LIFE_S,
        flags=SIGNED | OpFlag.RRDG,
    )
    async with open_link(host, port, connect_s=CONNECT_S, idle_s=CONNECT_S) as link:
        response = await link.exchange(request)
    check_response(request, response, node=link.node)
    digest, body = split_digest(response)
    if digest is None or not matches_digest(request, digest):
        raise BadSignature(f"{link.node}: the site record does not answer our question")
    site = SiteInfoResponse.decode(body).site
    version = min((site.protocol_major, site.protocol_minor), response.envelope.version, OUR_VERSION)
    if version < VERSION_MIN:
        spoken = f"{version[0]}.{version[1]}"
        raise SourceRefused(f"{link.node} speaks version {spoken} of the protocol; 2.7 or later is needed")
    return HandleServer(
        host=host, port=port, site=site, key=_signer(site, response, link.node), version=version
    )


def _signer(site: Site, response: Message, node: str) -> PublicKey:
    """The key of the site by which the response is signed."""
    credential_of(response)
    for server in site.servers:
        try:
            key = PublicKey.decode(server.public_key)
            verify(response, key)
        except (BadSignature, WireError):
            continue
        return key
    raise BadSignature(f"{node}: the site record is signed with no key that stands in it")


def check_response(request: Message, response: Message, *, node: str) -> None:
    """Raises SourceRefused for an answer that is neither success nor challenge, BadSignature for one to another."""
    code = response_code_of(response)
    if code not in (ResponseCode.SUCCESS, ResponseCode.AUTHENTICATION_NEEDED):
        raise SourceRefused(f"{node} refuses: {_words(response, code)}")
    if response.envelope.request_id != request.envelope.request_id:
        raise BadSignature(f"{node}: the answer is to another request than ours")


def _words(response: Message, code: int) -> str:
    name = f"{rc_name(code).replace('_', ' ')} ({code})"
    try:
        message = ErrorBody.decode(split_digest(response)[1]).message
    except WireError:
        message = ""
    printable = "".join(letter for letter in message[:200] if letter.isprintable())
    return f"{name}, {text(printable.encode('utf-8', 'replace'))}" if printable else name
