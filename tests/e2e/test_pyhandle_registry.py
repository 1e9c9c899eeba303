"""pyhandle, a client in wide use, registers, reads, modifies and deletes at a running node."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pyhandle.client.resthandleclient import RESTHandleClient
from pyhandle.handleexceptions import (
    GenericHandleError,
    HandleAlreadyExistsException,
    HandleAuthenticationError,
    HandleNotFoundException,
)

from tests.support.asking import ask_udp, resolution
from tests.support.registries import RunningRegistry, running_registry

PUMP = "88.1/pump-7"
ADMIN = {
    "format": "admin",
    "value": {"handle": "88.1/ADMIN", "index": 300, "permissions": "111111111111"},
}
T = TypeVar("T")


@pytest.fixture(params=["http", "https"])
async def plant(
    request: pytest.FixtureRequest, database: str, scratch: Path, certificate: tuple[Path, Path]
) -> AsyncIterator[RunningRegistry]:
    tls = request.param == "https"
    files = {"tls_certificate_file": str(certificate[0]), "tls_key_file": str(certificate[1])}
    async with running_registry(
        database,
        scratch,
        scheme=request.param,
        plain_http_credentials="refuse" if tls else "loopback",
        **(files if tls else {}),
    ) as registry:
        yield registry


async def sync(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Run a call of pyhandle, which blocks, beside the node."""
    return await asyncio.to_thread(call, *arguments, **options)


async def client(plant: RunningRegistry, scratch: Path, secret: str | None = None) -> RESTHandleClient:
    """Return a pyhandle client that is the node's administrator."""
    return await sync(
        RESTHandleClient.instantiate_with_username_and_password,
        plant.base,
        plant.user,
        plant.secret if secret is None else secret,
        handleowner=plant.user,
        HTTPS_verify=str(scratch / "certificate.pem") if plant.scheme == "https" else True,
    )


async def test_a_handle_lives_its_whole_life(plant: RunningRegistry, scratch: Path) -> None:
    handles = await client(plant, scratch)
    address = plant.node.addresses.udp[0]

    url = "https://plant.example/pump-7?a=b&c=d"
    assert await sync(handles.register_handle, PUMP, url, checksum="abc", OWNER="the plant") == PUMP
    record = await sync(handles.retrieve_handle_record, PUMP)
    assert (record["URL"], record["CHECKSUM"], record["OWNER"]) == (url, "abc", "the plant")
    assert (await ask_udp(address, resolution(PUMP))).url == url

    await sync(handles.modify_handle_value, PUMP, URL="https://plant.example/new", COLOUR="blue", ttl=600)
    assert await sync(handles.get_value_from_handle, PUMP, "URL") == "https://plant.example/new"
    assert await sync(handles.get_value_from_handle, PUMP, "COLOUR") == "blue"
    assert (await ask_udp(address, resolution(PUMP))).url == "https://plant.example/new"

    await sync(handles.delete_handle_value, PUMP, "CHECKSUM")
    assert await sync(handles.get_value_from_handle, PUMP, "CHECKSUM") is None

    await sync(handles.delete_handle, PUMP)
    assert await sync(handles.retrieve_handle_record_json, PUMP) is None
    assert (await ask_udp(address, resolution(PUMP))).rc == 100


async def test_an_existing_handle_is_replaced_only_when_told_so(
    plant: RunningRegistry, scratch: Path
) -> None:
    handles = await client(plant, scratch)
    await sync(handles.register_handle, PUMP, "https://plant.example/1")

    with pytest.raises(HandleAlreadyExistsException):
        await sync(handles.register_handle, PUMP, "https://plant.example/2")
    await sync(handles.register_handle, PUMP, "https://plant.example/2", overwrite=True)

    assert await sync(handles.get_value_from_handle, PUMP, "URL") == "https://plant.example/2"


async def test_values_come_in_the_order_of_their_indexes(plant: RunningRegistry, scratch: Path) -> None:
    handles = await client(plant, scratch)
    entries = [
        {"index": 100, "type": "HS_ADMIN", "data": ADMIN},
        {"index": 7, "type": "SEVEN", "data": "7"},
        {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://plant.example/"}},
    ]
    await sync(handles.register_handle_json, PUMP, entries)

    record = await sync(handles.retrieve_handle_record_json, PUMP)

    assert [value["index"] for value in record["values"]] == [1, 7, 100]
    assert record["values"][1]["data"] == {"format": "string", "value": "7"}
    some = await sync(handles.retrieve_handle_record_json, PUMP, indices=[7, 100])
    assert [value["index"] for value in some["values"]] == [7, 100]
    typed = await sync(handles.retrieve_handle_record_json, PUMP, type=["SEVEN"])
    assert [value["index"] for value in typed["values"]] == [7]


async def test_a_generated_name_is_registered(plant: RunningRegistry, scratch: Path) -> None:
    handles = await client(plant, scratch)

    name = await sync(handles.generate_and_register_handle, "88.1", "https://plant.example/")

    assert name.startswith("88.1/")
    assert await sync(handles.get_value_from_handle, name, "URL") == "https://plant.example/"


async def test_a_wrong_password_is_recognised(plant: RunningRegistry, scratch: Path) -> None:
    handles = await client(plant, scratch, secret="guessed")

    with pytest.raises(HandleAuthenticationError):
        await sync(handles.register_handle, PUMP, "https://plant.example/")


async def test_an_unknown_user_name_is_recognised(plant: RunningRegistry, scratch: Path) -> None:
    with pytest.raises(HandleNotFoundException):
        await sync(
            RESTHandleClient.instantiate_with_username_and_password,
            plant.base,
            "300:88.1/NOBODY",
            "x",
            HTTPS_verify=str(scratch / "certificate.pem") if plant.scheme == "https" else True,
        )


async def test_what_does_not_exist_cannot_be_changed(plant: RunningRegistry, scratch: Path) -> None:
    handles = await client(plant, scratch)

    with pytest.raises(HandleNotFoundException):
        await sync(handles.modify_handle_value, PUMP, URL="https://plant.example/")
    with pytest.raises(HandleNotFoundException):
        await sync(handles.delete_handle, PUMP)
    with pytest.raises(GenericHandleError):
        await sync(handles.register_handle, "99.1/elsewhere", "https://plant.example/")


async def test_every_error_that_pyhandle_meets_is_json(plant: RunningRegistry) -> None:
    answers = [
        await plant.get("/hrls/handles/?URL=*x*"),
        await plant.get("/api/handles/88.1/nothing"),
        await plant.ask("PUT", "/api/handles/88.1/x", octets=b"{}"),
    ]

    assert [json.loads(answer.body)["responseCode"] for answer in answers] == [5, 100, 402]
