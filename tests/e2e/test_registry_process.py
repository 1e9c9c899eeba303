"""A registry node as a process: it starts, drains on SIGTERM, and says what to do when it cannot start."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg

from tests.support.asking import ask_udp, resolution
from tests.support.registries import LOOPBACK
from tests.support.scratch import free_port
from tests.support.tree import ROOT

PATIENCE_S = 60.0  # a process starts in a second, on two busy cores in many


def write_settings(scratch: Path, dsn: str, **changes: object) -> tuple[Path, dict[str, object]]:
    """Write the settings file of a node and return it with its settings."""
    settings: dict[str, object] = {
        "data_dir": "node",
        "homes": ["88.1"],
        "database": dsn,
        "listen_addresses": [LOOPBACK],
        "handle_port": free_port(LOOPBACK),
        "http_port": free_port(LOOPBACK),
        "admin_port": free_port(LOOPBACK),
        **changes,
    }
    path = scratch / "node.toml"
    lines = [f"{name} = {value!r}".replace("'", '"') for name, value in settings.items()]
    path.write_text("\n".join(["[registry]", *lines, ""]))
    return path, settings


@asynccontextmanager
async def process(path: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a node as a process, and end it with the block."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "registry",
        str(path),
        *options,
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def failed_start(path: Path, *options: str) -> tuple[int, str]:
    """Return the exit code of a node that cannot start, and what it tells."""
    async with process(path, *options) as node, asyncio.timeout(PATIENCE_S):
        _, told = await node.communicate()
        assert node.returncode is not None
        return node.returncode, told.decode()


async def is_ready(admin_port: object) -> None:
    """Wait until a node says that it is ready."""
    async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://{LOOPBACK}:{admin_port}/health/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


async def test_a_node_drains_on_sigterm_and_keeps_its_counts(empty_database: str, scratch: Path) -> None:
    path, settings = write_settings(scratch, empty_database, statistics_interval_s=600.0)
    async with process(path, "--unsafe") as node:
        await is_ready(settings["admin_port"])
        assert isinstance(settings["handle_port"], int)
        assert (await ask_udp((LOOPBACK, settings["handle_port"]), resolution("88.1/x"))).rc == 100

        node.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            _, log = await node.communicate()

    assert node.returncode == 0, log
    assert b'"event": "listening"' in log
    connection = await asyncpg.connect(empty_database)
    try:
        assert await connection.fetchval("SELECT resolutions FROM daily_statistics") == 1
    finally:
        await connection.close()


async def test_a_database_that_may_lose_writes_is_refused(empty_database: str, scratch: Path) -> None:
    code, told = await failed_start(write_settings(scratch, empty_database)[0])

    assert code == 2
    assert "fsync" in told
    assert "--unsafe" in told


async def test_an_unreachable_database_is_named_without_its_password(scratch: Path) -> None:
    dsn = f"postgresql://me:hunter2@{LOOPBACK}:{free_port(LOOPBACK)}/handles"
    code, told = await failed_start(write_settings(scratch, dsn)[0])

    assert code != 0
    assert "the database does not answer" in told
    assert "/handles" in told
    assert "hunter2" not in told
    assert "Traceback" not in told


async def test_a_port_that_is_taken_is_named(empty_database: str, scratch: Path) -> None:
    path, settings = write_settings(scratch, empty_database)
    server = await asyncio.start_server(
        lambda reader, writer: None, LOOPBACK, int(str(settings["http_port"]))
    )
    async with server:
        code, told = await failed_start(path, "--unsafe")

    assert code == 2
    assert str(settings["http_port"]) in told
    assert "Traceback" not in told


async def test_a_settings_file_with_faults_is_told_as_a_whole(scratch: Path) -> None:
    path, _ = write_settings(scratch, "postgresql:///x", homes=["a/b"], case_sensitiv=1)
    code, told = await failed_start(path)

    assert code == 2
    assert "did you mean case_sensitive?" in told
    assert "Traceback" not in told
