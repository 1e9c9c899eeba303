"""Templates as they are written: the element <template> of an HS_NAMESPACE, read into what building.py carries out.

Everything that a template may hold is known here; what is not is refused, so that nobody relies on what does nothing.
Source: PROTOCOL.md §1.6.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from protocol.errors import InvalidHandle, Malformed, TooLarge, WireError
from protocol.handle import Handle
from protocol.value import MAX_INDEX, HandleValue, ValueList, ValueReference
from protocol.valuetypes.xml import parse_xml
from registry.namespaces.patterns import compile_pattern
from registry.namespaces.substitution import Text, parse_text

HS_NAMESPACE: Final = b"HS_NAMESPACE"
ELEMENTS_MAX: Final = 512  # real templates have thirty
DEPTH_MAX: Final = 32  # each level of <else><if> takes two; real templates go twenty deep
PATTERNS_MAX: Final = 32  # real templates have a dozen
DELIMITER_OCTETS_MAX: Final = 16  # real ones have one
DOCUMENTS_KEPT_MAX: Final = 256
"""Documents in memory, as they were read; each of at most 64 KiB."""
INDEX_DIGITS_MAX: Final = len(str(MAX_INDEX))
DEFAULT_PARAMETER: Final = "extension"
"""What <if> looks at where it does not say."""


@dataclass(frozen=True, slots=True)
class MakeValue:
    """<value>: one value of the answer; what is None is taken from the value of the base within <foreach>."""

    index: Text | None
    type: Text | None
    data: Text | None


@dataclass(frozen=True, slots=True)
class Condition:
    """What <if> asks of a parameter."""

    value: str
    pattern: str | None
    """What it is to match from end to end; None where it is to be equal."""
    text: bytes
    """What it is to equal."""
    negate: bool
    parameter: str
    """What the value, with the groups of the pattern, is called within <if> and its <else>."""


@dataclass(frozen=True, slots=True)
class Branch:
    """<if> and the <else> behind it."""

    condition: Condition
    met: "Steps"
    unmet: "Steps"


@dataclass(frozen=True, slots=True)
class ForEach:
    """<foreach>: once for each value of the base."""

    steps: "Steps"


@dataclass(frozen=True, slots=True)
class Define:
    """<def>: a parameter for what follows."""

    parameter: str
    text: Text


@dataclass(frozen=True, slots=True)
class NotFound:
    """<notfound>: the name does not exist."""


@dataclass(frozen=True, slots=True)
class Follow:
    """<template ref>: the template in that value, in this place."""

    reference: ValueReference


Step = MakeValue | Branch | ForEach | Define | NotFound | Follow
Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """What is done for a name that is not stored."""

    delimiter: bytes
    """What stands between base and extension; empty where the template does not say."""
    steps: Steps


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A template and the value in which it stands, whose age and TTL are those of what is made from it."""

    template: Template
    value: HandleValue


def template_of(record: ValueList) -> StoredTemplate | None:
    """The template in the HS_NAMESPACE of a record: in that of the lowest index that is not empty.

    record: public values. None also for a document that cannot be read: it was stored before it was checked.
    """
    if HS_NAMESPACE not in record.octets.upper():  # nearly always
        return None
    values = [value for value in record.select(types=(HS_NAMESPACE.decode(),)) if value.data]
    return stored_template(min(values, key=lambda value: value.index)) if values else None


def stored_template(value: HandleValue) -> StoredTemplate | None:
    """The template in a value of whatever type, or None."""
    try:
        template = parse_template(value.data)
    except WireError:
        return None
    return None if template is None else StoredTemplate(template, value)


@lru_cache(maxsize=DOCUMENTS_KEPT_MAX)
def parse_template(document: bytes) -> Template | None:
    """The template of a document; None for one without.

    document: a namespace, or a template itself. Raises WireError, with what is wrong and where, for what is no XML and
    for a template that cannot be carried out.
    """
    root = parse_xml(document)
    element = root if root.tag == "template" else root.find("template")
    if element is None:
        return None
    delimiter = element.get("delimiter", "").encode()
    if len(delimiter) > DELIMITER_OCTETS_MAX:
        raise TooLarge(f"a delimiter of {len(delimiter)} octets, {DELIMITER_OCTETS_MAX} allowed")
    return Template(delimiter, tuple(_Parsing().steps_of_template(element)))


class _Parsing:
    """One template while it is read."""

    def __init__(self) -> None:
        self._elements = 0
        self._depth = 0
        self._patterns: set[str] = set()
        self._makers: Mapping[str, Callable[[ET.Element], Step]] = {
            "value": self._value,
            "foreach": self._foreach,
            "def": self._define,
            "notfound": self._notfound,
            "template": self._follow,
        }

    def steps_of_template(self, element: ET.Element) -> Iterator[Step]:
        """The steps within the outermost element, which may be a reference itself."""
        _check_attributes(element, "delimiter", "ref")
        if element.get("ref") is not None:
            yield Follow(_reference(element))
        yield from self._steps(element)

    def _steps(self, parent: ET.Element) -> Steps:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise TooLarge(f"a template of more than {DEPTH_MAX} levels")
        _check_no_words(parent)
        steps: list[Step] = []
        children = list(parent)
        for place, element in enumerate(children):
            self._elements += 1
            if self._elements > ELEMENTS_MAX:
                raise TooLarge(f"a template of more than {ELEMENTS_MAX} elements")
            if element.tag == "else":
                if not place or children[place - 1].tag != "if":
                    raise Malformed("<else> stands behind no <if>")
            elif element.tag == "if":
                steps.append(self._branch(element, children[place + 1 : place + 2]))
            elif element.tag in self._makers:
                steps.append(self._makers[element.tag](element))
            else:
                raise Malformed(f"<{element.tag[:40]}> is no element of a template")
        self._depth -= 1
        return tuple(steps)

    def _branch(self, element: ET.Element, behind: Sequence[ET.Element]) -> Branch:
        _check_attributes(element, "value", "parameter", "test", "negate", "expression")
        value = element.get("value", DEFAULT_PARAMETER)
        expression = _needed(element, "expression")
        matches = _one_of(element, "test", ("equals", "matches")) == "matches"
        if matches:
            self._check_pattern(expression)
        condition = Condition(
            value=value,
            pattern=expression if matches else None,
            text=expression.encode(),
            negate=_one_of(element, "negate", ("false", "true"), default="false") == "true",
            parameter=element.get("parameter", value),
        )
        otherwise: Steps = ()
        for other in behind:
            if other.tag == "else":
                _check_attributes(other)
                otherwise = self._steps(other)
        return Branch(condition, self._steps(element), otherwise)

    def _check_pattern(self, expression: str) -> None:
        self._patterns.add(expression)
        if len(self._patterns) > PATTERNS_MAX:
            raise TooLarge(f"a template of more than {PATTERNS_MAX} patterns")
        compile_pattern(expression)

    def _foreach(self, element: ET.Element) -> ForEach:
        _check_attributes(element)
        return ForEach(self._steps(element))

    def _value(self, element: ET.Element) -> MakeValue:
        _check_attributes(element, "index", "type", "data")
        index, type_name = (_text(element.get(name)) for name in ("index", "type"))
        return MakeValue(index, type_name, _data(element))

    def _define(self, element: ET.Element) -> Define:
        _check_attributes(element, "parameter", "data")
        return Define(_needed(element, "parameter"), _data(element) or Text(()))

    def _notfound(self, element: ET.Element) -> NotFound:
        _check_attributes(element)
        return NotFound()

    def _follow(self, element: ET.Element) -> Follow:
        _check_attributes(element, "ref")
        return Follow(_reference(element))


def _reference(element: ET.Element) -> ValueReference:
    """The value that <template ref="index:handle"> names."""
    written = _needed(element, "ref").strip()
    index, colon, name = written.partition(":")
    number = int(index) if index.isascii() and index.isdigit() and len(index) <= INDEX_DIGITS_MAX else 0
    if not colon or not 0 < number <= MAX_INDEX:
        raise Malformed(f"a reference has the form index:handle, not {written[:80]!r}")
    try:
        return ValueReference(Handle.parse(name).octets, number)
    except InvalidHandle as error:
        raise Malformed(f"a reference to no handle: {error}") from None


def _data(element: ET.Element) -> Text | None:
    """What the attribute data says, or else the text of the element; blanks alone are none."""
    if len(element):
        raise Malformed(f"<{element.tag}> holds text and no elements")
    written = element.get("data")
    if written is None and element.text is not None and element.text.strip():
        written = element.text
    return _text(written)


def _text(written: str | None) -> Text | None:
    return None if written is None else parse_text(written)


def _needed(element: ET.Element, name: str) -> str:
    value = element.get(name)
    if not value:
        raise Malformed(f"<{element.tag}> needs the attribute {name}")
    return value


def _one_of(element: ET.Element, name: str, words: Sequence[str], *, default: str = "") -> str:
    word = element.get(name, default).lower()
    if word not in words:
        raise Malformed(f'<{element.tag}> needs {name}="{words[0]}" or {name}="{words[1]}"')
    return word


def _check_attributes(element: ET.Element, *known: str) -> None:
    for name in element.attrib:
        if name not in known:
            raise Malformed(f"<{element.tag}> has no attribute {name[:40]}")


def _check_no_words(element: ET.Element) -> None:
    for words in (element.text, *(child.tail for child in element)):
        if words is not None and words.strip():
            raise Malformed(f"<{element.tag}> holds elements and no text: {words.strip()[:40]!r}")
