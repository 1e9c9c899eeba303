"""Choosing among the places of a 10320/loc list: each method once, and what a choice depended on."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.handle import Handle
from protocol.value import HandleValue, ValueList
from protocol.valuetypes.loc import DEFAULT_CHOOSE_BY, MAX_LOCATIONS
from protocol.valuetypes.url import REDIRECT_SCHEMES
from resolver.locations import (
    NETWORKS_MAX,
    PLACES_MAX,
    Choice,
    Dependence,
    Location,
    LocationLists,
    Visitor,
    candidates,
    choose,
    read_lists,
)

HANDLE = Handle.parse("88.1/a b")


def loc(document: str, index: int = 1) -> HandleValue:
    return HandleValue(index=index, type="10320/loc", data=document.encode())


def url(address: str, index: int = 9, kind: str = "URL") -> HandleValue:
    return HandleValue(index=index, type=kind, data=address.encode())


def record(*attributes: str, choose_by: str = "", more: tuple[HandleValue, ...] = ()) -> ValueList:
    """A record with a list of places named a, b, c, ..., which have these attributes."""
    places = [
        f'<location href="https://{name}.example/" {text}/>'
        for name, text in zip("abcdefgh", attributes, strict=False)
    ]
    methods = f'chooseby="{choose_by}"' if choose_by else ""
    return ValueList.of([loc(f"<locations {methods}>{''.join(places)}</locations>"), *more])


def never() -> float:
    raise AssertionError("nothing was to be left to chance")


def drawing(drawn: float) -> Callable[[], float]:
    return lambda: drawn


def visitor(draw: Callable[[], float] = never, **known: Any) -> Visitor:
    given: dict[str, Any] = {"address": "192.0.2.1", "accept": "*/*", "draw": draw}
    return Visitor(**(given | known))


def places_of(values: ValueList) -> tuple[Location, ...]:
    return candidates(read_lists(values), values, HANDLE, REDIRECT_SCHEMES)


def chosen(values: ValueList, who: Visitor) -> tuple[str, Dependence]:
    """The first letter of the host that was chosen, and what that depended on."""
    choice: Choice = choose(places_of(values), read_lists(values).choose_by, who)
    return choice.location.target.removeprefix("https://")[0], choice.depends


def test_what_the_visitor_names_goes_before_everything() -> None:
    values = record('id="1"', 'id="2" weight="0"', 'id="3"')

    assert chosen(values, visitor(selectors=[("id", "2")])) == ("b", Dependence.NONE)


def test_several_selectors_narrow_one_after_the_other_and_one_that_fits_nothing_is_undone() -> None:
    values = record('id="1" lang="en"', 'id="2" lang="en"', 'id="2" lang="zh"')

    selectors = [("lang", "en"), ("colour", "red"), ("id", "2")]

    assert chosen(values, visitor(selectors=selectors)) == ("b", Dependence.NONE)


@pytest.mark.parametrize(
    ("address", "place"),
    [("10.1.2.3", "a"), ("::ffff:10.1.2.3", "a"), ("2001:db8::1", "b"), ("203.0.113.9", "c")],
)
def test_the_network_of_the_visitor_decides(address: str, place: str) -> None:
    values = record(
        'addresses="192.168.0.0/16, 10.0.0.0/8" weight="0"',
        'addresses="2001:db8::/32 nonsense" weight="0"',
        'weight="1"',
    )

    assert chosen(values, visitor(address=address)) == (place, Dependence.VISITOR)


def test_so_many_networks_are_compared_and_no_more() -> None:
    many = ",".join(["10.0.0.1"] * NETWORKS_MAX)
    values = record(f'addresses="{many}" weight="0"', 'addresses="192.0.2.1" weight="0"', 'weight="1"')

    choice = choose(places_of(values), DEFAULT_CHOOSE_BY, visitor())

    assert choice.location.target == "https://c.example/"
    assert choice.is_cut_short


@pytest.mark.parametrize(("country", "place"), [("GB", "a"), ("FR", "c"), (None, "c")])
def test_the_country_decides_and_without_a_match_what_is_for_no_country(
    country: str | None, place: str
) -> None:
    values = record('country="gb"', 'country="CN"', "")

    assert chosen(values, visitor(country=country)) == (place, Dependence.NONE)
    assert chosen(values, visitor(country=country, country_told=False)) == (place, Dependence.VISITOR)


def test_a_country_that_leaves_nothing_is_undone() -> None:
    values = record('country="gb" score="1"', 'country="cn" score="2"')

    assert chosen(values, visitor(country="FR")) == ("b", Dependence.NONE)


def test_the_highest_score_is_kept_and_an_odd_one_is_0() -> None:
    values = record('score="nan"', 'score="0.5"', 'score="1e9"', 'score="-3"')

    assert chosen(values, visitor()) == ("b", Dependence.NONE)


@pytest.mark.parametrize(
    ("drawn", "place"), [(0.0, "a"), (0.24, "a"), (0.25, "c"), (0.99, "c"), (1 - 2**-53, "c")]
)
def test_chance_is_as_likely_as_the_weights(drawn: float, place: str) -> None:
    values = record('weight="1"', 'weight="0"', 'weight="3"', 'weight="-7"', 'weight="many"')

    assert chosen(values, visitor(drawing(drawn))) == (place, Dependence.VISITOR)


def test_without_a_weight_above_0_each_is_as_likely() -> None:
    values = record('weight="0"', 'weight="-1"')

    assert [chosen(values, visitor(drawing(drawn)))[0] for drawn in (0.0, 0.49, 0.5)] == [
        "a",
        "a",
        "b",
    ]


def test_one_weight_above_0_leaves_nothing_to_chance() -> None:
    assert chosen(record('weight="0"', 'weight="2"'), visitor()) == ("b", Dependence.NONE)


def test_the_methods_are_taken_in_the_order_of_the_list_and_unknown_ones_passed_over() -> None:
    attributes = ('country="gb"', 'score="9"')

    assert chosen(record(*attributes, choose_by="fate,score,country"), visitor(country="GB"))[0] == "b"
    assert chosen(record(*attributes, choose_by="country,score"), visitor(country="GB"))[0] == "a"
    assert (
        chosen(record(*attributes, choose_by="weighted,country"), visitor(lambda: 0.9, country="GB"))[0]
        == "b"
    )


@pytest.mark.parametrize(
    ("accept", "place"),
    [
        ("application/rdf+xml", "a"),
        ("application/*", "a"),
        ("text/turtle, application/rdf+xml;q=0.5", "b"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "c"),
        ("*/*", "d"),
        ("", "d"),
    ],
)
def test_content_is_negotiated(accept: str, place: str) -> None:
    values = record(
        'http_role="conneg" ctype="application/rdf+xml" weight="5"',
        'http_role="conneg" media-type="text/turtle" weight="5"',
        'http_role="browser" score="1"',
        'http_role="no_conneg"',
    )

    assert chosen(values, visitor(accept=accept)) == (place, Dependence.ACCEPT)


def test_a_place_that_was_asked_for_by_name_needs_no_accept_header() -> None:
    values = record('http_role="conneg" ctype="text/turtle" id="t"', 'http_role="no_conneg"')

    assert chosen(values, visitor(selectors=[("id", "t")])) == ("a", Dependence.NONE)


@pytest.mark.parametrize(
    ("told", "status"),
    [("301", 301), ("303", 303), ("307", 307), ("308", 308), ("200", 302), ("", 302), ("٣٠١", 302)],
)
def test_only_a_status_of_a_redirect_is_taken(told: str, status: int) -> None:
    assert places_of(record(f'http_sc="{told}"'))[0].status == status


@pytest.mark.parametrize(
    "href", ["javascript:alert(1)", "//evil.example/", "https://x.example/&#10;Set-Cookie:a", ""]
)
def test_an_address_that_may_not_be_followed_is_no_place(href: str) -> None:
    values = ValueList.of(
        [
            loc(
                f'<locations><location href="{href}" score="9"/><location href="https://b.example/"/></locations>'
            )
        ]
    )

    assert chosen(values, visitor()) == ("b", Dependence.NONE)


def test_beside_a_list_a_url_value_is_not_left_to_chance() -> None:
    values = record("", more=(url("https://u.example/"), url("https://v.example/", 10)))

    assert chosen(values, visitor()) == ("a", Dependence.NONE)
    assert [place.weight for place in places_of(values)] == [1, 0, 0]


def test_beside_lists_of_the_prefix_the_first_url_value_takes_part_in_chance() -> None:
    values = ValueList.of([url("https://m.example/", 1, "URL.MIRROR"), url("https://u.example/", 2)])
    shared = read_lists(record('weight="0" id="s"')).lists

    places = candidates(read_lists(values).joined(shared), values, HANDLE, REDIRECT_SCHEMES)

    assert [(place.target, place.weight) for place in places] == [
        ("https://a.example/", 0),
        ("https://u.example/", 1),
        ("https://m.example/", 0),
    ]
    assert choose(places, DEFAULT_CHOOSE_BY, visitor()).location.target == "https://u.example/"


@pytest.mark.parametrize(
    "document", ["<locations>", "<!DOCTYPE a [<!ENTITY b 'c'>]><locations/>", "x" * 70_000]
)
def test_without_a_place_of_a_list_the_first_url_value_decides_alone(document: str) -> None:
    values = ValueList.of([loc(document), url("https://u.example/"), url("https://v.example/", 10)])

    assert [place.target for place in places_of(values)] == ["https://u.example/"]


def test_no_more_places_of_a_record_are_looked_at() -> None:
    full = "<locations>" + '<location href="https://a.example/"/>' * MAX_LOCATIONS + "</locations>"
    values = ValueList.of([loc(full), loc(full, 2), url("https://u.example/")])

    assert len(places_of(values)) == PLACES_MAX


def test_a_template_is_filled_with_the_handle() -> None:
    values = ValueList.of(
        [loc('<locations><location href_template="https://t.example/{hdl:path}?id={hdl}"/></locations>')]
    )

    assert places_of(values)[0].target == "https://t.example/88.1/a%20b?id=88.1%2Fa%20b"


def test_the_first_list_says_how_to_choose_and_may_decline_those_of_its_prefix() -> None:
    first = loc('<locations chooseby="score" no_nslocs="true"/>')
    found = read_lists(ValueList.of([first, loc('<locations chooseby="country"/>', 2)]))

    assert found.choose_by == ("score",)
    assert found.alone
    assert not LocationLists().alone


ATTRIBUTE = st.sampled_from(
    ["weight", "score", "country", "addresses", "http_role", "ctype", "http_sc", "id"]
)
TEXT = st.text("0123456789.,/-+eE aگ", max_size=12) | st.sampled_from(
    ["GB", "10.0.0.0/8", "conneg", "text/html"]
)


@given(
    st.lists(st.dictionaries(ATTRIBUTE, TEXT, max_size=5), min_size=1, max_size=6),
    st.permutations(DEFAULT_CHOOSE_BY),
    st.floats(0, 1, exclude_max=True),
    st.text(max_size=20),
)
def test_whatever_places_say_one_of_them_is_chosen(
    attributes: list[dict[str, str]], methods: list[str], drawn: float, accept: str
) -> None:
    places = [Location(f"https://x.example/{number}", each) for number, each in enumerate(attributes)]
    who = visitor(drawing(drawn), accept=accept, country="GB", selectors=[("id", "1")])

    choice = choose(places, methods, who)

    assert choice.location in places
    assert len(choice.left) == 1


@given(
    st.lists(st.dictionaries(ATTRIBUTE, TEXT, max_size=5), min_size=1, max_size=4),
    st.lists(
        st.tuples(st.sampled_from(["192.0.2.1", "10.0.0.1", ""]), st.floats(0, 1, exclude_max=True)),
        min_size=2,
        max_size=3,
    ),
)
def test_a_choice_that_says_it_depends_on_nobody_is_the_same_for_everybody(
    attributes: list[dict[str, str]], visitors: list[tuple[str, float]]
) -> None:
    places = [Location(f"https://x.example/{number}", each) for number, each in enumerate(attributes)]
    choices = [
        choose(places, DEFAULT_CHOOSE_BY, visitor(drawing(drawn), address=address))
        for address, drawn in visitors
    ]

    if any(Dependence.VISITOR not in choice.depends for choice in choices):
        assert len({choice.location.target for choice in choices}) == 1
        assert not any(Dependence.VISITOR in choice.depends for choice in choices)
