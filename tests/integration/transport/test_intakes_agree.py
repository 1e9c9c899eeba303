"""Two intakes, pure and compiled, are fed the same datagrams over real sockets: all that they do is the same."""

from collections import Counter

import pytest

from protocol.transport.answer_cache import is_cacheable_request
from protocol.transport.base import looks_like_request
from protocol.transport.intake import Address
from protocol.transport.source import SourceCheck
from tests.support.datagrams import answer_for, traffic
from tests.support.intakes import Bench, Owner, fed, fill, later
from tests.support.paths import PURE, path_of

HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.1.1", "127.0.2.1", "127.0.2.9"]
AT_ONCE = 40  # datagrams that fit the smallest buffer of a socket


def checks() -> SourceCheck:
    """127.0.0/24 is limited, 127.0.1/24 is not, of 127.0.2/24 one host is refused; no token comes while we look."""
    return SourceCheck(deny=["127.0.2.9"], unlimited=["127.0.1.0/24"], rate_per_s=1e-6, burst=600)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_answer_limit_count_and_hand_over_the_same(seed: int) -> None:
    datagrams = traffic(seed, 3_000)
    seen = []
    for path in (PURE, path_of("compiled")):
        with Bench(path, source=checks()) as bench:
            fill(bench)
            received = fed(bench, datagrams, HOSTS, AT_ONCE)
            owner = bench.owner
            assert owner.seen == len(datagrams)
            seen.append(
                (
                    received,
                    owner.misses,
                    [(request, host) for request, _, host in owner.long_hits],
                    owner.told,
                    owner.limits,
                    owner.codes,
                    bench.intake.take_sources(),
                    bench.intake.take_sources(),
                )
            )
    for pure, compiled in zip(*seen, strict=True):
        assert pure == compiled
    received, misses, long_hits, told, limits, codes, sources, nothing = seen[0]
    assert received["127.0.2.9"] == []
    assert min(len(received["127.0.1.1"]), len(misses), len(long_hits), len(told), len(sources)) > 3
    assert limits["source_refused"] == len(range(5, len(datagrams), len(HOSTS)))
    assert sum(codes.values()) == sum(map(len, received.values()))
    assert nothing == {}


class Answering(Owner):
    """An owner that answers and remembers, as the front end does."""

    bench: Bench

    def miss(self, octets: bytes, address: Address, now_s: float, /) -> None:
        super().miss(octets, address, now_s)
        if looks_like_request(octets):
            answer = answer_for(octets)
            self.bench.cache.put(octets, answer, later())
            self.bench.intake.send(answer[:65_507], address)
            assert self.bench.intake.flush() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_caches_that_fill_meanwhile_stay_the_same(host: str) -> None:
    datagrams = traffic(7, 2_000)
    seen = []
    for path in (PURE, path_of("compiled")):
        owner = Answering()
        with Bench(path, host=host, owner=owner) as bench:
            owner.bench = bench
            received = fed(bench, datagrams, [host], 1)
            seen.append((received, owner.misses, owner.codes, len(bench.cache), bench.intake.take_sources()))
    for pure, compiled in zip(*seen, strict=True):
        assert pure == compiled
    assert sum(seen[0][2].values()) > 300
    assert seen[0][3] > 50


def test_no_datagram_that_is_no_request_is_answered_out_of_the_table() -> None:
    for path in (PURE, path_of("compiled")):
        with Bench(path) as bench:
            fill(bench)
            datagrams = traffic(9, 2_000)
            asked = Counter(octets[8:12] for octets in datagrams if is_cacheable_request(octets))
            for answer in fed(bench, datagrams, ["127.0.0.1"], AT_ONCE)["127.0.0.1"]:
                assert answer[24:28] != bytes(4)
                asked[answer[8:12]] -= 1
            assert min(asked.values()) >= 0
