"""Diffie-Hellman as sessions use it: groups that are safe to compute in, and one side's half of an exchange.

The client chooses the group. Deployed clients use the second Oakley group; others are taken when their prime is one,
within bounds, since the server computes in whatever it accepts. Source: PROTOCOL.md §4.13; RFC 2409, 3526, 7919.
"""

import hashlib
import math
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Final

from protocol.errors import SessionFailed, WireError
from protocol.valuetypes.hs_pubkey import DH, PublicKey

MIN_PRIME_BITS: Final = 1_024  # what deployed clients use, and the least that is worth anything
MAX_PRIME_BITS: Final = 4_096  # an exchange costs up to 30 ms of a processor
MAX_CHECKED_BITS: Final = (
    2_048  # one round of the check takes as long as several exchanges, and grows with the cube
)
CHECK_ROUNDS: Final = 4  # a client that gets a composite past them harms itself alone
CHECKED_PRIMES_MAX: Final = 256  # results that are kept; a client has one group, and asks again and again
ENTROPY_OCTETS: Final = 64

_SHORT_EXPONENT_BITS: Final = 320  # twice the security of 2048 bits, and more
_LONG_EXPONENT_BITS: Final = 512  # of 4096 bits
_SMALL_PRIMES: Final = math.prod(
    n for n in range(3, 2_000, 2) if all(n % d for d in range(3, 45, 2) if d < n)
)

_MODP: Final = {1_024: 129_093, 1_536: 741_804, 2_048: 124_476, 3_072: 1_690_314, 4_096: 240_904}
"""RFC 2409 §6.2 and RFC 3526: bits, and what is added to the digits of pi."""
_FFDHE: Final = {2_048: 560_316, 3_072: 2_625_351, 4_096: 5_736_041}
"""RFC 7919: bits, and what is added to the digits of e."""


def _arctangent(inverse: int, bits: int) -> int:
    """arctan(1/inverse), shifted by so many bits."""
    term = total = (1 << bits) // inverse
    for n in range(3, bits, 2):
        term //= -inverse * inverse
        total += term // n
    return total


def _pi(bits: int) -> int:
    return (16 * _arctangent(5, bits + 64) - 4 * _arctangent(239, bits + 64)) >> 64


def _e(bits: int) -> int:
    term = total = 1 << (bits + 64)
    for n in range(1, bits):
        term //= n
        total += term
    return total >> 64


@cache
def known_primes() -> frozenset[int]:
    """The primes of the standards, which need no check."""
    return frozenset(
        (1 << bits) - (1 << bits - 64) - 1 + ((digits(bits - 130) + offset) << 64)
        for digits, offsets in ((_pi, _MODP), (_e, _FFDHE))
        for bits, offset in offsets.items()
    )


@dataclass(frozen=True, slots=True)
class Group:
    """A prime and a generator; Group.checked refuses those that nobody should compute with."""

    p: int
    g: int

    @classmethod
    def checked(cls, p: int, g: int) -> "Group":
        """The group of numbers from outside. Raises SessionFailed.

        The first time that a prime of no standard comes, its check takes up to a quarter of a second.
        """
        bits = p.bit_length()
        if not MIN_PRIME_BITS <= bits <= MAX_PRIME_BITS:
            raise SessionFailed(
                f"a Diffie-Hellman prime has {MIN_PRIME_BITS} to {MAX_PRIME_BITS} bits, not {bits}"
            )
        if not 2 <= g <= p - 2:
            raise SessionFailed("a Diffie-Hellman generator outside 2..p-2")
        if p not in known_primes():
            if bits > MAX_CHECKED_BITS:
                raise SessionFailed(f"a Diffie-Hellman prime of {bits} bits that no standard names")
            if not _is_prime(p):
                raise SessionFailed("a Diffie-Hellman modulus that is no prime")
        return cls(p, g)

    @property
    def octets(self) -> int:
        """Octets of the prime."""
        return (self.p.bit_length() + 7) // 8


@cache
def usual_group() -> Group:
    """The second Oakley group, which every deployed peer takes."""
    return Group(next(prime for prime in known_primes() if prime.bit_length() == MIN_PRIME_BITS), 2)


@lru_cache(maxsize=CHECKED_PRIMES_MAX)
def _is_prime(number: int) -> bool:
    """Miller-Rabin, with bases that depend on the number. Most of what is no prime costs no round at all."""
    if number % 2 == 0 or math.gcd(number, _SMALL_PRIMES) != 1:
        return False
    twos = (number - 1 & 1 - number).bit_length() - 1
    octets = number.to_bytes(MAX_CHECKED_BITS // 8, "big")
    bases = (
        int.from_bytes(hashlib.sha512(octets + bytes((n,))).digest(), "big") for n in range(CHECK_ROUNDS)
    )
    return all(_passes(number, 2 + base, twos) for base in bases)


def _passes(number: int, base: int, twos: int) -> bool:
    power = pow(base, (number - 1) >> twos, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Half:
    """One side of an exchange: its group and its exponent, which lives as long as the exchange."""

    group: Group
    exponent: int = field(repr=False)

    @classmethod
    def of(cls, group: Group, entropy: bytes) -> "Half":
        """A half from 64 unpredictable octets that serve nothing else."""
        assert len(entropy) == ENTROPY_OCTETS, "an exponent needs 64 octets"
        short = group.p.bit_length() <= MAX_CHECKED_BITS
        bits = _SHORT_EXPONENT_BITS if short else _LONG_EXPONENT_BITS
        return cls(group, int.from_bytes(entropy[: bits // 8], "big") | 1 << bits - 1)

    @property
    def public(self) -> PublicKey:
        """What the peer is told: y, p and g."""
        return PublicKey(DH, (pow(self.group.g, self.exponent, self.group.p), self.group.p, self.group.g))

    def shared(self, y: int) -> bytes:
        """The shared secret, as long as the prime. Raises SessionFailed for a number that would fix it."""
        p = self.group.p
        if not 2 <= y <= p - 2:
            raise SessionFailed("a Diffie-Hellman public number outside 2..p-2")
        secret = pow(y, self.exponent, p)
        if secret in (1, p - 1):
            raise SessionFailed("a Diffie-Hellman public number of a small subgroup")
        return secret.to_bytes(self.group.octets, "big")


def decode_public(blob: bytes) -> tuple[Group, int]:
    """The group and the public number of a peer's blob. Raises SessionFailed, for octets that are none too."""
    try:
        key = PublicKey.decode(blob)
    except WireError as error:
        raise SessionFailed(str(error)) from None
    if key.algorithm != DH:
        raise SessionFailed("a key of another kind than Diffie-Hellman's")
    y, p, g = key.numbers
    return Group.checked(p, g), y
