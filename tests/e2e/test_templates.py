"""One record for any number of serial numbers, seen from the sockets of a node: UDP, TCP and the record API."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from protocol.codes import OpFlag
from tests.support.asking import Address, ask_tcp, ask_udp, resolution
from tests.support.registries import RunningRegistry, running_registry
from tests.unit.registry.namespaces import template

BASE: Final = "/api/handles/88.1/pump"
SERIALS: Final = 30


def record(address: str) -> list[dict[str, Any]]:
    """A base with a template of its own, which gives its URL an extension."""
    steps = (
        '<if test="matches" expression="[0-9]{1,9}"><foreach><if value="type" test="equals" expression="URL">'
        '<value data="${data}?serial=${extension}"/></if></foreach></if><else><notfound/></else>'
    )
    return [
        {"index": 1, "type": "URL", "data": address},
        {"index": 2, "type": "NOTE", "data": "hidden", "permissions": "1100"},
        {"index": 10, "type": "HS_NAMESPACE", "data": template(steps)},
    ]


@pytest.fixture
async def plant(database: str, scratch: Path) -> AsyncIterator[RunningRegistry]:
    async with running_registry(database, scratch, template_delimiter="@", source_rate_per_s=0) as registry:
        yield registry


def address_of(plant: RunningRegistry) -> Address:
    return plant.node.addresses.udp[0]


async def hits(plant: RunningRegistry, cache: str) -> float:
    async with plant.session.get(plant.admin_base + "/metrics") as response:
        lines = (await response.text()).splitlines()
    wanted = f'handlegrid_cache_lookups_total{{cache="{cache}",result="hit",tier="memory"}} '
    return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


async def test_one_record_serves_many_serial_numbers_from_the_cache_until_it_changes(
    plant: RunningRegistry,
) -> None:
    node = address_of(plant)
    for place in ("https://plant.example/pump", "https://plant.example/new"):
        assert (await plant.put(BASE, record(place))).status in (200, 201)
        for _ in range(2):
            for number in range(SERIALS):
                answered = await ask_udp(node, resolution(f"88.1/pump@{number}"))
                assert (answered.rc, answered.url) == (1, f"{place}?serial={number}")
                assert len(answered.values) == 1
    assert await hits(plant, "answers") == 2 * SERIALS


async def test_every_way_to_ask_gives_the_same_values(plant: RunningRegistry) -> None:
    await plant.put(BASE, record("https://plant.example/pump"))
    node = address_of(plant)
    usual = await ask_udp(node, resolution("88.1/pump@7"))
    unusual = await ask_udp(
        node, resolution("88.1/pump@7", flags=OpFlag.PUBL | OpFlag.CACR, recursion_count=1)
    )
    stream = await ask_tcp(plant.node.addresses.tcp[0], resolution("88.1/PUMP@7", types=("URL",)))
    assert usual.values == unusual.values == stream.values
    assert usual.url == "https://plant.example/pump?serial=7"

    answered = await plant.get("/api/handles/88.1/pump@7?explain")
    assert answered.json["values"][0]["data"]["value"] == usual.url
    assert answered.json["explain"] == {"template": {"base": "88.1/pump"}}
    assert "explain" not in (await plant.get("/api/handles/88.1/pump@7")).json
    assert "explain" not in (await plant.get("/api/handles/88.1/pump?explain")).json


async def test_an_extension_that_the_template_refuses_does_not_exist(plant: RunningRegistry) -> None:
    await plant.put(BASE, record("https://plant.example/pump"))
    assert (await ask_udp(address_of(plant), resolution("88.1/pump@seven"))).rc == 100
    answered = await plant.get("/api/handles/88.1/pump@seven")
    assert (answered.status, answered.rc) == (404, 100)


async def test_the_record_api_ends_what_it_cached_and_tells_no_secret(plant: RunningRegistry) -> None:
    for place in ("https://plant.example/pump", "https://plant.example/new"):
        await plant.put(BASE, record(place))
        for headers in ({}, {}, plant.authorization):
            answered = await plant.ask("GET", "/api/handles/88.1/pump@7", headers=headers)
            assert answered.json["values"][0]["data"]["value"] == f"{place}?serial=7"
            assert b"hidden" not in answered.body
    assert await hits(plant, "http") == 2


async def test_a_pattern_that_cannot_be_bounded_is_refused_with_its_reason(plant: RunningRegistry) -> None:
    steps = r'<if test="matches" expression="(a)\1"><value type="URL" data="x"/></if>'
    refused = await plant.put(BASE, [{"index": 10, "type": "HS_NAMESPACE", "data": template(steps)}])
    assert (refused.status, refused.rc) == (400, 202)
    assert r"the pattern '(a)\\1' is none for RE2" in refused.json["message"]
