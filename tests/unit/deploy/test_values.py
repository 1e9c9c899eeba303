"""Values of identifiers as people type them."""

import click
import pytest

from deploy.commands.values import merge_values, parse_values, value_row
from registry.identifiers.values import DataForm, ValueForm


def value(index: int, kind: str, data: str) -> ValueForm:
    return ValueForm(index=index, type=kind, data=data)


def merged(
    present: list[ValueForm], *texts: str, remove: tuple[int, ...] = ()
) -> list[tuple[int, str, object]]:
    return [(one.index, one.type, one.data) for one in merge_values(present, texts, remove)]


def test_values_are_numbered_around_those_that_name_an_index() -> None:
    assert [
        (one.index, one.type, one.data) for one in parse_values(["URL=a", "1:DESC=b", "DESC=c=d", "X="])
    ] == [
        (1, "DESC", "b"),
        (2, "URL", "a"),
        (3, "DESC", "c=d"),
        (4, "X", ""),
    ]


@pytest.mark.parametrize("text", ["", "URL", "=a", "1:=a", ":URL=a", "UR L=a", "99999999999:URL=a"])
def test_what_is_no_value_is_told(text: str) -> None:
    with pytest.raises(click.UsageError, match="is no value"):
        parse_values([text])


def test_a_value_takes_the_place_of_the_only_one_of_its_type_and_keeps_the_others() -> None:
    present = [value(1, "URL", "a"), value(3, "DESC", "b"), value(100, "HS_ADMIN", "c")]
    assert merged(present, "URL=new", "EMAIL=d") == [
        (1, "URL", "new"),
        (2, "EMAIL", "d"),
        (3, "DESC", "b"),
        (100, "HS_ADMIN", "c"),
    ]


def test_where_several_are_alike_the_index_decides() -> None:
    present = [value(1, "DESC", "a"), value(2, "DESC", "b")]
    with pytest.raises(click.UsageError, match="1, 2, as INDEX:DESC"):
        merged(present, "DESC=c")
    assert merged(present, "2:DESC=c") == [(1, "DESC", "a"), (2, "DESC", "c")]


def test_an_index_may_get_another_type() -> None:
    assert merged([value(1, "URL", "a")], "1:DESC=b") == [(1, "DESC", "b")]


@pytest.mark.parametrize("texts", [("1:URL=a", "1:URL=b"), ("URL=b", "1:URL=a"), ("URL=a", "URL=b")])
def test_one_place_is_given_once(texts: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError, match="index 1"):
        merged([value(1, "URL", "x")], *texts)


def test_values_are_removed_by_index() -> None:
    present = [value(1, "URL", "a"), value(2, "DESC", "b")]
    assert merged(present, remove=(2,)) == [(1, "URL", "a")]
    with pytest.raises(click.UsageError, match="no such value"):
        merged(present, remove=(7,))


def test_a_value_is_shown_on_one_line() -> None:
    assert value_row(value(1, "URL", "a\nb\x1b")) == ("1", "URL", "a b�")
    assert value_row(ValueForm(index=2, type="X", data=DataForm(format="base64", value="AA=="))) == (
        "2",
        "X",
        "AA==",
    )
    admin = DataForm(format="admin", value={"handle": "88.100.1/ADMIN", "index": 300})
    assert (
        value_row(ValueForm(index=3, type="HS_ADMIN", data=admin))[2]
        == '{"handle":"88.100.1/ADMIN","index":300}'
    )
