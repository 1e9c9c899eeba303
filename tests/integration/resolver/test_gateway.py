"""The gateway, from a browser's request to an authority's record and back, with and without the HTTP cache."""

import asyncio
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from resolver import shared_locations
from resolver.aliases import MAX_ALIASES
from resolver.daemon import RecursiveNode
from tests.integration.resolver.loopback import BROWSER, HOST, PUMP, Browser, Hierarchy, running_node, value
from tests.support.raw_http import RawClient, get

RETIRED = "retired since 2026-11-20T23:22:47Z: replaced"
RDF = {"Accept": "application/rdf+xml"}


class Chance:
    """What choices are left to; a test sets it."""

    drawn = 0.0

    def __call__(self) -> float:
        return self.drawn


@pytest.fixture
def chance() -> Chance:
    return Chance()


@pytest.fixture(params=[0, 2**24], ids=["framework", "cache"])
async def node(
    request: pytest.FixtureRequest, hierarchy: Hierarchy, chance: Chance
) -> AsyncIterator[RecursiveNode]:
    settings = hierarchy.settings(http_cache_octets_max=request.param, country_header="X-Country")
    async with running_node(settings, chance) as node:
        yield node


@pytest.fixture
async def browser(node: RecursiveNode) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Browser(session, node.addresses.http[0][1])


def hold(hierarchy: Hierarchy, name: str, **data: str) -> None:
    """A record of values by their types; LOC stands for 10320/loc."""
    kinds = {"LOC": "10320/loc"}
    values = [value(index, kinds.get(kind, kind), text) for index, (kind, text) in enumerate(data.items(), 1)]
    hierarchy.enterprise.hold(f"88.100.1/{name}", *values)


def places(*attributes: str, choose_by: str = "") -> str:
    """A list of places at a.example, b.example, ... with these attributes."""
    each = [
        f'<location href="https://{name}.example/" {text}/>'
        for name, text in zip("abcd", attributes, strict=False)
    ]
    return f"<locations {choose_by}>{''.join(each)}</locations>"


async def location(browser: Browser, path: str, **headers: str) -> str:
    response = await browser.get(f"/88.100.1/{path}", **headers)
    assert response.status in range(301, 309), response.status
    return response.headers["Location"]


async def test_a_redirect_says_when_it_expires(browser: Browser) -> None:
    for _ in range(2):
        response = await browser.get(f"/{PUMP}")
        left = parsedate_to_datetime(response.headers["Expires"]) - parsedate_to_datetime(
            response.headers["Date"]
        )
        assert 86_390 <= left.total_seconds() <= 86_401


async def test_text_is_appended_where_the_record_is_open_to_it(
    hierarchy: Hierarchy, browser: Browser
) -> None:
    hold(hierarchy, "open", URL="https://plant.example/docs/")
    hold(hierarchy, "bare", URL="https://plant.example")

    assert await location(browser, "open?urlappend=pump%237") == "https://plant.example/docs/pump#7"
    assert await location(browser, "bare?urlappend=.evil.example") == "https://plant.example"
    assert await location(browser, "bare?urlappend=%40evil.example/") == "https://plant.example"
    assert await location(browser, "open?urlappend=../x") == "https://plant.example/docs/"
    forged = await browser.get("/88.100.1/open?urlappend=%0d%0aSet-Cookie:a=b")
    assert (forged.status, "Set-Cookie" in forged.headers) == (400, False)


async def test_an_alias_is_passed_on_to_the_address_of_its_handle_with_its_query(
    hierarchy: Hierarchy, browser: Browser
) -> None:
    hold(hierarchy, "old", HS_ALIAS="88.100.1/older", URL="https://never.example/")
    hold(hierarchy, "older", HS_ALIAS=PUMP)

    for _ in range(2):
        first = await browser.get("/88.100.1/old?urlappend=%3Fa&x=1")
        assert (first.status, first.headers["Location"]) == (301, f"/{PUMP}?urlappend=%3Fa&x=1")
        assert first.headers["Cache-Control"].startswith("public, max-age=")
    second = await browser.get(first.headers["Location"])
    assert (second.status, second.headers["Location"]) == (302, "https://plant.example/pump-7?a")
    assert PUMP in await (await browser.get("/88.100.1/old?noredirect")).text()
    assert await location(browser, "old?ignore_aliases") == "https://never.example/"


async def test_an_answer_about_an_alias_ends_with_the_first_record_of_its_chain(
    hierarchy: Hierarchy, browser: Browser
) -> None:
    hierarchy.enterprise.hold("88.100.1/old", value(1, "HS_ALIAS", "88.100.1/new"))
    hierarchy.enterprise.hold("88.100.1/new", value(1, "URL", "https://new.example/", ttl=60))

    response = await browser.get("/88.100.1/old")

    assert response.headers["Cache-Control"] in {"public, max-age=59", "public, max-age=60"}


async def test_a_chain_of_aliases_that_ends_nowhere_is_told(hierarchy: Hierarchy, browser: Browser) -> None:
    hold(hierarchy, "ring", HS_ALIAS="88.100.1/RING2")
    hold(hierarchy, "ring2", HS_ALIAS="88.100.1/ring")
    for number in range(MAX_ALIASES + 1):
        hold(hierarchy, f"a{number}", HS_ALIAS=f"88.100.1/a{number + 1}")
    hold(hierarchy, f"a{MAX_ALIASES + 1}", URL="https://far.example/")
    hold(hierarchy, "lost", HS_ALIAS="88.100.1/none")

    ring, long = await browser.get("/88.100.1/ring"), await browser.get("/88.100.1/a0")

    assert (ring.status, long.status) == (404, 404)
    assert "循环" in await ring.text()
    assert "too long" in await long.text()
    assert (await browser.get("/88.100.1/a1")).status == 301
    assert (await browser.get("/88.100.1/lost")).status == 404


async def test_a_retired_handle_is_gone_unless_its_owner_names_another(
    hierarchy: Hierarchy, browser: Browser
) -> None:
    hold(hierarchy, "gone", DESC=RETIRED)
    hold(hierarchy, "moved", DESC=RETIRED, HS_ALIAS=PUMP)

    assert (await browser.get("/88.100.1/gone")).status == 410
    assert (await browser.get("/88.100.1/moved")).status == 301


async def test_a_place_is_chosen_by_what_the_visitor_asks_for(hierarchy: Hierarchy, browser: Browser) -> None:
    hold(hierarchy, "p", LOC=places('id="1"', 'id="2" weight="0" http_sc="303"', 'country="GB" weight="0"'))

    chosen = await browser.get("/88.100.1/p?locatt=id:2")

    assert (chosen.status, chosen.headers["Location"]) == (303, "https://b.example/")
    assert await location(browser, "p?country=gb") == "https://c.example/"
    assert (await browser.get("/88.100.1/p?country=england")).status == 400
    assert "https://c.example/" in await (await browser.get("/88.100.1/p?action=showlocs")).text()


async def test_a_client_of_http_1_0_is_told_302(hierarchy: Hierarchy, node: RecursiveNode) -> None:
    hold(hierarchy, "p", LOC=places('http_sc="307"'))
    request = get("/88.100.1/p")

    async with RawClient(node.addresses.http[0]) as client:
        assert (await client.ask(request)).line.startswith(b"HTTP/1.1 307")
        assert b" 302 " in (await client.ask(request.replace(b"HTTP/1.1", b"HTTP/1.0"))).line


async def test_what_chance_decided_is_not_the_next_visitors(
    hierarchy: Hierarchy, browser: Browser, chance: Chance
) -> None:
    hold(hierarchy, "p", LOC=places("", ""))
    seen = []
    for chance.drawn in (0.0, 0.0, 0.9, 0.0):
        response = await browser.get("/88.100.1/p")
        seen.append(response.headers["Location"])
        assert response.headers["Cache-Control"] == "no-store"
        assert "Expires" not in response.headers

    assert seen == [f"https://{name}.example/" for name in "aaba"]


async def test_the_country_of_one_visitor_is_not_that_of_the_next(
    hierarchy: Hierarchy, browser: Browser
) -> None:
    hold(hierarchy, "p", LOC=places('country="gb"', 'country="cn"', ""))

    seen = [await location(browser, "p", **BROWSER)]
    seen += [
        await location(browser, "p", X_Country=country, **BROWSER)
        for country in ("GB", "CN", "GB", "not one")
    ]
    seen.append(await location(browser, "p", **BROWSER))

    assert seen == [f"https://{name}.example/" for name in "cabacc"]


async def test_the_address_of_one_visitor_is_not_that_of_the_next(
    hierarchy: Hierarchy, node: RecursiveNode
) -> None:
    hold(hierarchy, "p", LOC=places('addresses="127.0.0.2/32" weight="0"', ""))

    seen = []
    for local in (HOST, "127.0.0.2", HOST):
        async with RawClient(node.addresses.http[0], local=local) as client:
            seen += [(await client.ask(get("/88.100.1/p")))[b"Location"].decode() for _ in range(2)]

    assert seen == [f"https://{name}.example/" for name in "bbaabb"]


async def test_what_one_accept_header_got_is_not_what_the_next_one_gets(
    hierarchy: Hierarchy, browser: Browser
) -> None:
    hold(
        hierarchy, "p", LOC=places('http_role="conneg" ctype="application/rdf+xml"', 'http_role="no_conneg"')
    )

    seen = []
    for headers in (BROWSER, RDF, BROWSER, RDF):
        response = await browser.get("/88.100.1/p", **headers)
        seen.append(response.headers["Location"])
        assert response.headers["Vary"] == "Accept"

    assert seen == [f"https://{name}.example/" for name in "baba"]


async def test_a_choice_that_is_the_same_for_everybody_is_kept(
    hierarchy: Hierarchy, browser: Browser
) -> None:
    hold(hierarchy, "p", LOC=places('score="1"', 'score="2"'))

    for _ in range(3):
        response = await browser.get("/88.100.1/p")
        assert response.headers["Location"] == "https://b.example/"
        assert response.headers["Cache-Control"].startswith("public, max-age=")


@pytest.fixture
def sharing(hierarchy: Hierarchy) -> Hierarchy:
    """A hierarchy whose enterprise prefix shares a list of places."""
    held = list(hierarchy.second.records[b"0.NA/88.100.1"])
    namespace = "<namespace><locs>88.100.1/shared</locs></namespace>"
    hierarchy.second.hold("0.NA/88.100.1", *held, value(9, "HS_NAMESPACE", namespace))
    shared = '<locations><location href_template="https://s.example/{hdl}" id="s" weight="0"/></locations>'
    hold(hierarchy, "shared", LOC=shared)
    return hierarchy


async def test_the_places_of_a_prefix_are_places_of_its_handles(sharing: Hierarchy, browser: Browser) -> None:
    hold(sharing, "p", LOC=places(""))
    hold(sharing, "alone", LOC=places("", choose_by='no_nslocs="true"'))

    assert await location(browser, "pump-7?locatt=id:s") == "https://s.example/88.100.1%2Fpump-7"
    assert await location(browser, "pump-7") == "https://plant.example/pump-7"
    assert await location(browser, "p?locatt=id:s") == "https://s.example/88.100.1%2Fp"
    assert await location(browser, "p") == "https://a.example/"
    assert await location(browser, "alone?locatt=id:s") == "https://a.example/"


async def test_a_record_leads_somewhere_while_its_prefix_does_not_answer(
    sharing: Hierarchy, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_locations, "WAIT_S", 0.05)
    hold(sharing, "p", LOC=places(""))
    await browser.get(f"/{PUMP}")  # the way to the authority is known from here on
    await asyncio.gather(*(authority.stop() for authority in (sharing.root, sharing.top, sharing.second)))

    response = await browser.get("/88.100.1/p")

    assert response.headers["Location"] == "https://a.example/"
    assert response.headers["Cache-Control"] == "no-store"


async def test_only_schemes_that_the_operator_named_are_followed(hierarchy: Hierarchy) -> None:
    hold(hierarchy, "f", URL="ftp://files.example/a")
    settings = hierarchy.settings(redirect_schemes=("https", "ftp"))
    async with running_node(settings) as node, RawClient(node.addresses.http[0]) as client:
        assert (await client.ask(get("/88.100.1/f")))[b"Location"] == b"ftp://files.example/a"
