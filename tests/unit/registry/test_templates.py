"""Templates: what they make of a base and an extension, and what is refused when they are written (vector V36)."""

from dataclasses import replace

import pytest

from protocol.errors import TooLarge, WireError
from protocol.value import HandleValue, ValueList
from protocol.wire import MAX_VALUES
from registry.namespaces.building import FOLLOWED_MAX, NameNotFound, TooCostly
from registry.namespaces.template import DEPTH_MAX, ELEMENTS_MAX, PATTERNS_MAX, parse_template, template_of
from tests.unit.registry.namespaces import BASE, EMAIL, URL, V36, build, stored, template

NESTED = (
    '<if test="matches" expression="(A)-(x)?7"><if value="base" test="equals" expression="1234/ABC">'
    '<value type="T" data="[$1][$2]"/></if></if>'
)
SHADOWED = (
    '<def parameter="p" data="outer"/><if test="equals" expression="a-7"><def parameter="p" data="in"/></if>'
    '<value type="T" data="${p}"/>'
)


@pytest.mark.parametrize(
    ("extension", "address"),
    [
        ("box(10,20,30,40)", "http://example.org/data/abc?wh=40&ww=30&wy=20&wx=10"),
        ("box(1)", "http://example.org/data/abc?box(1)"),
        ("", "http://example.org/data/abc?"),
        ("BOX(,,,)", "http://example.org/data/abc?wh=&ww=&wy=&wx="),
    ],
)
def test_the_example_of_the_manual(extension: str, address: str) -> None:
    assert build(V36, extension) == [replace(URL, data=address.encode()), EMAIL]


@pytest.mark.parametrize(
    ("steps", "data"),
    [
        ('<value type="T" data="${handle}|${base}|${extension}"/>', "1234/abc@a-7|1234/abc|a-7"),
        ('<value type="T" data="${extension[0]}"/>', "a-7"),
        ('<value type="T" data="${extension[1]}.${nobody}.${nobody[2]}"/>', ".."),
        ('<value type="T">text of ${extension}</value>', "text of a-7"),
        ('<value type="T" data=""/>', ""),
        (r'<value type="T" data="\${extension} \\ \a $ $x ${ ${} ${x"/>', r"${extension} \ a $ $x ${ ${} ${x"),
        ('<value type="T" data="$0$1$99"/>', ""),
        ('<def parameter="p">${extension}!</def><value type="T" data="${p}${p}"/>', "a-7!a-7!"),
        ('<def parameter="p"/><value type="T" data="[${p}]"/>', "[]"),
        (
            '<if test="matches" expression="([a-z])-([0-9]+)"><value type="T" data="$2:$1:$0:${extension[2]}"/></if>',
            "7:a:a-7:7",
        ),
        (NESTED, "[a][]"),
        ('<if test="matches" expression="a" negate="true"><value type="T" data="not ${extension}"/></if>', "not a-7"),
        ('<if test="matches" expression="-"/><else><value type="T" data="part"/></else>', "part"),
        ('<if test="equals" expression="A-7"><value type="T" data="${extension}"/></if>', "a-7"),
        ('<if test="equals" expression="x"/><else><value type="T" data="else"/></else>', "else"),
        ('<if value="nobody" test="equals" expression="x" negate="TRUE"><value type="T" data="1"/></if>', "1"),
        (SHADOWED, "outer"),
        (r'<if test="matches" expression="\Qa-\E\d"><value type="T" data="quoted"/></if>', "quoted"),
        ('<if test="matches" expression="[[:alpha:]][^]]+"><value type="T" data="class"/></if>', "class"),
        ('<!-- a remark --><value type="T" data="1"/>', "1"),
    ],
)  # fmt: skip
def test_a_small_template_makes_one_value(steps: str, data: str) -> None:
    (made,) = build(template(steps), "a-7")
    assert (made.index, made.type, made.data.decode()) == (1, "T", data)


def test_a_value_without_a_base_has_the_age_of_its_template() -> None:
    (made,) = build(template('<value index="4" type="T" data="x"/>'))
    assert made == HandleValue(index=4, type="T", data=b"x", timestamp=5)


@pytest.mark.parametrize("steps", ["<value/>", '<value type="T"/>', '<value data="x"/>', "<foreach/>", ""])
def test_without_a_type_or_data_there_is_no_value(steps: str) -> None:
    assert build(template(steps)) == []


@pytest.mark.parametrize("type_name", ["${extension}", "${nobody}", "${extension}" * 100])
def test_a_type_that_cannot_be_one_makes_no_value(type_name: str) -> None:
    assert build(template(f'<value type="{type_name}" data="x"/>'), b"\xff" * 30) == []


def test_within_foreach_what_a_value_does_not_say_is_that_of_the_base() -> None:
    made = build(template('<foreach><value index="${index}7" data="${type}:${data}"/></foreach>'))
    assert made == [
        replace(URL, index=17, data=b"URL:http://example.org/data/abc"),
        replace(EMAIL, index=27, data=b"EMAIL:contact@example.org"),
    ]


def test_binary_data_of_the_base_pass_unchanged() -> None:
    binary = HandleValue(index=3, type="HS_ADMIN", data=bytes(range(256)))
    document = template('<foreach><value/><value index="9" type="T" data="${data}${extension}"/></foreach>')
    made = build(document, b"\xfe", [binary])
    assert made == [binary, replace(binary, index=9, type="T", data=binary.data + b"\xfe")]


@pytest.mark.parametrize(
    ("indexes", "made"),
    [
        (("5", "5", "5"), [5, 6, 7]),
        (("6", "5", "5"), [5, 6, 7]),
        (("-1", "0", "x"), [1, 2, 3]),
        (("2147483648", "99999999999", "٣"), [1, 2, 3]),
        ((" 12 ", "", "2"), [1, 2, 12]),
    ],
)
def test_indexes_that_meet_move_up_and_what_is_no_index_is_the_first(
    indexes: tuple[str, ...], made: list[int]
) -> None:
    steps = "".join(f'<value index="{index}" type="T" data="x"/>' for index in indexes)
    assert [value.index for value in build(template(steps))] == made


def test_there_is_no_index_behind_the_last() -> None:
    steps = '<value index="2147483647" type="T" data="x"/>' * 2
    with pytest.raises(TooCostly):
        build(template(steps))


@pytest.mark.parametrize(("case_sensitive", "count"), [(False, 2), (True, 0)])
def test_tests_heed_case_only_where_names_do(case_sensitive: bool, count: int) -> None:
    document = template(
        '<if test="equals" expression="ABC"><value type="T" data="1"/></if>'
        '<if test="matches" expression="[A-Z]+"><value type="T" data="2"/></if>'
    )
    assert len(build(document, "abc", case_sensitive=case_sensitive)) == count
    assert len(build(document, "ABC", case_sensitive=case_sensitive)) == 2


def test_notfound_ends_everything() -> None:
    with pytest.raises(NameNotFound):
        build(template('<value type="T" data="x"/><if test="equals" expression="x"><notfound/></if>'))


def test_a_template_elsewhere_takes_the_place_of_the_reference() -> None:
    others = {"5:1234/t": '<template><value type="T" data="${p}${extension}"/></template>'}
    document = template('<def parameter="p" data="7"/><template ref="5:1234/t"/><template ref="5:1234/t"/>')
    assert [value.data for value in build(document, others=others)] == [b"7x", b"7x"]
    whole = '<namespace><template delimiter="@" ref="5:1234/t"/></namespace>'
    assert [value.data for value in build(whole, others=others)] == [b"x"]


def test_a_reference_that_leads_nowhere_is_not_found() -> None:
    with pytest.raises(NameNotFound):
        build(template('<template ref="5:1234/t"/>'))


def test_references_are_followed_so_often_and_no_further() -> None:
    others = {
        f"{n}:1234/t": template(f'<template ref="{n + 1}:1234/t"/>') for n in range(1, FOLLOWED_MAX + 2)
    }
    others[f"{FOLLOWED_MAX}:1234/t"] = template('<value type="T" data="the last"/>')
    assert [value.data for value in build(template('<template ref="1:1234/t"/>'), others=others)] == [
        b"the last"
    ]

    others[f"{FOLLOWED_MAX}:1234/t"] = template(f'<template ref="{FOLLOWED_MAX + 1}:1234/t"/>')
    with pytest.raises(TooCostly):
        build(template('<template ref="1:1234/t"/>'), others=others)
    with pytest.raises(TooCostly):
        build(
            template('<template ref="7:1234/t"/>'),
            others={"7:1234/t": template('<template ref="7:1234/t"/>')},
        )


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (r'<if test="matches" expression="(a)\1"/>', "invalid escape sequence"),
        ('<if test="matches" expression="(?=a)"/>', "invalid perl operator"),
        ('<if test="matches" expression="a++"/>', "bad repetition"),
        ('<if test="matches" expression="[a-z&amp;&amp;[^b]]"/>', "class within a class"),
        ('<if test="matches" expression="[a[bc]]"/>', "class within a class"),
        ('<if test="matches" expression="("/>', "missing"),
        ('<if test="matches" expression=".{1000}.{1000}"/>', "too large"),
        (r'<if test="matches" expression="\pL\pN\pL"/>', "steps"),
        (f'<if test="matches" expression="{"a" * 1_025}"/>', "octets"),
        ('<if test="like" expression="a"/>', 'test="equals"'),
        ('<if expression="a"/>', 'test="equals"'),
        ('<if test="equals"/>', "expression"),
        ('<if test="equals" expression="a" negate="perhaps"/>', "negate"),
        ('<value type="T" date="x"/>', "date"),
        ("<value><value/></value>", "no elements"),
        ("<else/>", "behind no <if>"),
        ("<value/><else/>", "behind no <if>"),
        ("<iff/>", "iff"),
        ("words", "words"),
        ("<foreach>words</foreach>", "words"),
        ("<foreach><value/>words</foreach>", "words"),
        ("<def/>", "parameter"),
        ("<template/>", "ref"),
        ('<template ref="1234/t"/>', "index:handle"),
        ('<template ref="0:1234/t"/>', "index:handle"),
        ('<template ref="00000000001999999999999:1234/t"/>', "index:handle"),
        ('<template ref="5:"/>', "no handle"),
        (f'<template ref="5:{"x" * 2_049}"/>', "no handle"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_out_is_refused_by_name(steps: str, words: str) -> None:
    with pytest.raises(WireError) as refused:
        parse_template(template(steps).encode())
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "steps",
    [
        "<value/>" * (ELEMENTS_MAX + 1),
        "<foreach>" * DEPTH_MAX + "</foreach>" * DEPTH_MAX,
        "".join(f'<if test="matches" expression="{number}"/>' for number in range(PATTERNS_MAX + 1)),
    ],
)
def test_a_template_has_a_size(steps: str) -> None:
    with pytest.raises(TooLarge):
        parse_template(template(steps).encode())


def test_a_delimiter_has_a_length() -> None:
    with pytest.raises(TooLarge):
        parse_template(b'<namespace><template delimiter="@@@@@@@@@@@@@@@@@"/></namespace>')


@pytest.mark.parametrize(
    "document",
    [
        b"<broken",
        b"<!DOCTYPE n [<!ENTITY e 'x'>]><n>&e;</n>",
        "<?xml version='1.0' encoding='cp500'?><n>&e;</n>".encode("cp500"),
        b"<?xml version='1.0' encoding='cp500'?>"
        + "<!DOCTYPE n [<!ENTITY e 'x'>]><n>&e;</n>".encode("cp500"),
        b"<n>\xff</n>",
    ],
)
def test_a_document_is_utf_8_and_has_no_entities(document: bytes) -> None:
    with pytest.raises(WireError):
        parse_template(document)


def test_the_namespace_of_the_lowest_index_counts_and_what_is_empty_or_broken_does_not() -> None:
    def namespace(index: int, document: str) -> HandleValue:
        return HandleValue(index=index, type="hs_namespace", data=document.encode())

    found = template_of(ValueList.of([namespace(9, "<n/>"), namespace(3, V36), namespace(2, "")]))
    assert found == stored(V36) or (found is not None and found.template == stored(V36).template)
    assert template_of(ValueList.of([namespace(3, V36), namespace(2, "<n/>")])) is None
    assert template_of(ValueList.of([namespace(2, "<broken")])) is None
    assert template_of(ValueList.of(BASE)) is None


def test_more_values_than_a_message_carries_are_refused() -> None:
    steps = "<foreach>" * 3 + '<value type="T" data="x"/>' + "</foreach>" * 3
    with pytest.raises(TooCostly):
        build(template(steps), base=[URL] * 13)
    assert len(build(template(steps), base=[URL] * 12)) == 12**3 < MAX_VALUES
