"""Runs every test of this folder on both event loops: the daemons run on uvloop, other people's programs on asyncio."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
async def _close_listeners(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """Closes what a failing test leaves open: uvloop does not end while a socket is."""
    opened: list[Any] = []

    def remembering(listen: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def remember(*arguments: Any, **options: Any) -> Any:
            opened.append(await listen(*arguments, **options))
            return opened[-1]

        return remember

    for name in ("listen_udp", "listen_tcp", "listen_http"):
        if hasattr(request.module, name):
            monkeypatch.setattr(request.module, name, remembering(getattr(request.module, name)))
    yield
    for listener in opened:
        await listener.close(0)


@pytest.fixture(params=["127.0.0.1", "::1"])
def loopback(request: pytest.FixtureRequest) -> str:
    return str(request.param)
