"""Tokens that clients send as `Authorization: Bearer`: API keys and sessions.

`hg_live_<id>_<secret>_<check>`: the id finds the row, the secret (43 base62 characters, 256 random bits) proves it, and
the check tells a mistyped or cut token from a wrong one, so that programs that search sources for leaked
secrets raise no false alarms. Only the SHA-256 of a token is kept; the secret is random, so that needs no slow hash.
"""

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

LOOKUP_CHARACTERS: Final = 12
SECRET_CHARACTERS: Final = 43  # 62**43 > 2**256
CHECK_CHARACTERS: Final = 6  # 62**6 > 2**32
TOKEN_CHARACTERS_MAX: Final = 74
"""Characters of the longest token: hg_session_, id, secret and check; a longer text is none."""
_LOOKUP_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TOKEN: Final = re.compile(
    rf"hg_(live|test|session)_([a-z2-7]{{{LOOKUP_CHARACTERS}}})_[0-9A-Za-z]{{{SECRET_CHARACTERS}}}_"
    rf"([0-9A-Za-z]{{{CHECK_CHARACTERS}}})"
)


class TokenKind(StrEnum):
    """What a token stands for."""

    LIVE = "live"
    TEST = "test"
    """An API key whose writes are dry runs."""
    SESSION = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A new token; its text is shown once."""

    text: str = field(repr=False)
    lookup: str
    """What the row is found by; no secret."""
    digest: bytes = field(repr=False)
    """What the row keeps."""


def new_token(kind: TokenKind, lookup: str | None = None) -> Token:
    """Make a token; lookup: that of the row, when it gets another secret."""
    if lookup is None:
        lookup = _random(_LOOKUP_ALPHABET, LOOKUP_CHARACTERS)
    body = f"hg_{kind.value}_{lookup}_{_random(_ALPHABET, SECRET_CHARACTERS)}"
    text = f"{body}_{_check(body)}"
    return Token(text=text, lookup=lookup, digest=digest_of(text))


def digest_of(text: str) -> bytes:
    """What a token is compared by: 32 octets. Whatever text comes, half surrogates included."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def parse_token(text: str) -> tuple[TokenKind, str] | None:
    """The kind and the look-up id of a text that is a whole token; None for anything else."""
    if len(text) > TOKEN_CHARACTERS_MAX:
        return None
    match = _TOKEN.fullmatch(text)
    if match is None or _check(text[: -CHECK_CHARACTERS - 1]) != match[3]:
        return None
    return TokenKind(match[1]), match[2]


def _random(alphabet: str, characters: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(characters))


def _check(body: str) -> str:
    """CRC-32 in base62: to notice a typing error; it protects against nobody."""
    rest = zlib.crc32(body.encode())
    characters = ""
    for _ in range(CHECK_CHARACTERS):
        rest, place = divmod(rest, len(_ALPHABET))
        characters = _ALPHABET[place] + characters
    return characters
