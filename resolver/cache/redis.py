"""Second tier: a Redis or Valkey, alone or as a cluster, shared by several nodes. Its loss is only a miss.

Look-ups are one pipeline of GETs, which a cluster answers across its slots; writes go behind, from a bounded queue.
After a failure the tier is left alone for a while, so that a dead one costs nothing, and then tried with one look-up.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, Protocol, cast

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from protocol.wire import MAX_MESSAGE_OCTETS

log = structlog.get_logger(__name__)

WRITES_WAITING_MAX: Final = 10_000  # some megabytes; as many wait only where the tier is slow
WRITE_BATCH: Final = 256  # commands of one pipeline; larger ones only add delay
ENTRY_OCTETS_MAX: Final = MAX_MESSAGE_OCTETS + 4_096  # a message's values and our own fields
CONNECT_S: Final = 1.0  # a connection is made once in a long time, so it may take longer than a look-up

Write = tuple[bytes, bytes, int]


class RedisObserver(Protocol):
    """Who is told how the tier fares."""

    def redis_is(self, *, up: bool) -> None:
        """The tier answered, or did not."""

    def limit_reached(self, limit: str) -> None:
        """A named limit refused work."""


class RedisTier:
    """Octets by key with a time to live, in a Redis; every method returns in bounded time and never raises."""

    def __init__(
        self,
        address: str,
        *,
        cluster: bool,
        timeout_s: float,
        requests_max: int,
        pause_s: float,
        observer: RedisObserver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the tier; the first look-up connects.

        timeout_s bounds one look-up, requests_max those at once, pause_s the rest after a failure.
        """
        self._client: Any = _connect(address, cluster=cluster, timeout_s=timeout_s, requests_max=requests_max)
        self._timeout_s = timeout_s
        self._requests_max = requests_max
        self._pause_s = pause_s
        self._observer = observer
        self._clock = clock
        self._requests = 0
        self._resume_s = 0.0
        self._proven = False
        self._probing = False
        self._complained = False
        self._writes: deque[Write] = deque()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write behind."""
        self._writer = asyncio.get_running_loop().create_task(self._write_behind())

    async def close(self) -> None:
        """Stop writing, forget what waits, disconnect."""
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
            self._writer = None
        with suppress(RedisError, OSError, TimeoutError):
            await self._client.aclose()

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The octets under each key, in one round trip; None for a miss, and for everything when the tier fails."""
        if not self._may_try():
            return [None] * len(keys)
        answers = await self._execute([("GET", key) for key in keys], self._timeout_s)
        return [_bounded(answer) for answer in answers] if answers is not None else [None] * len(keys)

    def put_later(self, key: bytes, octets: bytes, ttl_ms: int) -> None:
        """Queue octets to be kept for a time; dropped when too many wait or the tier rests."""
        if self._clock() < self._resume_s or len(octets) > ENTRY_OCTETS_MAX or ttl_ms <= 0:
            return
        if len(self._writes) >= WRITES_WAITING_MAX:
            self._observer.limit_reached("redis_writes_waiting")
            return
        self._writes.append((key, octets, ttl_ms))
        self._wake.set()

    def _may_try(self) -> bool:
        if self._clock() < self._resume_s:
            return False
        if self._requests >= self._requests_max:
            self._observer.limit_reached("redis_requests_max")
            return False
        if self._probing:
            return False
        self._probing = not self._proven  # then this is the probe, and the others go on without the tier
        return True

    async def _execute(self, commands: list[tuple[Any, ...]], timeout_s: float) -> list[Any] | None:
        """Run commands as one pipeline; None when the tier failed as a whole."""
        self._requests += 1
        try:
            async with asyncio.timeout(timeout_s if self._proven else timeout_s + CONNECT_S):
                answers = await self._pipeline(commands)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            return None
        finally:
            self._requests -= 1
            self._probing = False
        if answers and all(isinstance(answer, Exception) for answer in answers):
            self._failed(answers[0])
            return None
        self._succeeded()
        return answers

    async def _pipeline(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        opened = cast("AbstractAsyncContextManager[Any]", self._client.pipeline(transaction=False))
        async with opened as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return cast("list[Any]", await pipeline.execute(raise_on_error=False))

    def _failed(self, error: Exception) -> None:
        self._resume_s = self._clock() + self._pause_s
        self._writes.clear()
        if not self._complained:
            log.warning("redis_unavailable", cause=f"{type(error).__name__}: {error}", pause_s=self._pause_s)
        self._proven, self._complained = False, True
        self._observer.redis_is(up=False)

    def _succeeded(self) -> None:
        if self._complained:
            log.info("redis_available")
        self._proven, self._complained = True, False
        self._observer.redis_is(up=True)
        if self._writes:
            self._wake.set()

    async def _write_behind(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._writes and self._may_try():  # else the next success wakes us
                batch = [self._writes.popleft() for _ in range(min(WRITE_BATCH, len(self._writes)))]
                commands: list[tuple[Any, ...]] = [
                    ("SET", key, octets, "PX", ttl_ms) for key, octets, ttl_ms in batch
                ]
                await self._execute(commands, self._timeout_s + CONNECT_S)


def _connect(address: str, *, cluster: bool, timeout_s: float, requests_max: int) -> Any:
    """Make a client that neither retries nor waits for longer than it is told; nothing is sent yet."""
    connections_max = requests_max + 2  # the writer, and one that is being replaced
    if cluster:
        return RedisCluster.from_url(
            address,
            max_connections=connections_max,
            socket_timeout=timeout_s + CONNECT_S,
            socket_connect_timeout=CONNECT_S,
            retry=Retry(NoBackoff(), 0),
        )
    return Redis.from_url(
        address,
        max_connections=connections_max,
        socket_timeout=timeout_s + CONNECT_S,
        socket_connect_timeout=CONNECT_S,
        retry=Retry(NoBackoff(), 0),
    )


def _bounded(answer: object) -> bytes | None:
    return answer if isinstance(answer, bytes) and len(answer) <= ENTRY_OCTETS_MAX else None
