"""Another worker of the node, as who hands requests over to it: over connections that carry one request at a time."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import msgspec

from protocol.runtime.workers.channel import Channel
from protocol.transport.base import Answer, TransportName

IDLE_MAX: Final = 16  # connections kept: as many as a client with sixteen threads keeps busy
ANSWER_S: Final = 30.0  # a write that waits for its row is given up earlier


class Handed(msgspec.Struct, frozen=True, array_like=True):
    """A request as it came in."""

    host: str
    port: int
    transport: TransportName
    octets: bytes


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One message of an answer; without octets, the end of those that follow the first, or silence."""

    octets: bytes | None
    more: bool = False
    """Of the first: whether others follow."""
    keep_open: bool = False


class Neighbour:
    """What asks one other worker."""

    def __init__(self, place: Path) -> None:
        """place: where it listens."""
        self.waiting = 0
        """Requests that it has not answered."""
        self._place = place
        self._idle: list[Channel[Part]] = []

    async def ask(self, request: Handed) -> Answer | None:
        """Its answer; None when it stays silent.

        Raises TimeoutError after ANSWER_S, else OSError or EOFError when it cannot be reached or ended meanwhile.
        """
        self.waiting += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                channel = await self._channel()
                try:
                    return await self._ask(channel, request)
                except BaseException:
                    channel.abort()
                    raise
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """End the connections that are idle."""
        for channel in self._idle:
            channel.abort()
        self._idle.clear()

    async def _ask(self, channel: Channel[Part], request: Handed) -> Answer | None:
        await channel.send(request)
        first = await channel.receive()
        if first.octets is None:
            self._keep(channel)
            return None
        if not first.more:
            self._keep(channel)
            return Answer(octets=first.octets, keep_open=first.keep_open)
        more = self._rest(channel)
        await anext(more)  # so that it ends the connection when nobody wants the rest
        return Answer(octets=first.octets, keep_open=first.keep_open, more=more)

    async def _rest(self, channel: Channel[Part]) -> AsyncGenerator[bytes, None]:
        """Nothing, to begin with, and then the messages behind the first."""
        try:
            octets: bytes | None = b""
            while octets is not None:
                yield octets
                async with asyncio.timeout(ANSWER_S):
                    octets = (await channel.receive()).octets
        except BaseException:
            channel.abort()
            raise
        self._keep(channel)

    async def _channel(self) -> Channel[Part]:
        while self._idle:
            channel = self._idle.pop()
            if not channel.is_ended:
                return channel
            channel.abort()
        return Channel(*await asyncio.open_unix_connection(self._place), Part)

    def _keep(self, channel: Channel[Part]) -> None:
        if len(self._idle) < IDLE_MAX:
            self._idle.append(channel)
        else:
            channel.abort()
