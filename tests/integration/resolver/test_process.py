"""The daemon as an operator sees it: started from a file, watched on its admin listener, ended by a signal."""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from protocol.codes import ResponseCode
from protocol.errors import SettingsError
from protocol.message import ENVELOPE_OCTETS
from protocol.transport.fast_path import FAST_PATH
from resolver.daemon import RecursiveNode
from tests.integration.resolver.loopback import (
    HOST,
    PUMP,
    Hierarchy,
    client_of,
    free_port,
    running_node,
)

REPOSITORY = Path(__file__).parents[3]


def write_settings(hierarchy: Hierarchy, *, admin_port: int, http_port: int, more: str = "") -> Path:
    path = hierarchy.folder / "resolver.toml"
    path.write_text(
        f"""
[resolver]
name = "recursive"
root_site_file = "root.json"
listen_addresses = ["{HOST}"]
handle_port = {free_port()}
http_port = {http_port}
admin_port = {admin_port}
{more}
[[resolver.open_networks]]
network = "127.0.0.0/8"
prefixes = ["88"]
""",
        encoding="utf-8",
    )
    return path


async def start(path: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "resolver",
        str(path),
        stderr=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


async def line_of(process: asyncio.subprocess.Process, event: str) -> dict[str, object]:
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while line := await process.stderr.readline():
            entry: dict[str, object] = json.loads(line)
            if entry["event"] == event:
                return entry
    raise AssertionError(f"ended before {event}")


async def test_a_daemon_resolves_reports_and_drains(hierarchy: Hierarchy) -> None:
    admin_port, http_port = free_port(), free_port()
    process = await start(write_settings(hierarchy, admin_port=admin_port, http_port=http_port))
    try:
        assert (await line_of(process, "listening"))["role"] == "resolver"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{HOST}:{http_port}/api/handles/{PUMP}") as response:
                assert (await response.json())["responseCode"] == 1
            async with session.get(f"http://{HOST}:{admin_port}/health/ready") as response:
                assert response.status == 200
            async with session.get(f"http://{HOST}:{admin_port}/metrics") as response:
                metrics = await response.text()
        for sample in (
            'requests_total{op="resolution",rc="success",role="resolver",transport="http"} 1.0',
            'upstream_exchanges_total{level="prefix",result="ok"} 3.0',
            'cache_entries{cache="values",tier="memory"} 1.0',
            "udp_socket_drops_total 0.0",
            f'fast_path="{FAST_PATH.name}",loop="uvloop"',
        ):
            assert sample in metrics
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_wrong_setting_ends_it_with_what_would_be_right(hierarchy: Hierarchy) -> None:
    path = write_settings(hierarchy, admin_port=0, http_port=0, more='negative_ttl = 5\nlog_level = "loud"')
    process = await start(path)
    _, told = await process.communicate()

    assert process.returncode == 2
    assert b"did you mean negative_ttl_s?" in told
    assert b"log_level" in told
    assert b"Traceback" not in told


async def test_a_used_port_is_named(hierarchy: Hierarchy) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        path = write_settings(hierarchy, admin_port=0, http_port=port)
        process = await start(path)
        _, told = await process.communicate()

    assert process.returncode == 2
    assert f"TCP port {port}".encode() in told
    assert b"already in use" in told


async def test_no_datagram_stops_a_node(hierarchy: Hierarchy) -> None:
    async with running_node(hierarchy.settings()) as node, client_of(node) as client:
        await client.ask(PUMP)
        whole = hierarchy.enterprise.octets[-1]
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.connect(node.addresses.udp[0])
            for cut in range(len(whole)):
                sender.send(whole[:cut])
                sender.send(whole[:cut] + b"\xff" * (len(whole) - cut))
            sender.send(whole[:ENVELOPE_OCTETS] + os.urandom(400))

        assert (await client.ask(PUMP)).code == ResponseCode.SUCCESS


async def test_a_failed_start_leaves_nothing_open(hierarchy: Hierarchy) -> None:
    settings = hierarchy.settings()
    async with running_node(settings):
        with pytest.raises(SettingsError, match="already in use"):
            await RecursiveNode(settings).start()
    async with running_node(settings) as node, client_of(node) as client:
        assert (await client.ask(PUMP)).code == ResponseCode.SUCCESS


async def test_two_workers_are_one_recursive_node(hierarchy: Hierarchy) -> None:
    admin_port, http_port = free_port(), free_port()
    path = write_settings(hierarchy, admin_port=admin_port, http_port=http_port, more="workers = 2")
    process = await start(path)
    try:
        assert (await line_of(process, "listening"))["workers"] == 2
        async with aiohttp.ClientSession() as session:
            for _ in range(8):
                async with (
                    aiohttp.ClientSession() as stranger,  # a connection of its own, to whichever worker
                    stranger.get(f"http://{HOST}:{http_port}/api/handles/{PUMP}") as response,
                ):
                    assert (await response.json())["responseCode"] == 1
            async with session.get(f"http://{HOST}:{admin_port}/health/ready") as response:
                assert (await response.json())["ready"]
            async with session.get(f"http://{HOST}:{admin_port}/metrics") as response:
                metrics = await response.text()
        for sample in (
            'requests_total{op="resolution",rc="success",role="resolver",transport="http"} 8.0',
            "udp_socket_drops_total 0.0",
            "worker_restarts_total 0.0",
            "config_last_reload_success 1.0",
            f'fast_path="{FAST_PATH.name}",loop="uvloop"',
        ):
            assert sample in metrics
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
