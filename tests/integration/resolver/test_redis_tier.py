"""The second tier on a real server: shared between nodes, and no loss but a miss when it goes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import msgpack
import pytest
import redis.asyncio

from protocol.codes import ResponseCode
from resolver.cache.redis import RedisTier
from tests.integration.resolver.loopback import (
    PUMP,
    Hierarchy,
    client_of,
    free_port,
    running_node,
    value,
)
from tests.support.valkey import TestValkey


class Watch:
    """Remembers what the tier told."""

    def __init__(self) -> None:
        self.up: bool | None = None
        self.failures = 0
        self.limits: list[str] = []

    def redis_is(self, *, up: bool) -> None:
        self.up = up
        self.failures += not up

    def limit_reached(self, limit: str) -> None:
        self.limits.append(limit)


async def until_stored(url: str, keys: int) -> None:
    client = redis.asyncio.Redis.from_url(url)
    try:
        async with asyncio.timeout(30):
            while await client.dbsize() < keys:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
    finally:
        await client.aclose()


def tier_at(
    address: str,
    watch: Watch,
    *,
    pause_s: float = 0.2,
    timeout_s: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
) -> RedisTier:
    return RedisTier(
        address,
        cluster=False,
        timeout_s=timeout_s,
        requests_max=4,
        pause_s=pause_s,
        observer=watch,
        clock=clock,
    )


@pytest.fixture
async def tier(valkey: TestValkey) -> AsyncIterator[RedisTier]:
    tier = tier_at(valkey.url, Watch())
    tier.start()
    yield tier
    await tier.close()


async def test_what_one_node_fetched_another_finds(hierarchy: Hierarchy, valkey: TestValkey) -> None:
    async with running_node(hierarchy.settings(redis_url=valkey.url)) as one, client_of(one) as client:
        await client.ask(PUMP)
        await client.ask("88.100.1/none")
        await until_stored(valkey.url, 5)  # a record, a denial and three prefixes
    hierarchy.forget()

    shared = hierarchy.settings(redis_url=valkey.url, redis_timeout_s=1.0)
    async with running_node(shared) as other, client_of(other) as client:
        found, denied = await client.ask(PUMP), await client.ask("88.100.1/none")

    assert len(found.values) == 2
    assert (denied.code, denied.text) == (ResponseCode.HANDLE_NOT_FOUND, "no such handle")
    assert hierarchy.asked == []


async def test_prefixes_are_shared_too_so_that_an_unseen_name_costs_one_question(
    hierarchy: Hierarchy, valkey: TestValkey
) -> None:
    async with running_node(hierarchy.settings(redis_url=valkey.url)) as one, client_of(one) as client:
        await client.ask(PUMP)
        await until_stored(valkey.url, 4)
    hierarchy.forget()

    shared = hierarchy.settings(redis_url=valkey.url, redis_timeout_s=1.0)
    async with running_node(shared) as other, client_of(other) as client:
        await client.ask("88.100.1/unseen")

    assert hierarchy.asked == ["88.100.1/unseen"]


async def test_an_entry_of_the_tier_expires_with_its_ttl(hierarchy: Hierarchy, valkey: TestValkey) -> None:
    hierarchy.enterprise.hold("88.100.1/brief", value(1, "DESC", "x", ttl=100))
    async with running_node(hierarchy.settings(redis_url=valkey.url)) as node, client_of(node) as client:
        await client.ask("88.100.1/brief")
        await until_stored(valkey.url, 4)

    reader = redis.asyncio.Redis.from_url(valkey.url)
    left_s = await reader.ttl("handlegrid:r:88.100.1/brief")
    await reader.aclose()
    assert 90 <= left_s <= 100


async def test_a_tier_that_is_gone_is_only_a_miss(hierarchy: Hierarchy, valkey: TestValkey) -> None:
    async with running_node(hierarchy.settings(redis_url=valkey.url)) as node, client_of(node) as client:
        await client.ask(PUMP)
        valkey.stop()
        hierarchy.enterprise.hold("88.100.1/pump-8", value(1, "DESC", "x"))

        assert (await client.ask("88.100.1/pump-8")).code == ResponseCode.SUCCESS
        assert (await client.ask(PUMP)).code == ResponseCode.SUCCESS


async def test_a_tier_that_never_was_is_only_a_miss(hierarchy: Hierarchy) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    async with running_node(hierarchy.settings(redis_url=nobody)) as node, client_of(node) as client:
        assert (await client.ask(PUMP)).code == ResponseCode.SUCCESS


async def test_after_a_failure_the_tier_costs_nothing_until_it_is_tried_again(valkey: TestValkey) -> None:
    watch, now_s = Watch(), 0.0
    tier = tier_at(valkey.url, watch, clock=lambda: now_s)
    tier.start()
    try:
        tier.put_later(b"key", b"octets", 60_000)
        await until_stored(valkey.url, 1)
        assert await tier.get_many([b"key", b"other"]) == [b"octets", None]
        valkey.stop()
        assert await tier.get_many([b"key"]) == [None]
        assert watch.up is False

        for _ in range(1_000):
            assert await tier.get_many([b"key"]) == [None]
        assert watch.failures == 1

        valkey.start()
        now_s = 0.25
        await tier.get_many([b"key"])
        assert watch.up is True
    finally:
        await tier.close()


async def test_a_silent_server_is_given_up_in_time() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    watch = Watch()
    tier = tier_at(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", watch, timeout_s=0.05)
    try:
        started_s = time.monotonic()
        assert await tier.get_many([b"key"]) == [None]
        assert time.monotonic() - started_s < 10.0
        assert watch.up is False
    finally:
        await tier.close()
        server.close()


async def test_more_look_ups_than_allowed_are_misses_and_counted(valkey: TestValkey) -> None:
    watch = Watch()
    tier = tier_at(valkey.url, watch)
    try:
        await tier.get_many([b"first"])
        await asyncio.gather(*(tier.get_many([b"key"]) for _ in range(20)))
        assert watch.limits == ["redis_requests_max"] * 16
    finally:
        await tier.close()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xc1",
        b"not ours",
        msgpack.packb([2, 0, 9e9, 1, b"x"]),
        msgpack.packb([1, 0, 9e9, 1, b"x"]),
        msgpack.packb([1, 0, 9e9, 2_000_000_000, b""]),
        msgpack.packb([1, 0, 9e9, 5, "a denial that is none"]),
    ],
)
async def test_what_is_no_record_of_ours_is_a_miss(
    hierarchy: Hierarchy, valkey: TestValkey, octets: bytes
) -> None:
    writer = redis.asyncio.Redis.from_url(valkey.url)
    for key in ("r:88.100.1/pump-7", "d:88.100.1", "d:88.100", "d:88"):
        await writer.set(f"handlegrid:{key}", octets)
    await writer.aclose()

    settings = hierarchy.settings(redis_url=valkey.url, redis_timeout_s=1.0)
    async with running_node(settings) as node, client_of(node) as client:
        assert len((await client.ask(PUMP)).values) == 2
