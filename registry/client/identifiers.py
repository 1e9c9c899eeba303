"""Calls about identifiers and ranges."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from registry.api.schemas.base import Paging
from registry.api.schemas.identifiers import (
    BatchResult,
    Identifier,
    IdentifierFilter,
    IdentifierList,
    IdentifierReading,
    IdentifierVersion,
    IdentifierVersions,
    ListedIdentifier,
    RestrictedValues,
    Written,
)
from registry.api.schemas.ranges import RangeFilter, RangeReport, ReservedRange, ReservedRanges
from registry.client.address import path_of
from registry.client.area import Area, parameters
from registry.client.connection import ONCE, Write
from registry.identifiers.forms import BatchForm, NewIdentifier, NewRange, NewValues, Release, StateChange
from registry.identifiers.values import ValueForm

IDENTIFIERS: Final = "identifiers"
RANGES: Final = "ranges"


class IdentifierCalls(Area):
    """Identifiers. `version`, where a call takes it, is that of the identifier as it was read."""

    async def create(self, new: NewIdentifier, *, how: Write = ONCE) -> Written:
        """Register an identifier: by its name, or by a prefix and a pattern to mint by."""
        return (await self._connection.write("POST", path_of(IDENTIFIERS), Written, body=new, how=how)).body

    async def batch(self, form: BatchForm, *, how: Write = ONCE) -> BatchResult:
        """Register, change and delete up to 10,000 identifiers: all or nothing, or a result for each."""
        path = path_of(IDENTIFIERS, "batch")
        return (await self._connection.write("POST", path, BatchResult, body=form, how=how)).body

    async def get(
        self, identifier: str, *, version: int | None = None, at: datetime | None = None
    ) -> Identifier:
        """An identifier as it is; or as it was in a version, or at a moment."""
        which = parameters(IdentifierReading(version=version, at=at))
        return (await self._connection.get(path_of(IDENTIFIERS, identifier), Identifier, which)).body

    async def restricted(self, identifier: str) -> Sequence[ValueForm]:
        """The values that are not public; every reading is audited."""
        path = path_of(IDENTIFIERS, identifier, "restricted")
        return (await self._connection.get(path, RestrictedValues)).body.values

    def every(self, which: IdentifierFilter) -> AsyncIterator[ListedIdentifier]:
        """The identifiers below a prefix, drafts too, in the order of their names."""
        return self._every(path_of(IDENTIFIERS), IdentifierList, which)

    def versions(self, identifier: str) -> AsyncIterator[IdentifierVersion]:
        """What an identifier was, the latest first."""
        return self._every(path_of(IDENTIFIERS, identifier, "versions"), IdentifierVersions, Paging())

    async def replace(
        self, identifier: str, values: Sequence[ValueForm], *, version: int, how: Write = ONCE
    ) -> Written:
        """Give an identifier these values in place of its public ones."""
        answer = await self._connection.write(
            "PUT",
            path_of(IDENTIFIERS, identifier),
            Written,
            body=NewValues(values=list(values)),
            if_match=str(version),
            how=how,
        )
        return answer.body

    async def put_value(
        self, identifier: str, value: ValueForm, *, version: int, how: Write = ONCE
    ) -> Written:
        """Add one value, or replace the one of the same index."""
        path = path_of(IDENTIFIERS, identifier, "values", str(value.index))
        answer = await self._connection.write(
            "PUT", path, Written, body=value, if_match=str(version), how=how
        )
        return answer.body

    async def remove_value(self, identifier: str, index: int, *, version: int, how: Write = ONCE) -> Written:
        """Remove one value."""
        path = path_of(IDENTIFIERS, identifier, "values", str(index))
        answer = await self._connection.write("DELETE", path, Written, if_match=str(version), how=how)
        return answer.body

    async def set_state(
        self, identifier: str, change: StateChange, *, version: int | None = None, how: Write = ONCE
    ) -> Written:
        """Activate, suspend, resume or retire; version: only if it is still this one."""
        answer = await self._connection.write(
            "POST",
            path_of(IDENTIFIERS, identifier, "state"),
            Written,
            body=change,
            if_match=None if version is None else str(version),
            how=how,
        )
        return answer.body

    async def delete(self, identifier: str, *, version: int | None = None, how: Write = ONCE) -> None:
        """Delete it; its name may be registered again. version: only if it is still this one."""
        tag = None if version is None else str(version)
        path = path_of(IDENTIFIERS, identifier)
        await self._connection.write("DELETE", path, type(None), if_match=tag, how=how)


class RangeCalls(Area):
    """Ranges: suffixes that are reserved for lines that are off the network."""

    async def reserve(self, new: NewRange, *, how: Write = ONCE) -> ReservedRange:
        """Reserve the suffixes of a pattern; none resolves before it is registered with the range's id."""
        return (await self._connection.write("POST", path_of(RANGES), ReservedRange, body=new, how=how)).body

    async def get(self, range_id: str) -> RangeReport:
        """A range, and how far it is used."""
        return (await self._connection.get(path_of(RANGES, range_id), RangeReport)).body

    def every(self, which: RangeFilter) -> AsyncIterator[ReservedRange]:
        """The ranges below a prefix."""
        return self._every(path_of(RANGES), ReservedRanges, which)

    async def release(self, range_id: str, *, first: int | None = None, how: Write = ONCE) -> ReservedRange:
        """Give back the numbers from `first` on; else those behind the last one that was activated."""
        body = Release() if first is None else Release(first=first)
        path = path_of(RANGES, range_id, "release")
        return (await self._connection.write("POST", path, ReservedRange, body=body, how=how)).body
