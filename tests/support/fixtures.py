"""Fixtures that every test may ask for. What is expensive lives as long as the session.

The helpers are imported where they are used: a unit test loads neither daemon, and runs while one is broken.
"""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.scratch import scratch_directory

if TYPE_CHECKING:
    from protocol.transport.fast_path import FastPath
    from tests.support.postgres import TestPostgres
    from tests.support.valkey import TestValkey
    from tests.support.world import World


@pytest.fixture(scope="session")
def cheap_passwords() -> Iterator[None]:
    """Let the nodes of this process hash passwords a thousand times faster than those of everybody else."""
    from registry.accounts import service
    from registry.accounts.passwords import Passwords

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "Passwords", partial(Passwords, time_cost=1, memory_kib=64))
        yield


@pytest.fixture(scope="session")
def postgres(cheap_passwords: None) -> Iterator["TestPostgres"]:
    """Give the session's Postgres. Never stop it; `own_postgres` is for that."""
    from tests.support.postgres import TestPostgres

    server = TestPostgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["pure", "compiled"])
def path(request: pytest.FixtureRequest) -> "FastPath":
    """Give one implementation of the data path, and in a second run of the test the other one."""
    from tests.support.paths import path_of

    return path_of(request.param)


@pytest.fixture
def database(postgres: "TestPostgres") -> Iterator[str]:
    """Give the DSN of a database with the schema of this version."""
    dsn = postgres.database()
    yield dsn
    postgres.drop(dsn)


@pytest.fixture
def empty_database(postgres: "TestPostgres") -> Iterator[str]:
    """Give the DSN of a database without tables."""
    dsn = postgres.empty_database()
    yield dsn
    postgres.drop(dsn)


@pytest.fixture
def own_postgres(cheap_passwords: None) -> Iterator["TestPostgres"]:
    """Give a durable Postgres of the test's own, which it may stop, crash and start."""
    from tests.support.postgres import TestPostgres

    server = TestPostgres(settings={"shared_buffers": "16MB"})
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def valkey() -> Iterator["TestValkey"]:
    """Give a Valkey of the test's own, which it may stop and start."""
    from tests.support.valkey import TestValkey

    server = TestValkey()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Give a directory of the test's own under the temporary directory, which other users may enter."""
    with scratch_directory() as path:
        yield path


@pytest.fixture
async def world(postgres: "TestPostgres", scratch: Path) -> AsyncIterator["World"]:
    """Give an empty world; its nodes end with the test."""
    from tests.support.world import World

    made = World(postgres, scratch)
    try:
        yield made
    finally:
        await made.close()
