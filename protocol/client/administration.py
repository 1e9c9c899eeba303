"""Administration: what an administrator has servers do, wherever the handles are; within sessions or without.

Writes go to the server of a primary site that is responsible for the handle, over an interface that takes
administration. Lists are streamed, outside sessions, from every server of a site. Source: PROTOCOL.md §4.5-4.13, §6.2.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final

from protocol.admin_bodies import (
    CreateResponse,
    HandleListResponse,
    HandleRequest,
    RemoveValuesRequest,
    ValuesRequest,
    VerifyRequest,
    VerifyResponse,
)
from protocol.bodies import ResolutionRequest, ResolutionResponse
from protocol.challenge import Challenge
from protocol.client.conversation import AdminExchanger, Conversation, content_of, prove, unclear
from protocol.client.identity import Identity
from protocol.client.places import Places, below
from protocol.client.selection import Target, administration_targets, listing_targets
from protocol.client.session import ANONYMOUS, TIMEOUT_S, ClientSession
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.errors import (
    BadSignature,
    HandleError,
    InvalidHandle,
    Malformed,
    OperationRefused,
    SessionFailed,
    SessionLost,
    Unreachable,
    WireError,
)
from protocol.handle import Handle, Prefix
from protocol.message import response_code_of, split_digest
from protocol.site import InterfaceProtocol, Server, Site
from protocol.value import HandleValue, ValueList, ValueReference
from protocol.valuetypes import PublicKey

PATIENCE_S: Final = (
    15.0  # for one message: a write waits for a disk, and for whoever checks a proof elsewhere
)
SESSIONS_MAX: Final = (
    16  # open at once: of a batch over many services the one that was unused longest is ended
)
NO_SERVER_KEY: Final = "the site record names no server key, by which the server could be known"

_NOT_HERE: Final = frozenset(
    {
        ResponseCode.SERVER_NOT_RESPONSIBLE,
        ResponseCode.SERVICE_REFERRAL,
        ResponseCode.PREFIX_REFERRAL,
    }
)

Interface = tuple[str, int, InterfaceProtocol]


@dataclass(frozen=True, slots=True)
class _Task:
    """What a server is asked to do."""

    operation: OpCode
    body: bytes
    flags: int = DEFAULT_FLAGS


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUse:
    """How sessions are used."""

    encrypted: bool = True
    """Whether messages are encrypted too, and not only sent with a MAC."""
    fallback: bool = False
    """Whether a server that sets up no session is spoken to without one."""
    timeout_s: int = TIMEOUT_S


class Administration:
    """An administrator; one operation at a time. Use as an asynchronous context manager, which ends its sessions.

    Every operation raises OperationRefused with the server's code, ResolutionFailed when no server can be found or
    reached (Unclear when a write may have been done), BadSignature for who is not the server, SessionFailed, WireError.
    """

    def __init__(
        self,
        exchanger: AdminExchanger,
        places: Places,
        identity: Identity | None = None,
        *,
        interface_protocol: InterfaceProtocol | None = None,
        sessions: SessionUse | None = None,
        certified: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """identity: None for what anybody may do. interface_protocol: the only one to use; None for the best.

        certified: whether answers outside sessions must be signed with the key that the site record names.
        """
        self._exchanger = exchanger
        self._places = places
        self._identity = identity
        self._protocol = interface_protocol
        self._use = sessions
        self._certified = certified
        self._patience_s = patience_s
        self._sessions: OrderedDict[Interface, ClientSession] = OrderedDict()
        self._without: set[Interface] = set()

    async def __aenter__(self) -> "Administration":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end_sessions()

    # Operations

    async def read(self, question: ResolutionRequest) -> ValueList:
        """The values of a handle, those that administrators alone may read among them, from a primary site."""
        flags = DEFAULT_FLAGS & ~OpFlag.PUBL
        content = await self._operate(OpCode.RESOLUTION, question.handle, question.encode(), flags)
        return ResolutionResponse.decode(content).values

    async def create(
        self, handle: Handle, values: Iterable[HandleValue], *, overwrite: bool = False, mint: bool = False
    ) -> Handle:
        """Create a handle, or with overwrite give it these values whatever it had. Returns its name.

        mint: handle is the beginning of a name that the server completes.
        """
        flags = DEFAULT_FLAGS | (OpFlag.OVRW if overwrite else 0) | (OpFlag.MINT if mint else 0)
        content = await self._operate(OpCode.CREATE_HANDLE, handle, _values(handle, values), flags)
        try:
            return CreateResponse.decode(content).handle or handle
        except InvalidHandle as error:
            raise Malformed(f"the answer names no handle: {error}") from None

    async def add(self, handle: Handle, values: Iterable[HandleValue], *, overwrite: bool = False) -> None:
        """Add values; with overwrite also in place of those that have their indexes."""
        flags = DEFAULT_FLAGS | (OpFlag.OVRW if overwrite else 0)
        await self._operate(OpCode.ADD_VALUE, handle, _values(handle, values), flags)

    async def modify(self, handle: Handle, values: Iterable[HandleValue]) -> None:
        """Put values in place of those that have their indexes."""
        await self._operate(OpCode.MODIFY_VALUE, handle, _values(handle, values))

    async def remove(self, handle: Handle, indexes: Sequence[int]) -> None:
        """Remove the values with these indexes."""
        body = RemoveValuesRequest(handle=handle, indexes=tuple(indexes)).encode()
        await self._operate(OpCode.REMOVE_VALUE, handle, body)

    async def delete(self, handle: Handle) -> None:
        """Delete a handle with all of its values."""
        await self._operate(OpCode.DELETE_HANDLE, handle, _name(handle))

    async def home(self, prefix: Prefix) -> None:
        """Have every server of the site answer for a prefix from now on."""
        await self._of_every_server(OpCode.HOME_PREFIX, prefix)

    async def unhome(self, prefix: Prefix) -> None:
        """Have every server of the site answer for a prefix no more."""
        await self._of_every_server(OpCode.UNHOME_PREFIX, prefix)

    async def list_handles(self, prefix: Prefix) -> AsyncGenerator[bytes, None]:
        """The names below a prefix, of one server of its site after the other."""
        async for name in self._names(OpCode.LIST_HANDLES, below(prefix), prefix.record):
            yield name

    async def list_derived(self, prefix: Prefix) -> AsyncGenerator[bytes, None]:
        """The prefix records below a prefix."""
        async for name in self._names(OpCode.LIST_DERIVED_PREFIXES, below(prefix), prefix.record):
            yield name

    async def list_homed(self, handle: Handle) -> AsyncGenerator[bytes, None]:
        """The prefix records that the servers answer for which hold a handle."""
        async for name in self._names(OpCode.LIST_HOMED_PREFIXES, handle, HandleRequest().handle):
            yield name

    async def verify(self, key: ValueReference, challenge: Challenge, answer: bytes) -> bool:
        """Whether an answer to somebody's challenge was made with a secret key, as the server says that holds it.

        The answer is believed only when it is signed, where the site record names a key (PROTOCOL.md §4.10).
        """
        request = VerifyRequest(key=key, nonce=challenge.nonce, digest=challenge.digest, answer=answer)
        handle = Handle.parse(key.handle)
        site = _writable(await self._places.sites(handle))
        server = site.responsible_server(handle)
        target = self._targets(listing_targets(site, server))[0]
        conversation = self._conversation(target, server, certified=True)
        flags = DEFAULT_FLAGS | OpFlag.RRDG
        content = await conversation.ask(OpCode.VERIFY_CHALLENGE, request.encode(), flags)
        return VerifyResponse.decode(content).valid

    async def end_sessions(self) -> None:
        """Have the servers forget the sessions, where they can be reached."""
        while self._sessions:
            _, session = self._sessions.popitem()
            with suppress(HandleError):
                await session.end()

    # One operation

    async def _operate(
        self, operation: OpCode, handle: Handle, body: bytes, flags: int = DEFAULT_FLAGS
    ) -> bytes:
        """The body of the answer of the server that is responsible; looked up anew when it says that it is not."""
        task = _Task(operation, body, flags)
        try:
            return await self._operate_once(handle, task)
        except OperationRefused as refused:
            if refused.refusal not in _NOT_HERE or not self._places.forget(handle):
                raise
        return await self._operate_once(handle, task)

    async def _operate_once(self, handle: Handle, task: _Task) -> bytes:
        site = _writable(await self._places.sites(handle))
        return await self._tell(site, site.responsible_server(handle), task)

    async def _of_every_server(self, operation: OpCode, prefix: Prefix) -> None:
        site = _writable(await self._places.sites(below(prefix)))
        for server in site.servers:
            await self._tell(site, server, _Task(operation, _name(prefix.record)))

    async def _tell(self, site: Site, server: Server, task: _Task) -> bytes:
        """The answer of the first interface of a server that can be reached."""
        failure: Unreachable | None = None
        for target in self._targets(administration_targets(site, server)):
            try:
                return await self._ask(target, server, task)
            except Unreachable as error:
                if type(error) is not Unreachable:  # it was sent, or nothing can be sent from here
                    raise
                failure = error
        assert failure is not None
        raise failure

    async def _ask(self, target: Target, server: Server, task: _Task) -> bytes:
        session = await self._session(target, server)
        if session is None:
            conversation = self._conversation(target, server, certified=self._certified)
            return await conversation.ask(task.operation, task.body, task.flags)
        try:
            return await self._ask_within(session, target, task)
        except SessionLost:
            self._sessions.pop(_interface(target), None)
        session = await self._session(target, server)
        assert session is not None, "a server that had sessions"
        return await self._ask_within(session, target, task)

    # Sessions

    async def _ask_within(self, session: ClientSession, target: Target, task: _Task) -> bytes:
        assert self._use is not None
        flags = task.flags | (OpFlag.ENCR if self._use.encrypted else 0)
        try:
            request, response = await session.ask(task.operation, task.body, flags=flags)
            needed = response_code_of(response) == ResponseCode.AUTHENTICATION_NEEDED
            if needed and self._identity is not None:
                proof = prove(self._identity, request, response).encode()
                kept = flags & ~(OpFlag.OVRW | OpFlag.MINT)
                _, response = await session.ask(OpCode.CHALLENGE_ANSWER, proof, flags=kept)
        except Unreachable as error:
            raise unclear(error) from error
        return content_of(response, split_digest(response)[1], node=str(target))

    async def _session(self, target: Target, server: Server) -> ClientSession | None:
        """The session with an interface, set up when there is none; None where none is used."""
        place = _interface(target)
        if self._use is None or place in self._without:
            return None
        session = self._sessions.get(place)
        if session is not None:
            self._sessions.move_to_end(place)
            return session
        try:
            session = await self._set_up(target, server, self._use)
        except SessionFailed:
            if not self._use.fallback:
                raise
            self._without.add(place)
            return None
        self._sessions[place] = session
        while len(self._sessions) > SESSIONS_MAX:
            _, oldest = self._sessions.popitem(last=False)
            with suppress(HandleError):
                await oldest.end()
        return session

    async def _set_up(self, target: Target, server: Server, use: SessionUse) -> ClientSession:
        async def send(octets: bytes) -> bytes:
            return await self._exchanger.exchange_octets(
                target.protocol,
                target.address,
                target.port,
                octets,
                deadline_s=monotonic() + self._patience_s,
                path=target.path,
            )

        try:
            key = PublicKey.decode(server.public_key)
        except WireError:
            raise SessionFailed(NO_SERVER_KEY) from None
        identity = ANONYMOUS if self._identity is None else self._identity.reference
        return await ClientSession.set_up(send, key, identity=identity, timeout_s=use.timeout_s)

    # Lists

    async def _names(self, operation: OpCode, place: Handle, asked: Handle) -> AsyncGenerator[bytes, None]:
        site = _writable(await self._places.sites(place))
        for server in site.servers:
            target = self._targets(listing_targets(site, server))[0]
            conversation = self._conversation(target, server, certified=self._certified)
            async with aclosing(conversation.stream(operation, _name(asked), DEFAULT_FLAGS)) as bodies:
                async for body in bodies:
                    for name in HandleListResponse.decode(body).names:
                        yield name

    # Servers

    def _targets(self, targets: Sequence[Target]) -> list[Target]:
        """Those of the wanted protocol. Raises Unreachable when there are none."""
        wanted = [target for target in targets if self._protocol in (None, target.protocol)]
        if not wanted:
            protocol = "any protocol" if self._protocol is None else self._protocol.name
            raise Unreachable(
                f"its site record offers no such interface over {protocol}",
                node=str(targets[0].address) if targets else "",
                remedy="choose another transport; lists take TCP or HTTP, and few servers take writes over UDP",
            )
        return wanted

    def _conversation(self, target: Target, server: Server, *, certified: bool) -> Conversation:
        return Conversation(
            self._exchanger,
            target,
            self._identity,
            server_key=_server_key(server) if certified else None,
            patience_s=self._patience_s,
        )


def _interface(target: Target) -> Interface:
    return target.address, target.port, target.protocol


def _writable(sites: Sequence[Site]) -> Site:
    """The site that takes writes: the first primary one that has a server, else the first that has one."""
    usable = [site for site in sites if site.servers]
    if not usable:
        raise Unreachable("the service has no site with a server", remedy="correct its HS_SITE values")
    return next((site for site in usable if site.primary), usable[0])


def _server_key(server: Server) -> PublicKey:
    """The key that a server signs with. Raises BadSignature when its site record names none that can be used."""
    try:
        return PublicKey.decode(server.public_key)
    except WireError:
        raise BadSignature(NO_SERVER_KEY) from None


def _name(handle: Handle) -> bytes:
    return HandleRequest(handle=handle).encode()


def _values(handle: Handle, values: Iterable[HandleValue]) -> bytes:
    return ValuesRequest(handle=handle, values=ValueList.of(values)).encode()
