"""Groups that are computed in, those that are not, and exchanges that both sides finish alike."""

import pytest

from protocol.diffie_hellman import Group, Half, decode_public, known_primes, usual_group
from protocol.errors import SessionFailed
from protocol.valuetypes import PublicKey
from tests.support.keys import dsa_key
from tests.support.vectors import recorded_messages

P = usual_group().p
DSA_PRIME = dsa_key().parameters().parameter_numbers().p
ENDS = {
    (1_024, "ece65381"), (1_536, "ca237327"), (2_048, "8aacaa68"), (3_072, "a93ad2ca"), (4_096, "34063199"),
    (2_048, "61285c97"), (3_072, "66c62e37"), (4_096, "5e655f6a"),
}  # fmt: skip
"""Bits, and what stands before the last 64 bits, which are ones: read from RFC 2409, 3526 and 7919."""


def test_the_primes_of_the_standards_are_those_of_the_standards() -> None:
    assert {(p.bit_length(), f"{p >> 64 & 0xFFFF_FFFF:08x}") for p in known_primes()} == ENDS


def test_deployed_clients_use_a_group_that_is_known() -> None:
    blobs = [
        entry.decoded["body"]["public_key"]["parts"]
        for entry in recorded_messages()
        if entry.decoded.get("body", {}).get("public_key", {}).get("key_type") == "DH_PUB_KEY"
    ]
    assert len(blobs) > 5
    assert {(int(p, 16), int(g, 16)) for _, p, g in blobs} == {(P, 2)}


@pytest.mark.parametrize("p", [P, DSA_PRIME], ids=["known", "checked"])
def test_both_sides_have_the_same_secret(p: int) -> None:
    group = Group.checked(p, 2)
    ours, theirs = Half.of(group, bytes(range(64))), Half.of(group, bytes(range(64, 128)))
    group_told, y = decode_public(theirs.public.encode())
    assert group_told == group
    assert ours.shared(y) == theirs.shared(ours.public.numbers[0])
    assert len(ours.shared(y)) == p.bit_length() // 8


@pytest.mark.parametrize(
    ("p", "g"),
    [
        (0, 2),
        (23, 5),
        ((1 << 1_023) - 1, 2),
        (1 << 4_096, 2),
        (P - 1, 2),
        (P + 2, 2),
        (P * 3, 2),
        (((1 << 521) - 1) * ((1 << 607) - 1), 2),
        ((1 << 2_203) - 1, 2),
        (P, 0),
        (P, 1),
        (P, P - 1),
        (P, P),
        (P, P + 2),
    ],
    ids=[
        "zero", "23", "1023 bits", "4097 bits", "even", "odd", "a multiple", "two primes", "long and unknown",
        "g 0", "g 1", "g p-1", "g p", "g p+2",
    ],
)  # fmt: skip
def test_numbers_that_make_no_sound_group_are_refused(p: int, g: int) -> None:
    with pytest.raises(SessionFailed):
        Group.checked(p, g)


@pytest.mark.parametrize("y", [0, 1, P - 1, P, P + 2])
def test_public_numbers_that_would_fix_the_secret_are_refused(y: int) -> None:
    with pytest.raises(SessionFailed):
        Half.of(usual_group(), bytes(64)).shared(y)


def test_a_public_number_of_a_small_subgroup_is_refused() -> None:
    numbers = dsa_key().parameters().parameter_numbers()
    with pytest.raises(SessionFailed):
        Half(Group(numbers.p, 2), numbers.q).shared(numbers.g)


@pytest.mark.parametrize(
    "blob",
    [b"", b"\0\0\0\x0aDH_PUB_KEY", PublicKey.of_dsa(dsa_key().public_key()).encode(), b"\xff" * 40],
)
def test_octets_that_are_no_public_number_are_refused(blob: bytes) -> None:
    with pytest.raises(SessionFailed):
        decode_public(blob)


def test_an_exponent_shows_in_no_representation() -> None:
    half = Half.of(usual_group(), bytes(range(64)))
    assert str(half.exponent) not in repr(half)
