"""Files of JSON Lines on their way to the API."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from registry.api.schemas.identifiers import Act, BatchResult, ItemProblem, ItemResult
from registry.client import Credential, NoAnswer, RegistryClient, Retries
from registry.client.batches import LINE_OCTETS_MAX, Progress, Refusal, register_lines
from tests.unit.registry.client.scripted import TOKEN, Scripted, ScriptedServer, scripted_server

PROBLEM = ItemProblem(
    type="/api/v1/problems/identifier-exists",
    title="exists",
    status=409,
    detail="it exists",
    remedy="Use PUT.",
)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[RegistryClient]:
    retries = Retries(repeats_max=1, pause_s=0.001)
    async with RegistryClient(server.url, credential=Credential(TOKEN), retries=retries) as client:
        yield client


def line(name: str) -> bytes:
    return f'{{"identifier":"88.1/{name}","values":[{{"index":1,"type":"URL","data":"x"}}]}}\n'.encode()


def answer(*acts: Act) -> Scripted:
    items = [ItemResult(result=act, problem=PROBLEM if act is Act.REFUSED else None) for act in acts]
    refused = sum(act is Act.REFUSED for act in acts)
    return Scripted(
        body=msgspec.json.encode(BatchResult(done=len(acts) - refused, refused=refused, items=items))
    )


async def run(client: RegistryClient, lines: list[bytes], **more: Any) -> tuple[Progress, list[Refusal]]:
    refusals: list[Refusal] = []
    done = await register_lines(
        client.identifiers, lines, on_refusal=refusals.append, on_progress=lambda _: None, **more
    )
    return done, refusals


async def test_lines_travel_in_batches_and_each_learns_what_became_of_it(
    server: ScriptedServer, client: RegistryClient
) -> None:
    server.script(answer(Act.CREATED, Act.REFUSED), answer(Act.CREATED))

    done, refusals = await run(client, [line("a"), line("b"), line("c")], items=2, run_key="run-0001")

    assert (done.registered, done.refused) == (2, 1)
    assert [(refusal.line, refusal.reason, refusal.remedy) for refusal in refusals] == [
        (2, "it exists", "Use PUT.")
    ]
    assert refusals[0].octets == line("b")
    bodies = [msgspec.json.decode(asked.body) for asked in server.asked]
    assert [len(body["items"]) for body in bodies] == [2, 1]
    assert {body["mode"] for body in bodies} == {"best_effort"}
    assert {item["action"] for body in bodies for item in body["items"]} == {"create"}
    assert [asked.headers["Idempotency-Key"] for asked in server.asked] == ["run-0001-1", "run-0001-2"]


async def test_a_run_key_leaves_room_for_the_numbers_of_batches(client: RegistryClient) -> None:
    with pytest.raises(ValueError, match="at most 240"):
        await run(client, [], run_key="k" * 241)


async def test_every_run_has_keys_of_its_own(server: ScriptedServer, client: RegistryClient) -> None:
    server.script(answer(Act.CREATED))
    await run(client, [line("a")])
    await run(client, [line("a")])
    assert len({asked.headers["Idempotency-Key"] for asked in server.asked}) == 2


async def test_what_cannot_be_read_is_refused_and_not_sent(
    server: ScriptedServer, client: RegistryClient
) -> None:
    server.script(answer(Act.CREATED))
    lines = [
        b"\n",
        b"no JSON\n",
        b'{"identifier": "88.1/x"}\n',
        b'{"identifier": "88.1/x", "values": [], "extra": 1}\n',
        b"\xff\xfe\n",
        b"[" * 10_000 + b"\n",
        b" " * (LINE_OCTETS_MAX) + b"1\n",
        line("a"),
    ]

    done, refusals = await run(client, lines)

    assert (done.registered, done.refused) == (1, 6)
    assert [refusal.line for refusal in refusals] == [2, 3, 4, 5, 6, 7]
    assert "values" in refusals[1].reason
    assert done.octets == sum(map(len, lines))
    assert len(server.asked) == 1


async def test_nothing_is_sent_for_a_file_of_nothing(server: ScriptedServer, client: RegistryClient) -> None:
    done, refusals = await run(client, [b"\n", b"  \n"])
    assert (done.registered, done.refused, refusals, server.asked) == (0, 0, [], [])


async def test_large_lines_make_small_batches(server: ScriptedServer, client: RegistryClient) -> None:
    server.script(*[answer(*[Act.CREATED] * 8)] * 2, answer(*[Act.CREATED] * 4))
    large = line("a")[:-1] + b" " * 1_000_000 + b"\n"
    done, _ = await run(client, [large] * 20)
    assert (done.registered, len(server.asked)) == (20, 3)


async def test_a_dry_run_is_one(server: ScriptedServer, client: RegistryClient) -> None:
    server.script(answer(Act.CREATED))
    await run(client, [line("a")], dry_run=True)
    assert server.asked[0].target.endswith("?dry_run=true")


async def test_what_was_done_before_the_node_fell_silent_was_told(
    server: ScriptedServer, client: RegistryClient
) -> None:
    server.script(answer(Act.CREATED), Scripted(drop=True))
    seen: list[int] = []
    with pytest.raises(NoAnswer):
        await register_lines(
            client.identifiers,
            [line("a"), line("b")],
            on_refusal=lambda _: None,
            on_progress=lambda progress: seen.append(progress.registered),
            items=1,
        )
    assert seen == [1]
