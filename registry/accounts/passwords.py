"""Passwords: which are accepted, argon2id in threads, and how long a login is locked after wrong ones."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from registry.problem_types import ApiProblem
from registry.problem_types.accounts import SIGN_IN_BUSY

PASSWORD_MIN: Final = 12
"""Characters; length is what counts against guessing (NIST SP 800-63B), so nothing else is demanded."""
PASSWORD_MAX: Final = 128
"""Characters; room for any sentence, and little work to hash."""
HASHES_AT_ONCE: Final = 2
"""Threads that hash: each needs 64 MiB and a core for a tenth of a second."""
HASHES_WAITING_MAX: Final = 32
"""Sign-ins that may wait for a thread, about two seconds' worth; more are turned away."""
HASHES_WAITING_PER_SOURCE_MAX: Final = 4
"""Of these, from one source network: nobody keeps the others out by guessing without end."""
BUSY_RETRY_S: Final = 2
FAILURES_FREE: Final = 5
"""Wrong passwords in a row before the login is locked."""
LOCK_S: Final = 60.0
"""The first lock; each further wrong password doubles it."""
LOCK_MAX_S: Final = 3_600.0

_COMMON: Final = ("password", "qwerty", "123456", "abc123", "letmein", "iloveyou", "admin", "welcome")
"""What the most guessed passwords are made of: one such word must not be most of a password."""
_COMMON_REST_MIN: Final = 6

T = TypeVar("T")


def password_fault(password: str, login: str) -> str | None:
    """Why a password is refused; None when it is accepted."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        return f"must have {PASSWORD_MIN} to {PASSWORD_MAX} characters"
    folded = password.casefold()
    if login and login.casefold() in folded:
        return "must not contain the login"
    if len(set(folded)) < 5:
        return "must hold at least five different characters"
    for word in _COMMON:
        folded = folded.replace(word, "")
    if len(folded) < _COMMON_REST_MIN:
        return "is made of words that everybody guesses first"
    return None


def lock_s(failures: int) -> float:
    """How long a login is locked after so many wrong passwords in a row; 0.0 while some are still free."""
    if failures < FAILURES_FREE:
        return 0.0
    return min(LOCK_S * 2.0 ** min(failures - FAILURES_FREE, 16), LOCK_MAX_S)


class Passwords:
    """Hashing that leaves the event loop alone and takes a bounded share of the machine."""

    def __init__(self, *, time_cost: int = 3, memory_kib: int = 65_536) -> None:
        """The defaults are RFC 9106's second choice, with one lane; tests take less."""
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._threads = asyncio.Semaphore(HASHES_AT_ONCE)
        self._turns: Counter[str] = Counter()

    @contextmanager
    def turn(self, source: str = "") -> Iterator[None]:
        """A place among those who wait for a hash; around everything that is for nothing without one.

        source: the network that a sign-in comes from; empty for somebody who is signed in already.
        Raises ApiProblem (429) when too many wait, in all or from there.
        """
        crowded = bool(source) and self._turns[source] >= HASHES_WAITING_PER_SOURCE_MAX
        if crowded or self._turns.total() >= HASHES_WAITING_MAX:
            headers = {"Retry-After": str(BUSY_RETRY_S)}
            raise ApiProblem(SIGN_IN_BUSY, "Too many passwords are being checked.", headers=headers)
        self._turns[source] += 1
        try:
            yield
        finally:
            self._turns[source] -= 1
            if not self._turns[source]:
                del self._turns[source]

    async def hash(self, password: str) -> str:
        """The argon2id hash to keep, in its own text form. Takes as long as verify."""
        return await self._in_thread(lambda: self._hasher.hash(password))

    async def verify(self, kept: str, password: str) -> bool:
        """Whether the password is the one that gave this hash."""

        def check() -> bool:
            try:
                return self._hasher.verify(kept, password)
            except (VerificationError, InvalidHashError):
                return False

        return await self._in_thread(check)

    def is_outdated(self, kept: str) -> bool:
        """Whether the hash was made at another cost than today's and should be made again."""
        return self._hasher.check_needs_rehash(kept)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        async with self._threads:
            return await asyncio.to_thread(work)
