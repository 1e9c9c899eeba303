"""The direct exchange: a resolution request to one known server over UDP, and its usual answer, without a task.

A request is assembled from a template, and the usual answer (values, all of them public, with the digest of this very
request) is checked on its octets. Whatever else comes is read as any answer is; failures are told, and what to do about
them is for the general way to decide, which is told what was tried.
"""

import socket
import struct
from typing import Final

from protocol.client.answers import CLOCK_SKEW_S, Answer, read_answer
from protocol.client.client import HandleClient
from protocol.client.resolution import Ask
from protocol.client.selection import Target
from protocol.client.verdict import Failure, cause_of, judge
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import HandleError, NotSent, ResolutionFailed, Unreachable, WireError
from protocol.handle import Handle
from protocol.message import (
    ANSWER_LIFE_S,
    ENVELOPE_OCTETS,
    HASHES,
    HEADER_OCTETS,
    NO_CREDENTIAL,
    DigestAlgorithm,
    decode_message,
)
from protocol.packets import PACKET_OCTETS
from protocol.site import InterfaceProtocol
from protocol.transport.datagrams import Address
from protocol.transport.exchanger import new_request_id_octets
from protocol.transport.udp_exchange import Sent, UdpExchanger, canonical
from protocol.value import ValueList, survey
from protocol.wire import MAX_VALUES

_BODY: Final = ENVELOPE_OCTETS + HEADER_OCTETS
_NO_FILTER: Final = bytes(8)  # no index, no type
NAME_OCTETS_MAX: Final = PACKET_OCTETS - _BODY - 4 - len(_NO_FILTER) - len(NO_CREDENTIAL)  # of one datagram
_ANY_ENVELOPE_FLAG: Final = 0xE0  # compressed, encrypted, one of several packets
_RRDG: Final = int(OpFlag.RRDG)  # plain numbers: to combine a flag of an enum with one takes microseconds
_RESOLUTION: Final = int(OpCode.RESOLUTION)
_SUCCESS: Final = int(ResponseCode.SUCCESS)
_BY_SHA256: Final = int(DigestAlgorithm.SHA256)
_SHA256: Final = HASHES[DigestAlgorithm.SHA256]
_DIGEST_END: Final = _BODY + 1 + 32
_NAME: Final = _DIGEST_END + 4
_ASKED: Final = slice(_BODY + 4, -len(_NO_FILTER) - len(NO_CREDENTIAL))
"""Where a request of ours holds the name."""
_U32: Final = struct.Struct(">I")
_REQUEST: Final = struct.Struct(">8s4s4sI14sBxIII")
"""What never changes, request id, sequence, octets, operation to serial, recursion count, expiration, body, name."""
_RESPONSE: Final = struct.Struct(">2xB5x4s4xIIII3xxIIB")
"""Envelope flags, request id, octets, operation, response code, flags, expiration, body, digest algorithm."""

Surveyed = tuple[ValueList, int]
"""Public values, and the seconds for which they may be kept."""


class Route:
    """The best way to a service, where that is UDP, and the request that is sent there."""

    __slots__ = ("ask", "family", "head", "rest", "target", "to")

    def __init__(self, ask: Ask, target: Target, head: bytes) -> None:
        """head: envelope and header of a request to the target."""
        self.ask = ask
        self.target = target
        self.family: socket.AddressFamily
        self.family, host = canonical(target.address)
        self.to: Address = (host, target.port)
        self.head = head[:8]
        self.rest = head[ENVELOPE_OCTETS:34]

    def request(self, request_id: bytes, name: bytes, recursion_count: int, wall_s: float) -> bytes:
        """The octets of a request for the whole record of a name of at most NAME_OCTETS_MAX octets."""
        body_octets = len(name) + 12
        head = _REQUEST.pack(
            self.head,
            request_id,
            b"",
            HEADER_OCTETS + body_octets + 4,
            self.rest,
            recursion_count,
            int(wall_s) + ANSWER_LIFE_S,
            body_octets,
            len(name),
        )
        return b"".join((head, name, _NO_FILTER, NO_CREDENTIAL))


class DirectExchange(Sent):
    """One question on its way to one server; a subclass says in told() what becomes of its answer."""

    __slots__ = ("client", "request", "route", "started_s")

    def __init__(
        self, client: "DirectClient", route: Route, name: bytes, recursion_count: int, now_s: float
    ) -> None:
        """name: at most NAME_OCTETS_MAX octets, of which the whole record is wanted. now_s: monotonic."""
        self.client = client
        self.route = route
        self.request = route.request(new_request_id_octets(), name, recursion_count, client.client.wall())
        self.started_s = now_s
        super().__init__((self.request,), route.to, now_s + client.patience_s)

    @property
    def name(self) -> bytes:
        """What was asked for."""
        return self.request[_ASKED]

    def told(self, outcome: Surveyed | Answer | Failure) -> None:
        """Told once, never from within begin(): public values, any other answer, or a failure."""
        raise NotImplementedError

    def done(self, outcome: bytes | HandleError) -> None:
        """See Sent."""
        client = self.client.client
        target = self.route.target
        if isinstance(outcome, bytes):
            surveyed = read_usual_answer(self.request, outcome, client.wall())
            if surveyed is not None:
                now_s = client.clock()
                client.health.answered(target, now_s - self.started_s, now_s)
                self.told(surveyed)
                return
        result = self._weigh(outcome)
        client.remember(target, result, self.started_s)
        self.told(result)

    def _weigh(self, outcome: bytes | HandleError) -> Answer | Failure:
        """What an unusual answer says, or why there is none."""
        try:
            if isinstance(outcome, HandleError):
                raise outcome
            request, response = decode_message(self.request), decode_message(outcome)
            answer = read_answer(request, response, Handle(self.name), self.client.client.wall())
        except (ResolutionFailed, WireError) as error:
            return Failure(target=self.route.target, cause=cause_of(error))
        return judge(self.route.ask, self.route.target, answer)


class DirectClient:
    """Asks known servers over UDP, on the health records of a HandleClient and with the requests that it would send."""

    def __init__(self, client: HandleClient, udp: UdpExchanger) -> None:
        self.client = client
        self.patience_s = min(client.exchange_s, client.total_s)
        self._udp = udp

    def route(self, ask: Ask) -> Route | None:
        """The way to the service of an Ask; None where the best way is not UDP, or failed lately."""
        target = self.client.best_target(ask)
        if (
            target is None
            or target.protocol is not InterfaceProtocol.UDP
            or not self.is_usable(target, self.client.clock())
        ):
            return None
        head = self.client.request_to(target, OpCode.RESOLUTION, b"").encode()
        try:
            return Route(ask, target, head)
        except OSError:
            return None

    def is_usable(self, target: Target, now_s: float) -> bool:
        """Whether an interface is not known to fail."""
        return not self.client.health.is_avoided(target, now_s)

    def begin(self, exchange: DirectExchange) -> None:
        """Send the request of an exchange, and return. Raises Unreachable when nothing can be sent."""
        route = exchange.route
        try:
            self._udp.begin(route.family, exchange, exchange.started_s)
        except Unreachable as error:
            ours = isinstance(error, NotSent)
            failure = Failure(target=route.target, cause=error.cause, is_ours=ours)
            self.client.remember(route.target, failure, exchange.started_s)
            raise


def read_usual_answer(request: bytes, response: bytes, wall_s: float) -> Surveyed | None:
    """The values of the usual answer; None for any other, of which nothing is said: read_answer() decides about it.

    request: as Route.request() makes it, and asking for its digest; response: a whole message. wall_s: Unix seconds.
    Source: PROTOCOL.md §3.2, §3.8, §4.1.
    """
    try:
        flags, request_id, octets, op_code, code, op_flags, expiration, body_octets, algorithm = (
            _RESPONSE.unpack_from(response)
        )
    except struct.error:
        return None
    body_end = _BODY + body_octets
    name = request[_ASKED]
    names_end = _NAME + len(name)
    if (
        flags & _ANY_ENVELOPE_FLAG
        or request_id != request[8:12]
        or octets != len(response) - ENVELOPE_OCTETS
        or op_code != _RESOLUTION
        or code != _SUCCESS
        or not op_flags & _RRDG
        or expiration < wall_s - CLOCK_SKEW_S
        or algorithm != _BY_SHA256
        or response[body_end:] not in (b"", NO_CREDENTIAL)
        or names_end + 4 > body_end
        or response[_BODY + 1 : _DIGEST_END] != _SHA256(request[ENVELOPE_OCTETS:-4]).digest()
        or _U32.unpack_from(response, _DIGEST_END)[0] != len(name)
        or (response[_NAME:names_end] != name and response[_NAME:names_end].upper() != name.upper())
    ):
        return None
    count = _U32.unpack_from(response, names_end)[0]
    if not 0 < count <= MAX_VALUES or body_end > len(response):
        return None
    surveyed = survey(response, names_end + 4, count, wall_s)
    if surveyed is None or surveyed[0] != body_end:
        return None
    return ValueList(response[names_end + 4 : body_end], count), surveyed[1]
