"""`handlegrid resolve --raw`: octets of both messages as they went over the wire."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploy.commands.resolve import resolve
from protocol.bodies import ResolutionResponse
from protocol.message import Message, decode_message
from tests.integration.resolver.loopback import HOST, PUMP, Authority, value
from tests.support.scratch import free_port

Words = tuple[str, ...]


@pytest.fixture
async def server() -> AsyncIterator[Authority]:
    authority = Authority()
    authority.hold(PUMP, value(1, "URL", "https://plant.example/pump-7"))
    authority.hold("88.100.1/large", value(1, "DESC", "x" * 2_000))
    await authority.start()
    yield authority
    await authority.stop()


async def run(*words: str) -> Result:
    """The command, in a thread beside the server that it asks."""
    return await asyncio.to_thread(CliRunner().invoke, resolve, words, standalone_mode=False)


async def content(*words: str) -> Any:
    return json.loads((await run(*words, "--json")).stdout)


def decoded(part: Any) -> Message:
    """The message of one side; its fields are its octets."""
    octets = bytes.fromhex(part["octets"])
    assert b"".join(bytes.fromhex(field["octets"]) for field in part["fields"]) == octets
    return decode_message(octets)


@pytest.mark.parametrize("transport", [(), ("--tcp",)], ids=["UDP", "TCP"])
@pytest.mark.parametrize("name", [PUMP, "88.100.1/large"])
async def test_both_messages_are_those_of_the_wire(server: Authority, transport: Words, name: str) -> None:
    told = await content(name, "--server", f"{HOST}:{server.port}", "--raw", *transport)

    request, response = decoded(told["request"]), decoded(told["response"])
    assert server.octets == [request.encode()]
    assert response.envelope.request_id == request.envelope.request_id
    assert ResolutionResponse.decode(response.body).values == server.records[name.upper().encode()]


@pytest.mark.parametrize("transport", [(), ("--tcp",)], ids=["UDP", "TCP"])
async def test_people_see_offsets_octets_names_and_meanings(server: Authority, transport: Words) -> None:
    shown = await run(PUMP, "--server", f"{HOST}:{server.port}", "--raw", *transport)

    lines = shown.stdout.splitlines()
    assert shown.return_value == 0
    assert lines[0].startswith(f"request to {HOST} {(transport and 'TCP') or 'UDP'} {server.port}, ")
    assert "      20  00 00 00 01 " in shown.stdout
    assert any(line.endswith('value 1: type              "URL"') for line in lines)


async def test_a_denial_and_a_silent_server_end_as_ever(server: Authority) -> None:
    denied = await run("88.100.1/none", "--server", f"{HOST}:{server.port}", "--raw")
    silent = await run(PUMP, "--server", f"{HOST}:{free_port()}", "--raw", "--tcp")

    assert denied.return_value == 1
    assert '"no such handle"' in denied.stdout
    assert silent.return_value == 3
    assert "no response: " in silent.stdout


@pytest.mark.parametrize("words", [("--raw",), ("--tcp", "--server", HOST)])
async def test_raw_takes_a_server_and_tcp_takes_raw(words: Words) -> None:
    assert "--server" in str((await run(PUMP, *words)).exception)
