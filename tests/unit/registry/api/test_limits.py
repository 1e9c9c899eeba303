"""A bucket of requests for each organisation."""

from protocol.transport.buckets import Buckets, octets_of
from registry.api.limits import RateLimits


def test_a_whole_minutes_quota_may_come_at_once_and_no_more() -> None:
    buckets = RateLimits()

    allowances = [buckets.take("org", 5, 100.0) for _ in range(6)]

    assert [allowance.allowed for allowance in allowances] == [True] * 5 + [False]
    assert [allowance.remaining for allowance in allowances] == [4, 3, 2, 1, 0, 0]
    assert allowances[-1].retry_after_s == 12


def test_the_bucket_refills_evenly() -> None:
    buckets = RateLimits()
    for _ in range(5):
        buckets.take("org", 5, 100.0)

    assert not buckets.take("org", 5, 111.9).allowed
    assert buckets.take("org", 5, 112.0).allowed
    assert not buckets.take("org", 5, 112.0).allowed
    assert buckets.take("org", 5, 1_000.0).remaining == 4


def test_a_quota_of_nothing_allows_nothing() -> None:
    allowance = RateLimits().take("org", 0, 0.0)

    assert (allowance.allowed, allowance.retry_after_s) == (False, 60)


def test_organisations_do_not_share_a_bucket() -> None:
    buckets = RateLimits()
    assert buckets.take("one", 1, 0.0).allowed
    assert not buckets.take("one", 1, 0.0).allowed
    assert buckets.take("two", 1, 0.0).allowed


def test_the_headers_tell_quota_and_rest() -> None:
    allowance = RateLimits().take("org", 60, 0.0)

    assert allowance.headers() == {
        "RateLimit-Policy": '"requests";q=60;w=60',
        "RateLimit": '"requests";r=59;t=1',
    }


def test_workers_that_share_the_buckets_share_the_quota() -> None:
    memory = bytearray(octets_of())
    workers = [RateLimits(Buckets(memory)) for _ in range(2)]

    allowed = [workers[number % 2].take("org", 5, 100.0).allowed for number in range(6)]

    assert allowed == [True] * 5 + [False]
