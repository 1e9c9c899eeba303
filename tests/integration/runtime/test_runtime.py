"""What a daemon needs to run, with real sockets, signals and processes."""

import asyncio
import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from protocol.errors import SettingsError
from protocol.runtime import admin, lifecycle
from protocol.runtime.admin import Check, start_admin
from protocol.runtime.listen_settings import ListenSettings
from protocol.runtime.listeners import open_listeners
from protocol.transport.fast_path import FAST_PATH
from tests.support.scratch import free_port
from tests.support.transport import WAIT_S, Datagrams, Echo, resolution

ROOT = Path(__file__).parents[3]


async def fetch(address: tuple[str, int], path: str) -> tuple[int, str]:
    timeout = aiohttp.ClientTimeout(total=WAIT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"http://{address[0]}:{address[1]}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def test_metrics_and_health_are_served() -> None:
    registry = CollectorRegistry()
    Counter("handlegrid_samples_total", "Samples.", registry=registry).inc()
    reasons: list[str | None] = ["the database does not answer, since 12:00"]

    async def database() -> str | None:
        return reasons[0]

    listener = await start_admin("127.0.0.1", 0, registry, [Check(name="database", probe=database)])
    status, text = await fetch(listener.address, "/metrics")
    assert status == 200
    assert "handlegrid_samples_total 1.0" in text
    assert await fetch(listener.address, "/health/live") == (200, '{"live": true}')
    status, text = await fetch(listener.address, "/health/ready")
    assert status == 503
    told = {"ready": False, "reasons": {"database": reasons[0]}, "fast_path": FAST_PATH.name}
    assert json.loads(text) == told
    reasons[0] = None
    assert (await fetch(listener.address, "/health/ready"))[0] == 200
    await listener.close()


async def test_a_check_that_hangs_or_fails_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "PROBE_S", 0.01)

    async def hang() -> str | None:
        await asyncio.sleep(WAIT_S)
        return None

    async def fail() -> str | None:
        raise RuntimeError("hunter2")

    reasons = await admin.unmet([Check(name="slow", probe=hang), Check(name="broken", probe=fail)])
    assert reasons == {"slow": "no answer within 0.01 s", "broken": "the check itself failed; see the log"}


async def test_all_listeners_open_on_all_addresses_and_close_together() -> None:
    settings = ListenSettings(
        listen_addresses=("127.0.0.1", "::1"),
        handle_port=free_port("127.0.0.1", "::1"),
        http_port=free_port("127.0.0.1", "::1"),
    )
    listeners = await open_listeners(settings, Echo(), web.Application())
    handle = tuple((host, settings.handle_port) for host in settings.listen_addresses)
    addresses = listeners.addresses(None)
    assert (addresses.udp, addresses.tcp, addresses.admin) == (handle, handle, ())
    assert addresses.http == (("127.0.0.1", settings.http_port),)
    assert len(listeners.opened) == 5
    assert listeners.udp_drops == 0
    for host in settings.listen_addresses:
        with Datagrams((host, settings.handle_port)) as client:
            assert (await client.ask(resolution())).header.response_code == 1
    await listeners.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", settings.handle_port)


async def test_a_port_in_use_opens_nothing_and_port_0_is_no_listener() -> None:
    settings = ListenSettings(listen_addresses=("127.0.0.1",), handle_port=free_port(), http_port=0)
    listeners = await open_listeners(settings, Echo(), web.Application())
    clash = ListenSettings(
        listen_addresses=("127.0.0.1",), handle_port=free_port(), http_port=settings.handle_port
    )
    with pytest.raises(
        SettingsError, match=f"TCP port {settings.handle_port} of 127.0.0.1 is already in use"
    ):
        await open_listeners(clash, Echo(), web.Application())
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", clash.handle_port)
    assert len(listeners.opened) == 2
    await listeners.close()


DAEMON = """
import asyncio, sys
from protocol.errors import SettingsError
from protocol.runtime.lifecycle import run
from protocol.runtime.logs import set_up_logs

set_up_logs("warning")

async def main(stopping):
    if sys.argv[1] == "unset":
        raise SettingsError(["a: is wrong", "b: is wrong"])
    print("ready", flush=True)
    await stopping.wait()
    print("draining", flush=True)
    if sys.argv[1] == "stuck":
        await asyncio.sleep(600)

sys.exit(run(main))
"""


async def start(kind: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        DAEMON,
        kind,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_ends_well(number: signal.Signals) -> None:
    process = await start("well")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"draining\n")


async def test_a_second_signal_ends_at_once() -> None:
    process = await start("stuck")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert await process.stdout.readline() == b"draining\n"
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 128 + signal.SIGTERM


async def test_faulty_settings_are_told_without_a_traceback() -> None:
    process = await start("unset")
    _, err = await process.communicate()
    assert process.returncode == lifecycle.EXIT_SETTINGS
    assert err == b"a: is wrong\nb: is wrong\n"


async def test_a_periodic_action_survives_its_failures_and_runs_once_more_at_the_end() -> None:
    stopping, calls = asyncio.Event(), 0

    async def action() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            stopping.set()
        raise RuntimeError

    async with asyncio.timeout(WAIT_S):
        await lifecycle.repeat(action, 0.001, stopping)
    assert calls >= 2


def test_the_soft_limit_of_descriptors_is_raised_to_what_the_hard_one_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        lifecycle.raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.fspath(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        lifecycle.notify("READY=1")
        assert manager.recv(100) == b"READY=1"
    lifecycle.notify("STOPPING=1")  # nobody listens any more
    monkeypatch.delenv("NOTIFY_SOCKET")
    lifecycle.notify("READY=1")
