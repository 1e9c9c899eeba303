"""Query samples: every n-th, bounded per second and in length, a network and never a host."""

import pytest
from structlog.testing import capture_logs

from protocol.runtime.sampling import NAME_OCTETS_MAX, SAMPLES_PER_S_MAX, QuerySampler
from tests.support.transport import answer_to, resolution


def sampled(
    sampler: QuerySampler, name: str | bytes = "1/a", host: str = "192.0.2.77"
) -> list[dict[str, object]]:
    request = resolution(name).encode()
    with capture_logs() as logs:
        sampler.sample("udp", request, answer_to(request), "hit", host)
    return [dict(entry) for entry in logs]


@pytest.mark.parametrize(("every", "due"), [(1, [True] * 6), (3, [False, False, True] * 2), (7, [False] * 6)])
def test_every_nth_resolution_is_due(every: int, due: list[bool]) -> None:
    sampler = QuerySampler(every)
    told = []
    for _ in due:
        told.append(sampler.is_due(1))
        if told[-1]:
            sampled(sampler)
    assert told == due


def test_a_sample_stays_due_until_it_is_taken_and_batches_count_in_full() -> None:
    sampler = QuerySampler(100)
    assert not sampler.is_due(64)
    assert sampler.is_due(64)
    assert sampler.is_due(1)
    sampled(sampler)
    assert not sampler.is_due(64)


def test_a_sample_names_the_network_and_never_the_host() -> None:
    (entry,) = sampled(QuerySampler(5), host="192.0.2.77")
    assert (entry["event"], entry["source"], entry["every"]) == ("query_sampled", "192.0.2.0/24", 5)
    assert (entry["handle"], entry["rc"], entry["transport"], entry["outcome"]) == (
        "1/a",
        "success",
        "udp",
        "hit",
    )
    assert "192.0.2.77" not in str(entry)


def test_long_names_are_cut_and_names_that_are_no_text_are_told_as_text() -> None:
    (entry,) = sampled(QuerySampler(1), "1/" + "x" * 1_000)
    assert len(str(entry["handle"])) == NAME_OCTETS_MAX
    (entry,) = sampled(QuerySampler(1), b"1/\xff\n")
    assert str(entry["handle"]).encode("utf-8").startswith(b"1/")


def test_so_many_lines_a_second_are_logged_and_no_more() -> None:
    now_s = 10.0
    sampler = QuerySampler(1, clock=lambda: now_s)
    assert sum(len(sampled(sampler)) for _ in range(SAMPLES_PER_S_MAX + 50)) == SAMPLES_PER_S_MAX
    now_s = 11.0
    assert len(sampled(sampler)) == 1


@pytest.mark.parametrize("octets", [b"", b"x", resolution().encode()[:50], bytes(44)])
def test_what_is_no_resolution_is_not_logged(octets: bytes) -> None:
    with capture_logs() as logs:
        QuerySampler(1).sample("udp", octets, octets, "hit", "192.0.2.77")
    assert logs == []


def test_a_sample_over_http_tells_the_path_and_nothing_that_follows_it() -> None:
    with capture_logs() as logs:
        QuerySampler(1).sample_http("/api/handles/88.1/a?secret=x", 1, "hit", "192.0.2.77")
    (entry,) = logs
    assert (entry["path"], entry["transport"], entry["source"]) == (
        "/api/handles/88.1/a",
        "http",
        "192.0.2.0/24",
    )
    assert "secret" not in str(entry)
