"""RegistryNode: a node with its listeners, metrics and health, on the running event loop."""

import asyncio
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from protocol.client.client import HandleClient
from protocol.errors import StoreUnavailable
from protocol.generations import Generations
from protocol.handle import Prefix
from protocol.runtime.admin import Check, start_admin
from protocol.runtime.configuration import hide_passwords
from protocol.runtime.lifecycle import measure_lag, repeat
from protocol.runtime.listeners import Addresses, Listeners, open_listeners
from protocol.runtime.metrics import ANSWER_CACHE, HTTP_CACHE
from protocol.runtime.root import Root
from protocol.runtime.server_key import load_server_key
from protocol.runtime.signing import Signer
from protocol.runtime.workers.handover import HandOver
from protocol.runtime.workers.worker import ALONE, Worker
from protocol.site import Site
from protocol.transport.answer_cache import AnswerCache
from protocol.transport.exchanger import Exchanger
from protocol.transport.fast_path import FAST_PATH
from protocol.transport.http import HttpListener
from protocol.transport.http_cache import HttpCache
from registry.allocation.routes import openings_of
from registry.api.mount import Api, make_api
from registry.api.services import Services
from registry.elsewhere import Elsewhere
from registry.health import DatabaseWatch
from registry.initialise import SERVER_KEY_FILE
from registry.metrics import RegistryMetrics
from registry.node import Node, open_node
from registry.operations import Operations
from registry.rest.mount import make_rest_api
from registry.rest.sessions import CLEAN_S, HttpSessions
from registry.sequencer import Sequencer
from registry.settings import RegistrySettings
from registry.single_creations import SingleCreations
from registry.statistics import DailyStatistics, RegistryObserver
from registry.wire.assembly import make_desk, make_proofs, make_wire_server
from registry.wire.server import WireServer


class RegistryNode:
    """One registry node on the running event loop: start() opens it, stop() drains and closes it."""

    def __init__(self, settings: RegistrySettings, *, unsafe: bool = False, worker: Worker = ALONE) -> None:
        """Prepare a node; nothing is opened or written yet.

        unsafe: accept a database that may lose acknowledged writes in a crash. worker: which process of the node
        this is.
        """
        self.settings = settings
        self.metrics = RegistryMetrics()
        self.checks: tuple[Check, ...] = ()
        self._unsafe = unsafe
        self._worker = worker
        self._resources = AsyncExitStack()
        self._node: Node | None = None
        self._api: Api | None = None
        self._wire: WireServer | None = None
        self._addresses: Addresses | None = None

    @property
    def addresses(self) -> Addresses:
        """Where the node listens; only after start()."""
        assert self._addresses is not None, "the node is not started"
        return self._addresses

    @property
    def collectors(self) -> CollectorRegistry:
        """What the node counts."""
        return self.metrics.registry

    @property
    def site(self) -> Site:
        """The node's own site record; only after start()."""
        return self._opened().site

    @property
    def operations(self) -> Operations:
        """The node's operations, as its front ends call them; only after start()."""
        return self._opened().operations

    @property
    def wire(self) -> WireServer:
        """What answers Handle messages; only after start()."""
        assert self._wire is not None, "the node is not started"
        return self._wire

    @property
    def services(self) -> Services:
        """What the API works with; only after start()."""
        assert self._api is not None, "the node is not started"
        return self._api.services

    async def start(self) -> None:
        """Initialise the database when it is new, and open every listener.

        Raises SettingsError (what to change) or StoreUnavailable (which database, why); nothing stays open then.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop accepting, let requests in progress end, write the counters, close the database.

        Safe to repeat.
        """
        await self._resources.aclose()

    def _opened(self) -> Node:
        assert self._node is not None, "the node is not started"
        return self._node

    async def _start(self) -> None:
        settings = self.settings
        node = self._node = await self._open_node()
        memory = None if self._worker.inheritance is None else self._worker.inheritance.memory
        seconds, buckets = (None, None) if memory is None else (memory.seconds, memory.callers)
        statistics = DailyStatistics.of(node.store, settings, seconds=seconds)
        watch = DatabaseWatch(node.store, self.metrics.db_up)
        await watch.probe()
        self.checks = (Check(name="database", probe=watch.probe),)
        api = self._api = make_api(node, settings, self.metrics, buckets=buckets)
        self._start_tasks(statistics, watch, api, HttpSessions.of(node))
        observer = RegistryObserver(self.metrics, statistics, settings.query_sampler())
        node.operations.on_commit = observer.committed
        listeners = await self._open_listeners(node, api, observer)
        admin = await self._open_admin()
        self._addresses = listeners.addresses(admin)
        self.metrics.process.started(lambda: listeners.udp_drops)
        self.metrics.watch_disk("data", str(self.settings.data_dir))

    def _look_elsewhere(self) -> Elsewhere | None:
        """What finds keys and groups of other nodes, where the settings say from where."""
        settings = self.settings
        if settings.root_site_file is None:
            return None
        root = Root(settings.root_site_file)
        exchanger = Exchanger()
        self._resources.push_async_callback(exchanger.close)
        client = HandleClient(
            lambda: root.service,
            exchanger,
            openings=openings_of(settings.open_networks),
            unsigned_prefixes=[Prefix.parse(name) for name in settings.unsigned_prefixes],
        )
        elsewhere = Elsewhere(client, on_limit=self.metrics.limit_reached)
        self._resources.push_async_callback(elsewhere.close)
        return elsewhere

    async def _open_node(self) -> Node:
        settings = self.settings
        opening = open_node(
            settings,
            unsafe=self._unsafe,
            on_wait=self.metrics.db_pool_wait.observe,
            on_limit=self.metrics.limit_reached,
            elsewhere=self._look_elsewhere(),
        )
        try:
            return await self._resources.enter_async_context(opening)
        except StoreUnavailable as error:
            where = hide_passwords(settings.dsn())
            remedy = "start that database, or correct `database` in the settings"
            raise StoreUnavailable(f"node {settings.name}: {error} (database {where}); {remedy}") from error

    def _start_tasks(
        self, statistics: DailyStatistics, watch: DatabaseWatch, api: Api, sessions: HttpSessions
    ) -> None:
        """Start what runs beside the requests; it ends after the listeners and before the database is closed."""
        ended = asyncio.Event()
        works = [
            repeat(statistics.write, self.settings.statistics_interval_s, ended),
            watch.keep_looking(ended),
            *(repeat(action, period_s, ended) for action, period_s in api.tasks),
        ]
        if self._worker.leads:
            works += [
                Sequencer.of(self.settings, self.metrics).run(ended),
                api.services.peers.run(ended),
                repeat(sessions.clean, CLEAN_S, ended),
                *(repeat(action, period_s, ended) for action, period_s in api.node_tasks),
            ]
        tasks = [asyncio.create_task(work) for work in works]
        lag = asyncio.create_task(measure_lag(self.metrics.event_loop_lag.set))

        async def end() -> None:
            ended.set()
            lag.cancel()
            await asyncio.wait([*tasks, lag])
            await api.services.peers.close()
            await api.services.identifiers.gathering.close()

        self._resources.push_async_callback(end)

    async def _open_listeners(self, node: Node, api: Api, observer: RegistryObserver) -> Listeners:
        signer = Signer(
            load_server_key(self.settings.data_dir / SERVER_KEY_FILE),
            observer=self.metrics,
            unlimited=self.settings.source_unlimited_networks,
        )
        self._resources.callback(signer.close)
        creations = SingleCreations(node.operations)
        self._resources.push_async_callback(creations.close)
        desk = make_desk(self.settings, self.metrics, self._resources)
        proofs = make_proofs(node, self.settings, self.metrics, desk)
        wire = self._wire = make_wire_server(
            node,
            self.settings,
            self.metrics,
            observer.registered,
            self._resources,
            creations=creations,
            desk=desk,
            proofs=proofs,
            signer=signer,
            worker=self._worker.number,
        )
        await self._open_hand_over(wire)
        rest = make_rest_api(
            node,
            api.app,
            self.settings,
            self.metrics,
            observer,
            creations=creations,
            proofs=proofs,
            signer=signer,
        )
        listeners = await open_listeners(
            self.settings,
            wire.respond,
            rest.application(),
            cache=self._make_cache(node.generations),
            http_cache=self._make_http_cache(node.generations, observer),
            observer=observer,
            worker=self._worker,
        )
        self._resources.push_async_callback(listeners.close)
        return listeners

    async def _open_hand_over(self, wire: WireServer) -> None:
        """Let the workers of the node answer, for each other, what one of them alone can."""
        inheritance = self._worker.inheritance
        if inheritance is None:
            return
        hand_over = HandOver(
            self._worker.number,
            inheritance.workers,
            inheritance.meeting_place,
            wire.answer_later,
            self.metrics.limit_reached,
        )
        await hand_over.open()
        self._resources.push_async_callback(hand_over.close)
        wire.hand_over = hand_over.take

    def _make_cache(self, generations: Generations) -> AnswerCache | None:
        octets_max = self.settings.answer_cache_octets_max
        if not octets_max:
            return None
        cache = FAST_PATH.answer_table(octets_max=octets_max, generations=generations)
        self.metrics.watch_cache(ANSWER_CACHE, lambda: len(cache), lambda: cache.octets)
        return cache

    def _make_http_cache(self, generations: Generations, observer: RegistryObserver) -> HttpCache | None:
        octets_max = self.settings.http_cache_octets_max
        if not octets_max:
            return None
        cache = HttpCache(octets_max=octets_max, generations=generations, observer=observer)
        self.metrics.watch_cache(HTTP_CACHE, lambda: len(cache), lambda: cache.octets)
        self.metrics.before_collecting(cache.tally.tell)
        return cache

    async def _open_admin(self) -> HttpListener | None:
        settings = self.settings
        if not settings.admin_port or self._worker.inheritance is not None:
            return None
        admin = await start_admin(
            settings.admin_address, settings.admin_port, self.metrics.registry, self.checks
        )
        self._resources.push_async_callback(admin.close)
        return admin
