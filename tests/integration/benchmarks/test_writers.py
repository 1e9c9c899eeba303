"""The writers against a real node: each scheme proves who writes, and what they count was written."""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count

import pytest
import pytest_asyncio

from benchmarks.authenticated_writes import give_keys, place_of
from benchmarks.record import PREFIX, record
from benchmarks.writers.__main__ import opened, run
from benchmarks.writers.over_handle import name_of
from benchmarks.writers.task import Place, Scheme, Task
from protocol.handle import Handle
from registry.daemon import RegistryNode
from registry.outcomes import Found
from tests.support.postgres import TestPostgres
from tests.support.registries import running_registry
from tests.support.scratch import scratch_directory

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = 2
SECONDS = 0.02
SCHEMES = [scheme for scheme in Scheme if scheme is not Scheme.BARE]  # which insists on a durable database
_starts = count(0, 10_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(postgres: TestPostgres) -> AsyncIterator[tuple[RegistryNode, Place]]:
    """Give a node, and what its writers must know."""
    dsn = postgres.database()
    with scratch_directory() as directory:
        async with running_registry(
            dsn, directory, homes=(PREFIX,), plain_http_credentials="loopback"
        ) as running:
            node = running.node
            data_dir, places = node.settings.data_dir, node.addresses
            keys = await give_keys(node.operations, data_dir)
            yield node, place_of(keys, data_dir, places.tcp[0], places.http[0], bare_dsn=dsn)
    postgres.drop(dsn)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_what_writers_count_was_written_by_the_administrator(
    served: tuple[RegistryNode, Place], scheme: Scheme
) -> None:
    node, place = served
    task = Task(scheme=scheme, clients=CLIENTS, seconds=SECONDS, first=next(_starts))
    start = task.first + 1_000

    writers = await opened(place, task)
    seen = await run(task, writers, iter(range(start, start + 1_000)))
    for writer in writers:
        writer.close()

    assert not seen["fault"]
    assert seen["answers"] == seen["sent"] >= CLIENTS
    assert sum(seen["counts"]) == seen["answers"]
    last = Handle.parse(name_of(start + seen["answers"] - 1))
    answer = await node.operations.resolve(last, types=["URL", "DESC"])
    assert isinstance(answer, Found)
    assert [value.data for value in answer.values] == [value.data for value in record()]


async def test_who_does_not_prove_himself_is_seen(served: tuple[RegistryNode, Place]) -> None:
    _, place = served
    task = Task(scheme=Scheme.HTTP_BASIC, clients=1, seconds=SECONDS, first=next(_starts))

    writers = await opened(replace(place, secret="wrong"), task)
    seen = await run(task, writers, iter(range(task.first, task.first + 1_000)))
    writers[0].close()

    assert seen["answers"] == 0
    assert "401" in seen["fault"]
