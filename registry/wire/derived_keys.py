"""Keys that PBKDF2 has made of secrets, kept for some minutes: a client that keeps its salt costs one derivation.

Why that gives nothing away. Kept is only what has proved somebody: each guess still takes a derivation, and so does a
claim to be somebody unknown. A key is found by the secret itself, which is read from the database for each proof: one
that was changed or withdrawn ends what was derived from it at once. Whoever can read this memory can read that
secret too. The salt is the client's to choose, and to keep: nonces are ours, so no answer is ever good for a second
challenge.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from protocol.challenge import Derivation

LIFE_S: Final = 600.0  # a client that is busy for hours pays five milliseconds every ten minutes
KEYS_MAX: Final = 1_024  # a kilobyte and a half each at most; the least used goes
_PEPPER_OCTETS: Final = 32
_DIGEST_OCTETS: Final = 32

Made = Mapping[tuple[Derivation, bytes], bytes]
"""Derived keys, by how and of which secret they were made."""


class NotDerived(Exception):
    """A key that is not known, and takes PBKDF2 to make."""


class DerivedKeys:
    """The derived keys of one process; secrets themselves are not kept."""

    def __init__(
        self, clock: Callable[[], float], *, life_s: float = LIFE_S, keys_max: int = KEYS_MAX
    ) -> None:
        """clock: monotonic seconds."""
        self._clock = clock
        self._life_s = life_s
        self._keys_max = keys_max
        self._pepper = secrets.token_bytes(_PEPPER_OCTETS)
        self._keys: OrderedDict[tuple[Derivation, bytes], tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def known(self, derivation: Derivation, secret: bytes) -> bytes:
        """What derive_key() gives, from memory. Raises NotDerived."""
        name = self._name(derivation, secret)
        until_s, key = self._keys.get(name, (0.0, b""))
        if until_s <= self._clock():
            raise NotDerived
        self._keys.move_to_end(name)
        return key

    def keep(self, made: Made) -> None:
        """Remember keys by which somebody has just proved himself."""
        for (derivation, secret), key in made.items():
            self._keys[self._name(derivation, secret)] = (self._clock() + self._life_s, key)
        while len(self._keys) > self._keys_max:
            self._keys.popitem(last=False)

    def _name(self, derivation: Derivation, secret: bytes) -> tuple[Derivation, bytes]:
        """By what a key is found; of the secret a digest that nobody can make elsewhere."""
        digest = hashlib.blake2b(secret, key=self._pepper, digest_size=_DIGEST_OCTETS).digest()
        return derivation, digest
