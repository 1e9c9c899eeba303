"""The HTTP interface of a recursive node, judged by a browser's and a program's requests."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from protocol.bodies import ResolutionRequest, ResolutionResponse
from protocol.codes import OpCode
from protocol.handle import Handle
from protocol.message import Message
from protocol.site import InterfaceProtocol
from protocol.transport.exchanger import Exchanger, new_request_id
from resolver.daemon import RecursiveNode
from tests.integration.resolver.loopback import (
    HOST,
    PROGRAM,
    PUMP,
    Browser,
    Hierarchy,
    running_node,
    value,
)


@pytest.fixture(params=[0, 2**24], ids=["framework", "cache"])
async def node(request: pytest.FixtureRequest, hierarchy: Hierarchy) -> AsyncIterator[RecursiveNode]:
    async with running_node(hierarchy.settings(http_cache_octets_max=request.param)) as node:
        yield node


@pytest.fixture
async def browser(node: RecursiveNode) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Browser(session, node.addresses.http[0][1])


async def test_a_record_is_json_with_its_values_sorted(hierarchy: Hierarchy, browser: Browser) -> None:
    hierarchy.enterprise.hold("88.100.1/a", value(9, "DESC", "last"), value(2, "URL", "https://x.example/"))

    record = await browser.record("/api/handles/88.100.1/a")

    assert record["responseCode"] == 1
    assert record["handle"] == "88.100.1/a"
    assert [entry["index"] for entry in record["values"]] == [2, 9]
    assert record["values"][0]["data"] == {"format": "string", "value": "https://x.example/"}


async def test_values_are_chosen_by_type_and_index(browser: Browser) -> None:
    both = await browser.record(f"/api/handles/{PUMP}?type=url&index=2")
    none = await browser.record(f"/api/handles/{PUMP}?type=EMAIL")

    assert [entry["index"] for entry in both["values"]] == [1, 2]
    assert (none["responseCode"], none["values"]) == (200, [])


async def test_an_unknown_handle_is_404_with_the_code_of_its_authority(browser: Browser) -> None:
    response = await browser.get("/api/handles/88.100.1/none")

    assert response.status == 404
    assert (await response.json())["responseCode"] == 100


async def test_a_browser_is_sent_to_the_url(browser: Browser) -> None:
    response = await browser.get(f"/{PUMP}")

    assert response.status == 302
    assert response.headers["Location"] == "https://plant.example/pump-7"


@pytest.mark.parametrize("scheme", ["doi:", "hdl:", "HDL:", "info:hdl/", "urn:doi:"])
async def test_the_scheme_in_front_of_a_handle_is_dropped(browser: Browser, scheme: str) -> None:
    assert (await browser.get(f"/{scheme}{PUMP}")).status == 302


async def test_a_program_gets_the_record_from_the_same_address(browser: Browser) -> None:
    response = await browser.get(f"/{PUMP}", **PROGRAM)

    assert response.status == 200
    assert (await response.json())["handle"] == PUMP


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example/",
        "https://x.example/\r\nSet-Cookie: a=b",
        "ftp://x.example/",
        "https:///nohost",
        b"https://x.example/\xff",
    ],
)
async def test_anything_but_http_is_shown_and_never_redirected_to(
    hierarchy: Hierarchy, browser: Browser, target: str | bytes
) -> None:
    hierarchy.enterprise.hold("88.100.1/odd", value(1, "URL", target))

    response = await browser.get("/88.100.1/odd")

    assert response.status == 200
    assert "Location" not in response.headers
    assert "Set-Cookie" not in response.headers
    assert 'href="javascript' not in await response.text()


async def test_a_location_is_ascii(hierarchy: Hierarchy, browser: Browser) -> None:
    hierarchy.enterprise.hold("88.100.1/泵", value(1, "URL", "https://x.example/泵?a=b c"[:-2]))

    response = await browser.get("/88.100.1/%E6%B3%B5")

    assert response.headers["Location"] == "https://x.example/%E6%B3%B5?a=b"


async def test_noredirect_shows_a_page_that_may_run_nothing(hierarchy: Hierarchy, browser: Browser) -> None:
    hierarchy.enterprise.hold("88.100.1/x", value(1, "DESC", "<script>alert(1)</script>"))

    response = await browser.get("/88.100.1/x?noredirect")
    page = await response.text()

    assert response.status == 200
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_cached_answer_tells_its_age_and_how_long_it_may_be_kept(browser: Browser) -> None:
    fresh = await browser.get(f"/api/handles/{PUMP}")
    await asyncio.sleep(1.1)
    cached = await browser.get(f"/api/handles/{PUMP}")

    assert fresh.headers["Cache-Control"] == cached.headers["Cache-Control"] == "public, max-age=86399"
    assert fresh.headers["Cache-Status"].startswith('"test"; fwd=uri-miss; stored; ttl=')
    assert cached.headers["Cache-Status"].startswith('"test"; hit; ttl=')
    assert cached.headers["Age"] == "1"
    assert cached.headers["Vary"] == "Accept"
    assert cached.headers["ETag"] == fresh.headers["ETag"]


async def test_a_client_that_holds_the_answer_gets_no_body(browser: Browser) -> None:
    first = await browser.get(f"/api/handles/{PUMP}")

    again = await browser.get(f"/api/handles/{PUMP}", If_None_Match=f'"other", W/{first.headers["ETag"]}')

    assert again.status == 304
    assert await again.read() == b""
    assert again.headers["Cache-Control"] == first.headers["Cache-Control"]


async def test_an_authoritative_question_is_fetched_and_not_kept(
    hierarchy: Hierarchy, browser: Browser
) -> None:
    await browser.get(f"/api/handles/{PUMP}")
    hierarchy.forget()

    response = await browser.get(f"/api/handles/{PUMP}?auth")

    assert hierarchy.asked == [PUMP]
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Cache-Status"] == '"test"; fwd=request'


async def test_head_has_the_headers_of_get(browser: Browser) -> None:
    get, head = await browser.get(f"/{PUMP}"), await browser.get(f"/{PUMP}", method="HEAD")

    assert (head.status, head.headers["Location"]) == (302, get.headers["Location"])
    assert await head.read() == b""


async def test_a_dead_authority_is_explained_to_programs_and_people(
    hierarchy: Hierarchy, browser: Browser
) -> None:
    await hierarchy.enterprise.stop()

    told = await browser.get(f"/api/handles/{PUMP}")
    page = await browser.get(f"/{PUMP}")

    assert told.status == page.status == 504
    body = await told.json()
    assert body["responseCode"] == 2
    assert str(hierarchy.enterprise.port) in body["message"]
    assert str(hierarchy.enterprise.port) in await page.text()
    assert "没有应答" in await page.text()
    assert told.headers["Cache-Control"] == "no-store"


async def test_an_unknown_handle_has_a_page_in_both_languages(browser: Browser) -> None:
    response = await browser.get("/88.100.1/none")

    assert response.status == 404
    assert "not registered" in await response.text()
    assert "未注册" in await response.text()
    assert response.headers["Cache-Control"] == "public, max-age=29"


async def test_the_start_page_has_one_field_and_leads_to_the_record(browser: Browser) -> None:
    start = await browser.get("/")
    sent = await browser.get(f"/?handle=+hdl:{PUMP}+")

    assert (await start.text()).count("<input") == 1
    assert "<script" not in await start.text()
    assert (sent.status, sent.headers["Location"]) == (303, f"/{PUMP}?noredirect")


async def test_a_name_cannot_forge_a_header_or_leave_the_site(browser: Browser) -> None:
    forged = await browser.get("/?handle=x/%0d%0aSet-Cookie:%20a=b")
    left = await browser.get("/?handle=/evil.example")

    assert "Set-Cookie" not in forged.headers
    assert not left.headers["Location"].startswith("//")


@pytest.mark.parametrize(
    "path", ["/api/handles/88.1/%zz", "/api/handles/88.1/x?index=0", "/api/handles/88.1/x?index=a"]
)
async def test_what_cannot_be_read_is_400_with_a_json_body(browser: Browser, path: str) -> None:
    response = await browser.get(f"/api/handles/{path}")

    assert response.status == 400
    assert (await response.json())["responseCode"] == 4


@pytest.mark.parametrize("path", ["/api/handles/88.100.1/two%0Alines", "/88.100.1/two%0Alines"])
async def test_a_name_with_a_line_end_is_a_name(hierarchy: Hierarchy, browser: Browser, path: str) -> None:
    hierarchy.enterprise.hold("88.100.1/two\nlines", value(1, "DESC", "both"))

    form = await browser.record(path)

    assert (form["responseCode"], form["handle"]) == (1, "88.100.1/two\nlines")


async def test_an_empty_handle_is_invalid(browser: Browser) -> None:
    assert (await (await browser.get("/api/handles/")).json())["responseCode"] == 102


async def test_writing_is_not_allowed_here(browser: Browser) -> None:
    response = await browser.get(f"/api/handles/{PUMP}", method="PUT")

    assert response.status == 405
    assert "GET" in response.headers["Allow"]


async def test_an_unknown_path_of_the_api_is_json(browser: Browser) -> None:
    response = await browser.get("/api/nothing")

    assert (response.status, (await response.json())["responseCode"]) == (404, 4)


async def test_the_site_record_is_json(browser: Browser) -> None:
    site = (await browser.record("/api/site"))["site"]

    assert site["primarySite"] is False


async def test_a_handle_message_in_a_tunnel_is_answered_like_any_other(node: RecursiveNode) -> None:
    request = Message.request(
        OpCode.RESOLUTION,
        ResolutionRequest(handle=Handle.parse(PUMP)).encode(),
        request_id=new_request_id(),
        expiration=0,
    )
    exchanger = Exchanger()
    try:
        response = await exchanger.exchange(
            InterfaceProtocol.HTTP,
            HOST,
            node.addresses.http[0][1],
            request,
            deadline_s=time.monotonic() + 5,
        )
    finally:
        await exchanger.close()

    assert len(ResolutionResponse.decode(response.body).values) == 2


async def test_a_page_keeps_its_tag_while_its_record_lives(browser: Browser) -> None:
    first = await browser.get(f"/{PUMP}?noredirect")
    await asyncio.sleep(1.1)

    again = await browser.get(f"/{PUMP}?noredirect", If_None_Match=first.headers["ETag"])

    assert again.status == 304
