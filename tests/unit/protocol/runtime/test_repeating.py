"""What is done again and again: an outage and a fault of one round are told, and are not the end."""

import asyncio

import pytest
from structlog.testing import capture_logs

from protocol.errors import StoreUnavailable
from protocol.runtime.lifecycle import repeat


@pytest.mark.parametrize(
    ("fault", "event", "has_traceback"),
    [
        (StoreUnavailable("the database does not answer"), "periodic_action_waits", False),
        (KeyError("x"), "periodic_action_failed", True),
    ],
)
async def test_a_round_that_fails_is_told_and_an_outage_without_a_traceback(
    fault: Exception, event: str, has_traceback: bool
) -> None:
    stopping, rounds = asyncio.Event(), 0

    async def act() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            stopping.set()
        raise fault

    with capture_logs() as logs:
        await repeat(act, 0.001, stopping)

    assert rounds >= 2
    assert {log["event"] for log in logs} == {event}
    assert all(("exc_info" in log) is has_traceback for log in logs)
