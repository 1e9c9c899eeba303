"""Ids of what the registry keeps beside handles: opaque texts that begin with the kind of thing they name."""

import re
import secrets
from typing import Final

ID_CHARACTERS: Final = 20
"""Base32, hence 100 random bits: nobody guesses one, and none is given twice."""
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_ID: Final = re.compile(r"([a-z]{3})_[a-z2-7]{20}")


def new_id(kind: str) -> str:
    """A fresh id such as org_…; kind: three letters."""
    assert len(kind) == 3, kind
    octets = int.from_bytes(secrets.token_bytes(13), "big")
    return f"{kind}_" + "".join(_ALPHABET[octets >> 5 * place & 31] for place in range(ID_CHARACTERS))


def is_id(kind: str, text: str) -> bool:
    """Whether a text has the form of an id of this kind."""
    match = _ID.fullmatch(text)
    return match is not None and match[1] == kind
