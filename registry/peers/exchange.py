"""Exchanges with other nodes: one signed request, one signed answer, over HTTP.

Connections go to addresses that were checked, never to where a name or a redirect leads afterwards. What proves the
peer is its signature over the answer; TLS keeps others from reading along.
"""

import asyncio
import re
import secrets
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from protocol.client.selection import Opening, canonical
from protocol.errors import HandleError
from protocol.handle import Prefix
from protocol.runtime.build import version
from protocol.site import InterfaceProtocol, Site
from registry.allocation.routes import RouteRefused, check_site, pin_url
from registry.peers.node_key import NodeKey
from registry.peers.signatures import (
    SignatureRefused,
    check_key,
    read_response_claim,
    sign_request,
    signature_of,
)
from registry.plain_http import PlainHttpRule, is_loopback

EXCHANGE_WAIT_S: Final = 30.0
"""How long a peer may take for an answer; a page of a move takes well under a second."""
CONNECT_WAIT_S: Final = 5.0
ANSWER_OCTETS_MAX: Final = 16_777_216
"""Octets of an answer; a page of a move stays below half of it."""
TEXT_CHARACTERS_MAX: Final = 300
"""Of a peer's own words that we keep."""
CONNECTIONS_MAX: Final = 32
NONCE_OCTETS: Final = 18  # 24 characters of base64

Reply = TypeVar("Reply", bound=msgspec.Struct)


class PeerFailed(HandleError):
    """An exchange with another node that came to nothing; the text says with whom and why."""


class PeerUnreachable(PeerFailed):
    """No answer of the peer came: to be tried again later."""


class PeerRefused(PeerFailed):
    """The peer's own no."""

    def __init__(self, text: str, *, status: int, slug: str, retry: bool) -> None:
        super().__init__(text)
        self.status = status
        self.slug = slug
        """The name of the problem type."""
        self.retry = retry
        """Whether the same request may succeed later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node takes requests."""

    scheme: str
    host: str
    """As the URL or the site record spells it."""
    port: int
    addresses: tuple[str, ...]
    """Literal addresses that were checked; nothing else is connected to."""
    named: bool
    """Whether the host is a name, whose certificate can be checked."""

    @property
    def authority(self) -> str:
        """For the Host header."""
        return f"{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another node."""

    node: str
    """Its key id."""
    public_key: bytes
    places: tuple[Place, ...]
    """Tried in this order."""


def places_of_site(
    site: Site, prefix: Prefix, *, openings: Sequence[Opening], rule: PlainHttpRule
) -> tuple[Place, ...]:
    """Where the node of a site takes requests: its interfaces for HTTPS, or for HTTP on loopback where that is allowed.

    prefix: on whose behalf it is spoken to. Raises RouteRefused for a site with other addresses than may be asked, or
    without such an interface.
    """
    check_site(site, prefix, openings)
    places = []
    for server in site.servers:
        host = str(canonical(server.ip))
        for interface in server.interfaces:
            secure = interface.protocol == InterfaceProtocol.HTTPS
            plain = interface.protocol == InterfaceProtocol.HTTP and _may_be_plain(host, rule)
            if secure or plain:
                scheme = "https" if secure else "http"
                place = Place(scheme=scheme, host=host, port=interface.port, addresses=(host,), named=False)
                places.append(place)
    if not places:
        raise RouteRefused("the site has no HTTPS interface, over which nodes speak with each other")
    return tuple(sorted(places, key=lambda place: place.scheme != "https"))


async def place_of_url(url: str, *, rule: PlainHttpRule) -> Place:
    """Where a node takes requests that our operator named by its URL. Raises RouteRefused."""
    pinned = await pin_url(url, None, schemes=("https", "http"))
    if urlsplit(url).path not in ("", "/") or urlsplit(url).query:
        raise RouteRefused("the URL of a node is scheme, host and port alone")
    plain = pinned.scheme == "http"
    if plain and not all(_may_be_plain(address, rule) for address in pinned.addresses):
        raise RouteRefused(
            "http:// is for nodes on this host alone, where plain_http_credentials allows it; use https://"
        )
    return Place(
        scheme=pinned.scheme,
        host=pinned.host,
        port=pinned.port,
        addresses=pinned.addresses,
        named=pinned.host not in pinned.addresses,
    )


def _may_be_plain(host: str, rule: PlainHttpRule) -> bool:
    return rule == "loopback" and is_loopback(host)


class NodeClient:
    """Speaks with other nodes; made within a running event loop, closed by close()."""

    def __init__(self, key: NodeKey, wall_clock: Callable[[], float]) -> None:
        self._key = key
        self._wall_clock = wall_clock
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def exchange(
        self,
        peer: Peer,
        method: str,
        path: str,
        reply: type[Reply],
        body: msgspec.Struct | None = None,
        *,
        wait_s: float = EXCHANGE_WAIT_S,
    ) -> Reply:
        """Send a request to the first place of the peer that answers, and read its answer.

        path: percent-encoded, with the query. Raises PeerUnreachable, PeerRefused.
        """
        octets = b"" if body is None else msgspec.json.encode(body)
        asked = _Asked(method, path, octets, wait_s)
        failure = PeerUnreachable(f"node {peer.node[:16]} has no address")
        for place in peer.places:
            for address in place.addresses:
                try:
                    answer = await self._send(peer, place, address, asked)
                    return _decoded(answer, reply, peer)
                except PeerUnreachable as error:
                    failure = error
        raise failure

    async def fetch(self, place: Place, path: str, *, wait_s: float = EXCHANGE_WAIT_S) -> bytes:
        """GET what proves itself, such as a site record of which we know the key. Raises PeerUnreachable."""
        failure = PeerUnreachable(f"{place.authority} has no address")
        for address in place.addresses:
            try:
                status, _, octets = await self._request(place, address, _Asked("GET", path, b"", wait_s), {})
            except PeerUnreachable as error:
                failure = error
                continue
            if status == 200:
                return octets
            failure = PeerUnreachable(f"{place.authority} answers HTTP {status}: {_words(octets)}")
        raise failure

    async def ask(
        self,
        place: Place,
        path: str,
        body: msgspec.Struct,
        reply: type[Reply],
        *,
        wait_s: float = EXCHANGE_WAIT_S,
    ) -> Reply:
        """POST to a node of which nothing is proved yet; what it answers is to prove itself. Raises PeerUnreachable."""
        failure = PeerUnreachable(f"{place.authority} has no address")
        asked = _Asked("POST", path, msgspec.json.encode(body), wait_s)
        headers = {"Content-Type": "application/json"}
        for address in place.addresses:
            try:
                status, _, octets = await self._request(place, address, asked, headers)
            except PeerUnreachable as error:
                failure = error
                continue
            if status < 300:
                return _read_as(octets, reply, place.authority)
            failure = PeerUnreachable(f"{place.authority} answers HTTP {status}: {_words(octets)}")
        raise failure

    async def _send(self, peer: Peer, place: Place, address: str, asked: "_Asked") -> "_Answer":
        headers = sign_request(
            self._key,
            method=asked.method,
            target=asked.path,
            body=asked.body,
            recipient=peer.node,
            now_s=int(self._wall_clock()),
            nonce=secrets.token_urlsafe(NONCE_OCTETS),
        )
        if asked.body:
            headers["Content-Type"] = "application/json"
        status, fields, octets = await self._request(place, address, asked, headers)
        try:
            claim = read_response_claim(
                status=status,
                headers=fields,
                body=octets,
                request_signature=signature_of(headers),
                now_s=self._wall_clock(),
            )
            check_key(claim, peer.public_key)
        except SignatureRefused as error:
            where = f"{place.authority} answers HTTP {status} without proof that it is node {peer.node[:16]}"
            raise PeerUnreachable(f"{where} ({error}): {_words(octets)}") from None
        return _Answer(status, octets)

    async def _request(
        self, place: Place, address: str, asked: "_Asked", headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        url = URL(f"{place.scheme}://{_bracketed(address)}:{place.port}{asked.path}", encoded=True)
        options: dict[str, Any] = {}
        if place.scheme == "https":
            options["ssl"] = _CHECKED if place.named else _UNCHECKED
            if place.named:
                options["server_hostname"] = place.host
        try:
            async with (
                asyncio.timeout(asked.wait_s),
                self._opened().request(
                    asked.method,
                    url,
                    data=asked.body or None,
                    headers={**_HEADERS, **headers, "Host": place.authority},
                    allow_redirects=False,
                    **options,
                ) as response,
            ):
                return response.status, dict(response.headers), await _read(response)
        except TimeoutError:
            raise PeerUnreachable(f"{place.authority} does not answer in {asked.wait_s:.0f} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise PeerUnreachable(f"{place.authority} cannot be asked: {_clean(reason)}") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WAIT_S),
            )
        return self._session


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request on its way."""

    method: str
    path: str
    body: bytes
    wait_s: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """A proven answer."""

    status: int
    octets: bytes


class _Problem(msgspec.Struct):
    """What we read of a problem (RFC 9457)."""

    type: str = ""
    detail: str = ""
    retry: bool = False


def _decoded(answer: _Answer, reply: type[Reply], peer: Peer) -> Reply:
    if answer.status < 300:
        return _read_as(answer.octets, reply, f"node {peer.node[:16]}")
    problem = _problem(answer.octets)
    detail = _clean(problem.detail) or f"HTTP {answer.status}"
    raise PeerRefused(
        f"node {peer.node[:16]}: {detail}",
        status=answer.status,
        slug=problem.type.rpartition("/")[2][:100],
        retry=problem.retry or answer.status >= 500,
    )


def _read_as(octets: bytes, reply: type[Reply], who: str) -> Reply:
    try:
        return msgspec.json.decode(octets or b"{}", type=reply)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerUnreachable(f"{who} answers what cannot be read: {_clean(str(error))}") from None


def _problem(octets: bytes) -> _Problem:
    try:
        return msgspec.json.decode(octets, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Problem()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > ANSWER_OCTETS_MAX:
            raise ValueError(f"its answer has more than {ANSWER_OCTETS_MAX} octets")
    return bytes(body)


def _words(octets: bytes) -> str:
    """What an unproven answer says, for a person."""
    detail = _problem(octets).detail or octets[:TEXT_CHARACTERS_MAX].decode("utf-8", "replace")
    return _clean(detail) or "nothing"


def _clean(text: str) -> str:
    """A peer's words, bounded and on one line."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return re.sub(" +", " ", printable).strip()[:TEXT_CHARACTERS_MAX]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _without_check() -> ssl.SSLContext:
    """TLS to an address: its certificate names no address, and the peer proves itself by its signature."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_CHECKED: Final = ssl.create_default_context()
_UNCHECKED: Final = _without_check()
_HEADERS: Final = {
    "User-Agent": f"handlegrid/{version()}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}
