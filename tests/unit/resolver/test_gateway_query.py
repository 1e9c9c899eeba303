"""What a visitor may ask the gateway for, and what is refused."""

import pytest

from protocol.transport.http_target import BadTarget, parse_target
from resolver.gateway_query import (
    APPENDED_CHARACTERS_MAX,
    SELECTOR_CHARACTERS_MAX,
    SELECTORS_MAX,
    Action,
    GatewayQuery,
    country_code,
)


def query(text: str) -> GatewayQuery:
    return GatewayQuery.of(parse_target(f"/1/x?{text}"))


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("", Action.REDIRECT),
        ("noredirect", Action.VALUES),
        ("noredirect=false", Action.REDIRECT),
        ("action=showvalues", Action.VALUES),
        ("action=SHOWLOCS", Action.LOCATIONS),
        ("noredirect&action=redirect", Action.REDIRECT),
        ("noredirect&action=dance", Action.VALUES),
    ],
)
def test_an_action_goes_before_noredirect_and_an_unknown_one_is_none(text: str, action: Action) -> None:
    assert query(text).action is action


def test_everything_else_is_read_too() -> None:
    read = query("urlappend=%23a+b&locatt=id:1&locatt=lang:en:x&country=cn&ignore_aliases&auth=yes&cert")

    assert read == GatewayQuery(
        append="#a b",
        selectors=(("id", "1"), ("lang", "en:x")),
        country="CN",
        follow_aliases=False,
        authoritative=True,
    )


@pytest.mark.parametrize(
    "text",
    [
        "urlappend=a%0d%0aSet-Cookie:b",
        "urlappend=%00",
        "urlappend=%C2%85",
        "urlappend=" + "a" * (APPENDED_CHARACTERS_MAX + 1),
        "locatt=id",
        "locatt=:1",
        "locatt=id:" + "1" * SELECTOR_CHARACTERS_MAX,
        "&".join(["locatt=id:1"] * (SELECTORS_MAX + 1)),
        "country=china",
    ],
)
def test_what_is_too_long_or_no_such_parameter_is_refused(text: str) -> None:
    with pytest.raises(BadTarget):
        query(text)


@pytest.mark.parametrize(
    ("text", "code"), [(" gb ", "GB"), ("XX,YY", None), ("", None), ("ДД", None), ("1A", None)]
)
def test_a_country_is_two_letters(text: str, code: str | None) -> None:
    assert country_code(text) == code
