"""What organisations use per day, and their quotas."""

from datetime import date
from typing import Final

import msgspec

from registry.accounts.roles import Right
from registry.api.call import Call, Reply, cursor_of, position_of
from registry.api.route import Route
from registry.api.schemas.usage import Quota, UsageDay, UsageDays, UsageFilter
from registry.problem_types import INVALID_REQUEST, NOT_FOUND, ApiProblem, FieldFault

_LIST: Final = """
    SELECT organisation, day, requests, failures, identifiers_created FROM usage_days
    WHERE organisation = $1 AND day >= $2 AND day <= $3 AND day < $4 ORDER BY day DESC LIMIT $5"""
_LIST_ALL: Final = """
    SELECT organisation, day, requests, failures, identifiers_created FROM usage_days
    WHERE (day < $3 OR (day = $3 AND organisation > $4)) AND day >= $1 AND day <= $2
    ORDER BY day DESC, organisation LIMIT $5"""
_FIRST_DAY: Final = date(2000, 1, 1)
_LAST_DAY: Final = date(9999, 12, 31)
_cursors: Final = msgspec.json.Decoder(tuple[date, str])


async def list_usage(call: Call) -> Reply:
    """Requests and new identifiers per day; callers of the node level see every organisation."""
    query = call.query_as(UsageFilter)
    organisation = query.organisation or call.signed_in.organisation
    if organisation is not None and not call.signed_in.sees(organisation):
        raise ApiProblem(NOT_FOUND, "There is no such organisation.")
    quota = None if organisation is None else await _quota(call, organisation)
    await call.services.usage.flush()
    days = await _days(call, query, organisation)
    page = days[: query.limit]
    return Reply(
        body=UsageDays(items=page, next=_cursor(page[-1]) if len(days) > len(page) else None, quota=quota)
    )


async def _quota(call: Call, organisation: str) -> Quota:
    standing = await call.services.usage.standing(organisation, call.now)
    if not standing.known:
        raise ApiProblem(NOT_FOUND, "There is no such organisation.")
    return Quota(
        requests_per_minute=standing.requests_per_minute, identifiers_per_day=standing.identifiers_per_day
    )


async def _days(call: Call, query: UsageFilter, organisation: str | None) -> list[UsageDay]:
    """One more than the page holds, when there is one."""
    first, last = query.first or _FIRST_DAY, query.last or _LAST_DAY
    before, after = _position(query.cursor)
    async with call.services.store.connection() as connection:
        if organisation is None:
            records = await connection.fetch(_LIST_ALL, first, last, before, after, query.limit + 1)
        else:
            records = await connection.fetch(_LIST, organisation, first, last, before, query.limit + 1)
    return [
        UsageDay(
            organisation=record[0] or None,
            day=record[1],
            requests=record[2],
            failures=record[3],
            identifiers_created=record[4],
        )
        for record in records
    ]


def _cursor(last: UsageDay) -> str:
    return cursor_of(msgspec.json.encode((last.day, last.organisation or "")))


def _position(cursor: str) -> tuple[date, str]:
    position = position_of(cursor)
    if position is None:
        return date.max, ""
    try:
        day, organisation = _cursors.decode(position)
        if not organisation.isascii() or not organisation.isprintable():
            raise ValueError(organisation)
    except (msgspec.DecodeError, ValueError):
        raise ApiProblem(
            INVALID_REQUEST, "The cursor is none.", errors=[FieldFault("?cursor", "is of another list")]
        ) from None
    return day, organisation


ROUTES: Final = (
    Route(
        method="GET",
        path="/api/v1/usage",
        name="usage.list",
        summary="What was used per day, and the quota",
        tag="Usage",
        handler=list_usage,
        right=Right.USAGE_READ,
        query=UsageFilter,
        reply=UsageDays,
        problems=(NOT_FOUND,),
    ),
)
