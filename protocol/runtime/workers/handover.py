"""Requests that another worker of the node must answer: there over a local socket, and its answer back.

A session or a challenge lives in the worker whose number its id has, and its next message may come in at any worker.
A worker that was replaced meanwhile knows nothing of the id, and one that has ended cannot be reached: in both cases
the session is gone, and whoever answers says so.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from protocol.codes import ResponseCode
from protocol.runtime.session_ids import worker_of
from protocol.runtime.workers.channel import Channel
from protocol.runtime.workers.neighbour import Handed, Neighbour, Part
from protocol.transport.base import Answer, InFlight, Peer, Reply, Responder, refusal, respond
from protocol.transport.sockets import open_local

HANDED_MAX: Final = 256  # requests that wait for one other worker; each costs a descriptor here and there
DRAIN_S: Final = 2.0  # for what other workers asked, which drain at the same time
HAND_OVER: Final = "hand_over"
"""The name of the limit."""
NO_SESSION: Final = bytes(4)
BUSY: Final = "The process of this server that holds the session has too much to do."
SILENT: Final = "The process of this server that holds the session does not answer."


class HandOver:
    """One worker's part: it passes requests to the others, and answers those that they pass here."""

    def __init__(
        self,
        number: int,
        workers: int,
        meeting_place: Path,
        responder: Responder,
        on_limit: Callable[[str], None] = lambda _: None,
    ) -> None:
        """number: ours; workers have the numbers from 1 on. meeting_place: a directory that only they may enter.

        responder: what answers here, also when another worker is gone; it must not hand over. on_limit: told the name
        of a limit.
        """
        self._number = number
        self._place = meeting_place / str(number)
        self._responder = responder
        self._on_limit = on_limit
        self._neighbours = {
            one: Neighbour(meeting_place / str(one)) for one in range(1, workers + 1) if one != number
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self._answering = InFlight()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Be reachable, in place of whoever had our number before. Raises OSError."""
        self._server = await asyncio.start_unix_server(self._serve, sock=open_local(self._place))

    async def close(self) -> None:
        """Finish within DRAIN_S what other workers asked, and end everything."""
        if self._server is not None:
            self._server.close()
        await self._answering.wait(DRAIN_S)
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        for neighbour in self._neighbours.values():
            neighbour.close()

    def take(self, octets: bytes, peer: Peer, reply: Reply) -> bool:
        """Pass a request on when its session id names another worker that there is; else False, and nothing is done."""
        session_id = octets[4:8]
        if session_id == NO_SESSION:
            return False
        neighbour = self._neighbours.get(worker_of(int.from_bytes(session_id, "big")))
        if neighbour is None:
            return False
        if neighbour.waiting >= HANDED_MAX:
            self._on_limit(HAND_OVER)
            reply(Answer(octets=refusal(octets, ResponseCode.SERVER_TOO_BUSY, BUSY)))
        else:
            self._start(self._pass_on(neighbour, octets, peer, reply))
        return True

    async def _pass_on(self, neighbour: Neighbour, octets: bytes, peer: Peer, reply: Reply) -> None:
        try:
            answer = await neighbour.ask(Handed(peer.host, peer.port, peer.transport, octets))
        except TimeoutError:
            answer = Answer(octets=refusal(octets, ResponseCode.ERROR, SILENT))
        except (OSError, EOFError):
            respond(self._responder, octets, peer, reply)
            return
        reply(answer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers what another worker passes here, one request after the other, until it ends the connection."""
        task = asyncio.current_task()
        assert task is not None
        self._remember(task)
        channel = Channel[Handed](reader, writer, Handed)
        try:
            while True:
                handed = await channel.receive()
                self._answering.enter()
                try:
                    await self._answer(channel, handed)
                finally:
                    self._answering.leave()
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass  # it is gone, or we are going
        finally:
            channel.abort()

    async def _answer(self, channel: Channel[Handed], handed: Handed) -> None:
        answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

        def reply(answer: Answer | None) -> None:
            if not answered.done():
                answered.set_result(answer)

        peer = Peer(handed.host, handed.port, handed.transport)
        respond(self._responder, handed.octets, peer, reply)
        answer = await answered
        if answer is None:
            await channel.send(Part(None))
            return
        await channel.send(Part(answer.octets, answer.more is not None, answer.keep_open))
        if answer.more is not None:
            async with aclosing(answer.more):
                async for octets in answer.more:
                    await channel.send(Part(octets))
            await channel.send(Part(None))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._remember(asyncio.get_running_loop().create_task(work))

    def _remember(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
