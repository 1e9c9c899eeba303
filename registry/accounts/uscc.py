"""The unified social credit code of an organisation in China: 18 characters, the last one a check. Pure.

Source: GB 32100-2015: 1 registering authority, 1 kind of organisation, 6 administrative division, 9 organisation code
(GB 11714, with a check of its own), 1 check character.
"""

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""31 characters, without I, O, S, V and Z; each stands for its place."""
LENGTH: Final = 18
_MODULUS: Final = 31
_WEIGHTS: Final = tuple(pow(3, place, _MODULUS) for place in range(LENGTH - 1))
_ORGANISATION_WEIGHTS: Final = (3, 7, 9, 10, 5, 8, 4, 2)  # GB 11714-1997
_ORGANISATION_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def check_character(body: str) -> str:
    """The check character of the first 17; all of them are of ALPHABET."""
    assert len(body) == LENGTH - 1
    total = sum(ALPHABET.index(character) * weight for character, weight in zip(body, _WEIGHTS, strict=True))
    return ALPHABET[-total % _MODULUS]


def uscc_fault(code: str) -> str | None:
    """Why a text is no unified social credit code; None when it is one. Letters must be capitals."""
    if len(code) != LENGTH:
        return f"has {len(code)} characters; a unified social credit code has {LENGTH}"
    wrong = next((character for character in code if character not in ALPHABET), None)
    if wrong is not None:
        return f"holds {wrong!r}; allowed are digits and the capitals other than I, O, S, V and Z"
    if not code[2:8].isdigit():
        return "must have six digits of an administrative division from its third character on"
    if code[16] != _organisation_check(code[8:16]):
        return "has a wrong check character at position 17, that of its organisation code"
    if code[17] != check_character(code[:17]):
        return "has a wrong check character at its end"
    return None


def _organisation_check(body: str) -> str:
    values = (_ORGANISATION_ALPHABET.index(character) for character in body)
    remainder = sum(value * weight for value, weight in zip(values, _ORGANISATION_WEIGHTS, strict=True)) % 11
    check = (11 - remainder) % 11
    return "X" if check == 10 else str(check)
