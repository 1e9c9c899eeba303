"""Whatever a template says, it ends, with values or a denial, and takes no more than its budget."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.value import HandleValue, ValueList
from protocol.wire import MAX_VALUES
from registry.namespaces.building import OCTETS_MAX, NameNotFound, TooCostly
from registry.namespaces.template import parse_template
from tests.unit.registry.namespaces import URL, build, template

NAMES = st.sampled_from(["extension", "handle", "base", "type", "data", "index", "x", "y"])
WORDS = st.lists(
    st.sampled_from(
        ["${x}", "${y}${y}", "${data}", "$1", "${x[1]}", "${extension}", "\\", "$", "{", "}", "t"]
    ),
    max_size=6,
).map("".join)
PATTERNS = st.sampled_from(
    ["(a*)*b", "(a|aa)+", "(.*)(.*)(.*)x", "((a{0,30}){0,9})*", ".*", r"(\pL)+", "(", "[a[b]]"]
)
REFERENCES = st.sampled_from(["1:1234/t", "2:1234/t", "3:1234/none"])


def element(tag: str, *children: ET.Element, text: str | None = None, **attributes: str) -> ET.Element:
    made = ET.Element(tag, attributes)
    made.text = text
    made.extend(children)
    return made


def branch(name: str, other: str, pattern: str, negate: bool, inner: list[ET.Element]) -> ET.Element:
    return element(
        "if",
        *inner,
        value=name,
        parameter=other,
        test="matches",
        expression=pattern,
        negate=str(negate).lower(),
    )


LEAVES = st.one_of(
    st.builds(lambda index, words: element("value", index=index, type="T", data=words), WORDS, WORDS),
    st.builds(lambda words: element("value", text=words), WORDS),
    st.builds(lambda name, words: element("def", parameter=name, text=words), NAMES, WORDS),
    st.builds(lambda reference: element("template", ref=reference), REFERENCES),
    st.just(0).map(lambda _: element("else")),
    st.just(0).map(lambda _: element("notfound")),
)
ELEMENTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda inner: element("foreach", *inner), st.lists(inner, max_size=4)),
        st.builds(branch, NAMES, NAMES, PATTERNS, st.booleans(), st.lists(inner, max_size=4)),
        st.builds(lambda inner: element("else", *inner), st.lists(inner, max_size=4)),
    ),
    max_leaves=12,
)
DOCUMENTS = st.lists(ELEMENTS, max_size=6).map(
    lambda inner: ET.tostring(element("n", element("template", *inner, delimiter="@")), encoding="unicode")
)
EXTENSIONS = st.text("a,-é${}\\x1", max_size=40) | st.binary(max_size=20)
BASES = st.lists(
    st.builds(HandleValue, index=st.integers(1, 5), type=st.just("URL"), data=st.binary(max_size=60)),
    max_size=4,
)


@given(DOCUMENTS, EXTENSIONS, BASES, st.lists(DOCUMENTS, max_size=2))
def test_any_template_ends_within_its_budget(
    document: str, extension: str | bytes, base: list[HandleValue], others: list[str]
) -> None:
    readable = {}
    for number, other in enumerate([*others, document], 1):
        try:
            parse_template(other.encode())
        except WireError:
            continue
        readable[f"{number}:1234/t"] = other
    if f"{len(others) + 1}:1234/t" not in readable:
        return
    try:
        made = build(document, extension, base, others=readable)
    except (NameNotFound, TooCostly):
        return
    assert len({value.index for value in made}) == len(made) <= MAX_VALUES
    assert len(ValueList.of(made).octets) <= OCTETS_MAX


@given(st.binary(max_size=200) | st.text("<>/=&#!ifelsvaut \"'", max_size=80).map(str.encode))
def test_any_octets_are_a_document_or_refused(document: bytes) -> None:
    for octets in (document, b'<n><template delimiter="@">' + document + b"</template></n>"):
        try:
            parse_template(octets)
        except WireError:
            continue


DOUBLING = '<def parameter="x" data="aaaaaaaa"/>' + '<def parameter="x" data="${x}${x}"/>' * 60
LOOPS = "<foreach>" * 20 + '<def parameter="x"/>' + "</foreach>" * 20
MANY = "<foreach>" * 3 + "<value/>" + "</foreach>" * 3
CATASTROPHE = '<foreach><if test="matches" expression="((a{0,30}){0,9})*b"/></foreach>' * 200
LONG = '<foreach><foreach><if value="data" test="matches" expression="(a|aa)+"/></foreach></foreach>'
EQUAL = (
    "<foreach>" * 4
    + '<if value="data" test="equals" expression="{}"/>'.format("A" * 9_000)
    + "</foreach>" * 4
)
WIDE = "".join(f'<def parameter="p{n}" data="x"/>' for n in range(200)) + "<foreach>" * 3 + "</foreach>" * 3
SELF = '<template ref="1:1234/t"/>' * 2
TAIL = '<if test="equals" expression="z" negate="true"><template ref="1:1234/t"/></if>'


@pytest.mark.parametrize(
    ("steps", "limit"),
    [
        (DOUBLING, "template_octets"),
        (LOOPS, "template_work"),
        (CATASTROPHE, "template_work"),
        (LONG, "template_work"),
        (EQUAL, "template_work"),
        (WIDE, "template_work"),
        (SELF, "template_references"),
        (TAIL, "template_references"),
        (MANY, "template_octets"),
    ],
)
def test_a_hostile_template_meets_a_limit(steps: str, limit: str) -> None:
    document = template(steps)
    base = [HandleValue(index=1, type="URL", data=b"a" * 9_000), *[URL] * 30]
    with pytest.raises(TooCostly) as reached:
        build(document, "a" * 2_000, base, others={"1:1234/t": document})
    assert reached.value.limit == limit
