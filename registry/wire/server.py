"""Handle protocol server of a registry node: requests become calls, calls become what the operations say.

The usual request, for a handle below a prefix that is homed here, goes the short way: no task and no message objects,
only an object that waits for the row. Everything else becomes a Call: who sent it is found out by its session, its
connection, or a challenge and its answer, and one of the operations answers it.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from protocol.admin_bodies import ChallengeAnswerRequest, LoginRequest
from protocol.bodies import ErrorBody, resolution_body
from protocol.challenge import challenge_response
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import HandleError, SessionLost, StoreUnavailable
from protocol.generations import Stamp
from protocol.handle import Handle
from protocol.message import Message, answer_version, decode_message
from protocol.runtime import wire_server
from protocol.runtime.signing import Signer
from protocol.site import Site
from protocol.transport.base import Answer, Peer, Reply
from protocol.usual import OF_AUTHORITY, AnswerTemplates, UsualRequest, read_usual_request
from protocol.value import ValueList
from registry.operations import Operations
from registry.outcomes import CACHE_TIME_MAX_S, Identity
from registry.reads import READ_TIME_MAX_S, PublicRow, StoreBusy
from registry.record import Refusal
from registry.resolution import public_answer
from registry.single_creations import SingleCreations
from registry.wire.administration import Administration, Registered
from registry.wire.call import Call, Unproven, reply_to_answer
from registry.wire.challenges import ChallengeGone, ChallengeStore, Pending, fingerprint
from registry.wire.listing import Lists
from registry.wire.logins import Logins
from registry.wire.policy import ADMINISTRATION, LISTING, WirePolicy, offers_administration
from registry.wire.proofs import Proofs, Unreadable
from registry.wire.reading import Readings
from registry.wire.replies import StoredReplies
from registry.wire.response import Part, Response
from registry.wire.session import Session
from registry.wire.sessions import Sessions
from registry.wire.status import Status

ANSWER_TIME_MAX_S: Final = READ_TIME_MAX_S
NO_DATABASE: Final = "The database of this server does not answer."
BUSY: Final = "This server is asked more than its database answers."
NO_SESSION: Final = "The session id names no session and no challenge, or one that has ended; begin anew."
_NO_SESSION_IDS: Final = frozenset({0, 0xFFFF_FFFF})
"""What clients send that have no session; the other one is -1 to some (PROTOCOL.md §12)."""
_ONCE: Final = ADMINISTRATION | {OpCode.SESSION_SETUP}
"""Operations that a retransmission must not do again."""
_WORDLESS: Final = ErrorBody().encode()
_FLAGS_AT: Final = 28
_PUBL_OCTET: Final = OpFlag.PUBL >> 24

Handler = Callable[[Call], Awaitable[Response]]


class WireServer(wire_server.WireServer):
    """The authority: values, denials and referrals, each with the generations that it was made from; and writes."""

    not_supported = "This server does not support {operation}."

    def __init__(
        self,
        operations: Operations,
        site: Site,
        *,
        creations: SingleCreations,
        challenges: ChallengeStore,
        proofs: Proofs,
        replies: StoredReplies,
        status: Status,
        registered: Registered,
        policy: WirePolicy,
        sessions: Sessions | None = None,
        signer: Signer | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        answer_time_max_s: float = ANSWER_TIME_MAX_S,
    ) -> None:
        """sessions: None for a server without them. signer: see WireServer."""
        super().__init__(site, signer=signer, clock=clock, wall_clock=wall_clock)
        self._operations = operations
        self._templates = AnswerTemplates(authoritative=site.primary, site_serial=site.serial)
        self._challenges = challenges
        self._proofs = proofs
        self._replies = replies
        self._policy = policy
        self._sessions = sessions
        self._logins = Logins(clock)
        administration = Administration(operations, creations, policy, registered)
        readings = Readings(
            operations,
            site,
            proofs=proofs,
            status=status,
            administration=administration,
            clock=clock,
            wall_clock=wall_clock,
            answer_time_max_s=answer_time_max_s,
        )
        lists = Lists(operations, administration)
        self._handlers: dict[int, Handler] = {
            OpCode.RESOLUTION: readings.resolve,
            OpCode.GET_SITE_INFO: readings.site_info,
            OpCode.CREATE_HANDLE: administration.create,
            OpCode.DELETE_HANDLE: administration.delete,
            OpCode.ADD_VALUE: administration.add_values,
            OpCode.REMOVE_VALUE: administration.remove_values,
            OpCode.MODIFY_VALUE: administration.modify_values,
            OpCode.LIST_HANDLES: lists.handles,
            OpCode.LIST_DERIVED_PREFIXES: lists.derived_prefixes,
            OpCode.VERIFY_CHALLENGE: readings.verify,
            OpCode.HOME_PREFIX: administration.home,
            OpCode.UNHOME_PREFIX: administration.unhome,
            OpCode.LIST_HOMED_PREFIXES: lists.homed_prefixes,
            OpCode.SESSION_SETUP: self._set_up_session,
            OpCode.SESSION_TERMINATE: self._terminate_session,
            OpCode.IDIS_LOGIN: self._log_in,
        }

    # The short way

    def answer_soon(self, octets: bytes, peer: Peer, reply: Reply) -> bool:
        """Ask for the row of a usual request; see the module."""
        usual = read_usual_request(octets, OF_AUTHORITY)
        if usual is None or octets[4:8] != b"\0\0\0\0":
            return False
        asked = _Asked(self, usual, octets, peer, reply)
        try:
            stamp = self._operations.ask(usual[0], asked)
        except StoreUnavailable as error:
            reply(self.no_answer(decode_message(octets), error))
            return True
        if stamp is None:
            return False
        asked.stamp = stamp
        return True

    def answer_usual(
        self, octets: bytes, usual: UsualRequest, row: PublicRow | None, stamp: Stamp
    ) -> Answer | None:
        """The answer that a row gives to a usual request; None when it takes more than the row."""
        name, _, wanted = usual
        if row is not None and row.restricted_count and not octets[_FLAGS_AT] & _PUBL_OCTET:
            return None
        told = public_answer(row, *wanted)
        if told is None:
            return None
        wall_s = self.wall_clock()
        code, body, life_s = ResponseCode.SUCCESS, _WORDLESS, CACHE_TIME_MAX_S
        if isinstance(told, ValueList):
            body = resolution_body(name, told)
            life_s = min(life_s, told.smallest_ttl_s(wall_s))
        else:
            code = told
        response = self._templates.answer(octets, code, body, wall_s)
        if life_s <= 0:
            return Answer(octets=response)
        return Answer(octets=response, cache_until_s=self.clock() + life_s, stamp=stamp)

    def no_answer(self, request: Message, error: Exception) -> Answer:
        """What is said when the database does not answer, or is asked too much."""
        if isinstance(error, StoreBusy):
            return self.refuse(request, error.code, BUSY)
        return self.refuse(request, ResponseCode.ERROR, NO_DATABASE)

    def failed(self, request: Message, peer: Peer, error: BaseException) -> Answer:
        """See WireServer."""
        if isinstance(error, StoreUnavailable | TimeoutError):
            return self.no_answer(request, error)
        return super().failed(request, peer, error)

    # From request to call

    def decode(self, octets: bytes, peer: Peer) -> Message:
        """See WireServer; a session reads what was encrypted in it."""
        return super().decode(octets, peer) if self._sessions is None else self._sessions.decode(octets, peer)

    def signs_for(self, request: Message, peer: Peer) -> bool:
        """See WireServer; the answer to a set-up is signed within a session too."""
        if request.header.op_code == OpCode.SESSION_SETUP or self._sessions is None:
            return True
        return not self._sessions.holds(request.envelope.session_id, peer)

    async def dispatch(self, request: Message, peer: Peer) -> Answer:
        """Do what a request asks for, for whom its session, its connection or its proof says."""
        operation = request.header.op_code
        if operation == OpCode.CHALLENGE_ANSWER:
            return await self._answer_challenge(request, peer)
        call = self._call(request, peer)
        if call is None:
            return self.refuse(request, ResponseCode.SESSION_TIMEOUT, NO_SESSION)
        if operation not in self._handlers:
            return self._protected(call, self.has_not(request))
        if call.is_logged_in or operation not in _ONCE:  # a connection repeats nothing by itself
            return await self._serve(call)
        key = fingerprint(request, peer.host)
        return await self._replies.once(key, partial(self._serve, call), is_kept=partial(_is_done, call))

    def _call(self, request: Message, peer: Peer) -> Call | None:
        """The call that a request is; None when its session id means nothing here. Raises HandleError."""
        call = Call(request=request, reply_to=request, peer=peer)
        if request.envelope.session_id in _NO_SESSION_IDS:
            return call
        identity = self._logins.identity_of(peer)
        if (
            identity is not None and not request.envelope.encrypted
        ):  # what is, belongs to a session and has its MAC
            return replace(call, identity=identity, is_logged_in=True)
        session = None if self._sessions is None else self._sessions.enter(request, peer)
        if session is None:
            return None
        if request.header.op_code == OpCode.SESSION_SETUP:  # another session, which has nothing from this one
            return call
        return replace(call, session=session, identity=session.identity)

    async def _serve(self, call: Call) -> Answer:
        """The answer to a call, whatever comes of it; on trial nothing but whether the identity would have a right."""
        handler = self._handlers[call.request.header.op_code]
        try:
            call = await self._of_standing(call)
            self._check_interface(call)
            response = await handler(call)
        except Unproven:
            return self._challenge(call)
        except Refusal as refusal:
            response = Response(code=refusal.code, body=ErrorBody(message=refusal.message).encode())
        except (HandleError, TimeoutError) as error:
            return self._protected(call, self.failed(call.reply_to, call.peer, error))
        return self._answer(call, response)

    async def _of_standing(self, call: Call) -> Call:
        """A call of nobody, where the owner of its identity is suspended since that was proved."""
        if call.identity is None or call.on_trial or not await self._proofs.is_barred(call.identity):
            return call
        return replace(call, identity=None, is_logged_in=False)

    def _check_interface(self, call: Call) -> None:
        """Raises Refusal for an operation that this kind of interface, or of site, does not have: 4, 301."""
        operation, transport = call.request.header.op_code, call.peer.transport
        if operation in LISTING and transport == "udp":
            raise Refusal(ResponseCode.PROTOCOL_ERROR, "a list takes a connection; ask over TCP or HTTP")
        if operation not in ADMINISTRATION or call.reply_to is not call.request:
            return  # the answer to a challenge may come anywhere
        if not self.site.primary:
            raise Refusal(ResponseCode.SERVER_NOT_RESPONSIBLE, "this is a mirror; write to the primary site")
        if not offers_administration(self.site, transport):
            message = (
                f"this {transport.upper()} interface takes no administration; its site record says which do"
            )
            raise Refusal(ResponseCode.PROTOCOL_ERROR, message)

    # Challenges and their answers

    def _challenge(self, call: Call) -> Answer:
        """What somebody gets who asks for what takes an identity, and has proved none."""
        request = call.request
        if call.reply_to is not request:  # a proof does not help
            return self._protected(call, self.refuse(call.reply_to, ResponseCode.INVALID_ADMINISTRATOR, ""))
        is_write = request.header.op_code in ADMINISTRATION
        if is_write and self._policy.refuse_sessionless_writes and call.session is None:
            text = "this server takes writes within a session alone; log in first"
            return self.refuse(request, ResponseCode.AUTHENTICATION_FAILED, text)
        if answer_version(request.envelope) < self._policy.authentication_version_min:
            text = "this server believes no proof in messages of so old a version of the protocol"
            return self._protected(call, self.refuse(request, ResponseCode.OPERATION_NOT_SUPPORTED, text))
        pending = self._challenges.issue(
            request, call.peer.host, 0 if call.session is None else call.session.id
        )
        response = challenge_response(
            request,
            pending.challenge.nonce,
            session_id=pending.session_id,
            authoritative=self.site.primary,
            site_serial=self.site.serial,
            wall_s=self.wall_clock(),
        )
        kept = response.header.op_flags & ~(OpFlag.OVRW | OpFlag.MINT)  # as deployed servers
        response = replace(response, header=replace(response.header, op_flags=kept))
        is_login = request.header.op_code == OpCode.IDIS_LOGIN  # which has to be answered on this connection
        return self._protected(call, Answer(octets=response.encode(), keep_open=is_login))

    async def _answer_challenge(self, answer: Message, peer: Peer) -> Answer:
        """Do what the challenge was about, once, and give the same reply to the same answer again."""
        if answer.envelope.session_id in _NO_SESSION_IDS:
            return self.refuse(answer, ResponseCode.AUTHENTICATION_TIMEOUT, "an answer to no challenge")
        session = None if self._sessions is None else self._sessions.enter(answer, peer)
        key = fingerprint(answer, peer.host)
        try:
            return await self._replies.once(key, partial(self._take, answer, peer, session))
        except HandleError as error:
            call = Call(request=answer, reply_to=answer, peer=peer, session=session)
            return self._protected(call, self.failed(answer, peer, error))

    async def _take(self, answer: Message, peer: Peer, session: Session | None) -> Answer:
        proof = ChallengeAnswerRequest.decode(answer.body)
        session_id = answer.envelope.session_id
        pending = self._challenges.take(session_id)
        if pending is None:
            if session is None:
                raise SessionLost(NO_SESSION)
            raise ChallengeGone("no challenge of the session waits for an answer; send the request again")
        call = await self._prove(pending, proof, answer, peer, session)
        return await self._serve(call)

    async def _prove(
        self,
        pending: Pending,
        proof: ChallengeAnswerRequest,
        answer: Message,
        peer: Peer,
        session: Session | None,
    ) -> Call:
        """The call that waited for this answer. Raises HandleError when the proof could not be checked."""
        reply_to = reply_to_answer(pending.request, answer)
        call = Call(request=pending.request, reply_to=reply_to, peer=peer, session=session)
        try:
            identity = await self._proofs.prove(pending.challenge, proof, network=call.network)
        except HandleError as error:
            if not isinstance(error, Unreadable):  # the fault is ours, so the same answer may come again
                self._challenges.restore(pending)
            raise
        if identity is None:
            if call.network != pending.network:  # somebody else who has seen the id must not end it
                self._challenges.restore(pending)
            claimed = Identity(index=proof.key.index, handle=Handle(proof.key.handle))
            return replace(call, identity=claimed, on_trial=True)
        if call.session is not None:
            call.session.prove(identity)
        return replace(call, identity=identity)

    # Sessions and logins

    async def _set_up_session(self, call: Call) -> Response:
        """OC 400."""
        set_up = await self._with_sessions().set_up(call.request, call.peer)
        return Response(body=set_up.body, session_id=set_up.session_id)

    async def _terminate_session(self, call: Call) -> Response:
        """OC 401."""
        sessions = self._with_sessions()
        if call.session is None:
            raise Refusal(ResponseCode.SESSION_TIMEOUT, NO_SESSION)
        sessions.terminate(call.session)
        return Response()

    def _with_sessions(self) -> Sessions:
        if self._sessions is None:
            raise Refusal(ResponseCode.OPERATION_NOT_SUPPORTED, "this server has no sessions")
        return self._sessions

    async def _log_in(self, call: Call) -> Response:
        """OC 2001 of IDIS clients: who answers the challenge has proved it for this connection (DOMAIN.md §3.5, 7)."""
        asked = LoginRequest.decode(call.request.body).identity
        if call.peer.link is None:
            raise Refusal(ResponseCode.PROTOCOL_ERROR, "a login is for a TCP connection")
        identity = call.proven()
        call.end_trial()
        if identity.handle != Handle(asked.handle) or asked.index not in (0, identity.index):
            raise Refusal(ResponseCode.AUTHENTICATION_FAILED, "another identity was to log in")
        self._logins.remember(call.peer, identity)
        return Response()

    # From response to octets

    def _answer(self, call: Call, response: Response) -> Answer:
        """The octets of a response, all of its messages."""
        first = self._message(call, response, response.body, follows=response.more is not None)
        answer = Answer(octets=first, keep_open=self._stays_open(call))
        if response.more is not None:
            answer.more = self._messages(call, response, response.more)
        is_for_all = call.identity is None and call.session is None
        if is_for_all and response.expires_s is not None and response.expires_s > self.clock():
            answer.cache_until_s, answer.stamp = response.expires_s, response.stamp
        return answer

    async def _messages(
        self, call: Call, response: Response, parts: AsyncGenerator[Part, None]
    ) -> AsyncGenerator[bytes, None]:
        try:
            async for body, follows in parts:
                yield self._message(call, response, body, follows=follows)
        finally:
            await parts.aclose()

    def _message(self, call: Call, response: Response, body: bytes, *, follows: bool) -> bytes:
        message = call.reply_to.answer(
            response.code,
            body,
            authoritative=self.site.primary,
            site_serial=self.site.serial,
            wall_s=self.wall_clock(),
            clear=response.clear,
        )
        if follows:
            flags = message.header.op_flags | OpFlag.CONT
            message = replace(message, header=replace(message.header, op_flags=flags))
        if response.session_id is not None:
            message = replace(message, envelope=replace(message.envelope, session_id=response.session_id))
        return self._protect(call, message)

    def _protected(self, call: Call, answer: Answer) -> Answer:
        """An answer within the session of its call, where there is one."""
        if call.session is None:
            return answer
        octets = self._protect(call, decode_message(answer.octets))
        return Answer(octets=octets, keep_open=self._stays_open(call))

    def _stays_open(self, call: Call) -> bool:
        """Whether the connection stays, beyond what it can read itself: for a login, and with an encrypted KPAL."""
        if call.reply_to.envelope.encrypted and call.reply_to.has(OpFlag.KPAL):
            return True
        return call.is_logged_in or self._logins.identity_of(call.peer) is not None

    def _protect(self, call: Call, message: Message) -> bytes:
        return message.encode() if call.session is None else call.session.protect(call.reply_to, message)


def _is_done(call: Call, answer: Answer) -> bool:
    """Whether a request was done, or its sender at least has proved something: strangers must not fill the store."""
    is_success = answer.octets[24:28] == ResponseCode.SUCCESS.to_bytes(4, "big")
    return call.identity is not None or is_success


class _Asked:
    """A usual request that waits for its row."""

    __slots__ = ("_octets", "_peer", "_reply", "_server", "_usual", "stamp")

    def __init__(
        self, server: WireServer, usual: UsualRequest, octets: bytes, peer: Peer, reply: Reply
    ) -> None:
        self._server = server
        self._usual = usual
        self._octets = octets
        self._peer = peer
        self._reply = reply
        self.stamp: Stamp

    def found(self, row: PublicRow | None) -> None:
        """See Waiter."""
        try:
            answer = self._server.answer_usual(self._octets, self._usual, row, self.stamp)
        except Exception as error:
            self.failed(error)
            return
        if answer is None:
            self._server.answer_later(self._octets, self._peer, self._reply)
        else:
            self._reply(answer)

    def failed(self, error: BaseException) -> None:
        """See Waiter."""
        request = decode_message(self._octets)
        if isinstance(error, StoreUnavailable):
            self._reply(self._server.no_answer(request, error))
        else:
            self._reply(self._server.failed(request, self._peer, error))
