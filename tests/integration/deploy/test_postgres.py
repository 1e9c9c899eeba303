"""The embedded Postgres: real processes, in a data directory of its own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from deploy.local.postgres import EmbeddedPostgres, StopMode, ensure_database
from deploy.local.processes import LocalError, ProcessIdentity
from tests.support.scratch import new_directory


@pytest.fixture
def home() -> Iterator[Path]:
    directory = new_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


async def test_it_is_durable_and_keeps_what_was_committed_when_it_is_killed(home: Path) -> None:
    postgres = EmbeddedPostgres(home / "postgres")
    postgres.start()
    try:
        connection = await asyncpg.connect(await ensure_database(postgres, "plant"))
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert await connection.fetchval(f"SHOW {setting}") == "on"
        await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        await connection.close()

        postgres.stop(StopMode.IMMEDIATE)
        postgres = EmbeddedPostgres(home / "postgres")
        postgres.start()

        connection = await asyncpg.connect(await ensure_database(postgres, "plant"))
        assert await connection.fetchval("SELECT n FROM kept") == 7
        await connection.close()
    finally:
        postgres.stop()


def test_a_second_owner_is_refused_while_the_first_one_lives(home: Path) -> None:
    postgres = EmbeddedPostgres(home / "postgres")
    postgres.start()
    try:
        with pytest.raises(LocalError, match="another process"):
            EmbeddedPostgres(home / "postgres").start()
        assert postgres.is_ready()
    finally:
        postgres.stop()


async def test_a_path_too_long_for_a_socket_is_no_obstacle(home: Path) -> None:
    deep = home / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    postgres = EmbeddedPostgres(deep / "postgres")
    postgres.start()
    try:
        await (await asyncpg.connect(postgres.dsn())).close()
    finally:
        postgres.stop()
        shutil.rmtree(postgres.sockets)


def test_it_ends_with_its_owner_and_an_orphan_is_ended_by_the_next_start(home: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from deploy.local.postgres import EmbeddedPostgres\n"
        "p = EmbeddedPostgres(Path(sys.argv[1])); p.start(); print(p.process.pid, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[3]
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(home / "postgres")], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert owner.stdout is not None
    server = ProcessIdentity.of(int(owner.stdout.readline()))
    assert server is not None
    owner.kill()
    owner.communicate()

    started_s = time.monotonic()
    postgres = EmbeddedPostgres(home / "postgres")
    postgres.start()
    try:
        assert not server.is_alive
        assert time.monotonic() - started_s < 30
    finally:
        postgres.stop()


def test_it_starts_after_a_reboot_that_gave_its_number_to_another_process(home: Path) -> None:
    postgres = EmbeddedPostgres(home / "postgres")
    postgres.start()
    pid_file = home / "postgres" / "postmaster.pid"
    left = pid_file.read_text().splitlines()
    postgres.stop()
    owner = pid_file.parent.stat().st_uid  # Postgres takes another user's process for none of its own
    stranger = subprocess.Popen(["sleep", "60"], user=owner if os.geteuid() == 0 else None)
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *left[1:], ""]))
        os.chown(pid_file, owner, -1)

        postgres = EmbeddedPostgres(home / "postgres")
        postgres.start()
        assert stranger.poll() is None
        postgres.stop()
    finally:
        stranger.kill()
        stranger.wait()


def test_a_log_tells_why_it_could_not_start(home: Path) -> None:
    postgres = EmbeddedPostgres(home / "postgres", settings={"max_connections": "-3"})
    with pytest.raises(LocalError, match="max_connections"):
        postgres.start()
    postgres.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must run Postgres as another user")
def test_as_root_a_closed_directory_above_is_named_with_its_remedy(home: Path) -> None:
    home.chmod(0o700)
    with pytest.raises(LocalError, match=f"chmod o\\+x {home}"):
        EmbeddedPostgres(home / "postgres").start()


def test_a_reused_process_number_is_another_process() -> None:
    mine = ProcessIdentity.of(os.getpid())
    assert mine is not None
    assert mine.is_alive
    stranger = ProcessIdentity(pid=mine.pid, started="1")
    assert not stranger.is_alive
    stranger.signal(signal.SIGKILL)  # reaches nobody
