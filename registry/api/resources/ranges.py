"""Ranges: suffixes that are reserved for lines that register later."""

from typing import Any, Final

from registry.accounts.roles import Right
from registry.api.call import Call, Reply, cursor_of, position_of
from registry.api.route import Route
from registry.api.schemas.ranges import RangeFilter, RangeReport, ReservedRange, ReservedRanges
from registry.identifiers.forms import NewRange, Release
from registry.identifiers.ranges import Range
from registry.problem_types import NOT_FOUND
from registry.problem_types.identifiers import (
    NAME_REFUSED,
    PATTERN_REFUSED,
    PREFIX_MOVING,
    PREFIX_NOT_ACTIVE,
    RANGE_OVERLAP,
    RANGE_SHAPES,
    SERIES_EXHAUSTED,
)

TAG: Final = "Ranges"


async def reserve(call: Call) -> Reply:
    """Reserve suffixes; none of them resolves until it is registered with the id of the range."""
    made = await call.services.identifiers.ranges.reserve(call.tx, call.body_as(NewRange), call.signed_in)
    return Reply(body=ReservedRange(**_fields(made)), location=f"/api/v1/ranges/{made.id}")


async def read(call: Call) -> Reply:
    """A range, and how far it is used."""
    found, used = await call.services.identifiers.ranges.read(call.path["range"], call.signed_in)
    return Reply(body=RangeReport(**_fields(found), last_activated=used))


async def list_ranges(call: Call) -> Reply:
    """Ranges below a prefix."""
    query = call.query_as(RangeFilter)
    after = (position_of(query.cursor) or b"").decode("utf-8", "replace").replace("\0", "")
    found = await call.services.identifiers.ranges.list(
        query.prefix, call.signed_in, after=after, limit=query.limit
    )
    page = found[: query.limit]
    following = cursor_of(page[-1].id.encode()) if len(found) > len(page) else None
    return Reply(body=ReservedRanges(items=[ReservedRange(**_fields(each)) for each in page], next=following))


async def release(call: Call) -> Reply:
    """Give back the numbers of a range that are not used."""
    left = await call.services.identifiers.ranges.release(
        call.tx, call.path["range"], call.body_as(Release), call.signed_in
    )
    return Reply(body=ReservedRange(**_fields(left)))


def _fields(found: Range) -> dict[str, Any]:
    return {
        "id": found.id,
        "prefix": found.extent.prefix.decode("utf-8", "replace"),
        "pattern": found.pattern,
        "first": found.first,
        "last": found.last,
        "count": found.count,
        "reserved": found.reserved,
        "created": found.created,
        "released": found.released,
    }


ROUTES: Final = (
    Route(
        method="POST",
        path="/api/v1/ranges",
        name="range.reserve",
        summary="Reserve suffixes of a pattern",
        tag=TAG,
        handler=reserve,
        right=Right.IDENTIFIER_WRITE,
        body=NewRange,
        reply=ReservedRange,
        status=201,
        problems=(
            NOT_FOUND,
            NAME_REFUSED,
            PATTERN_REFUSED,
            RANGE_OVERLAP,
            RANGE_SHAPES,
            SERIES_EXHAUSTED,
            PREFIX_NOT_ACTIVE,
            PREFIX_MOVING,
        ),
    ),
    Route(
        method="GET",
        path="/api/v1/ranges",
        name="range.list",
        summary="List the ranges below a prefix",
        tag=TAG,
        handler=list_ranges,
        right=Right.IDENTIFIER_READ,
        query=RangeFilter,
        reply=ReservedRanges,
        problems=(NOT_FOUND, NAME_REFUSED),
    ),
    Route(
        method="GET",
        path="/api/v1/ranges/{range}",
        name="range.read",
        summary="Read a range and how far it is used",
        tag=TAG,
        handler=read,
        right=Right.IDENTIFIER_READ,
        reply=RangeReport,
    ),
    Route(
        method="POST",
        path="/api/v1/ranges/{range}/release",
        name="range.release",
        summary="Release the unused rest of a range",
        tag=TAG,
        handler=release,
        right=Right.IDENTIFIER_WRITE,
        body=Release,
        reply=ReservedRange,
        problems=(RANGE_OVERLAP, PREFIX_NOT_ACTIVE, PREFIX_MOVING),
    ),
)
