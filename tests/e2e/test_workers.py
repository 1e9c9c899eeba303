"""A registry node of several workers, as its clients and its operator see it."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from deploy.local.processes import ProcessIdentity
from protocol.bodies import ResolutionRequest, SiteInfoRequest, SiteInfoResponse
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.errors import SessionLost
from protocol.handle import Handle
from protocol.message import Message, decode_message
from protocol.runtime.session_ids import worker_of
from protocol.value import ValueReference
from protocol.valuetypes import PublicKey
from tests.support.asking import Address
from tests.support.clients import PATIENCE_S, DatagramClient, StreamClient
from tests.support.processes import NodeProcess
from tests.support.registries import LOOPBACK, basic
from tests.support.scratch import free_port
from tests.support.session_client import SessionClient, over_tcp

PUMP: Final = "88.1/pump-7"
COUNT: Final = re.compile(r"^(\S+_(?:total|count|sum|bucket)(?:\{.*\})?) (\S+)$", re.MULTILINE)


class Workers:
    """A running node, and who asks it."""

    def __init__(self, node: NodeProcess, session: aiohttp.ClientSession) -> None:
        self.node = node
        self.session = session
        self.address: Address = (LOOPBACK, node.settings.handle_port)

    @property
    def supervisor(self) -> int:
        assert self.node.process is not None
        return self.node.process.pid

    def pids(self) -> list[int]:
        """The workers' processes."""
        children = Path(f"/proc/{self.supervisor}/task/{self.supervisor}/children").read_text()
        return [int(pid) for pid in children.split()]

    async def put(self, url: str) -> None:
        """Write as the administrator, over a connection of its own: either worker may get it."""
        secret = (self.node.settings.data_dir / "admin.secret").read_text().strip()
        value = {"index": 1, "type": "URL", "data": {"format": "string", "value": url}}
        async with (
            aiohttp.ClientSession(headers=basic("300%3A88.1/ADMIN", secret)) as session,
            session.put(
                f"{self.node.base}/api/handles/{PUMP}?overwrite=true", json={"values": [value]}
            ) as response,
        ):
            assert response.status in (200, 201), await response.text()

    async def metrics(self) -> str:
        async with self.session.get(self.node.admin_base + "/metrics") as response:
            return await response.text()

    async def counts(self) -> dict[str, float]:
        """Every sample that only grows."""
        return {name: float(value) for name, value in COUNT.findall(await self.metrics())}

    async def readiness(self) -> dict[str, Any]:
        async with self.session.get(self.node.admin_base + "/health/ready") as response:
            told: dict[str, Any] = await response.json()
            return told

    async def hang_up(self) -> None:
        """Have the settings read again, and wait until that has come to its end."""
        before = self.node.log().count(b'"reload')
        os.kill(self.supervisor, signal.SIGHUP)
        await until(lambda: self.node.log().count(b'"reload') > before)

    def rewrite(self, old: str, new: str) -> None:
        """Change the settings file."""
        text = self.node.settings_file.read_text()
        assert old in text
        self.node.settings_file.write_text(text.replace(old, new))


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S * 2):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def two_workers(dsn: str, scratch: Path, **changes: Any) -> AsyncIterator[Workers]:
    """Run a node of two workers that holds one handle."""
    unlimited = {"source_unlimited_networks": [f"{LOOPBACK}/32"]}
    node = NodeProcess(dsn, scratch, unsafe=True, workers=2, **unlimited, **changes)
    try:
        await node.start()
        async with aiohttp.ClientSession() as session:
            workers = Workers(node, session)
            await workers.put("https://first.example/")
            yield workers
    finally:
        await node.stop()


async def test_one_sockets_requests_go_to_both_workers_and_to_no_second_node_on_the_ports(
    database: str, scratch: Path
) -> None:
    async with two_workers(database, scratch) as workers:
        (scratch / "second").mkdir()
        ports = {name: getattr(workers.node.settings, name) for name in ("handle_port", "http_port")}
        second = NodeProcess(database, scratch / "second", unsafe=True, workers=2, **ports)
        with pytest.raises(AssertionError, match="already in use"):
            await second.start()
        assert second.process is not None
        assert second.process.returncode == 2

        client = await DatagramClient.open(workers.address)
        for pid, awake in zip(workers.pids(), (1, 0), strict=True):
            os.kill(pid, signal.SIGSTOP)
            try:
                waiting = [client.send(PUMP) for _ in range(20)]
                answered = [number for number in range(20) if number % 2 != awake]
                async with asyncio.timeout(PATIENCE_S):
                    given = await asyncio.gather(*(waiting[number] for number in answered))
                assert not any(waiting[number].done() for number in range(20) if number % 2 == awake)
            finally:
                os.kill(pid, signal.SIGCONT)
            async with asyncio.timeout(PATIENCE_S):
                given += await asyncio.gather(
                    *(waiting[number] for number in range(20) if number % 2 == awake)
                )
            assert {one.rc for one in given} == {1}
        client.close()


async def a_session_of_each(workers: Workers) -> dict[int, SessionClient]:
    """Set up sessions until each of the two workers has one, by the worker's number."""
    send = over_tcp(workers.address)
    asked = Message.request(OpCode.GET_SITE_INFO, SiteInfoRequest().encode(), request_id=1, expiration=0)
    site = SiteInfoResponse.decode(decode_message(await send(asked.encode())).body).site
    key = PublicKey.decode(site.servers[0].public_key)
    admin, secret = ValueReference(b"88.1/ADMIN", 300), workers.node.settings.data_dir / "admin.secret"
    found: dict[int, SessionClient] = {}
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < 2:
            client = await SessionClient.set_up(send, key, admin, secret.read_bytes().strip())
            found[worker_of(client.session.id)] = client
    assert set(found) == {1, 2}
    return found


async def read_all(client: SessionClient) -> None:
    """Read, as its administrator, over a connection that either worker may get."""
    body = ResolutionRequest(handle=Handle.parse(PUMP)).encode()
    answer = await client.ask(OpCode.RESOLUTION, body, flags=DEFAULT_FLAGS & ~OpFlag.PUBL)
    assert answer.header.response_code == ResponseCode.SUCCESS


async def test_a_killed_worker_is_started_again_and_answers_what_waited(database: str, scratch: Path) -> None:
    async with two_workers(database, scratch) as workers:
        sessions = await a_session_of_each(workers)
        for _ in range(12):  # through which worker it comes is for the kernel to say
            await asyncio.gather(*(read_all(one) for one in sessions.values()))
        client = await DatagramClient.open(workers.address)
        await asyncio.gather(*(client.ask(PUMP) for _ in range(50)))
        before = await workers.counts()
        victim, survivor = workers.pids()
        os.kill(victim, signal.SIGKILL)
        await until(lambda: ProcessIdentity.of(victim) is None)

        told = [await workers.counts()]
        assert not (await workers.readiness())["ready"]
        async with asyncio.timeout(PATIENCE_S):  # nothing is sent twice: what waits in the socket is not lost
            answers = await asyncio.gather(*(client.send(PUMP) for _ in range(100)))
        assert {answer.rc for answer in answers} == {1}
        await until(lambda: _is_ready(workers))
        told.append(await workers.counts())
        client.close()
        for _ in range(12):
            await read_all(sessions[2])
            with pytest.raises(SessionLost):
                await read_all(sessions[1])

        assert survivor in workers.pids()
        assert victim not in workers.pids()
        for earlier, later in zip([before, *told], told, strict=False):
            assert [name for name in earlier if later.get(name, -1) < earlier[name]] == []
        assert told[-1]["handlegrid_worker_restarts_total"] == 1
        answered = 'handlegrid_requests_total{op="resolution",rc="success",role="registry",transport="udp"}'
        assert told[-1][answered] == 150


async def _is_ready(workers: Workers) -> bool:
    return bool((await workers.readiness())["ready"])


async def test_a_write_through_one_worker_ends_what_the_other_remembers(database: str, scratch: Path) -> None:
    async with two_workers(database, scratch) as workers:
        client = await DatagramClient.open(workers.address)
        for number in range(40):
            url = f"https://plant.example/{number}"
            await workers.put(url)
            for request_id in (2 * number, 2 * number + 1, 2 * number + 100, 2 * number + 101):
                assert (await client.ask(PUMP, request_id=request_id)).url == url
        client.close()


async def test_a_reload_replaces_the_workers_and_loses_no_answer(database: str, scratch: Path) -> None:
    async with two_workers(database, scratch, description="before") as workers:
        before = workers.pids()
        workers.rewrite('description = "before"', "description = 1")
        await workers.hang_up()
        assert "handlegrid_config_last_reload_success 0.0" in await workers.metrics()
        workers.rewrite("description = 1", 'description = "after"')
        ended = asyncio.Event()
        counts = await workers.counts()

        async with asyncio.TaskGroup() as asking:
            load = [
                *(asking.create_task(ask_datagrams(workers, ended)) for _ in range(2)),
                *(asking.create_task(ask_streams(workers, ended)) for _ in range(2)),
                *(asking.create_task(ask_http(workers, ended)) for _ in range(2)),
                *(asking.create_task(ask_http_once(workers, ended)) for _ in range(2)),
            ]
            await workers.hang_up()
            ended.set()

        asked = [task.result() for task in load]
        assert min(asked) > 0
        assert not set(before) & set(workers.pids())
        assert b'"reloaded"' in workers.node.log()
        assert "handlegrid_config_last_reload_success 1.0" in await workers.metrics()
        later = await workers.counts()
        assert [name for name in counts if later.get(name, -1) < counts[name]] == []
        answered = 'handlegrid_requests_total{op="resolution",rc="success",role="registry",transport="udp"}'
        assert later[answered] == sum(asked[:2])
        assert later["handlegrid_worker_restarts_total"] == 0
        assert (await workers.readiness())["ready"]


async def ask_datagrams(workers: Workers, ended: asyncio.Event) -> int:
    """Ask without ever asking twice; gives how often."""
    client = await DatagramClient.open(workers.address)
    asked = 0
    while not ended.is_set():
        assert (await client.ask(PUMP)).rc == 1
        asked += 1
    client.close()
    return asked


async def ask_streams(workers: Workers, ended: asyncio.Event) -> int:
    client = StreamClient(workers.address)
    asked = 0
    while not ended.is_set():
        assert (await client.ask(PUMP)).rc == 1
        asked += 1
    client.close()
    return asked


async def ask_http(workers: Workers, ended: asyncio.Event) -> int:
    asked = 0
    async with aiohttp.ClientSession() as session:  # of which each keeps one connection
        while not ended.is_set():
            async with session.get(f"{workers.node.base}/api/handles/{PUMP}") as response:
                assert (await response.json(content_type=None))["responseCode"] == 1
            asked += 1
    return asked


async def ask_http_once(workers: Workers, ended: asyncio.Event) -> int:
    """Ask over a new connection each time, which nothing repeats when it fails."""
    asked = 0
    while not ended.is_set():
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.get(f"{workers.node.base}/api/handles/{PUMP}") as response,
        ):
            assert (await response.json(content_type=None))["responseCode"] == 1
        asked += 1
    return asked


async def test_settings_that_cannot_be_used_leave_everything_as_it_was(database: str, scratch: Path) -> None:
    async with two_workers(database, scratch, default_ttl_s=600) as workers:
        before = workers.pids()

        workers.rewrite("default_ttl_s = 600", 'default_ttl_s = "long"\ndescripton = "a node"')
        await workers.hang_up()
        assert b"did you mean description?" in workers.node.log()
        assert b"default_ttl_s: expected" in workers.node.log()
        assert "handlegrid_config_last_reload_success 0.0" in await workers.metrics()
        assert workers.pids() == before

        port = workers.node.settings.handle_port
        workers.rewrite('"long"\ndescripton = "a node"', "600")
        workers.rewrite(f"handle_port = {port}", f"handle_port = {free_port(LOOPBACK)}")
        await workers.hang_up()
        assert b'"settings": ["handle_port"]' in workers.node.log()
        assert b"restart the node" in workers.node.log()
        assert workers.pids() == before

        (scratch / "key").write_bytes(b"no key")
        (scratch / "key").chmod(0o600)
        workers.rewrite("default_ttl_s = 600", f'node_key_file = "{scratch / "key"}"')
        workers.node.settings_file.write_text(
            re.sub(r"handle_port = \d+", f"handle_port = {port}", workers.node.settings_file.read_text())
        )
        await workers.hang_up()  # only a worker that starts can tell
        assert b"node_key_file" in workers.node.log()
        assert workers.pids() == before
        assert "handlegrid_config_last_reload_success 0.0" in await workers.metrics()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_no_process_outlives_the_supervisor(
    database: str, scratch: Path, number: signal.Signals
) -> None:
    async with two_workers(database, scratch) as workers:
        family = [ProcessIdentity.of(pid) for pid in workers.pids()]
        assert len(family) == 2
        process = workers.node.process
        assert process is not None
        process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S * 2):
            assert await process.wait() == (0 if number is signal.SIGTERM else -signal.SIGKILL)
        if number is signal.SIGTERM:
            assert not any(one is not None and one.is_alive for one in family)
        await until(lambda: not any(one is not None and one.is_alive for one in family))


async def test_what_keeps_a_worker_from_starting_ends_the_node_in_words(database: str, scratch: Path) -> None:
    forgetful = NodeProcess(database, scratch, workers=2)
    with pytest.raises(AssertionError, match="--unsafe"):
        await forgetful.start()
    assert forgetful.process is not None
    assert forgetful.process.returncode == 2
    assert b"Traceback" not in forgetful.log()


async def test_a_hangup_does_not_end_a_node_of_one_process(database: str, scratch: Path) -> None:
    node = NodeProcess(database, scratch, unsafe=True)
    try:
        await node.start()
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        await until(lambda: b'"reload_refused"' in node.log())
        assert node.process.returncode is None
    finally:
        await node.stop()
