"""Carries a template out: from the values of a base record and an extension to the values of a name that is not stored.

What it does is bounded by a budget, whatever the template says. It reads nothing by itself: it is a generator that asks
for the templates it refers to. Source: PROTOCOL.md §1.6, vector V36.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from protocol.value import MAX_INDEX, MAX_TYPE_OCTETS, HandleValue, ValueReference
from protocol.wire import MAX_VALUES, encode_text
from registry.namespaces.patterns import Groups, compile_pattern
from registry.namespaces.substitution import LAST_MATCH, Scope
from registry.namespaces.template import (
    INDEX_DIGITS_MAX,
    Branch,
    Condition,
    Define,
    Follow,
    ForEach,
    MakeValue,
    NotFound,
    Steps,
    StoredTemplate,
    Template,
)

FOLLOWED_MAX: Final = 10
"""Templates within templates, as deep as deployed servers follow them, and as many in all."""
OCTETS_MAX: Final = 131_072
"""Octets of everything that is written, parameters included: half of what a message holds."""
WORK_MAX: Final = 1_000_000
"""Work of one answer, about 20 ms (measured): one unit for an octet that passes an instruction of a pattern."""
STEP_WORK: Final = 100
"""Work of a step, and of a value of the base that is looked at."""
EQUAL_OCTETS: Final = 16
"""Octets that are compared in one unit of work."""
VALUE_OCTETS: Final = 26
"""What a value takes beside its type and data: lengths, times, permissions."""
DEFAULT_INDEX: Final = 1

Building = Generator[ValueReference, StoredTemplate | None, None]


class NameNotFound(Exception):
    """The template says that the name does not exist, or refers to a template that does not."""


class TooCostly(Exception):
    """The template would take more than it may: which limit it is."""

    def __init__(self, limit: str) -> None:
        self.limit = limit
        super().__init__(limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name that is not stored, in its parts as they were spelled."""

    handle: bytes
    base: bytes
    extension: bytes

    def scope(self) -> Scope:
        """The parameters with which a template begins."""
        return {"handle": (self.handle,), "base": (self.base,), "extension": (self.extension,)}


class Builder:
    """One answer while it is made."""

    def __init__(self, name: Name, base: Sequence[HandleValue], *, case_sensitive: bool = False) -> None:
        """base: the public values of the base record, none when there is no such record.

        case_sensitive: whether tests heed the case of letters, as the names of the node do.
        """
        self._name = name
        self._base = base
        self._case_sensitive = case_sensitive
        self._values: list[HandleValue] = []
        self._next_free: dict[int, int] = {}
        self._octets_left = OCTETS_MAX
        self._work_left = WORK_MAX
        self._depth = 0
        self._followed: dict[ValueReference, StoredTemplate | None] = {}

    @property
    def values(self) -> list[HandleValue]:
        """What was made, in ascending order of the indexes."""
        return sorted(self._values, key=lambda value: value.index)

    def build(self, stored: StoredTemplate) -> Building:
        """Make the values; send in the template of each reference that comes out, None where there is none.

        Raises NameNotFound or TooCostly.
        """
        pattern = HandleValue(index=DEFAULT_INDEX, type="", data=b"", timestamp=stored.value.timestamp)
        yield from self._run(stored.template.steps, self._name.scope(), pattern, within=False)

    def _run(self, steps: Steps, scope: Scope, pattern: HandleValue, *, within: bool) -> Building:
        """Carry out steps; pattern: what a value is made after, a value of the base within <foreach>."""
        for step in steps:
            self._work(STEP_WORK)
            match step:
                case MakeValue():
                    self._make(step, scope, pattern, within=within)
                case Branch():
                    met, inner = self._judge(step.condition, scope)
                    yield from self._run(step.met if met else step.unmet, inner, pattern, within=within)
                case ForEach():
                    for value in self._base:
                        self._work(STEP_WORK)
                        inner = self._bind(scope, _parameters(value))
                        yield from self._run(step.steps, inner, value, within=True)
                case Define():
                    scope = self._bind(scope, {step.parameter: (step.text.fill(scope, self._write),)})
                case NotFound():
                    raise NameNotFound
                case Follow():
                    template = yield from self._follow(step.reference)
                    yield from self._run(template.steps, scope, pattern, within=within)
                    self._depth -= 1

    def _follow(
        self, reference: ValueReference
    ) -> Generator[ValueReference, StoredTemplate | None, Template]:
        self._depth += 1
        if reference not in self._followed:
            if len(self._followed) == FOLLOWED_MAX:
                raise TooCostly("template_references")
            self._followed[reference] = yield reference
        if self._depth > FOLLOWED_MAX:
            raise TooCostly("template_references")
        stored = self._followed[reference]
        if stored is None:
            raise NameNotFound
        return stored.template

    def _judge(self, condition: Condition, scope: Scope) -> tuple[bool, Scope]:
        """Whether a condition is met, and the parameters for what depends on it."""
        (text, *_) = scope.get(condition.value, (b"",))
        groups: Groups | None
        if condition.pattern is not None:
            pattern = compile_pattern(condition.pattern, case_sensitive=self._case_sensitive)
            self._work(pattern.size * (len(text) + 1))
            groups = pattern.match(text)
        else:
            groups = (text,) if self._is_equal(text, condition.text) else None
        bound = {condition.parameter: groups or (text,)}
        if condition.pattern is not None and groups is not None:
            bound[LAST_MATCH] = groups
        return (groups is not None) != condition.negate, self._bind(scope, bound)

    def _is_equal(self, text: bytes, other: bytes) -> bool:
        if len(text) != len(other):
            return False
        self._work(len(text) // EQUAL_OCTETS)
        return text == other if self._case_sensitive else text.upper() == other.upper()

    def _bind(self, scope: Scope, bound: Scope) -> Scope:
        self._work(len(scope))
        return scope | bound

    def _make(self, step: MakeValue, scope: Scope, pattern: HandleValue, *, within: bool) -> None:
        """One value; dropped when it has no type or no data."""
        if not within and (step.type is None or step.data is None):
            return
        type_octets = encode_text(pattern.type) if step.type is None else step.type.fill(scope, self._write)
        data = pattern.data if step.data is None else step.data.fill(scope, self._write)
        index = pattern.index if step.index is None else _index(step.index.fill(scope, self._write))
        try:
            type_name = pattern.type if step.type is None else type_octets.decode()
        except UnicodeDecodeError:
            return
        if not type_octets or len(type_octets) > MAX_TYPE_OCTETS:
            return
        self._write(VALUE_OCTETS + len(type_octets) + len(data))
        if len(self._values) == MAX_VALUES:
            raise TooCostly("template_values")
        self._values.append(replace(pattern, index=self._free_index(index), type=type_name, data=data))

    def _free_index(self, index: int) -> int:
        """The index, or the next one that no value has yet."""
        free = index
        while free in self._next_free:
            free = self._next_free[free]
        if free > MAX_INDEX:
            raise TooCostly("template_values")
        self._next_free[free] = self._next_free[index] = free + 1
        return free

    def _write(self, octets: int) -> None:
        self._octets_left -= octets
        if self._octets_left < 0:
            raise TooCostly("template_octets")

    def _work(self, units: int) -> None:
        self._work_left -= units
        if self._work_left < 0:
            raise TooCostly("template_work")


def _parameters(value: HandleValue) -> Scope:
    """What <foreach> calls the parts of a value."""
    return {"index": (b"%d" % value.index,), "type": (encode_text(value.type),), "data": (value.data,)}


def _index(written: bytes) -> int:
    """The index that a text names, or the usual one."""
    digits = written.strip()
    number = int(digits) if digits.isdigit() and len(digits) <= INDEX_DIGITS_MAX else 0
    return number if 0 < number <= MAX_INDEX else DEFAULT_INDEX
