"""Idempotency keys: a write that is repeated with the same key happens once and is answered alike (24 hours).

The key's row is written in the transaction of the write itself. While that runs, an advisory lock on the key refuses a
second one; the lock ends with the transaction, whatever becomes of it. A write that shares its transaction with others
takes no lock: the second one of two meets the row of the first, is undone, and gives the first one's answer. A refused
request keeps no row: it changed nothing, and may be sent again with the same key.
Source: draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
import msgspec
from aiohttp import web

from registry.api.respond import stored_response
from registry.problem_types import IN_PROGRESS, INVALID_REQUEST, KEY_REUSED, ApiProblem, FieldFault
from registry.seal import Sealer
from registry.store import Store
from registry.transaction import Transaction
from registry.work import Connection
from registry.writing import columns_of

HEADER: Final = "Idempotency-Key"
KEPT_HOURS: Final = 24
RECENT_MAX: Final = 10_000
"""Keys that a process remembers: a repetition of one of them is looked up before anything is tried."""
PURGE_ROWS_MAX: Final = 10_000
"""Rows that one statement of the clean-up removes, so that it holds no lock for long."""

_KEY: Final = re.compile(r"[\x21-\x7e]{8,255}")
_KEPT_HEADERS: Final = ("Content-Type", "Cache-Control", "ETag", "Location", "X-Content-Type-Options")
_STORED: Final = "status, headers, body, sealed, request_digest"
_RECALL: Final = f"""
    SELECT {_STORED} FROM idempotency_keys
    WHERE caller = $1 AND key = $2 AND created > now() - interval '{KEPT_HOURS} hours'"""  # noqa: S608
_ENTER: Final = f"""
    SELECT pg_try_advisory_xact_lock($3) AS free, {_STORED}, created > now() - interval '{KEPT_HOURS} hours' AS fresh
    FROM (SELECT 1) AS always LEFT JOIN idempotency_keys ON caller = $1 AND key = $2"""  # noqa: S608
_FORGET: Final = "DELETE FROM idempotency_keys WHERE caller = $1 AND key = $2"
_KEEP: Final = """
    INSERT INTO idempotency_keys (caller, key, request_digest, status, headers, body, sealed)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::int[], $5::text[], $6::bytea[], $7::boolean[])"""
_PURGE: Final = f"""
    DELETE FROM idempotency_keys WHERE (caller, key) IN (
        SELECT caller, key FROM idempotency_keys WHERE created < now() - interval '{KEPT_HOURS} hours'
        ORDER BY created LIMIT {PURGE_ROWS_MAX})"""  # noqa: S608

Kept = tuple[str, str, bytes, int, str, bytes | None, bool]
"""A row: caller, key, digest, status, headers, body, whether the body is sealed."""


class Replayed(Exception):
    """The request was answered before; ends its handling."""

    def __init__(self, response: web.Response) -> None:
        super().__init__()
        self.response = response


class KeyTaken(Exception):
    """Another process has committed the same request meanwhile; ends the transaction, which repeats nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request with an idempotency key."""

    caller: str
    key: str
    digest: bytes
    """SHA-256 over method, target and body."""

    @property
    def lock(self) -> int:
        """Number of its advisory lock."""
        octets = hashlib.sha256(f"{self.caller}\0{self.key}".encode()).digest()
        return int.from_bytes(octets[:8], "big", signed=True)

    @property
    def purpose(self) -> bytes:
        """What a stored secret is bound to."""
        return purpose_of(self.caller, self.key)


def purpose_of(caller: str, key: str) -> bytes:
    """What the answer to a caller's request with this key is bound to where it is kept sealed."""
    return f"idempotency/{caller}/{key}".encode()


def claim_of(header: str, *, caller: str, method: str, raw_target: str, body: bytes) -> Claim:
    """Read the header. Raises ApiProblem 400 for a key of another form."""
    if _KEY.fullmatch(header) is None:
        text = "must have 8 to 255 printable ASCII characters without blanks"
        raise ApiProblem(
            INVALID_REQUEST, f"The {HEADER} {text}.", errors=[FieldFault(f"header {HEADER}", text)]
        )
    head = f"{method}\0{raw_target}\0".encode("utf-8", "surrogateescape")
    return Claim(caller=caller, key=header, digest=hashlib.sha256(head + body).digest())


class Idempotency:
    """The keys of one node's database."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._running: set[tuple[str, str]] = set()
        self._recent: dict[tuple[str, str], None] = {}

    @contextmanager
    def alone(self, claim: Claim) -> Iterator[None]:
        """For the duration of the block, no request with this key runs in this process.

        Raises ApiProblem while another one does.
        """
        name = (claim.caller, claim.key)
        if name in self._running:
            raise _in_progress()
        self._running.add(name)
        try:
            yield
        finally:
            self._running.discard(name)

    def is_recent(self, claim: Claim) -> bool:
        """Whether this process has answered a request with this key not long ago."""
        return (claim.caller, claim.key) in self._recent

    async def recall(self, claim: Claim) -> None:
        """Raises Replayed when the request was answered before, ApiProblem when its key was used for another one."""
        async with self._store.connection() as connection:
            record = await connection.fetchrow(_RECALL, claim.caller, claim.key)
        if record is not None:
            self._answer(claim, record)

    async def enter(self, connection: Connection, claim: Claim) -> None:
        """Begin a request inside its transaction. Raises Replayed, or ApiProblem also while the same one is running."""
        record = await connection.fetchrow(_ENTER, claim.caller, claim.key, claim.lock)
        assert record is not None
        if not record["free"]:
            raise _in_progress()
        if record["fresh"]:
            self._answer(claim, record)
        elif record["fresh"] is not None:
            await connection.execute(_FORGET, claim.caller, claim.key)

    def keep(self, transaction: Transaction, claim: Claim, response: web.Response, *, secret: bool) -> None:
        """Keep an answer, in the transaction of its request: KeyTaken ends it where the key was used meanwhile.

        secret: whether the body holds a secret, which is kept sealed.
        """
        body = response.body
        assert body is None or isinstance(body, bytes)
        if secret and body is not None:
            body = self._sealer.seal_octets(claim.purpose, body)
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        text = msgspec.json.encode(headers).decode()
        row = (claim.caller, claim.key, self._digest(claim), response.status, text, body, secret)
        transaction.collect(self._write, row)

    async def _write(self, connection: Connection, rows: Sequence[Kept]) -> None:
        """Write what was kept, of one request or of all that share a transaction. Raises KeyTaken."""
        try:
            await connection.execute(_KEEP, *columns_of(rows, 7))
        except asyncpg.UniqueViolationError:
            raise KeyTaken from None
        for row in rows:
            self._recent[row[0], row[1]] = None
        while len(self._recent) > RECENT_MAX:
            del self._recent[next(iter(self._recent))]

    async def purge(self) -> None:
        """Remove the keys that are older than a day."""
        status = f"DELETE {PURGE_ROWS_MAX}"
        while status == f"DELETE {PURGE_ROWS_MAX}":
            async with self._store.connection() as connection:
                status = await connection.execute(_PURGE)

    def _digest(self, claim: Claim) -> bytes:
        """What is kept of a request: keyed, since a body may hold a password that a plain digest lets people guess."""
        return self._sealer.digest(b"idempotency", claim.digest)

    def _answer(self, claim: Claim, record: asyncpg.Record) -> None:
        if record["request_digest"] != self._digest(claim):
            raise ApiProblem(KEY_REUSED, f"The {HEADER} came before, with another method, target or body.")
        body = record["body"]
        if record["sealed"] and body is not None:
            body = self._sealer.open_octets(claim.purpose, body)
        raise Replayed(stored_response(record["status"], msgspec.json.decode(record["headers"]), body))


def _in_progress() -> ApiProblem:
    return ApiProblem(
        IN_PROGRESS, f"A request with this {HEADER} is being worked on.", headers={"Retry-After": "1"}
    )
