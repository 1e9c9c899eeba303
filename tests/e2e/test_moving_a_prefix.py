"""A prefix moves from the node that hosts it to the enterprise's own and back, while a client asks all the time."""

from pathlib import Path
from typing import Any

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle
from registry.outcomes import OPERATOR, Deleted, Found, Rejected
from registry.peers import pages
from registry.peers.messages import Direction
from registry.peers.moves import Phase
from registry.problem_types import ApiProblem
from tests.support.neighbours import Asker, Neighbours, neighbours, register, register_pumps
from tests.support.world import World, url_value

PREFIX = "88.100.7"
FRESH = f"{PREFIX}/fresh"


@pytest.fixture
async def pair(world: World, monkeypatch: pytest.MonkeyPatch) -> Neighbours:
    """Give two nodes below a root, between which pages are small so that a move takes many steps."""
    monkeypatch.setattr(pages, "PAGE_ROWS_MAX", 10)
    return await neighbours(world, prefix=PREFIX)


async def test_a_client_that_asks_throughout_is_answered_throughout(world: World, pair: Neighbours) -> None:
    names = await register_pumps(pair.upper, PREFIX, 40)
    resolver = await world.resolver()
    await pair.join()

    async with Asker(resolver, names) as asker:
        await asker.some_more()
        there = await pair.move(PREFIX, Direction.DELEGATED)
        await asker.some_more(50)
        await register(pair.lower, FRESH, url_value("https://pump.example/fresh", ttl=0))
        assert (await resolver.ask(FRESH)).url == "https://pump.example/fresh"
        back = await pair.move(PREFIX, Direction.HOSTED)
        await asker.some_more(50)

    assert (there.phase, back.phase) == (Phase.DONE, Phase.DONE), (there, back)
    assert asker.faults == []
    assert (await resolver.ask(FRESH)).url == "https://pump.example/fresh"


async def test_who_still_asks_the_old_side_is_told_where_to_go(pair: Neighbours) -> None:
    names = await register_pumps(pair.upper, PREFIX, 25)
    await pair.join()
    for direction, old, new in (
        (Direction.DELEGATED, pair.above, pair.below),
        (Direction.HOSTED, pair.below, pair.above),
    ):
        await pair.move(PREFIX, direction)

        referred = await old.ask(names[0])
        assert referred.rc == ResponseCode.SERVICE_REFERRAL
        assert [value.type for value in referred.values] == ["HS_SITE"]
        assert (await new.ask(names[0])).rc == ResponseCode.SUCCESS
        (refused,) = await old.node.operations.delete([Handle.parse(names[1])], by=OPERATOR)
        assert isinstance(refused, Rejected)
        assert refused.code == ResponseCode.SERVER_NOT_RESPONSIBLE
        assert new.settings.listen_addresses[0] in refused.message


async def test_what_is_served_is_the_same_on_either_side(pair: Neighbours) -> None:
    names = await register_pumps(pair.upper, PREFIX, 25)
    before = [await pair.upper.operations.resolve(Handle.parse(name)) for name in names]
    await pair.join()

    await pair.move(PREFIX, Direction.DELEGATED)

    after = [await pair.lower.operations.resolve(Handle.parse(name)) for name in names]
    assert [_values(answer) for answer in after] == [_values(answer) for answer in before]
    (deleted,) = await pair.lower.operations.delete([Handle.parse(names[0])], by=OPERATOR)
    assert isinstance(deleted, Deleted)


def _values(answer: object) -> object:
    assert isinstance(answer, Found), answer
    return answer.values


async def test_nodes_speak_over_tls_where_plain_http_is_refused(
    world: World, certificate: tuple[Path, Path]
) -> None:
    tls: dict[str, Any] = {
        "tls_certificate_file": certificate[0],
        "tls_key_file": certificate[1],
        "plain_http_credentials": "refuse",
    }
    pair = await neighbours(world, prefix=PREFIX, rooted=False, **tls)
    await register_pumps(pair.upper, PREFIX, 5)
    await pair.join()

    assert (await pair.move(PREFIX, Direction.DELEGATED)).phase is Phase.DONE
    with pytest.raises(ApiProblem, match="use https"):
        await pair.lower.peers.enrolments.pin(pair.above.http, None)
