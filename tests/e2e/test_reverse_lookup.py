"""Reverse look-up over HTTP: pyhandle's search against a running node, and whatever else asks."""

import asyncio
import json
import unittest
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pyhandle.util
import pytest
from pyhandle.client.resthandleclient import RESTHandleClient
from pyhandle.handleexceptions import ReverseLookupException
from pyhandle.searcher import Searcher

from registry.outcomes import OPERATOR
from registry.rest import reverse
from tests.integration.registry.bench import creation, secret, url
from tests.support.registries import HttpAnswer, RunningRegistry, basic, running_registry

PATH = "/hrls/handles"


@pytest.fixture
async def plant(database: str, scratch: Path) -> AsyncIterator[RunningRegistry]:
    """Give a node that lets administrators search."""
    async with running_registry(
        database, scratch, homes=["88.1", "88.2"], reverse_lookup="authenticated"
    ) as node:
        await fill(node)
        yield node


async def fill(node: RunningRegistry) -> None:
    """Three pumps at two plants, and a key."""
    items = [
        creation("88.1/pump-1", url("https://plant.example/1?a=b"), secret("hush")),
        creation("88.1/pump-2", url("https://plant.example/2"), url("https://mirror.example/2", 2)),
        creation("88.2/pump-3", url("https://plant.example/2")),
    ]
    await node.node.operations.create(items, by=OPERATOR)


def searcher(node: RunningRegistry, **changes: Any) -> Searcher:
    """pyhandle's own client of the look-up."""
    given = {
        "reverselookup_baseuri": node.base,
        "reverselookup_username": node.user,
        "reverselookup_password": node.secret,
        "HTTPS_verify": True,
        **changes,
    }
    return Searcher(**given)


async def search(client: Any, **keys: str) -> list[str]:
    found: list[str] = await asyncio.to_thread(client.search_handle, **keys)
    return sorted(found)


async def test_pyhandle_finds_handles_by_values_and_patterns(plant: RunningRegistry) -> None:
    client = searcher(plant)

    assert await search(client, URL="https://plant.example/2") == ["88.1/pump-2", "88.2/pump-3"]
    assert await search(client, URL="https://plant.example/*") == [
        "88.1/pump-1",
        "88.1/pump-2",
        "88.2/pump-3",
    ]
    assert await search(client, URL="*mirror*") == ["88.1/pump-2"]
    assert await search(client, URL="*") == ["88.1/pump-1", "88.1/pump-2", "88.2/pump-3"]
    assert await search(client, URL="*plant*", prefix="88.2") == ["88.2/pump-3"]
    assert await search(client, URL="noturldoesnotexist") == []
    assert await search(client, URL="*", CHECKSUM="*") == []


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # its files
async def test_pyhandles_own_tests_of_its_search_pass(
    plant: RunningRegistry, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in its wheel, which take a file of values that says where the server is."""
    await plant.node.operations.create([creation("88.1/D", url("http://www.dkrz.example"))], by=OPERATOR)
    given = {
        "reverselookup_username": plant.user,
        "reverselookup_password": plant.secret,
        "reverselookup_baseuri": plant.base,
        "reverselookup_baseuri_wrong": plant.base + "/wrong",
        "handle_for_read_tests": "88.1/pump-1",
        "handle_server_url_read": plant.base,
        "url_extension_REST_API": "/api/handles/",
    }
    (scratch / "testvalues_for_integration_tests_IGNORE.json").write_text(json.dumps(given))
    monkeypatch.setattr(pyhandle.util, "get_neighbour_directory", lambda *_: str(scratch))

    def work() -> unittest.TestResult:
        name = "pyhandle.tests.testcases.handleclient_search_integration_test"
        suite = unittest.defaultTestLoader.loadTestsFromModule(import_module(name))
        return suite.run(unittest.TestResult())

    result = await asyncio.to_thread(work)
    assert (result.testsRun, result.failures, result.errors) == (7, [], [])


async def test_the_whole_client_searches_for_what_it_has_registered(plant: RunningRegistry) -> None:
    def work() -> list[list[str]]:
        client = RESTHandleClient.instantiate_with_username_and_password(
            plant.base, plant.user, plant.secret, handleowner=plant.user, reverselookup_baseuri=plant.base
        )
        client.register_handle("88.1/pump-9", "https://plant.example/9", checksum="c0ffee")
        registered = client.search_handle(URL="*example/9", CHECKSUM="c0ffee")
        client.modify_handle_value("88.1/pump-9", URL="https://plant.example/nine")
        modified = [client.search_handle(URL=url) for url in ("*example/9", "https://plant.example/nine")]
        client.delete_handle("88.1/pump-9")
        return [registered, *modified, client.search_handle(CHECKSUM="c0ffee")]

    assert await asyncio.to_thread(work) == [["88.1/pump-9"], [], ["88.1/pump-9"], []]


async def test_pyhandle_is_told_what_is_wrong_in_its_own_way(plant: RunningRegistry) -> None:
    wrong = searcher(plant, reverselookup_password="some_random_password")
    with pytest.raises(ReverseLookupException, match="Authentication failed"):
        await search(wrong, URL="*")
    elsewhere = searcher(plant, reverselookup_url_extension="/wrong/")
    with pytest.raises(ReverseLookupException, match="Wrong search servlet URL"):
        await search(elsewhere, URL="*")
    every_key = searcher(plant, allowed_search_keys=[])
    for keys in ({"EMAIL": "*"}, {"HS_SECKEY": "*"}, {"URL": "*", "HS_SECKEY": "hush"}):
        with pytest.raises(ReverseLookupException):
            await search(every_key, **keys)


async def ask(node: RunningRegistry, query: str, path: str = PATH) -> HttpAnswer:
    return await node.ask("GET", f"{path}?{query}", headers=node.authorization)


async def test_an_answer_says_whether_it_is_complete_and_where_it_goes_on(plant: RunningRegistry) -> None:
    first = await ask(plant, "url=https://plant*&limit=2")
    assert (first.status, first.json) == (200, ["88.1/pump-1", "88.1/pump-2"])
    assert first.headers["Search-Complete"] == "true"
    assert first.headers["Link"] == f'<{PATH}?limit=2&page=1&url=https%3A%2F%2Fplant*>; rel="next"'
    target = first.headers["Link"].partition("<")[2].partition(">")[0]
    second = await plant.ask("GET", target, headers=plant.authorization)
    assert (second.json, "Link" in second.headers) == (["88.2/pump-3"], False)
    assert (await ask(plant, "URL=*", f"{PATH}/88.2")).json == ["88.2/pump-3"]
    assert (await ask(plant, "URL=*", f"{PATH}/88.3/")).json == []


async def test_records_are_told_without_what_the_public_may_not_read(plant: RunningRegistry) -> None:
    answer = await ask(plant, "URL=https://plant.example/1*&retrieverecords=true")

    (value,) = answer.json["88.1/pump-1"]
    assert (value["index"], value["type"], value["value"]) == (1, "URL", "https://plant.example/1?a=b")
    assert b"HS_SECKEY" not in answer.body


async def test_only_who_proves_an_identity_may_search(plant: RunningRegistry) -> None:
    stranger = basic("300%3A88.1%2Fpump-1", "wrong")
    for headers, rc in (({}, 402), (stranger, 403), ({"Authorization": "Bearer x"}, 402)):
        answer = await plant.ask("GET", f"{PATH}/?URL=*", headers=headers)
        assert (answer.status, answer.rc) == (401, rc)
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    own = basic("300%3A88.1%2Fpump-1", "hush")
    assert (await plant.ask("GET", f"{PATH}/?URL=*", headers=own)).status == 200


HOSTILE = [
    "",
    "limit=5",
    "URL",
    "URL=*&limit=0",
    "URL=*&limit=-1",
    "URL=*&limit=1e9",
    "URL=*&limit=9999999999",
    "URL=*&page=%D9%A1",
    "URL=*&page=101&limit=1000",
    "&".join(["URL=*"] * 9),
    "URL=" + "x" * 1_025,
    "URL=%FF",
    "URL=%",
    "EMAIL=*",
    "URL%00=*",
    "HS_SECKEY=hush",
]
ODD = [
    "URL=%00",
    "URL=%25%27%22%3B--",
    "URL=" + "*a" * 400,
    "URL=" + "*" * 1_000,
    "URL=%5C*",
    "URL=_&URL=%25",
]


async def test_what_cannot_be_searched_for_is_said_in_json(plant: RunningRegistry) -> None:
    for query in HOSTILE:
        answer = await ask(plant, query)
        if query == "URL":  # the empty value, which no record has
            assert answer.json == []
        else:
            assert (answer.status, answer.rc) == (400, 4), query
            assert answer.json["message"]
    for path in (f"{PATH}/88.1 x", f"{PATH}/%2F", f"{PATH}/88..1"):
        answer = await ask(plant, "URL=*", path.replace(" ", "%20"))
        assert answer.status in {200, 400}, path
    for method in ("POST", "PUT", "DELETE"):
        answer = await plant.ask(method, f"{PATH}?URL=*", headers=plant.authorization)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert (await ask(plant, "URL=*", "/hrls/other")).status == 404


async def test_patterns_that_mean_something_elsewhere_mean_nothing_here(plant: RunningRegistry) -> None:
    for query in ODD:
        answer = await ask(plant, query)
        expected = 3 if set(query[4:]) == {"*"} else 0
        assert (answer.status, len(answer.json)) == (200, expected), query


async def test_a_search_too_many_is_refused_at_once(plant: RunningRegistry) -> None:
    async with plant.node.operations.context.store.writing() as writing:
        await writing.connection.execute("LOCK TABLE handle_lookups")
        asked = {asyncio.create_task(ask(plant, "URL=*")) for _ in range(reverse.SEARCHES_MAX + 1)}
        (first,), running = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        busy = first.result()
    assert (busy.status, busy.rc, busy.headers["Retry-After"]) == (503, 3, "1")
    assert {(await task).status for task in running} == {200}
    assert 'limit="reverse_searches"} 1.0' in (await metrics(plant))


async def metrics(node: RunningRegistry) -> str:
    async with node.session.get(node.admin_base + "/metrics") as response:
        return await response.text()


async def test_it_is_off_unless_it_is_switched_on_and_then_tells_what_it_lacks(
    database: str, scratch: Path
) -> None:
    async with running_registry(database, scratch, homes=["88.1", "88.2"]) as node:
        await fill(node)
        answer = await node.get(f"{PATH}/?URL=*")
        assert (answer.status, answer.rc) == (404, 5)
    async with running_registry(database, scratch, homes=["88.1", "88.2"], reverse_lookup="open") as node:
        answer = await node.get(f"{PATH}/?URL=https*")
        assert (answer.status, answer.json) == (200, [])
        assert answer.headers["Search-Complete"] == "false"
        assert answer.headers["Search-Note"] == "records from before URL was searched for are not all found"
        looked = await node.get(f"{PATH}/?URL=*mirror*")
        assert json.loads(looked.body) == ["88.1/pump-2"], "the records themselves are looked at"
        assert (await node.ask("GET", f"{PATH}/?URL=*", headers=basic("x", "y"))).status == 401
