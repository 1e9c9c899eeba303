"""Logs: one JSON object per line, without secrets, whatever the fields hold."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from protocol.runtime.logs import TEXT_MAX, request_scope, set_up_logs


@pytest.fixture(autouse=True)
def _restore_logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_says_when_who_what_and_for_which_request(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", node="plant", role="resolver")
    log = structlog.get_logger()
    with request_scope("ab12"):
        log.warning("referral_refused", handle="20.500.1/x")
    log.info("listening", node="another")
    log.debug("unseen")
    refused, listening = lines(capsys)
    assert refused["event"] == "referral_refused"
    assert refused["level"] == "warning"
    assert (refused["node"], refused["role"], refused["request_id"]) == ("plant", "resolver", "ab12")
    assert refused["timestamp"].endswith("Z")
    assert "request_id" not in listening
    assert listening["node"] == "another"


def test_request_ids_are_made_when_none_is_given() -> None:
    with request_scope() as first, request_scope() as second:
        assert first != second


def test_secrets_are_hidden_and_floods_cut(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info")
    structlog.get_logger().error("failed", password="hunter2", authorization="Basic x", text="x" * 10_000)
    (line,) = lines(capsys)
    assert (line["password"], line["authorization"]) == ("***", "***")
    assert len(line["text"]) == TEXT_MAX + 1


def test_no_name_from_outside_can_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info")
    structlog.get_logger().warning("odd", handle='a"}\n{"event":"forged"}\x1b[2J\udcff\u2028', peer=object())
    (line,) = lines(capsys)
    assert line["event"] == "odd"
    assert line["handle"].endswith("\udcff\u2028")


def test_libraries_and_tracebacks_go_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info")
    logging.getLogger("library").info("chatter")
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("library").exception("it %s", "broke")
        structlog.get_logger().exception("responder_failed")
    library, ours = lines(capsys)
    assert (library["event"], library["logger"], library["text"]) == ("library", "library", "it broke")
    assert "ValueError: boom" in library["exception"]
    assert "ValueError: boom" in ours["exception"]
