"""Derived keys: known for a while, in a bounded number, and found by their own secret and salt alone."""

import pytest

from protocol.challenge import Derivation
from registry.wire.derived_keys import DerivedKeys, NotDerived

LIFE_S = 10.0


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def salted(number: int, iterations: int = 10, key_bits: int = 160) -> Derivation:
    return Derivation(bytes([number]), iterations, key_bits)


def test_a_key_is_found_by_what_it_was_made_of_and_nothing_else(clock: Clock) -> None:
    keys = DerivedKeys(clock)
    keys.keep({(salted(1), b"sesame"): b"key"})

    assert keys.known(salted(1), b"sesame") == b"key"
    for derivation, secret in (
        (salted(2), b"sesame"),
        (salted(1), b"Sesame"),
        (salted(1, iterations=11), b"sesame"),
        (salted(1, key_bits=128), b"sesame"),
    ):
        with pytest.raises(NotDerived):
            keys.known(derivation, secret)


def test_a_key_is_forgotten_after_its_time_however_much_it_is_used(clock: Clock) -> None:
    keys = DerivedKeys(clock, life_s=LIFE_S)
    keys.keep({(salted(1), b"sesame"): b"key"})

    clock.now_s += LIFE_S - 1
    assert keys.known(salted(1), b"sesame")
    clock.now_s += 1
    with pytest.raises(NotDerived):
        keys.known(salted(1), b"sesame")


def test_where_there_is_no_room_the_least_used_key_goes(clock: Clock) -> None:
    keys = DerivedKeys(clock, keys_max=2)
    for number in (1, 2):
        keys.keep({(salted(number), b"sesame"): b"key"})
    keys.known(salted(1), b"sesame")
    keys.keep({(salted(3), b"sesame"): b"key"})

    assert len(keys) == 2
    assert keys.known(salted(1), b"sesame")
    with pytest.raises(NotDerived):
        keys.known(salted(2), b"sesame")
