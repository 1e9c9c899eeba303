"""Tokens: their form, their check, what is kept of them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from registry.accounts.tokens import TOKEN_CHARACTERS_MAX, TokenKind, digest_of, new_token, parse_token


def test_a_token_has_the_form_that_is_told() -> None:
    token = new_token(TokenKind.LIVE)
    assert re.fullmatch(r"hg_live_[a-z2-7]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", token.text)
    assert parse_token(token.text) == (TokenKind.LIVE, token.lookup)
    assert token.digest == digest_of(token.text)
    assert new_token(TokenKind.TEST).text.startswith("hg_test_")
    assert len(new_token(TokenKind.SESSION).text) == TOKEN_CHARACTERS_MAX


def test_another_token_for_the_same_row_has_another_secret() -> None:
    first = new_token(TokenKind.LIVE)
    second = new_token(TokenKind.LIVE, first.lookup)
    assert second.lookup == first.lookup
    assert second.digest != first.digest


def test_the_secret_shows_in_no_representation() -> None:
    token = new_token(TokenKind.LIVE)
    assert token.text.split("_")[3] not in repr(token)
    assert token.digest.hex() not in repr(token)


@given(place=st.integers(0, 69), character=st.sampled_from("0aZ_"))
def test_a_mistyped_token_is_none(place: int, character: str) -> None:
    text = new_token(TokenKind.LIVE).text
    wrong = text[:place] + character + text[place + 1 :]
    assert (parse_token(wrong) is not None) == (wrong == text)


@given(st.text())
def test_any_text_is_a_token_or_none(text: str) -> None:
    assert parse_token(text) is None
    assert len(digest_of(text)) == 32


def test_half_a_surrogate_pair_is_no_token() -> None:
    assert parse_token("hg_live_\ud800") is None
    assert len(digest_of("hg_live_\ud800")) == 32
