"""When a request is sent again."""

import pytest

from registry.client.errors import retry_after_s
from registry.client.retrying import NO_RETRIES, Retries


def test_pauses_double_up_to_a_bound_and_end() -> None:
    retries = Retries(repeats_max=5, pause_s=1.0, pause_max_s=4.0)
    pauses = [retries.pause_before(repeat, asked_s=None, chance=1.0) for repeat in range(1, 7)]
    assert pauses == [1.0, 2.0, 4.0, 4.0, 4.0, None]


def test_chance_spreads_a_pause_over_its_upper_half() -> None:
    retries = Retries(pause_s=1.0)
    assert retries.pause_before(1, asked_s=None, chance=0.0) == 0.5
    assert retries.pause_before(1, asked_s=None, chance=0.5) == 0.75


def test_what_the_answer_asks_for_is_never_cut_short() -> None:
    retries = Retries(pause_s=1.0, pause_max_s=2.0)
    assert retries.pause_before(1, asked_s=30.0, chance=0.0) == 30.5


def test_a_wait_that_is_too_long_for_who_asks_is_not_begun() -> None:
    retries = Retries(pause_s=1.0, asked_max_s=2.0)
    assert retries.pause_before(1, asked_s=2.0, chance=0.0) == 2.5
    assert retries.pause_before(1, asked_s=5.0, chance=0.0) is None


def test_none_are_none() -> None:
    assert NO_RETRIES.pause_before(1, asked_s=None, chance=0.0) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5.0), (" 0 ", 0.0), ("", None), ("-1", None), ("1e9", None), ("²", None), ("99999999", None)],
)
def test_retry_after_is_read_as_seconds(value: str, seconds: float | None) -> None:
    assert retry_after_s({"Retry-After": value}) == seconds
    assert retry_after_s({}) is None
