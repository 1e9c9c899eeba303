"""RecursiveNode: every object of one recursive node, wired together on the running event loop."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from ipaddress import ip_network
from typing import Any

import structlog
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from prometheus_client import CollectorRegistry

from protocol.client.client import HandleClient
from protocol.client.direct import DirectClient
from protocol.client.selection import Opening
from protocol.errors import SettingsError
from protocol.handle import Prefix
from protocol.runtime.admin import Check, start_admin
from protocol.runtime.day_counters import DayCounters
from protocol.runtime.lifecycle import measure_lag, repeat
from protocol.runtime.listeners import Addresses, Listeners, open_listeners
from protocol.runtime.memory_cache import MemoryCache
from protocol.runtime.metrics import ANSWER_CACHE, HTTP_CACHE
from protocol.runtime.root import Root
from protocol.runtime.server_key import make_server_key, public_key_of
from protocol.runtime.signing import Signer
from protocol.runtime.workers.worker import ALONE, Worker
from protocol.site import Site, single_server_site
from protocol.transport.answer_cache import AnswerCache
from protocol.transport.exchanger import Exchanger
from protocol.transport.fast_path import FAST_PATH
from protocol.transport.http import HttpListener
from protocol.transport.http_cache import HttpCache
from protocol.transport.sockets import is_address_available
from resolver.cache.policy import Lifetimes
from resolver.cache.redis import RedisTier
from resolver.cache.tiered import Memory, TieredCache
from resolver.forwarding import ForwardClient, Forwarding
from resolver.gateway import Gateway, GatewayRules
from resolver.http_api import HttpApi
from resolver.http_headers import wants_json
from resolver.metrics import ResolverMetrics
from resolver.observer import ResolverObserver
from resolver.pages import Pages
from resolver.recursor import Bounds, Recursor, system_clocks
from resolver.settings import EVERYTHING, ResolverSettings
from resolver.short_way import ShortWay
from resolver.statistics import StatisticsStore
from resolver.wire_server import WireServer

log = structlog.get_logger(__name__)


class RecursiveNode:
    """One recursive node on the running event loop: start() opens it, stop() drains and closes it."""

    def __init__(
        self,
        settings: ResolverSettings,
        *,
        worker: Worker = ALONE,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Prepare a node; nothing is opened yet.

        worker: which process of the node this is. draw: chance, for records that leave a choice to it.
        """
        self.settings = settings
        self._draw = draw
        self.checks = (Check(name="listeners", probe=self._unready),)
        self._worker = worker
        self._metrics: ResolverMetrics | None = None
        self._key = _server_key(settings)
        self.site = _own_site(settings, b"" if self._key is None else public_key_of(self._key))
        self._closers = AsyncExitStack()
        self._addresses: Addresses | None = None
        self._stopping = asyncio.Event()

    @property
    def addresses(self) -> Addresses:
        """Where the node listens; only between start() and stop()."""
        assert self._addresses is not None, "the node is not started"
        return self._addresses

    @property
    def collectors(self) -> CollectorRegistry:
        """What the node counts; only after start()."""
        assert self._metrics is not None, "the node is not started"
        return self._metrics.registry

    async def start(self) -> None:
        """Load the root bundle and open every listener.

        Raises SettingsError that says what to change; nothing stays open then.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop accepting, let requests in progress end, write the counters. Safe to repeat."""
        self._stopping.set()
        await self._closers.aclose()
        self._addresses = None

    async def _start(self) -> None:
        settings = self.settings
        _refuse_own_addresses(settings)
        self._stopping.clear()
        root = Root(settings.root_site_file)
        metrics = self._metrics = ResolverMetrics()
        given = self._worker.inheritance
        counters = DayCounters(
            sources_max=settings.statistics_sources_max,
            seconds=None if given is None else given.memory.seconds,
        )
        observer = ResolverObserver(metrics, counters, settings.query_sampler())
        admin = await self._open_admin(metrics)
        self._store_statistics(metrics, counters)
        if settings.redis_address():
            metrics.expect_redis()
        cache = self._cache(metrics, observer)
        recursor, short_way = self._recursor(root, cache, observer)
        listeners = await self._listen(recursor, short_way, metrics, observer)
        metrics.process.started(lambda: listeners.udp_drops)
        self._own_task(measure_lag(metrics.event_loop_lag.set))
        self._addresses = listeners.addresses(admin)

    async def _open_admin(self, metrics: ResolverMetrics) -> HttpListener | None:
        if not self.settings.admin_port or self._worker.inheritance is not None:
            return None
        admin = await start_admin(
            self.settings.admin_address, self.settings.admin_port, metrics.registry, self.checks
        )
        self._closers.push_async_callback(admin.close)
        return admin

    async def _unready(self) -> str | None:
        if self._stopping.is_set():
            return "the node is stopping"
        return None if self._addresses is not None else "the listeners are not open yet"

    def _store_statistics(self, metrics: ResolverMetrics, counters: DayCounters) -> None:
        """Write the day's counters now and then; without a database, drop them, so that they stay bounded."""
        settings = self.settings
        dsn = settings.statistics_dsn()
        if not dsn:
            self._own_task(_drop(counters, settings.statistics_interval_s))
            return
        metrics.expect_database()
        store = StatisticsStore(
            dsn,
            node=settings.name,
            counters=counters,
            metrics=metrics,
            sources_max=settings.statistics_sources_max,
        )
        self._closers.push_async_callback(store.close)
        self._closers.push_async_callback(store.flush)
        writing = repeat(store.flush, settings.statistics_interval_s, self._stopping)
        # Awaited and not cancelled: a write that is cut off would count twice or not at all.
        self._closers.push_async_callback(_wait_for, asyncio.get_running_loop().create_task(writing))

    def _cache(self, metrics: ResolverMetrics, observer: ResolverObserver) -> TieredCache:
        settings = self.settings
        memory = Memory(
            records=MemoryCache(entries_max=settings.value_entries_max, octets_max=settings.value_octets_max),
            denials=MemoryCache(
                entries_max=settings.denial_entries_max, octets_max=settings.denial_octets_max
            ),
            delegations=MemoryCache(
                entries_max=settings.delegation_entries_max, octets_max=settings.delegation_octets_max
            ),
        )
        _watch(metrics, "values", memory.records)
        _watch(metrics, "denials", memory.denials)
        _watch(metrics, "delegations", memory.delegations)
        return TieredCache(
            memory,
            lifetimes=Lifetimes(ttl_max_s=settings.ttl_max_s, negative_ttl_s=settings.negative_ttl_s),
            observer=observer,
            clocks=system_clocks,
            redis=self._redis(observer),
            namespace=settings.redis_namespace,
        )

    def _redis(self, observer: ResolverObserver) -> RedisTier | None:
        settings = self.settings
        address = settings.redis_address()
        if not address:
            return None
        tier = RedisTier(
            address,
            cluster=settings.redis_cluster,
            timeout_s=settings.redis_timeout_s,
            requests_max=settings.redis_requests_max,
            pause_s=settings.redis_pause_s,
            observer=observer,
        )
        tier.start()
        self._closers.push_async_callback(tier.close)
        return tier

    def _recursor(
        self, root: Root, cache: TieredCache, observer: ResolverObserver
    ) -> tuple[Recursor, ShortWay | None]:
        settings = self.settings
        exchanger = Exchanger()
        self._closers.push_async_callback(exchanger.close)
        client = HandleClient(
            lambda: root.service,
            exchanger,
            total_s=settings.resolution_time_s,
            exchange_s=settings.exchange_time_s,
            request_digest=True,
        )
        recursor = Recursor(
            cache=cache,
            root=lambda: root.service,
            upstream=client,
            forwarder=ForwardClient(Forwarding(settings.forwarding), exchanger, observer=observer),
            openings=_openings(settings),
            bounds=Bounds(
                resolution_time_s=settings.resolution_time_s,
                recursion_limit=settings.recursion_limit,
                resolutions_max=settings.resolutions_max,
                service_exchanges_max=settings.service_exchanges_max,
                waiters_max=settings.waiters_max,
            ),
            observer=observer,
        )
        self._closers.push_async_callback(recursor.close)
        if cache.has_second_tier:
            return recursor, None
        return recursor, ShortWay(recursor, DirectClient(client, exchanger.udp))

    def _answer_cache(self, metrics: ResolverMetrics) -> AnswerCache | None:
        octets_max = self.settings.answer_cache_octets_max
        if not octets_max:
            return None
        answers = FAST_PATH.answer_table(octets_max=octets_max)
        metrics.watch_cache(ANSWER_CACHE, lambda: len(answers), lambda: answers.octets)
        return answers

    def _http_cache(self, metrics: ResolverMetrics, observer: ResolverObserver) -> HttpCache | None:
        octets_max = self.settings.http_cache_octets_max
        if not octets_max:
            return None
        answers = HttpCache(octets_max=octets_max, accept_class=wants_json, observer=observer)
        metrics.watch_cache(HTTP_CACHE, lambda: len(answers), lambda: answers.octets)
        metrics.before_collecting(answers.tally.tell)
        return answers

    async def _listen(
        self,
        recursor: Recursor,
        short_way: ShortWay | None,
        metrics: ResolverMetrics,
        observer: ResolverObserver,
    ) -> Listeners:
        settings = self.settings
        wire = WireServer(recursor, self.site, signer=self._signer(metrics), short_way=short_way)
        self._closers.push_async_callback(wire.close)
        app = web.Application()
        rules = GatewayRules(
            schemes=frozenset(settings.redirect_schemes), country_header=settings.country_header
        )
        pages = Pages(node=settings.name, schemes=rules.schemes)
        api = HttpApi(
            recursor,
            pages,
            Gateway(recursor, pages, rules, node=settings.name, draw=self._draw),
            site=self.site,
            node=settings.name,
            on_answer=observer.answered_http,
        )
        api.add_routes(app)
        listeners = await open_listeners(
            settings,
            wire.respond,
            app,
            cache=self._answer_cache(metrics),
            http_cache=self._http_cache(metrics, observer),
            observer=observer,
            worker=self._worker,
        )
        self._closers.push_async_callback(listeners.close)
        return listeners

    def _signer(self, metrics: ResolverMetrics) -> Signer | None:
        if self._key is None:
            return None
        unlimited = self.settings.source_unlimited_networks
        signer = Signer(self._key, observer=metrics, unlimited=unlimited)
        self._closers.callback(signer.close)
        return signer

    def _own_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._closers.push_async_callback(_end, task)


def _server_key(settings: ResolverSettings) -> RSAPrivateKey | None:
    """The node's own key; None where nobody chose a place for it and the usual one cannot be written.

    Raises SettingsError for a file that is no key.
    """
    try:
        return make_server_key(settings.signing_key_file())
    except SettingsError as error:
        if settings.server_key_file is not None or settings.signing_key_file().exists():
            raise
        log.warning("no_server_key", cause=str(error), remedy="set server_key_file to sign answers")
        return None


def _own_site(settings: ResolverSettings, public_key: bytes) -> Site:
    return single_server_site(
        addresses=settings.published_addresses(),
        serial=settings.site_serial,
        description=settings.description,
        tcp_port=settings.handle_port,
        udp_port=settings.handle_port,
        http_port=settings.http_port,
        https=settings.tls_certificate_file is not None,
        public_key=public_key,
        primary=False,  # it holds nothing of its own
    )


def _watch(metrics: ResolverMetrics, name: str, table: MemoryCache[Any]) -> None:
    metrics.watch_cache(name, lambda: len(table), lambda: table.octets)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _wait_for(task: "asyncio.Task[None]") -> None:
    await task


async def _drop(counters: DayCounters, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        counters.take_delta()


def _openings(settings: ResolverSettings) -> tuple[Opening, ...]:
    return tuple(
        Opening(network=ip_network(rule.network), prefix=None if name == EVERYTHING else Prefix.parse(name))
        for rule in settings.open_networks
        for name in rule.prefixes
    )


def _refuse_own_addresses(settings: ResolverSettings) -> None:
    """Raises SettingsError when a forwarding rule names this node itself: every such question would be a loop."""
    faults = [
        f"forwarding: {address} port {port} is this node itself; name another recursive node"
        for address, port in sorted(Forwarding(settings.forwarding).endpoints)
        if port == settings.handle_port and _listens_on(settings, address)
    ]
    if faults:
        raise SettingsError(faults)


def _listens_on(settings: ResolverSettings, address: str) -> bool:
    if address in settings.listen_addresses:
        return True
    wildcard = "::" if ":" in address else "0.0.0.0"  # noqa: S104 - compared with, never bound here
    return wildcard in settings.listen_addresses and is_address_available(address)
