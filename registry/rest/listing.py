"""/api/handles?prefix=P: the handles of a prefix, in pages by number or all of them (PROTOCOL §8.2)."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from protocol.codes import OpCode, ResponseCode
from protocol.handle import ROOT_PREFIX_OCTETS, Handle, Prefix
from protocol.jsonform import printable
from protocol.transport.http_target import BadTarget
from registry.listing import PAGE_MAX, Page
from registry.operations import Operations
from registry.outcomes import Identity, Rejected
from registry.rest.callers import Callers
from registry.rest.problem import CODE_KEY, CONTENT_TYPE, HEADERS, Problem, json_response
from registry.rest.request import RestRequest

NUMBER_MAX: Final = 0x7FFF_FFFF  # of a page, and of its names, as deployed servers read them
SKIPPED_MAX: Final = 1_000_000
"""Names before a page: to find where it begins they are walked over, which takes about a second so far out."""
LISTING_S: Final = 300.0
"""For a whole listing to be taken by its client; a million names take a few seconds."""
_ROOT: Final = ROOT_PREFIX_OCTETS + b"/"


@dataclass(frozen=True, slots=True)
class _Extent:
    """Which names are wanted."""

    page: int
    size: int

    @property
    def skipped(self) -> int:
        return self.page * self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingApi:
    """The listing of one node's handles."""

    operations: Operations
    callers: Callers

    async def get(self, request: RestRequest) -> web.Response:
        """Answer with the names of a prefix; that takes LIST_HANDLES on it."""
        by = await self.callers.required(request)
        prefix = prefix_of(request.about)
        extent = _extent(request)
        counted = await self.operations.count_handles(prefix, by=by)
        if isinstance(counted, Rejected):
            raise refused(request, counted, OpCode.LIST_HANDLES)
        head = _head(request, str(counted.number), is_exact=counted.is_exact)
        if extent is None:
            names = self._names(prefix, by, skipped=0, wanted=None)
            return _streamed(head, names)
        head |= {"page": extent.page, "pageSize": extent.size}
        names = self._names(prefix, by, skipped=extent.skipped, wanted=extent.size)
        if extent.size > PAGE_MAX:
            return _streamed(head, names)
        head["handles"] = [name async for part in names for name in part]
        return json_response(head, status=200, form=request.form)

    async def _names(
        self, prefix: Prefix, by: Identity, *, skipped: int, wanted: int | None
    ) -> AsyncIterator[Sequence[str]]:
        """Names in parts of PAGE_MAX at most. wanted: None for all that there are."""
        after = b""
        while wanted is None or wanted > 0:
            page = await self.operations.list_handles(prefix, by=by, after=after)
            if not isinstance(page, Page):  # the right was lost since the names were counted
                raise Problem(page.code, page.message)
            names = page.names[skipped:][:wanted]
            skipped -= min(skipped, len(page.names))
            if wanted is not None:
                wanted -= len(names)
            if names:
                yield [printable(name) for name in names]
            if page.after is None:
                return
            after = page.after


def prefix_of(record: Handle) -> Prefix:
    """The prefix that P or 0.NA/P means. Raises Problem 102."""
    octets = record.octets
    if octets[: len(_ROOT)].upper() == _ROOT:
        octets = octets[len(_ROOT) :]
    return Prefix.parse(octets)


def refused(request: RestRequest, result: Rejected, operation: OpCode) -> Problem:
    """The answer to an operation that was refused."""
    return Problem(result.code, result.message, handle=request.handle, operation=operation)


def _extent(request: RestRequest) -> _Extent | None:
    """The page that is wanted; None when its number or its size is missing or negative, which means all."""
    numbers = [_number(request, name) for name in ("page", "pageSize")]
    if any(number is None or number < 0 for number in numbers):
        return None
    page, size = (number or 0 for number in numbers)
    if page * size > SKIPPED_MAX:
        message = f"Pages begin after {SKIPPED_MAX} names at most; ask for all of them, which are streamed."
        raise BadTarget(message)
    return _Extent(page, size)


def _number(request: RestRequest, name: str) -> int | None:
    text = request.parameter(name)
    if text is None:
        return None
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 10 or int(digits) > NUMBER_MAX:
        raise BadTarget(f"The {name} is a number of at most {NUMBER_MAX}.")
    return int(text)


def _head(request: RestRequest, total: str, *, is_exact: bool) -> dict[str, Any]:
    """What stands before the names. The count is a text, as deployed servers write it."""
    asked = request.parameter("prefix") or ""
    head: dict[str, Any] = {
        "responseCode": int(ResponseCode.SUCCESS),
        "prefix": asked,
        "totalCount": total,
    }
    return head if is_exact else {**head, "totalCountIsExact": False}


def _streamed(head: dict[str, Any], names: AsyncIterator[Sequence[str]]) -> web.Response:
    """An answer whose names are sent while they are read, and as fast as the client takes them."""
    response = web.Response(
        body=_lines(head, names), status=200, headers={"Content-Type": CONTENT_TYPE, **HEADERS}
    )
    response[CODE_KEY] = int(ResponseCode.SUCCESS)
    return response


async def _lines(head: dict[str, Any], names: AsyncIterator[Sequence[str]]) -> AsyncIterator[bytes]:
    opening = json.dumps(head, ensure_ascii=False, separators=(",", ":"))
    yield opening[:-1].encode("utf-8", "replace") + b',"handles":['
    comma = ""
    deadline_s = asyncio.get_running_loop().time() + LISTING_S
    async for part in names:
        if asyncio.get_running_loop().time() > deadline_s:
            raise TimeoutError("the client takes the listing too slowly")
        text = json.dumps(part, ensure_ascii=False, separators=(",", ":"))
        yield (comma + text[1:-1]).encode("utf-8", "replace")
        comma = ","
    yield b"]}"
