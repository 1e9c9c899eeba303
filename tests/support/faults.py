"""Faults between nodes: answers that are lost after the work was done, and nodes that end in the middle."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from registry.api.app import ApiApp

NODE_PATH = "/api/v1/node/"


@dataclass(slots=True)
class Losses:
    """Which answers to requests of nodes are lost; the request itself is served."""

    is_lost: Callable[[int], bool]
    """By the number of the request, from 0."""
    seen: int = 0
    lost: list[str] = field(default_factory=list)


@contextmanager
def lost_answers(is_lost: Callable[[int], bool]) -> Iterator[Losses]:
    """Close the connection in place of an answer, at every node of this process."""
    losses = Losses(is_lost)
    answer = ApiApp.answer

    async def answer_or_not(app: ApiApp, http: web.Request) -> web.Response:
        response = await answer(app, http)
        if not http.raw_path.startswith(NODE_PATH):
            return response
        number, losses.seen = losses.seen, losses.seen + 1
        if losses.is_lost(number):
            losses.lost.append(http.raw_path)
            assert http.transport is not None
            http.transport.abort()
        return response

    ApiApp.answer = answer_or_not  # type: ignore[method-assign, assignment]
    try:
        yield losses
    finally:
        ApiApp.answer = answer  # type: ignore[method-assign]
