"""Token buckets in a block of memory that several look at: who stands where, who gives way, what is shared."""

import mmap
from contextlib import closing

import pytest

from protocol.transport.buckets import FULL, OVER, PACKETS, SETS, WAYS, Buckets, octets_of
from protocol.transport.source import SourceCheck, Verdict

NOW_S = 1_000.0


def test_a_network_keeps_its_place_and_a_new_one_is_full() -> None:
    buckets = Buckets()
    way, tag = buckets.find("10.0.0.0/24", NOW_S)
    assert buckets.words[way] == tag != 0
    assert (buckets.times[way + FULL], buckets.times[way + PACKETS], buckets.words[way + OVER]) == (
        NOW_S,
        NOW_S,
        0,
    )
    buckets.times[way + FULL] = NOW_S + 5
    assert buckets.find("10.0.0.0/24", NOW_S + 1) == (way, tag)
    assert buckets.times[way + FULL] == NOW_S + 5
    assert buckets.find("10.0.1.0/24", NOW_S)[1] != tag


@pytest.mark.parametrize("word", [FULL, PACKETS])
def test_a_flood_of_strangers_does_not_reset_a_busy_bucket(word: int) -> None:
    buckets = Buckets(sets=2)
    way, tag = buckets.find("10.0.0.0/24", NOW_S)
    buckets.times[way + word] = NOW_S + 100
    for number in range(1_000):
        buckets.find(f"10.1.{number}.0/24", NOW_S + number / 100)
    assert buckets.find("10.0.0.0/24", NOW_S + 10) == (way, tag)
    assert buckets.times[way + word] == NOW_S + 100


def test_who_gives_way_is_told_by_the_tag_that_changes() -> None:
    buckets = Buckets(sets=1)
    placed = [buckets.find(f"10.0.{number}.0/24", NOW_S + number) for number in range(WAYS)]
    assert len({way for way, _ in placed}) == WAYS
    way, tag = buckets.find("10.0.9.0/24", NOW_S + 9)
    assert way == placed[0][0]
    assert buckets.words[way] == tag != placed[0][1]


def test_two_processes_that_map_one_block_share_every_bucket() -> None:
    with closing(mmap.mmap(-1, octets_of())) as memory:
        one, other = Buckets(memory), Buckets(memory)
        first = SourceCheck(rate_per_s=1, burst=3, buckets=one)
        second = SourceCheck(rate_per_s=1, burst=3, buckets=other)
        verdicts = [check.check("10.0.0.1", NOW_S) for check in (first, second, first, second, first)]
        assert verdicts == [Verdict.ADMIT] * 3 + [Verdict.LIMITED_SILENT] * 2
        assert one.find("10.0.0.0/24", NOW_S) == other.find("10.0.0.0/24", NOW_S)
        for buckets in (one, other):
            buckets.words.release()
            buckets.times.release()


def test_places_cannot_be_foretold_from_outside() -> None:
    ways = {Buckets().find("10.0.0.0/24", NOW_S)[0] for _ in range(20)}
    assert len(ways) > 1


def test_a_place_stays_within_the_block() -> None:
    for sets in (1, 3, SETS):
        buckets = Buckets(sets=sets)
        assert len(buckets.words) * 8 == octets_of(sets)
        ways = [buckets.find(f"10.{number}.0.0/24", NOW_S)[0] for number in range(200)]
        assert min(ways) >= WAYS * 4
        assert max(ways) + OVER < len(buckets.words)
