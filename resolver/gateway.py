"""The gateway: a browser that asks for a handle is sent where the record says, or shown the record.

Source: PROTOCOL.md §8.5, §8.6.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Final

from aiohttp import HttpVersion11, web

from protocol.codes import ResponseCode, http_status
from protocol.errors import HandleError, InvalidHandle
from protocol.handle import Handle
from protocol.jsonform import printable
from protocol.statuses import Status, StatusText, parse_status
from protocol.transport.http import peer_host
from protocol.transport.http_target import Target
from protocol.value import ValueList
from resolver.aliases import Followed, Tangle, alias_of, follow
from resolver.cache.policy import Denial, select
from resolver.gateway_query import Action, GatewayQuery, country_code
from resolver.http_headers import Life, expiry, freshness, not_stored, work_told
from resolver.http_replies import OUTCOME, RETRY_AFTER_S, describe, note_origin, page_reply
from resolver.locations import (
    DEFAULT_STATUS,
    Choice,
    Dependence,
    LocationLists,
    Visitor,
    candidates,
    choose,
    read_lists,
)
from resolver.pages import Pages
from resolver.recursor import Origin, Recursor, system_clocks
from resolver.shared_locations import shared_lists
from resolver.targets import appended, gateway_path, local_path

NOTHING_MORE: Final[Mapping[str, str]] = {}
NAME_OCTETS_SHOWN: Final = 200  # of what is no handle


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    """One request of one visitor."""

    http: web.Request
    target: Target
    query: GatewayQuery
    handle: Handle
    """What was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where a record may lead."""

    lists: LocationLists
    life: Life
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRules:
    """What the operator decides."""

    schemes: Set[str]
    """Schemes, in lower case, of addresses that a browser may be sent to."""
    country_header: str = ""
    """The request header in which a proxy tells the visitor's country; empty for none."""


class Gateway:
    """The part of the HTTP interface that browsers see; every answer is a page or leads to one."""

    def __init__(
        self, recursor: Recursor, pages: Pages, rules: GatewayRules, *, node: str, draw: Callable[[], float]
    ) -> None:
        """node: the name that Cache-Status carries. draw: chance, from 0 to 1 without 1."""
        self._recursor = recursor
        self._pages = pages
        self._rules = rules
        self._node = node
        self._draw = draw

    async def answer(self, request: web.Request, target: Target, name: bytes) -> web.Response:
        """The answer about what a browser calls a handle. Raises BadTarget for parameters that cannot be read."""
        query = GatewayQuery.of(target)
        try:
            handle = Handle.parse(name)
        except InvalidHandle as error:
            return self._refused(name, error)
        visit = _Visit(http=request, target=target, query=query, handle=handle)
        try:
            found = await follow(
                self._recursor,
                handle,
                authoritative=query.authoritative,
                follow_aliases=query.follow_aliases,
            )
        except HandleError as error:
            return self._failed(handle, error)
        return await self._found(visit, found)

    async def _found(self, visit: _Visit, found: Followed) -> web.Response:
        if found.tangle is not None:
            return self._tangled(visit, found)
        selected = select(found.entry, visit.target.indexes(), visit.target.types())
        if isinstance(selected, Denial):
            return self._denied(visit, found, selected)
        is_alias = visit.query.action is Action.REDIRECT and found.handle != visit.handle
        if is_alias:
            return self._passed_on(visit, found)
        retired = _retirement(selected)
        if retired is not None and alias_of(found.entry) is None:
            return self._gone(visit, found, retired)
        if visit.query.action is Action.VALUES:
            return self._shown(visit, found, selected)
        places = await self._places(visit, found, selected)
        if visit.query.action is Action.LOCATIONS:
            return self._listed(visit, found, selected, places)
        return self._redirected(visit, found, selected, places)

    async def _places(self, visit: _Visit, found: Followed, values: ValueList) -> _Places:
        """The lists of the record, with those of its prefix where the record has lists, or the visitor asks for one.

        Nobody else waits for the records of the prefix.
        """
        lists = read_lists(values)
        asked_for = visit.query.selectors or visit.query.action is Action.LOCATIONS
        if lists.alone or not (lists.lists or asked_for):
            return _Places(lists=lists, life=found.life, complete=True)
        shared = await shared_lists(self._recursor, found.handle)
        return _Places(
            lists=lists.joined(shared.lists),
            life=found.life.with_part(shared.life),
            complete=shared.complete,
        )

    def _redirected(self, visit: _Visit, found: Followed, values: ValueList, places: _Places) -> web.Response:
        """Send a browser to one of the places, or show the record when there is none."""
        possible = candidates(places.lists, values, found.handle, self._rules.schemes)
        if not possible:
            return self._shown(visit, found, values)
        choice = choose(possible, places.lists.choose_by, self._visitor(visit))
        if choice.is_cut_short:
            self._recursor.observer.limit_reached("location_networks")
        location = appended(choice.location.target, visit.query.append)
        status = choice.location.status if visit.http.version >= HttpVersion11 else DEFAULT_STATUS
        headers = self._freshness(visit, found.origin, places.life)
        if Dependence.VISITOR in choice.depends or not places.complete:
            headers = not_stored(work_told(self._node, found.origin))
        response = page_reply(
            self._pages, status, self._pages.moved(location), {**headers, "Location": location}
        )
        return self._noted(response, found.origin, places.life, choice)

    def _noted(
        self, response: web.Response, origin: Origin, life: Life, choice: Choice | None = None
    ) -> web.Response:
        """The response, counted, with its expiry, and open to the HTTP cache unless it is one visitor's own."""
        if "Age" in response.headers:
            response.headers["Expires"] = expiry(life, system_clocks())
        if choice is None or not choice.depends:
            note_origin(response, life, origin, self._node)
        else:
            response[OUTCOME] = "hit" if origin is Origin.HIT else "miss"
        return response

    def _passed_on(self, visit: _Visit, found: Followed) -> web.Response:
        """An alias: to the gateway's address of the final handle, with the same parameters."""
        location = gateway_path(found.handle, visit.http.raw_path.partition("?")[2])
        headers = self._freshness(visit, found.origin, found.life) | {"Location": location}
        response = page_reply(self._pages, 301, self._pages.moved(location), headers)
        return self._noted(response, found.origin, found.life)

    def _shown(self, visit: _Visit, found: Followed, values: ValueList) -> web.Response:
        clocks = system_clocks()
        text = self._pages.record(
            found.handle,
            values.sorted(),
            fetched_wall_s=clocks.wall_of(found.life.stored_s),
            expires_wall_s=clocks.wall_of(found.life.expires_s),
        )
        return self._told(visit, found, 200, text)

    def _listed(self, visit: _Visit, found: Followed, values: ValueList, places: _Places) -> web.Response:
        possible = candidates(places.lists, values, found.handle, self._rules.schemes)
        text = self._pages.locations(found.handle, possible)
        headers = self._freshness(visit, found.origin, places.life)
        if not places.complete:
            headers = not_stored(work_told(self._node, found.origin))
        response = page_reply(self._pages, 200, text, headers)
        note_origin(response, places.life, found.origin, self._node)
        return response

    def _denied(self, visit: _Visit, found: Followed, denial: Denial) -> web.Response:
        if http_status(denial.code) == 503:
            text = self._pages.failed(found.handle, cause=denial.message, remedy="", busy=False)
            return self._told(
                visit, found, 503, text, code=denial.code, headers={"Retry-After": RETRY_AFTER_S}
            )
        exists = denial.code == ResponseCode.VALUES_NOT_FOUND
        text = self._pages.denied(found.handle, message=denial.message, exists=exists)
        return self._told(visit, found, _status_of_denial(denial.message), text, code=denial.code)

    def _gone(self, visit: _Visit, found: Followed, retired: StatusText) -> web.Response:
        """A retired handle: 410, with its successor where there is one (RFC 5829)."""
        successor = _successor_path(retired.successor) if retired.successor else None
        links = {"Link": f'<{successor}>; rel="successor-version"'} if successor else {}
        text = self._pages.denied(found.handle, message=str(retired), exists=True)
        return self._told(visit, found, 410, text, headers=links)

    def _tangled(self, visit: _Visit, found: Followed) -> web.Response:
        circular = found.tangle is Tangle.LOOP
        text = self._pages.tangled(visit.handle, last=found.handle, circular=circular)
        return self._told(visit, found, 404, text, code=ResponseCode.HANDLE_NOT_FOUND)

    def _told(
        self,
        visit: _Visit,
        found: Followed,
        status: int,
        text: str,
        *,
        code: int = ResponseCode.SUCCESS,
        headers: Mapping[str, str] = NOTHING_MORE,
    ) -> web.Response:
        """A page that tells what the records say."""
        fresh = self._freshness(visit, found.origin, found.life)
        response = page_reply(self._pages, status, text, {**fresh, **headers}, code)
        note_origin(response, found.life, found.origin, self._node)
        return response

    def _failed(self, handle: Handle, error: HandleError) -> web.Response:
        status, code, cause, remedy = describe(error)
        busy = code == ResponseCode.SERVER_TOO_BUSY
        text = self._pages.failed(handle, cause=cause, remedy=remedy, busy=busy)
        headers = {"Cache-Control": "no-store", "Retry-After": RETRY_AFTER_S}
        return page_reply(self._pages, status, text, headers, code)

    def _refused(self, name: bytes, error: InvalidHandle) -> web.Response:
        text = self._pages.refused(printable(name[:NAME_OCTETS_SHOWN]), cause=str(error))
        return page_reply(self._pages, 400, text, {"Cache-Control": "no-store"}, ResponseCode.INVALID_HANDLE)

    def _freshness(self, visit: _Visit, origin: Origin, life: Life) -> dict[str, str]:
        return freshness(
            life,
            origin,
            authoritative=visit.query.authoritative,
            node=self._node,
            clocks=system_clocks(),
        )

    def _visitor(self, visit: _Visit) -> Visitor:
        country, told = visit.query.country, True
        if country is None and self._rules.country_header:
            country, told = country_code(visit.http.headers.get(self._rules.country_header, "")), False
        return Visitor(
            address=peer_host(visit.http),
            accept=",".join(visit.http.headers.getall("Accept", ())),
            selectors=visit.query.selectors,
            country=country,
            country_told=told,
            draw=self._draw,
        )


def _retirement(values: ValueList) -> StatusText | None:
    """What a record says of its retirement; None for any other record."""
    for value in values.select(types=("DESC",)):
        status = parse_status(value.data.decode("utf-8", "replace"))
        if status is not None and status.status is Status.RETIRED:
            return status
    return None


def _successor_path(name: str) -> str | None:
    try:
        return local_path(Handle.parse(name))
    except InvalidHandle:
        return None


def _status_of_denial(message: str) -> int:
    """What a browser gets for a denial: 403 for what is suspended, 410 for what is revoked, else 404."""
    status = parse_status(message)
    if status is None or status.status is Status.RETIRED:
        return 404
    return 403 if status.status is Status.SUSPENDED else 410
