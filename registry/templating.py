"""Names that are not stored, answered from the record of their base by a template: one record for any number of names.

A template looks at public values alone, whoever asks. Source: PROTOCOL.md §1.6.
"""

from dataclasses import dataclass, replace
from typing import Final

from protocol.codes import ResponseCode
from protocol.generations import Stamp
from protocol.handle import Handle
from protocol.value import HandleValue, TtlType, ValueList, ValueReference
from registry.context import Context
from registry.namespaces.building import Builder, Name, NameNotFound, TooCostly
from registry.namespaces.template import StoredTemplate, stored_template, template_of
from registry.prefixes import PrefixStatus, PrefixTable, subject_key
from registry.writing import State

TOO_COSTLY: Final = "The template for this name takes more than this server allows."
_NOTHING: Final = ValueList(b"", 0)


@dataclass(frozen=True, slots=True)
class Made:
    """What a template makes of a name: values, or the code of a denial with its words."""

    base: Handle
    stamp: Stamp
    """Generations of everything that it was made from."""
    values: ValueList = _NOTHING
    code: ResponseCode = ResponseCode.SUCCESS
    message: str = ""


def part(handle: Handle, delimiter: bytes) -> Name | None:
    """The parts of a name at the first delimiter at or behind the end of its prefix; None when there is none."""
    name = handle.octets
    at = name.find(delimiter, len(handle.prefix.octets)) if delimiter else -1
    return None if at < 0 else Name(handle=name, base=name[:at], extension=name[at + len(delimiter) :])


class Templating:
    """The templates of one node."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def make(self, handle: Handle, table: PrefixTable) -> Made | None:
        """What a handle of a homed prefix answers that is not stored itself; None where that is up to no template.

        table: what is known around the handle. Raises StoreUnavailable.
        """
        name = part(handle, table.delimiter)
        if name is None:
            return None
        making = _Making(self._context, table, name)
        base = await making.read_base()
        if isinstance(base, Made):
            return base
        return await making.make(base)


class _Making:
    """One answer while it is made."""

    def __init__(self, context: Context, table: PrefixTable, name: Name) -> None:
        self._context = context
        self._table = table
        self._name = name
        self._base = Handle(name.base)
        self._stamp = table.stamp + context.generations.stamp(self._base.key, self._base.prefix.key)
        self._life_s: float = 0

    async def read_base(self) -> ValueList | Made | None:
        """The public values of the base, None where it does not exist; what it answers itself where it is suspended, or
        retired: what is said of it holds for whatever was named after it.
        """
        if self._base.is_prefix_record:  # the delimiter is the slash
            return self._table.authorisation(subject_key(self._base))
        key = self._context.key_of(self._base)
        row = await self._context.store.read_public(key)
        if row is None:
            return None
        if row.state == State.SUSPENDED:
            return self._denied(ResponseCode.VALUES_NOT_FOUND, await self._context.store.suspension_text(key))
        if row.state == State.RETIRED:
            return self._made(row.public)
        return row.public if row.in_force else None

    async def make(self, base: ValueList | None) -> Made:
        """What the template of the base makes, or else that of the prefix; without one, the values of the base."""
        stored = template_of(base) if base is not None else None
        stored = stored or self._table.template
        if stored is None:
            return self._denied(ResponseCode.HANDLE_NOT_FOUND) if base is None else self._made(base)
        builder = Builder(
            self._name, () if base is None else list(base), case_sensitive=self._context.case_sensitive
        )
        try:
            await self._carry_out(builder, stored)
        except NameNotFound:
            return self._denied(ResponseCode.HANDLE_NOT_FOUND)
        except TooCostly as reached:
            if self._context.on_limit is not None:
                self._context.on_limit(reached.limit)
            return self._denied(ResponseCode.HANDLE_NOT_FOUND, TOO_COSTLY)
        wall_s = self._context.wall_clock()
        return self._made(ValueList.of(_limited(value, self._life_s, wall_s) for value in builder.values))

    async def _carry_out(self, builder: Builder, stored: StoredTemplate) -> None:
        """Give the builder the templates that it asks for."""
        self._life_s = self._life_of(stored)
        building = builder.build(stored)
        try:
            wanted = next(building)
            while True:
                found = await self._find(wanted)
                if found is not None:
                    self._life_s = min(self._life_s, self._life_of(found))
                wanted = building.send(found)
        except StopIteration:
            return

    async def _find(self, reference: ValueReference) -> StoredTemplate | None:
        """The template in a public value of a record that this node holds."""
        handle, context = Handle(reference.handle), self._context
        self._stamp += context.generations.stamp(handle.key, handle.prefix.key)
        table = await context.prefixes.around(handle)
        self._stamp += table.stamp
        record: ValueList | None
        if handle.is_prefix_record:
            record = table.authorisation(subject_key(handle))
        else:
            held = table.rows.get(handle.prefix.key)
            if held is None or not held.homed or held.status is not PrefixStatus.ACTIVE:
                return None
            row = await context.store.read_public(context.key_of(handle))
            record = row.public if row is not None and row.in_force else None
        values = () if record is None else record.select((reference.index,))
        return next((stored_template(value) for value in values), None)

    def _life_of(self, stored: StoredTemplate) -> int:
        return ValueList.of([stored.value]).smallest_ttl_s(self._context.wall_clock())

    def _made(self, values: ValueList) -> Made:
        return Made(self._base, self._stamp, values)

    def _denied(self, code: ResponseCode, message: str = "") -> Made:
        return Made(self._base, self._stamp, code=code, message=message)


def _limited(value: HandleValue, life_s: float, wall_s: float) -> HandleValue:
    """A value that clients keep for no longer than the template it was made by."""
    left_s = value.ttl if value.ttl_type == TtlType.RELATIVE else value.ttl - wall_s
    return value if left_s <= life_s else replace(value, ttl=int(life_s), ttl_type=TtlType.RELATIVE)
