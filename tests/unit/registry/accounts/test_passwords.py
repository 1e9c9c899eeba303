"""Passwords: which are accepted, how they are hashed, how long a login is locked."""

import asyncio
from contextlib import ExitStack

import pytest

from registry.accounts.passwords import (
    HASHES_AT_ONCE,
    HASHES_WAITING_MAX,
    HASHES_WAITING_PER_SOURCE_MAX,
    LOCK_MAX_S,
    Passwords,
    lock_s,
    password_fault,
)
from registry.problem_types import ApiProblem


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(time_cost=1, memory_kib=64)


@pytest.mark.parametrize(
    ("password", "accepted"),
    [
        ("水泵 阀门 电机 轴承 齿轮", True),
        ("correct horse battery", True),
        ("short", False),
        ("x" * 129, False),
        ("aaaaaaaaaaaabbbb", False),
        ("Password123456", False),
        ("li.lei and more of it", False),
    ],
)
def test_length_counts_and_what_everybody_guesses_does_not(password: str, accepted: bool) -> None:
    assert (password_fault(password, "Li.Lei") is None) == accepted


@pytest.mark.parametrize(
    ("failures", "expected_s"),
    [(0, 0), (4, 0), (5, 60), (6, 120), (10, 1_920), (11, LOCK_MAX_S), (10_000, LOCK_MAX_S)],
)
def test_the_lock_doubles_up_to_an_hour(failures: int, expected_s: float) -> None:
    assert lock_s(failures) == expected_s


async def test_a_hash_is_argon2id_and_verifies_its_password_only(passwords: Passwords) -> None:
    kept = await passwords.hash("correct horse battery")
    assert kept.startswith("$argon2id$")
    assert await passwords.verify(kept, "correct horse battery")
    assert not await passwords.verify(kept, "correct horse batterz")
    assert not await passwords.verify("", "correct horse battery")
    assert not await passwords.verify("nonsense", "correct horse battery")


async def test_a_hash_of_another_cost_is_outdated(passwords: Passwords) -> None:
    kept = await passwords.hash("correct horse battery")
    assert not passwords.is_outdated(kept)
    assert Passwords(time_cost=2, memory_kib=64).is_outdated(kept)


def test_the_defaults_are_those_of_rfc_9106() -> None:
    assert Passwords().is_outdated("$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA")


async def test_only_so_many_wait_for_a_hash(passwords: Passwords) -> None:
    turns = [passwords.turn() for _ in range(HASHES_WAITING_MAX)]
    for turn in turns:
        turn.__enter__()
    with pytest.raises(ApiProblem) as refused, passwords.turn():
        pass
    assert refused.value.headers["Retry-After"]
    turns[0].__exit__(None, None, None)
    with passwords.turn():
        pass


async def test_only_so_many_hash_at_once(monkeypatch: pytest.MonkeyPatch, passwords: Passwords) -> None:
    running = peak = 0

    async def count(work: object) -> str:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return ""

    monkeypatch.setattr(asyncio, "to_thread", count)
    await asyncio.gather(*(passwords.hash("x") for _ in range(10)))
    assert peak == HASHES_AT_ONCE


async def test_one_network_does_not_take_every_place(passwords: Passwords) -> None:
    with ExitStack() as places:
        for _ in range(HASHES_WAITING_PER_SOURCE_MAX):
            places.enter_context(passwords.turn("192.0.2.0/24"))
        with pytest.raises(ApiProblem), passwords.turn("192.0.2.0/24"):
            pass
        with passwords.turn("198.51.100.0/24"), passwords.turn():
            pass
    with passwords.turn("192.0.2.0/24"):
        pass
