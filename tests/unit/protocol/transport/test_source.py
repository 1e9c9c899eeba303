"""The source check: access lists and token buckets, without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.transport.buckets import Buckets, octets_of
from protocol.transport.source import ANSWER_EVERY, SourceCheck, Verdict, source_network


def test_without_settings_everybody_is_admitted() -> None:
    check = SourceCheck()
    assert {check.check("192.0.2.1", 0) for _ in range(10_000)} == {Verdict.ADMIT}


def test_a_network_spends_its_burst_and_then_its_rate() -> None:
    check = SourceCheck(rate_per_s=10, burst=5)
    assert [check.check("192.0.2.1", 0) for _ in range(6)].count(Verdict.ADMIT) == 5
    assert check.check("192.0.2.1", 0.05) is not Verdict.ADMIT
    assert check.check("192.0.2.1", 0.11) is Verdict.ADMIT
    assert [check.check("192.0.2.1", 1_000) for _ in range(6)].count(Verdict.ADMIT) == 5


@given(st.lists(st.floats(min_value=0, max_value=0.2), min_size=1, max_size=300))
def test_no_sequence_of_requests_gets_more_than_burst_and_rate_allow(waits_s: list[float]) -> None:
    check = SourceCheck(rate_per_s=20, burst=7)
    now_s, admitted = 100.0, 0
    for wait_s in waits_s:
        now_s += wait_s
        admitted += check.check("192.0.2.1", now_s) is Verdict.ADMIT
    assert admitted <= 7 + 20 * (now_s - 100) + 0.01


def test_neighbours_share_a_bucket_and_strangers_do_not() -> None:
    check = SourceCheck(rate_per_s=1, burst=1)
    assert check.check("192.0.2.1", 0) is Verdict.ADMIT
    assert check.check("192.0.2.200", 0) is not Verdict.ADMIT
    assert check.check("::ffff:192.0.2.7", 0) is not Verdict.ADMIT
    assert check.check("192.0.3.1", 0) is Verdict.ADMIT
    assert check.check("2001:db8::1", 0) is Verdict.ADMIT
    assert check.check("2001:db8:0:ff::1", 0) is not Verdict.ADMIT
    assert check.check("2001:db8:0:100::1", 0) is Verdict.ADMIT


def test_over_the_limit_one_of_a_few_is_told() -> None:
    check = SourceCheck(rate_per_s=1, burst=1)
    check.check("192.0.2.1", 0)
    verdicts = [check.check("192.0.2.1", 0) for _ in range(10 * ANSWER_EVERY)]
    assert verdicts.count(Verdict.LIMITED) == 10
    assert verdicts.count(Verdict.LIMITED_SILENT) == 10 * (ANSWER_EVERY - 1)


def test_long_answers_draw_from_a_bucket_of_their_own() -> None:
    check = SourceCheck(rate_per_s=10, burst=5, unlimited=["10.0.0.0/8"])
    assert check.may_send("192.0.2.1", 100, 0)
    assert not check.may_send("192.0.2.200", 1, 9.5)
    assert check.may_send("192.0.2.200", 1, 10)
    assert check.check("192.0.2.1", 0) is Verdict.ADMIT
    assert all(check.may_send("10.0.0.1", 1_000, 0) for _ in range(10))
    assert all(SourceCheck().may_send("192.0.2.1", 1_000, 0) for _ in range(10))


def test_deny_wins_over_allow_and_unlimited_networks_have_no_bucket() -> None:
    check = SourceCheck(
        allow=["10.0.0.0/8", "2001:db8::/32"], deny=["10.6.0.0/16"], unlimited=["10.1.0.0/16"], rate_per_s=1
    )
    assert check.check("192.0.2.1", 0) is Verdict.REFUSED
    assert check.check("10.6.0.1", 0) is Verdict.REFUSED
    assert check.check("::ffff:10.6.0.1", 0) is Verdict.REFUSED
    assert check.is_refused("10.6.0.1", 0)
    assert {check.check("10.1.0.1", 0) for _ in range(100)} == {Verdict.ADMIT}
    assert check.check("2001:db8::1", 0) is Verdict.ADMIT


def test_what_is_no_address_is_refused() -> None:
    assert SourceCheck().check("", 0) is Verdict.REFUSED


def test_retry_after_is_when_the_next_token_comes() -> None:
    check = SourceCheck(rate_per_s=0.5, burst=1)
    assert check.retry_after_s("192.0.2.1", 0) == 0
    check.check("192.0.2.1", 0)
    assert check.retry_after_s("192.0.2.1", 0) == pytest.approx(2, abs=0.01)


def test_forged_sources_neither_fill_memory_nor_reset_a_busy_bucket() -> None:
    check = SourceCheck(rate_per_s=1, burst=1_000, entries_max=4, buckets=Buckets(sets=1))
    for _ in range(1_000):
        check.check("192.0.2.1", 0)
    for number in range(20):
        check.check(f"10.0.{number}.1", number)
    assert [check.check("192.0.2.1", 20) for _ in range(100)].count(Verdict.ADMIT) == 20
    assert len(check._sources) <= 4


def test_processes_draw_from_the_same_buckets() -> None:
    memory = bytearray(octets_of(8))
    one, other = (SourceCheck(rate_per_s=1, burst=2, buckets=Buckets(memory, sets=8)) for _ in range(2))
    assert one.check("192.0.2.1", 0) is Verdict.ADMIT
    assert other.check("192.0.2.2", 0) is Verdict.ADMIT
    assert one.check("192.0.2.1", 0) is not Verdict.ADMIT
    assert other.check("192.0.2.1", 0) is not Verdict.ADMIT


@given(st.lists(st.integers(min_value=0, max_value=9), max_size=200))
def test_a_bucket_that_lost_its_place_is_found_again_and_no_other_is_drawn_from(hosts: list[int]) -> None:
    check = SourceCheck(rate_per_s=1, burst=2, buckets=Buckets(sets=1))
    admitted = [0] * 10
    for host in hosts:
        admitted[host] += check.check(f"10.0.{host}.1", 0) is Verdict.ADMIT
    assert all(admitted[host] >= min(1, hosts.count(host)) for host in range(10))


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2ff::1", "2001:db8:1:200::/56"),
        ("fe80::1%eth0", "fe80::/56"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_source_network_is_a_24_or_a_56(host: str, network: str) -> None:
    assert source_network(host) == network


def test_a_setting_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        SourceCheck(allow=["10.0.0.1/8"])
