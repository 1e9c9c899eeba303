"""Both intakes on real sockets: owners and source checks that fail, sockets that are gone, tables that change."""

import gc
import socket
import weakref
from typing import Any

import pytest

from protocol.codes import DEFAULT_FLAGS, OpFlag
from protocol.generations import Generations
from protocol.message import Message
from protocol.transport.fast_path import FastPath
from protocol.transport.intake import Address
from protocol.transport.source import SourceCheck, Verdict
from tests.support.intakes import OCTETS_MAX, Bench, Owner, later
from tests.support.paths import path_of
from tests.support.transport import answer_to, resolution


def warm(bench: Bench, message: Message, data_octets: int = 20) -> bytes:
    """Puts the answer to a request into the cache, and gives the request."""
    octets = message.encode()
    assert bench.cache.put(octets, answer_to(octets, data_octets=data_octets), later())
    return octets


@pytest.mark.parametrize(
    "failing", ["hits", "limited", "is_sample_due", "sampled", "miss", "long_hit", "over_limit"]
)
def test_an_owner_that_fails_costs_no_other_datagram_its_answer_or_its_count(
    path: FastPath, failing: str
) -> None:
    owner = Owner(raises={failing}, sample_every=1)
    source = SourceCheck(deny=["127.0.0.3"], rate_per_s=0.001, burst=40)
    with Bench(path, source=source, owner=owner) as bench:
        hit, long_hit = warm(bench, resolution("1/a")), warm(bench, resolution("1/b"), 2_000)
        for _ in range(3):
            for octets in (hit, long_hit, b"miss", b""):
                bench.send(octets)
            bench.send(hit, "127.0.0.3")
        for _ in range(40):
            bench.send(b"too many")
        raised = bench.drain()

        assert raised
        assert {str(error) for error in raised} == {failing}
        assert owner.seen == bench.sent
        assert sum(owner.codes.values()) == len(bench.answers()) == 3
        assert (len(owner.long_hits), len(owner.told)) == (3, 3)
        assert owner.limits == {"source_refused": 3, "source_rate": 12}
        bench.cache.clear()
        assert warm(bench, resolution("1/c"))


def test_a_source_check_that_fails_costs_one_datagram_and_is_asked_again(path: FastPath) -> None:
    class Failing(SourceCheck):
        broken = True

        def check(self, host: str, now_s: float) -> Verdict:
            self.fail(host)
            return super().check(host, now_s)

        def place(self, host: str, now_s: float) -> tuple[bool, int, int]:
            self.fail(host)
            return super().place(host, now_s)

        def fail(self, host: str) -> None:
            if self.broken and host == "127.0.0.3":
                raise RuntimeError(host)

    source = Failing(deny=["127.0.0.3"])
    with Bench(path, source=source) as bench:
        hit = warm(bench, resolution("1/a"))
        for host in ("127.0.0.1", "127.0.0.3", "127.0.0.2"):
            bench.send(hit, host)
        assert [str(error) for error in bench.drain()] == ["127.0.0.3"]
        assert [len(bench.answers(host)) for host in ("127.0.0.1", "127.0.0.3", "127.0.0.2")] == [1, 0, 1]
        assert sum(bench.owner.codes.values()) == 2

        source.broken = False
        bench.send(hit, "127.0.0.3")
        assert not bench.drain()
        assert bench.answers("127.0.0.3") == []
        assert bench.owner.limits == {"source_refused": 1}


def test_a_long_answer_that_leaves_the_table_meanwhile_is_a_miss(path: FastPath) -> None:
    class Clearing(Owner):
        def miss(self, octets: bytes, address: Address, now_s: float, /) -> None:
            super().miss(octets, address, now_s)
            bench.cache.clear()

    with Bench(path, owner=Clearing()) as bench:
        long_hit = warm(bench, resolution("1/b"), 2_000)
        bench.send(b"miss")
        bench.send(long_hit)
        assert not bench.drain()
        assert [octets for octets, _ in bench.owner.misses] == [b"miss", long_hit]


def test_an_owner_may_drain_send_and_fill_the_table_while_it_is_told(path: FastPath) -> None:
    class Busy(Owner):
        def miss(self, octets: bytes, address: Address, now_s: float, /) -> None:
            super().miss(octets, address, now_s)
            if len(octets) < 44:
                return
            answer = answer_to(octets)
            bench.cache.put(octets, answer, later())
            bench.intake.send(answer, address)
            bench.intake.flush()
            bench.intake.drain()

    with Bench(path, owner=Busy()) as bench:
        names = [resolution(f"1/{number}", request_id=number) for number in range(60)]
        for name in names + names:
            bench.send(name.encode())
        assert not bench.drain()
        answers = bench.answers()
        assert len(answers) == 120
        ids = sorted(int.from_bytes(octets[8:12], "big") for octets in answers)
        assert ids == sorted([*range(60), *range(60)])
        for octets in answers:
            assert b"1/%d" % int.from_bytes(octets[8:12], "big") in octets


def test_nothing_is_sent_through_a_number_that_is_another_sockets_by_now(path: FastPath) -> None:
    class Keeping(Owner):
        def miss(self, octets: bytes, address: Address, now_s: float, /) -> None:
            bench.intake.send(b"late", address)

    with Bench(path, owner=Keeping()) as bench:
        bench.send(b"miss")
        bench.drain()
        number = bench.socket.fileno()
        bench.socket.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            assert other.fileno() == number
            other.bind(("127.0.0.1", bench.address[1]))  # so that the client would hear it
            bench.intake.flush()
            bench.intake.drain()
            assert bench.answers() == []


def test_every_kind_of_answer_is_counted_by_itself(path: FastPath) -> None:
    with Bench(path) as bench:
        for code in range(1, 31):
            octets = resolution(f"1/{code}").encode()
            answer = answer_to(octets)
            assert bench.cache.put(octets, answer[:24] + code.to_bytes(4, "big") + answer[28:], later())
            for _ in range(2):
                bench.send(octets)
        bench.drain()
        assert bench.owner.codes == {b"\0\0\0\1" + code.to_bytes(4, "big"): 2 for code in range(1, 31)}


def test_what_is_no_octets_is_refused_and_not_read() -> None:
    whole = resolution().encode()
    with Bench(path_of("compiled")) as bench:
        cache: Any = bench.cache
        intake: Any = bench.intake
        for nothing in (None, 7, bytearray(60)):
            calls: list[tuple[Any, tuple[object, ...]]] = [
                (cache.get, (nothing, 0.0, 0.0)),
                (cache.put, (nothing, whole, later())),
                (cache.put, (whole, nothing, later())),
                (intake.send, (nothing, ("127.0.0.1", 1, bytes(16)))),
                (intake.send, (whole, ("127.0.0.1", 1, nothing))),
            ]
            for call, arguments in calls:
                with pytest.raises(TypeError):
                    call(*arguments)


def test_a_source_check_that_drains_does_no_harm(path: FastPath) -> None:
    class Draining(SourceCheck):
        def check(self, host: str, now_s: float) -> Verdict:
            bench.intake.drain()
            return super().check(host, now_s)

        def place(self, host: str, now_s: float) -> tuple[bool, int, int]:
            bench.intake.drain()
            return super().place(host, now_s)

    with Bench(path, source=Draining()) as bench:
        for number in range(200):
            bench.send(b"miss", f"127.0.0.{number % 5 + 1}")
        assert not bench.drain()
        assert len(bench.owner.misses) == 200


def test_a_response_is_no_request_and_is_never_kept_as_one(path: FastPath) -> None:
    octets = resolution().encode()
    response = octets[:24] + b"\0\0\0\1" + octets[28:]
    with Bench(path) as bench:
        assert not bench.cache.put(response, answer_to(octets), later())


@pytest.mark.parametrize("flags", [DEFAULT_FLAGS, DEFAULT_FLAGS | OpFlag.RRDG])
def test_answers_are_whole_while_other_entries_of_the_batch_end(path: FastPath, flags: int) -> None:
    with Bench(path) as bench:
        for number in range(64):
            octets = resolution(f"1/{number}", request_id=number, flags=flags).encode()
            bench.cache.put(octets, answer_to(octets), later() if number % 2 else 0.0)
            bench.send(octets)
        bench.drain()
        assert len(bench.owner.misses) == 32
        answers = {int.from_bytes(octets[8:12], "big"): octets for octets in bench.answers()}
        for number in range(1, 64, 2):
            octets = resolution(f"1/{number}", request_id=number, flags=flags).encode()
            assert answers[number][44:] == answer_to(octets)[44:]
        assert len(bench.cache) == 32


def test_an_answer_whose_record_changes_before_it_is_sent_is_whole_and_the_next_one_is_asked_for(
    path: FastPath,
) -> None:
    class Writing(SourceCheck):
        """Another worker writes, between two datagrams of a batch."""

        def check(self, host: str, now_s: float) -> Verdict:
            self.write(host)
            return super().check(host, now_s)

        def place(self, host: str, now_s: float) -> tuple[bool, int, int]:
            self.write(host)
            return super().place(host, now_s)

        def write(self, host: str) -> None:
            if host == "127.0.0.2":
                generations.bump([b"1/A"])

    generations = Generations()
    cache = path.answer_table(octets_max=OCTETS_MAX, generations=generations)
    with Bench(path, source=Writing(), cache=cache) as bench:
        octets = resolution("1/a").encode()
        answer = answer_to(octets, data_octets=400)
        assert cache.put(octets, answer, later(), generations.stamp(b"1/A", b"1"))
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            bench.send(octets, host)
        assert not bench.drain()
        (given,) = bench.answers()
        assert given[44:] == answer[44:]
        assert [host for _, host in bench.owner.misses] == ["127.0.0.2", "127.0.0.3"]
        assert len(cache) == 0


def test_intake_table_and_owner_are_let_go_of(path: FastPath) -> None:
    class Circle(Owner):
        intake: object = None

    owner = Circle()
    with Bench(path, owner=owner) as bench:
        bench.send(warm(bench, resolution()))
        bench.drain()
        owner.intake = bench.intake
    gone = weakref.ref(owner)
    del bench, owner
    gc.collect()
    assert gone() is None
