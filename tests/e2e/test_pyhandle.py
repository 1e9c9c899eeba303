"""pyhandle, the REST client in wide use, registers, reads, modifies and deletes, and reads through a recursive node."""

import asyncio
import json
from typing import Any

import pytest
from pyhandle.clientcredentials import PIDClientCredentials
from pyhandle.handleclient import PyHandleClient
from pyhandle.handleexceptions import (
    HandleAlreadyExistsException,
    HandleAuthenticationError,
    HandleNotFoundException,
)

from tests.support.world import TestNode, World

HANDLE = "88/product-1"
URL = "https://plant.example/product-1"


def client_for(node: TestNode, *, secret: str = "", names_owner: bool = True) -> Any:
    """Return a client with the node's administrator credentials.

    names_owner: whether it is told whom to make administrator of what it registers; else 200:0.NA/<prefix>.
    """
    owner = {"handleowner": node.administrator} if names_owner else {}
    credentials = PIDClientCredentials(
        client="rest",
        handle_server_url=node.http,
        username=node.administrator,
        password=secret or node.secret,
        prefix=str(node.prefix),
        **owner,
        HTTPS_verify=False,
    )
    return PyHandleClient("rest").instantiate_with_credentials(credentials)


async def plant_node(world: World) -> TestNode:
    """Start root and 88."""
    _, plant = await world.chain("88")
    return plant


@pytest.mark.parametrize("names_owner", [True, False])
async def test_pyhandle_registers_reads_modifies_and_deletes(world: World, names_owner: bool) -> None:
    plant = await plant_node(world)

    def work() -> None:
        client = client_for(plant, names_owner=names_owner)
        assert client.register_handle(HANDLE, URL, EMAIL="a@plant.example") == HANDLE
        record = client.retrieve_handle_record(HANDLE)
        assert (record["URL"], record["EMAIL"]) == (URL, "a@plant.example")

        client.modify_handle_value(HANDLE, URL="https://plant.example/moved", SERIAL="7")
        assert client.get_value_from_handle(HANDLE, "URL") == "https://plant.example/moved"
        assert client.get_value_from_handle(HANDLE, "SERIAL") == "7"

        client.delete_handle_value(HANDLE, "EMAIL")
        assert client.get_value_from_handle(HANDLE, "EMAIL") is None

        assert client.delete_handle(HANDLE) == HANDLE
        assert client.retrieve_handle_record_json(HANDLE) is None

    await asyncio.to_thread(work)


async def test_pyhandle_is_told_about_a_name_that_exists_or_does_not(world: World) -> None:
    plant = await plant_node(world)

    def work() -> None:
        client = client_for(plant)
        client.register_handle(HANDLE, URL)
        with pytest.raises(HandleAlreadyExistsException):
            client.register_handle(HANDLE, URL)
        client.register_handle(HANDLE, "https://plant.example/again", overwrite=True)
        assert client.get_value_from_handle(HANDLE, "URL") == "https://plant.example/again"
        with pytest.raises(HandleNotFoundException):
            client.modify_handle_value("88/none", URL=URL)

    await asyncio.to_thread(work)


async def test_pyhandle_with_a_wrong_secret_changes_nothing(world: World) -> None:
    plant = await plant_node(world)

    def work() -> None:
        with pytest.raises(HandleAuthenticationError):
            client_for(plant, secret="wrong").register_handle(HANDLE, URL)
        assert client_for(plant).retrieve_handle_record_json(HANDLE) is None

    await asyncio.to_thread(work)


async def test_pyhandle_reads_through_the_recursive_node(world: World) -> None:
    plant = await plant_node(world)
    await plant.create(HANDLE, url=URL)
    resolver = await world.resolver()

    def work() -> None:
        client = PyHandleClient("rest").instantiate_for_read_access(
            handle_server_url=resolver.http, HTTPS_verify=False
        )
        assert client.retrieve_handle_record(HANDLE)["URL"] == URL
        assert client.get_value_from_handle(HANDLE, "URL") == URL
        assert client.retrieve_handle_record_json("88/none") is None

    await asyncio.to_thread(work)


async def test_a_generated_name_is_registered(world: World) -> None:
    plant = await plant_node(world)

    def work() -> str:
        return str(client_for(plant).generate_and_register_handle("88", URL))

    handle = await asyncio.to_thread(work)
    assert handle.startswith("88/")
    assert (await plant.ask(handle)).url == URL


async def test_the_json_of_both_nodes_is_the_same_record(world: World) -> None:
    plant = await plant_node(world)
    await plant.create(HANDLE, url=URL)
    resolver = await world.resolver()
    async with world.session.get(f"{plant.http}/api/handles/{HANDLE}") as response:
        own = await response.json()
    _, _, body = await resolver.get(f"/api/handles/{HANDLE}")
    assert json.loads(body) == own
