"""Challenges: used once, for a minute, and never more of them than may be kept."""

import pytest

from protocol.challenge import Challenge
from protocol.codes import OpCode
from protocol.message import Message
from registry.wire.challenges import (
    CHALLENGES,
    CHALLENGES_PER_SOURCE,
    LIFE_S,
    ChallengeGone,
    ChallengeStore,
)
from registry.wire.session_ids import SessionIds

HOST, OTHER = "192.0.2.1", "198.51.100.1"


class Bench:
    """A store with a clock that tests turn."""

    def __init__(self, **limits: int) -> None:
        self.now_s = 100.0
        self.limits: list[str] = []
        self.ids = SessionIds()
        self.store = ChallengeStore(self.ids, clock=lambda: self.now_s, on_limit=self.limits.append, **limits)


def request(number: int = 1, *, session_id: int = 0, octets: int = 0) -> Message:
    return Message.request(
        OpCode.DELETE_HANDLE,
        number.to_bytes(4, "big") + bytes(octets),
        request_id=number,
        expiration=0,
        session_id=session_id,
    )


def test_a_challenge_is_about_its_request_and_has_an_id_and_a_nonce_of_its_own() -> None:
    store = Bench().store
    first, second = store.issue(request(1), HOST), store.issue(request(2), HOST)

    assert first.challenge == Challenge.to(request(1), first.challenge.nonce)
    assert len(first.challenge.nonce) == 16
    assert first.challenge.nonce != second.challenge.nonce
    assert first.session_id != second.session_id


def test_a_challenge_is_taken_once() -> None:
    store = Bench().store
    issued = store.issue(request(), HOST)

    assert store.take(issued.session_id) is issued
    with pytest.raises(ChallengeGone):
        store.take(issued.session_id)


def test_a_challenge_that_waited_too_long_is_gone_and_its_id_forgotten_after_a_while() -> None:
    bench = Bench()
    issued = bench.store.issue(request(), HOST)

    bench.now_s += LIFE_S
    with pytest.raises(ChallengeGone):
        bench.store.take(issued.session_id)
    assert len(bench.store) == 0
    bench.now_s += LIFE_S
    assert bench.store.take(issued.session_id) is None
    assert len(bench.ids) == 0


def test_an_id_of_no_challenge_names_none() -> None:
    assert Bench().store.take(4711) is None


def test_a_retransmitted_request_waits_for_the_answer_to_its_first_challenge() -> None:
    store = Bench().store
    issued = store.issue(request(), HOST)

    assert store.issue(request(), HOST) is issued
    assert store.issue(request(), OTHER) is not issued
    assert store.issue(request(2), HOST) is not issued
    store.take(issued.session_id)
    assert store.issue(request(), HOST) is not issued


def test_within_a_session_a_new_challenge_takes_the_place_of_the_old_one() -> None:
    bench = Bench()
    session_id = bench.ids.allocate()
    old = bench.store.issue(request(1, session_id=session_id), HOST, session_id)
    new = bench.store.issue(request(2, session_id=session_id), HOST, session_id)

    assert old.session_id == new.session_id == session_id
    assert bench.store.take(session_id) is new
    assert bench.store.take(session_id) is None  # the session itself goes on
    assert len(bench.ids) == 1


def test_what_was_taken_can_be_put_back_until_its_time_is_over() -> None:
    bench = Bench()
    issued = bench.store.issue(request(), HOST)
    later = bench.store.issue(request(2), HOST)
    for _ in range(2):
        assert bench.store.take(issued.session_id) is issued
        bench.store.restore(issued)
    bench.now_s += LIFE_S
    with pytest.raises(ChallengeGone):
        bench.store.take(issued.session_id)
    bench.store.restore(issued)
    assert len(bench.store) == 0
    assert later.until_s <= bench.now_s


def test_what_is_put_back_beside_a_newer_challenge_for_the_same_request_goes_like_any_other() -> None:
    bench = Bench(per_source_max=2)
    first = bench.store.issue(request(), HOST)
    bench.store.take(first.session_id)
    second = bench.store.issue(request(), HOST)  # sent again while the first answer is checked
    bench.store.restore(first)
    flood = [bench.store.issue(request(number), HOST) for number in range(2, 6)]

    assert len(bench.store) == 2
    for pending in (first, second):
        with pytest.raises(ChallengeGone):
            bench.store.take(pending.session_id)
    assert bench.store.take(flood[3].session_id) is flood[3]


def test_an_id_that_was_given_back_meanwhile_is_not_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.wire.challenges.GONE_MAX", 1)
    bench = Bench()
    taken = bench.store.issue(request(), HOST)
    bench.store.take(taken.session_id)
    for number in range(2, 5):
        bench.store.take(bench.store.issue(request(number), HOST).session_id)
    bench.store.restore(taken)

    assert bench.store.take(taken.session_id) is None
    bench.now_s += 2 * LIFE_S
    bench.store.issue(request(9), HOST)
    assert len(bench.ids) == 1


def test_a_source_displaces_its_own_challenges_alone() -> None:
    bench = Bench(per_source_max=2)
    kept = bench.store.issue(request(), OTHER)
    flood = [bench.store.issue(request(number), HOST) for number in range(4)]

    assert bench.limits == [CHALLENGES_PER_SOURCE] * 2
    assert bench.store.take(kept.session_id) is kept
    assert bench.store.take(flood[3].session_id) is flood[3]
    with pytest.raises(ChallengeGone):
        bench.store.take(flood[0].session_id)


def test_in_all_the_oldest_goes_first() -> None:
    bench = Bench(waiting_max=2)
    issued = [bench.store.issue(request(), f"192.0.{number}.1") for number in range(3)]

    assert bench.limits == [CHALLENGES]
    assert len(bench.store) == 2
    assert bench.store.take(issued[2].session_id) is issued[2]


@pytest.mark.parametrize(
    ("limit", "name"), [("octets_max", CHALLENGES), ("octets_per_source_max", CHALLENGES_PER_SOURCE)]
)
def test_large_requests_are_bounded_by_their_octets(limit: str, name: str) -> None:
    bench = Bench(**{limit: 5_000})
    for number in range(4):
        bench.store.issue(request(number, octets=1_000), HOST)

    assert len(bench.store) == 2
    assert bench.limits == [name] * 2
