"""Which request heads the fast path understands."""

import pytest

from protocol.transport.http_head import (
    ALONE,
    BLOCK_OCTETS_MAX,
    BLOCKS_MAX,
    BODY,
    FIELDS_MAX,
    HEAD_OCTETS_MAX,
    HeaderBlocks,
    is_request_line,
    may_become_head,
)

HOST = b"\r\nHost: a"


def learn(block: bytes) -> bytes | None:
    return HeaderBlocks(lambda accept: "json" in accept).learn(block)


def test_what_clients_send_is_a_key_of_host_and_accept_class() -> None:
    browser = HOST + b"\r\nUser-Agent: x\r\nAccept: text/html,*/*;q=0.8\r\nConnection: keep-alive"
    program = HOST + b"\r\nAccept: application/json\r\nAccept-Encoding: gzip"

    assert learn(browser) == learn(HOST) == b"\na\n0"
    assert learn(program) == b"\na\n1"
    assert learn(b"\r\nhost:b") == b"\nb\n0"


@pytest.mark.parametrize(
    "field",
    [
        b"Authorization: x",
        b"Cookie: a=b",
        b"Range: bytes=0-1",
        b"If-Match: x",
        b"If-None-Match: x",
        b"If-Range: x",
        b"If-Modified-Since: x",
        b"If-Unmodified-Since: x",
        b"X-Request-Id: x",
        b"X-HTTP-Method-Override: x",
        b"Proxy-Authorization: x",
        b"Idempotency-Key: x",
        b"Connection: Close",
        b"X-Anything: x",
    ],
)
def test_what_the_cache_does_not_know_is_answered_alone(field: bytes) -> None:
    assert learn(HOST + b"\r\n" + field) == ALONE


def test_the_length_of_a_body_is_told() -> None:
    assert learn(HOST + b"\r\nContent-Length: 17\r\nCookie: a") == BODY + b"17"


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\r\nAccept: a",
        HOST + HOST,
        HOST + b"\r\nContent-Length: -1",
        HOST + b"\r\nContent-Length: 1, 1",
        HOST + b"\r\nContent-Length: 1\r\nContent-Length: 1",
        HOST + b"\r\nContent-Length: ",
        HOST + b"\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        HOST + b"\r\nTransfer-Encoding: chunked",
        HOST + b"\r\nExpect: 100-continue",
        HOST + b"\r\nUpgrade: h2c",
        HOST + b"\r\nConnection: upgrade",
        HOST + b"\r\nConnection: keep-alive, close",
        HOST + b"\r\nConnection: close\r\nConnection: x",
        HOST + b"\r\n folded",
        HOST + b"\r\nAccept : a",
        HOST + b"\r\nAccept: a\nCookie: b",
        HOST + b"\r\nAccept: a\rb",
        HOST + b"\r\nAccept: a\0",
        HOST + b"\r\nAccept: \xff",
        HOST + b"\r\n: x",
        HOST + b"\r\nx",
        HOST + b"\r\nVia: x" * FIELDS_MAX,
        HOST + b"\r\nVia: " + b"x" * HEAD_OCTETS_MAX,
    ],
)
def test_what_is_strange_is_left_to_the_framework(block: bytes) -> None:
    assert learn(block) is None


@pytest.mark.parametrize("line", [b"GET /a HTTP/1.1", b"HEAD /a?b HTTP/1.1", b"DELETE http://a/ HTTP/1.1"])
def test_a_request_line_is_understood(line: bytes) -> None:
    assert is_request_line(line)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a HTTP/1.0",
        b"GET  /a HTTP/1.1",
        b"GET /a  HTTP/1.1",
        b"GET /a HTTP/1.1 ",
        b"get /a HTTP/1.1",
        b"TRACE /a HTTP/1.1",
        b"CONNECT a HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
        b"\r\nGET /a HTTP/1.1",
        b"",
    ],
)
def test_another_request_line_is_not(line: bytes) -> None:
    assert not is_request_line(line)


@pytest.mark.parametrize(
    "octets", [b"G", b"HEA", b"GET /a", b"GET /a HTTP/1.1\r", b"GET /a HTTP/1.1\r\nHost: a\r\nX"]
)
def test_the_beginning_of_a_request_is_waited_for(octets: bytes) -> None:
    assert may_become_head(octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"TRACE",
        b"\x16\x03",
        b"GET x",
        b"GET /\n",
        b"GET /a HTTP/1.0\r\n",
        b"GET /a HTTP/1.1\r\nno colon\r\n",
        b"GET /a HTTP/1.1\r\nHost: \0",
        b"GET /" + b"a" * HEAD_OCTETS_MAX,
    ],
)
def test_what_cannot_become_one_is_not_waited_for(octets: bytes) -> None:
    assert not may_become_head(octets)


def test_the_memory_of_header_blocks_is_bounded() -> None:
    blocks = HeaderBlocks(None)
    for number in range(3 * BLOCKS_MAX):
        blocks.learn(HOST + b"\r\nUser-Agent: %d" % number)
        assert len(blocks.known) <= BLOCKS_MAX
    blocks.learn(HOST + b"\r\nReferer: " + b"x" * BLOCK_OCTETS_MAX)

    assert max(map(len, blocks.known)) <= BLOCK_OCTETS_MAX


def test_a_field_of_blanks_is_judged_without_trying_every_way_to_part_them() -> None:
    # Each takes microseconds; with every way tried it took a tenth of a second, so that these took minutes.
    blanks = HOST + b"\r\nA:" + b" " * 4_000 + b"\xe9"
    assert all(learn(blanks) is None for _ in range(1_000))
    assert not any(may_become_head(b"GET /x HTTP/1.1" + blanks + b"\r\n") for _ in range(1_000))


def test_a_head_of_more_fields_than_are_understood_is_not_waited_for() -> None:
    head = b"GET /x HTTP/1.1" + HOST
    assert may_become_head(head + b"\r\na:" * (FIELDS_MAX - 1))
    assert not may_become_head(head + b"\r\na:" * (FIELDS_MAX + 1))
