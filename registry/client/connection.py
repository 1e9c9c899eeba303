"""Connection: one request to the API and its answer, sent again as long as that helps; bounded, typed, over TLS."""

import asyncio
import random
import re
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar, cast

import aiohttp
import msgspec
from yarl import URL

from protocol.errors import SettingsError
from protocol.runtime.build import version
from registry.api.schemas.base import ProblemBody
from registry.client.address import API_PATH, Query, checked_url, query_text
from registry.client.credential import Credential
from registry.client.errors import ClientError, NoAnswer, Refused, UnexpectedAnswer, blotted, retry_after_s
from registry.client.retrying import Retries, is_passing

DEADLINE_S: Final = 120.0
"""For a call with all its repetitions; a batch of 10,000 takes a few seconds."""
ATTEMPT_S: Final = 60.0
"""For one attempt; nodes give a request as long."""
CONNECT_S: Final = 10.0
CONNECTIONS_MAX: Final = 32
"""To one node; a program that registers from more tasks than that gains nothing."""
ANSWER_OCTETS_MAX: Final = 64 * 1024 * 1024
"""A page of two hundred records of the largest size as JSON, or the results of the largest batch, stay below."""
IDEMPOTENCY_KEY_HEADER: Final = "Idempotency-Key"

Reply = TypeVar("Reply")

_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{8,255}")
_CA_REMEDY: Final = "Name a file with the authority that signed it (--ca-file)"
_TLS_REMEDY: Final = "Does the node speak HTTPS at this port?"
_HTTP_REMEDY: Final = "Is this the node's HTTP port, and not that of the Handle protocol?"
_PROBLEM_JSON: Final = "application/problem+json"
_decoders: Final[dict[Any, msgspec.json.Decoder[Any]]] = {}
_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """How a write is made."""

    dry_run: bool = False
    """Whether everything is checked and answered, and nothing kept."""
    idempotency_key: str | None = None
    """Under which a write that is repeated happens once, within 24 hours; None for a fresh one in every call. A program
    that may be ended between two calls keeps it beside what it registers."""

    def __post_init__(self) -> None:
        """Raises ValueError for a key that no node would accept."""
        key = self.idempotency_key
        if key is not None and _IDEMPOTENCY_KEY.fullmatch(key) is None:
            raise ValueError("an idempotency key has 8 to 255 printable ASCII characters without blanks")


ONCE: Final = Write()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[Reply]):
    """What a request that succeeded was answered."""

    body: Reply
    etag: str | None
    """Version of the object, without quotes: what `if_match` takes."""
    replayed: bool
    """Whether this is the answer to an earlier request with the same idempotency key."""
    dry_run: bool
    """Whether nothing of it was kept."""
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A request as it is sent, the same at every attempt."""

    method: str
    url: URL
    headers: dict[str, str]
    octets: bytes | None
    id: str
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class _Raw:
    """An answer, whole, not yet understood."""

    status: int
    headers: Mapping[str, str]
    octets: bytes


class Connection:
    """The way to one node."""

    def __init__(
        self,
        url: str,
        *,
        credential: Credential | None = None,
        ca_file: Path | None = None,
        retries: Retries | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Prepare; nothing is opened yet.

        url: scheme, host and port of the node, such as https://node.example:8000. ca_file: PEM with the authorities
        that are trusted, in place of those of the system. Raises SettingsError.
        """
        self.url = checked_url(url, has_credential=credential is not None)
        self._credential = credential
        self._tls = _tls(ca_file) if self.url.startswith("https:") else None
        self._retries = retries or Retries()
        self._deadline_s = deadline_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self, path: str, reply: type[Reply], query: Query | None = None) -> Answer[Reply]:
        """Read. Raises ClientError."""
        return await self._call(self._request("GET", path, query or {}), reply)

    async def write(
        self,
        method: str,
        path: str,
        reply: type[Reply],
        *,
        body: msgspec.Struct | None = None,
        query: Query | None = None,
        if_match: str | None = None,
        how: Write = ONCE,
    ) -> Answer[Reply]:
        """Write.

        if_match: the version that the change is meant for. Raises ClientError.
        """
        headers = {IDEMPOTENCY_KEY_HEADER: how.idempotency_key or secrets.token_urlsafe(18)}
        if if_match is not None:
            headers["If-Match"] = if_match if if_match == "*" else f'"{if_match}"'
        octets = None
        if body is not None:
            octets = _encoder.encode(body)
            headers["Content-Type"] = "application/json"
        request = self._request(
            method, path, {**(query or {}), "dry_run": True if how.dry_run else None}, headers, octets
        )
        return await self._call(request, reply)

    def _request(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str] | None = None,
        octets: bytes | None = None,
    ) -> _Request:
        request_id = secrets.token_hex(8)
        given = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # an answer is bounded as it comes, and a packed one is not
            "User-Agent": f"handlegrid/{version()}",
            "X-Request-Id": request_id,
            **(headers or {}),
        }
        if self._credential is not None:
            given["Authorization"] = self._credential.header
        target = API_PATH + path + query_text(query)
        return _Request(
            method=method,
            url=URL(self.url + target, encoded=True),
            headers=given,
            octets=octets,
            id=request_id,
            idempotency_key=given.get(IDEMPOTENCY_KEY_HEADER),
        )

    async def _call(self, request: _Request, reply: type[Reply]) -> Answer[Reply]:
        raw = await self._send(request)
        return Answer(
            body=self._decode(raw, reply),
            etag=_etag(raw.headers),
            replayed=raw.headers.get("Idempotency-Replayed") == "true",
            dry_run=raw.headers.get("Dry-Run") == "true",
            request_id=raw.headers.get("X-Request-Id", request.id),
        )

    async def _send(self, request: _Request) -> _Raw:
        """Send until there is an answer that waiting would not change, or no time is left."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._deadline_s
        repeat, sent = 0, False
        while True:
            asked_s = None
            failure: ClientError
            try:
                raw = await self._attempt(request, deadline_s)
            except _Lost as lost:
                sent = sent or lost.sent
                failure, passing = self._no_answer(request, lost, sent=sent), lost.passing
            else:
                if 200 <= raw.status < 300:
                    return raw
                failure, passing = self._failure(request, raw)
                asked_s = retry_after_s(raw.headers)
            repeat += 1
            pause_s = self._retries.pause_before(repeat, asked_s=asked_s, chance=random.random())
            if not passing or pause_s is None or loop.time() + pause_s >= deadline_s:
                raise failure
            await asyncio.sleep(pause_s)

    async def _attempt(self, request: _Request, deadline_s: float) -> _Raw:
        """Send once. Raises _Lost, and UnexpectedAnswer for an answer that is too large."""
        try:
            async with asyncio.timeout_at(min(deadline_s, asyncio.get_running_loop().time() + ATTEMPT_S)):
                return await self._exchange(request)
        except TimeoutError:
            raise _Lost("no answer in time") from None
        except aiohttp.ClientConnectorCertificateError as error:
            cause = f"its certificate is not trusted: {error.certificate_error}"
            raise _Lost(cause, _CA_REMEDY, sent=False, passing=False) from None
        except aiohttp.ClientConnectorSSLError as error:
            cause = f"no TLS: {error.os_error.strerror or error.os_error}"
            raise _Lost(cause, _TLS_REMEDY, sent=False, passing=False) from None
        except aiohttp.ClientConnectorError as error:
            raise _Lost(f"no connection: {error.os_error.strerror or error.os_error}", sent=False) from None
        except aiohttp.ClientResponseError:  # its text repeats what came
            raise _Lost("what answers speaks no HTTP", _HTTP_REMEDY, passing=False) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Lost(f"the connection was lost ({str(error) or type(error).__name__})") from None

    async def _exchange(self, request: _Request) -> _Raw:
        async with self._opened().request(
            request.method,
            request.url,
            data=request.octets,
            headers=request.headers,
            allow_redirects=False,  # a credential goes to whom it was meant for
        ) as response:
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > ANSWER_OCTETS_MAX:
                    raise UnexpectedAnswer(self.url, f"an answer of more than {ANSWER_OCTETS_MAX} octets")
            return _Raw(response.status, response.headers, bytes(body))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=self._tls or True),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=["Content-Type"],
            )
        return self._session

    def _failure(self, request: _Request, raw: _Raw) -> tuple[Refused | UnexpectedAnswer, bool]:
        """What an answer that is no success means, and whether it may pass."""
        problem = self._problem(raw)
        if problem is not None:
            secret = None if self._credential is None else self._credential.secret
            refused = Refused(
                blotted(problem, secret),
                retry_after_s=retry_after_s(raw.headers),
                idempotency_key=request.idempotency_key,
            )
            return refused, is_passing(raw.status, problem)
        cause = f"HTTP {raw.status} without a problem of the API; is this the address of a registry node?"
        return UnexpectedAnswer(self.url, cause), is_passing(raw.status, None)

    def _problem(self, raw: _Raw) -> ProblemBody | None:
        if raw.headers.get("Content-Type", "").partition(";")[0].strip() != _PROBLEM_JSON:
            return None
        try:
            return decoder_of(ProblemBody).decode(raw.octets)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return None

    def _decode(self, raw: _Raw, reply: type[Reply]) -> Reply:
        try:
            return decoder_of(reply).decode(raw.octets or b"null")
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            cause = f"an answer that this version does not understand: {error}"
            raise UnexpectedAnswer(self.url, cause) from None

    def _no_answer(self, request: _Request, lost: "_Lost", *, sent: bool) -> NoAnswer:
        key = request.idempotency_key if sent else None
        return NoAnswer(self.url, lost.cause, remedy=lost.remedy, idempotency_key=key)


class _Lost(Exception):
    """An attempt that no whole answer came of."""

    def __init__(self, cause: str, remedy: str = "", *, sent: bool = True, passing: bool = True) -> None:
        """sent: whether the node may have got the request. passing: whether repeating may help."""
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.sent = sent
        self.passing = passing


def _etag(headers: Mapping[str, str]) -> str | None:
    tag = headers.get("ETag")
    return None if tag is None else tag.removeprefix("W/").strip('"')


def decoder_of(shape: type[Reply]) -> "msgspec.json.Decoder[Reply]":
    """The decoder for a type of answer; made once for each."""
    decoder = _decoders.get(shape)
    if decoder is None:
        decoder = _decoders[shape] = msgspec.json.Decoder(shape)
    return cast("msgspec.json.Decoder[Reply]", decoder)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError([f"{ca_file}: holds no certificates of authorities: {error}"]) from None
