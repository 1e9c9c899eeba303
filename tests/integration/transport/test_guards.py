"""Access lists, limits, metrics, day counters and query samples tell the same of the same traffic on both paths."""

import asyncio
import dataclasses
from typing import Any

from structlog.testing import capture_logs

from protocol.bodies import SiteInfoRequest
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.message import Header, Message, decode_message
from protocol.runtime.day_counters import DayCounters
from protocol.runtime.metrics import NodeMetrics
from protocol.runtime.sampling import QuerySampler
from protocol.runtime.traffic import TrafficObserver
from protocol.transport.fast_path import FastPath
from protocol.transport.source import ENTRIES_MAX, SourceCheck
from protocol.transport.tcp import listen_tcp
from protocol.transport.udp import UdpListener, listen_udp
from tests.support.intakes import Bench, later
from tests.support.paths import PURE, path_of
from tests.support.transport import Datagrams, Echo, answer_to, resolution

BURST = 30
TIMED = ("_sum", "_bucket", "_created", "_seconds")


class Node:
    """A datagram front end with the observer that daemons have, in front of a responder that fills the cache."""

    def __init__(self, path: FastPath, source: SourceCheck, *, sample_every: int = 0) -> None:
        self.path, self.source = path, source
        self.metrics, self.counters = NodeMetrics("test"), DayCounters()
        sampler = QuerySampler(sample_every) if sample_every else None
        self.observer = TrafficObserver(
            self.metrics, self.counters, sampler=sampler, wall_clock=lambda: 1_700_000_000.0
        )
        self.cache = path.answer_table(octets_max=1_048_576)

    async def listen(self) -> UdpListener:
        return await listen_udp(
            "127.0.0.1",
            0,
            Echo(),
            source=self.source,
            cache=self.cache,
            observer=self.observer,
            path=self.path,
        )

    def warm(self, message: Message, data_octets: int = 20) -> bytes:
        octets = message.encode()
        assert self.cache.put(octets, answer_to(octets, data_octets=data_octets), later())
        return octets

    @property
    def samples(self) -> dict[str, float]:
        """Every counter that does not depend on time, by name and labels."""
        return {
            f"{sample.name}{sorted(sample.labels.items())}": sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if not sample.name.endswith(TIMED)
        }

    @property
    def days(self) -> list[dict[str, Any]]:
        timeless = {"latency_min_s": None, "latency_max_s": None, "latency_sum_s": 0.0}
        return [
            dataclasses.asdict(dataclasses.replace(delta, **timeless))  # type: ignore[arg-type]
            for delta in self.counters.take_delta()
        ]


def site_info(request_id: int) -> Message:
    body = SiteInfoRequest().encode()
    return Message.request(OpCode.GET_SITE_INFO, body, request_id=request_id, expiration=0)


async def told_of(path: FastPath) -> tuple[Any, ...]:
    """What a node tells of some traffic: hits, misses, long answers, refusals, limits, junk; one datagram at a time."""
    source = SourceCheck(deny=["127.0.3.0/24"], unlimited=["127.0.2.0/24"], rate_per_s=1e-6, burst=BURST)
    node = Node(path, source, sample_every=7)
    hit, long_hit = node.warm(resolution("1/hit")), node.warm(resolution("1/long"), 3_000)
    answer = answer_to(hit)
    denied = node.warm(resolution("1/denied"))
    assert node.cache.put(denied, answer[:24] + b"\0\0\0\x64" + answer[28:], later())
    asking = site_info(1).encode()
    assert node.cache.put(asking, answer[:20] + b"\0\0\0\2" + answer[24:], later())
    listener = await node.listen()
    heard: list[tuple[str, int]] = []
    with capture_logs() as logs:
        for host in ("127.0.2.1", "127.0.1.1", "127.0.3.1"):
            with Datagrams(listener.address, source=host) as client:
                for number in range(20):
                    miss = resolution(f"1/{host}/{number}", request_id=number).encode()
                    for octets in (hit, denied, asking, miss, b"junk", long_hit):
                        client.send(octets)
                        heard += [(host, code) for code in await settled(client)]
    await listener.close()
    sampled = [entry for entry in logs if entry["event"] == "query_sampled"]
    return heard, node.samples, node.days, sampled


async def settled(client: Datagrams) -> list[int]:
    """The response codes of what comes back, once the server has had every chance."""
    codes = []
    for _ in range(12):
        await asyncio.sleep(0)
        try:
            while True:
                packet = client.socket.recv(65_535)
                codes.append(int.from_bytes(packet[24:28], "big") if packet[12:16] == bytes(4) else -1)
        except BlockingIOError:
            continue
    return codes


async def test_both_paths_tell_the_same_of_the_same_traffic() -> None:
    pure, compiled = await told_of(PURE), await told_of(path_of("compiled"))
    for one, other in zip(pure, compiled, strict=True):
        assert one == other

    heard, samples, days, sampled = pure
    assert {host for host, _ in heard} == {"127.0.2.1", "127.0.1.1"}
    assert samples["handlegrid_limit_reached_total[('limit', 'source_refused')]"] == 120
    assert samples["handlegrid_limit_reached_total[('limit', 'source_rate')]"] >= 120 - BURST
    shed = [code for host, code in heard if host == "127.0.1.1" and code == ResponseCode.ERROR]
    assert len(shed) == (120 - BURST) // 4
    (day,) = days
    assert day["sources"]["127.0.2.0/24"] == 80
    assert day["resolutions"] == sum(day["sources"].values())
    assert 10 < len(sampled) <= day["resolutions"] // 7
    assert {entry["source"] for entry in sampled} <= {"127.0.1.0/24", "127.0.2.0/24"}


async def test_every_nth_resolution_is_sampled_and_nothing_else_counts(path: FastPath) -> None:
    node = Node(path, SourceCheck(), sample_every=3)
    hit, asking = node.warm(resolution("1/hit")), site_info(1).encode()
    answer = answer_to(hit)
    assert node.cache.put(asking, answer[:20] + b"\0\0\0\2" + answer[24:], later())
    listener = await node.listen()
    with capture_logs() as logs, Datagrams(listener.address) as client:
        for _ in range(20):
            for octets in (hit, asking, asking):
                client.send(octets)
                await client.receive()
    await listener.close()
    sampled = [entry for entry in logs if entry["event"] == "query_sampled"]
    assert len(sampled) == 6
    assert {(entry["handle"], entry["outcome"]) for entry in sampled} == {("1/hit", "hit")}


async def test_every_nth_resolution_of_a_stream_is_sampled_and_nothing_else_counts(path: FastPath) -> None:
    node = Node(path, SourceCheck(), sample_every=3)
    hit = node.warm(resolution("1/hit", flags=DEFAULT_FLAGS | OpFlag.KPAL))
    asking = dataclasses.replace(site_info(1), header=Header(op_code=2, op_flags=OpFlag.KPAL)).encode()
    answer = answer_to(hit)
    assert node.cache.put(asking, answer[:20] + b"\0\0\0\2" + answer[24:], later())
    listener = await listen_tcp(
        "127.0.0.1", 0, Echo(), source=node.source, cache=node.cache, observer=node.observer
    )
    reader, writer = await asyncio.open_connection(*listener.address)
    with capture_logs() as logs:
        for _ in range(20):
            for octets in (hit, asking, asking):
                writer.write(octets)
                await reader.readexactly(len(answer))
    writer.close()
    await listener.close()
    sampled = [entry for entry in logs if entry["event"] == "query_sampled"]
    assert len(sampled) == 6
    (day,) = node.days
    assert (day["resolutions"], day["sources"]) == (20, {"127.0.0.0/24": 20})


async def test_long_answers_out_of_the_cache_cost_tokens_of_their_own(path: FastPath) -> None:
    node = Node(path, SourceCheck(rate_per_s=1e-6, burst=10))
    long_hit = node.warm(resolution("1/long"), 20_000)
    listener = await node.listen()
    with Datagrams(listener.address) as client:
        client.send(long_hit, long_hit)
        packets = [await client.receive() for _ in range(41)]
        assert len({packet[12:16] for packet in packets}) == 41
        assert len(await settled(client)) == 0  # the second had no token left for packets
        hit = resolution("1/x", request_id=3)
        assert (await client.ask(hit)).header.response_code == ResponseCode.SUCCESS  # but for requests
    assert node.samples["handlegrid_limit_reached_total[('limit', 'source_rate')]"] == 1
    await listener.close()


async def test_an_ipv4_host_and_its_network_share_a_bucket_and_another_network_does_not(
    path: FastPath,
) -> None:
    node = Node(path, SourceCheck(rate_per_s=1e-6, burst=4))
    hit = node.warm(resolution("1/hit"))
    listener = await node.listen()
    heard = {}
    for host in ("127.0.4.1", "127.0.4.2", "127.0.5.1"):
        with Datagrams(listener.address, source=host) as client:
            codes = []
            for _ in range(3):
                client.send(hit)
                codes += await settled(client)
            heard[host] = codes
    await listener.close()
    assert heard == {"127.0.4.1": [1, 1, 1], "127.0.4.2": [1], "127.0.5.1": [1, 1, 1]}


def test_a_flood_from_many_addresses_cannot_make_a_path_forget_who_is_refused(path: FastPath) -> None:
    hosts = [f"127.9.{high}.{low}" for high in range(12) for low in range(1, 41)]
    with Bench(path, source=SourceCheck(deny=["127.9.3.0/24"], entries_max=100)) as bench:
        hit = resolution("1/hit").encode()
        bench.cache.put(hit, answer_to(hit), later())
        for _ in range(2):
            for number, host in enumerate(hosts):
                bench.send(hit, host)
                if number % 30 == 29:
                    bench.drain()
        bench.drain()
        for host in hosts:
            assert len(bench.answers(host)) == (0 if host.startswith("127.9.3.") else 2)
        assert bench.owner.limits == {"source_refused": 80}
        assert bench.intake.take_sources() == {host: 2 for host in hosts if not host.startswith("127.9.3.")}
    assert len(hosts) < ENTRIES_MAX


async def test_an_answer_to_a_cached_question_is_that_of_a_fresh_one(path: FastPath) -> None:
    node = Node(path, SourceCheck())
    hit = node.warm(resolution("1/hit"))
    listener = await node.listen()
    with Datagrams(listener.address) as client:
        client.send(hit)
        answer = decode_message(await client.receive())
    assert answer.body == decode_message(answer_to(hit)).body
    await listener.close()
