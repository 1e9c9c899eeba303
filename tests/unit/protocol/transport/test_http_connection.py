"""What the fast path relies on inside aiohttp, which promises none of it."""

import asyncio
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol

from protocol.transport.http_connection import HttpConnection
from protocol.transport.source import SourceCheck
from tests.support.tree import ROOT


def test_the_fast_path_was_proved_with_the_version_that_is_installed() -> None:
    pins = Path(ROOT / "constraints.txt").read_text().splitlines()
    assert f"aiohttp=={version('aiohttp')}" in pins
    assert (
        version("aiohttp") == "3.14.5"
    )  # read web_protocol.py and base_protocol.py again before you change this


@pytest.mark.parametrize(
    "name",
    [
        "_close",
        "_current_request",
        "_force_close",
        "_keepalive_timeout",
        "_next_keepalive_close_time",
        "_task_handler",
        "_waiter",
    ],
)
def test_a_connection_keeps_its_state_where_the_fast_path_looks(name: str) -> None:
    assert name in web.RequestHandler.__slots__


@pytest.mark.parametrize("name", ["_paused", "_reading_paused", "_buffer_paused", "transport", "_loop"])
def test_a_protocol_keeps_its_state_where_the_fast_path_looks(name: str) -> None:
    assert name in BaseProtocol.__slots__


@pytest.mark.parametrize("name", ["_pause_transport_reading", "_resume_transport_reading", "resume_writing"])
def test_a_protocol_can_be_told_to_stop_reading(name: str) -> None:
    assert inspect.isfunction(getattr(BaseProtocol, name))


def test_no_name_of_ours_is_one_of_aiohttp() -> None:
    theirs = {*dir(web.RequestHandler), *web.RequestHandler.__slots__, *BaseProtocol.__slots__}

    assert theirs.isdisjoint(HttpConnection.__slots__)


def test_a_connection_waits_for_a_request_in_one_place() -> None:
    source = inspect.getsource(web.RequestHandler.start)

    assert source.count("self._waiter = loop.create_future()") == 1
    assert source.count("await self._waiter") == 1


async def test_a_request_whose_connection_is_lost_at_once_is_nobodys_fault() -> None:
    async def never(_: web.BaseRequest) -> web.Response:
        raise AssertionError

    ended: list[bool] = []
    connection = HttpConnection(
        web.Server(never),
        cache=None,
        source=SourceCheck(),
        ended=lambda: ended.append(True),
        loop=asyncio.get_running_loop(),
    )
    connection.connection_made(_Transport())
    reader = connection._task_handler
    assert reader is not None
    await asyncio.sleep(0)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: plant.example\r\n\r\n")
    connection.connection_lost(None)  # in the same turn of the loop, before the request is looked at

    await asyncio.wait([reader])

    assert reader.cancelled()
    assert ended == [True]


class _Transport(asyncio.Transport):
    """A connection of which nothing is seen."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Who is at the other end."""
        return ("192.0.2.1", 40_000) if name == "peername" else default

    def is_closing(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing to close."""
