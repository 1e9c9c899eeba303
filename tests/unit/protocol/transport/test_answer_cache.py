"""The answer cache: what is one question, what is patched, what never enters, what leaves."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.generations import Generations
from protocol.message import Envelope, Message, decode_message, matches_digest, split_digest
from protocol.transport.answer_cache import ENTRY_OCTETS_MAX, OCTETS_MAX
from protocol.transport.fast_path import FastPath
from tests.support.paths import path_of

WALL_S = 1_700_000_000.0


def request(body: bytes = b"question", *, request_id: int = 1, flags: int = DEFAULT_FLAGS) -> Message:
    return Message.request(OpCode.RESOLUTION, body, request_id=request_id, expiration=0, flags=flags)


def response(to: Message, body: bytes = b"answer", wall_s: float = WALL_S) -> bytes:
    received = decode_message(to.encode())
    return received.answer(
        ResponseCode.SUCCESS, body, authoritative=True, site_serial=3, wall_s=wall_s
    ).encode()


def test_an_equal_question_gets_what_a_fresh_answer_would_be(path: FastPath) -> None:
    cache = path.answer_table(octets_max=OCTETS_MAX)
    assert cache.put(request().encode(), response(request()), 60)
    again = dataclasses.replace(
        request(request_id=99),
        header=dataclasses.replace(request().header, site_serial=5, recursion_count=7, expiration=123),
    )
    assert cache.get(again.encode(), 59, WALL_S + 30) == response(again, wall_s=WALL_S + 30)


@pytest.mark.parametrize("version", [(2, 1), (2, 6), (2, 7), (2, 11)])
def test_a_request_digest_is_made_for_the_very_request(path: FastPath, version: tuple[int, int]) -> None:
    def asking(request_id: int, serial: int) -> Message:
        return Message.request(
            OpCode.RESOLUTION,
            b"question",
            request_id=request_id,
            expiration=0,
            flags=DEFAULT_FLAGS | OpFlag.RRDG,
            site_serial=serial,
            version=version,
        )

    def plain(message: Message) -> Message:
        return dataclasses.replace(message, envelope=dataclasses.replace(message.envelope, suggested=version))

    cache = path.answer_table(octets_max=OCTETS_MAX)
    first, second = plain(asking(1, 1)), plain(asking(2, 2))
    assert cache.put(first.encode(), response(first), 60)
    hit = cache.get(second.encode(), 0, WALL_S)
    assert hit == response(second)
    assert hit is not None
    digest, body = split_digest(decode_message(hit))
    assert digest is not None
    assert matches_digest(decode_message(second.encode()), digest)
    assert body == b"answer"


@pytest.mark.parametrize(
    "other",
    [
        request(b"another"),
        request(flags=DEFAULT_FLAGS | OpFlag.AUTH),
        Message.request(OpCode.GET_SITE_INFO, b"question", request_id=1, expiration=0),
        Message.request(OpCode.RESOLUTION, b"question", request_id=1, expiration=0, version=(2, 10)),
        Message.request(OpCode.RESOLUTION, b"question", request_id=1, expiration=0, session_id=4),
        dataclasses.replace(request(), credential=b"signed"),
        dataclasses.replace(request(), envelope=Envelope(request_id=1, truncated=True)),
    ],
)
def test_another_question_is_a_miss(path: FastPath, other: Message) -> None:
    cache = path.answer_table(octets_max=OCTETS_MAX)
    cache.put(request().encode(), response(request()), 60)
    assert cache.get(other.encode(), 0, WALL_S) is None


@pytest.mark.parametrize(
    "uncacheable",
    [
        request(flags=DEFAULT_FLAGS | OpFlag.CERT),
        request(flags=DEFAULT_FLAGS | OpFlag.ENCR),
        dataclasses.replace(request(), envelope=Envelope(request_id=1, session_id=9)),
        dataclasses.replace(request(), envelope=Envelope(request_id=1, truncated=True)),
        dataclasses.replace(request(), credential=b"signed"),
        dataclasses.replace(request(), surplus=b"x"),
    ],
)
def test_sessions_credentials_certified_answers_and_pieces_never_enter(
    path: FastPath, uncacheable: Message
) -> None:
    cache = path.answer_table(octets_max=OCTETS_MAX)
    assert not cache.put(uncacheable.encode(), response(request()), 60)
    assert len(cache) == 0


def test_octets_behind_a_message_or_missing_from_it_never_enter(path: FastPath) -> None:
    cache = path.answer_table(octets_max=OCTETS_MAX)
    whole = request().encode()
    for octets in (b"", whole[:30], whole[:-1], whole + b"x"):
        assert not cache.put(octets, response(request()), 60)
        assert cache.get(octets, 0, WALL_S) is None


def test_a_missing_credential_length_is_another_question_that_may_enter(path: FastPath) -> None:
    cache = path.answer_table(octets_max=OCTETS_MAX)
    bare = dataclasses.replace(request(), credential=None)
    assert cache.put(bare.encode(), response(bare), 60)
    assert cache.get(request().encode(), 0, WALL_S) is None
    assert cache.get(bare.encode(), 0, WALL_S) == response(bare)


def test_the_digest_of_version_2_0_never_enters(path: FastPath) -> None:
    cache = path.answer_table(octets_max=OCTETS_MAX)
    old = dataclasses.replace(
        request(flags=DEFAULT_FLAGS | OpFlag.RRDG),
        envelope=Envelope(version=(2, 0), suggested=(2, 0), request_id=1),
    )
    assert not cache.put(old.encode(), response(old), 60)


def test_an_entry_ends_at_its_time_or_when_what_it_was_made_from_changes(path: FastPath) -> None:
    generations = Generations()
    cache = path.answer_table(octets_max=OCTETS_MAX, generations=generations)
    octets = request().encode()
    cache.put(octets, response(request()), 60, generations.stamp(b"20.500.1/A", b"20.500.1"))
    assert cache.get(octets, 59.9, WALL_S) is not None
    assert cache.get(octets, 60, WALL_S) is None
    assert (len(cache), cache.octets) == (0, 0)
    cache.put(octets, response(request()), 60, generations.stamp(b"20.500.1/A", b"20.500.1"))
    generations.bump([b"20.500.1/A"])
    assert cache.get(octets, 0, WALL_S) is None


def test_a_pass_over_cold_names_does_not_evict_what_is_in_use(path: FastPath) -> None:
    cache = path.answer_table(octets_max=200_000)
    hot = [request(f"hot {number}".encode()) for number in range(50)]
    for message in hot:
        cache.put(message.encode(), response(message), 60)
        cache.get(message.encode(), 0, WALL_S)
    for number in range(5_000):
        cold = request(f"cold {number}".encode())
        cache.put(cold.encode(), response(cold), 60)
    assert all(cache.get(message.encode(), 0, WALL_S) for message in hot)
    assert cache.evicted > 3_000
    assert cache.octets <= 200_000


def test_an_answer_that_is_too_large_is_not_kept(path: FastPath) -> None:
    cache = path.answer_table(octets_max=OCTETS_MAX)
    assert not cache.put(request().encode(), response(request(), bytes(ENTRY_OCTETS_MAX)), 60)
    assert not path.answer_table(octets_max=100).put(request().encode(), response(request()), 60)


@pytest.mark.parametrize("name", ["pure", "compiled"])
@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 400), st.integers(1, 5)),
        max_size=60,
    )
)
def test_the_cache_agrees_with_a_model_and_keeps_its_bounds(
    name: str,
    steps: list[tuple[bool, int, int, int]],
) -> None:
    cache = path_of(name).answer_table(octets_max=4_000, entries_max=6)
    model: dict[int, tuple[bytes, int]] = {}
    for now_s, (is_put, number, size, life_s) in enumerate(steps):
        message = request(str(number).encode(), request_id=now_s)
        if is_put:
            cache.put(message.encode(), response(message, bytes(size)), now_s + life_s)
            model[number] = bytes(size), now_s + life_s
        else:
            hit = cache.get(message.encode(), now_s, WALL_S)
            body, expires_s = model.get(number, (b"", 0))
            assert hit is None or (expires_s > now_s and hit == response(message, body))
        assert len(cache) <= 6
        assert cache.octets <= 4_000
    cache.clear()
    assert (len(cache), cache.octets) == (0, 0)


@pytest.mark.parametrize("name", ["pure", "compiled"])
@given(question=st.binary(max_size=300), answer=st.binary(max_size=300))
def test_arbitrary_octets_never_raise(name: str, question: bytes, answer: bytes) -> None:
    cache = path_of(name).answer_table(octets_max=OCTETS_MAX)
    cache.put(question, answer, 60)
    cache.get(question, 0, WALL_S)
    whole = request().encode()
    cache.put(whole, answer, 60)
    cache.get(whole, 0, WALL_S)
