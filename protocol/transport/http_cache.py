"""The answer cache of the HTTP front end: whole answers by request line, host and class of the Accept fields.

An application marks the answers that may be given again (REUSE). They are taken from what the web framework is about to
send, header fields included, so that an answer from the cache is what the framework would send. Whether a connection
is over TLS is not in the key: no answer that may be given again depends on it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from random import getrandbits
from typing import Final, NamedTuple, Protocol

from aiohttp import HttpVersion11, web

from protocol.codes import OpCode
from protocol.generations import Generations, Stamp
from protocol.transport.bounded_table import BoundedTable, TableEntry
from protocol.transport.http_head import EOL, KEY, VERSION, AcceptClass, HeaderBlocks, classify

OCTETS_MAX: Final = 32 * 1_048_576
ENTRIES_MAX: Final = 262_144
BODY_OCTETS_MAX: Final = 65_536  # a larger answer is rare, and cheap beside its transfer
ENTRY_OCTETS: Final = 240  # slots, numbers, and what says how the head changes; by tracemalloc
TALLY_S: Final = 0.05  # between two times that hits are counted in the metrics
_DATE: Final = "Date"
ID_OCTETS: Final = 16  # hexadecimal digits, as those of the framework's answers
_RESOLUTION: Final = int(OpCode.RESOLUTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """What an application says of an answer that may be given again."""

    operation: int
    code: int
    """What the answer counts as."""
    until_s: float
    """Monotonic time until which it may be given."""
    stamp: Stamp | None = None
    """The generations of what it was made from, as they were before that was read."""
    timed: Callable[[float], tuple[dict[str, str], float]] | None = None
    """From a monotonic time to the header fields that change with it, always the same ones in a dictionary of its own,
    and when they next change."""
    id_field: str = ""
    """The header field that carries an id of each answer's own."""
    despite_no_store: bool = False
    """Its Cache-Control forbids caches to keep it, which is no word about this process: it ends it with the stamp."""


REUSE: Final = web.ResponseKey("reuse", Reuse)
"""Where a response carries it."""


Kind = tuple[int, int]
"""Operation and response code of an answer."""


class LastHit(NamedTuple):
    """A resolution that was answered from the cache."""

    line: bytes
    """The request line."""
    code: int
    host: str


class HttpCacheObserver(Protocol):
    """Counts look-ups; quick, and never raises."""

    def http_looked_up(
        self,
        hits: Mapping[Kind, int],
        misses: int,
        hosts: Mapping[str, int],
        elapsed_s: float,
        last: "LastHit | None",
        /,
    ) -> None:
        """So many answers of each kind came from the cache, and so many requests that it did not hold did not.

        hosts: how many of the hits that were resolutions went to which address. elapsed_s: from the first octet read
        to the last one written, on average. last: the last of these resolutions.
        """


class _Silent:
    def http_looked_up(
        self,
        hits: Mapping[Kind, int],
        misses: int,
        hosts: Mapping[str, int],
        elapsed_s: float,
        last: "LastHit | None",
    ) -> None:
        """See HttpCacheObserver."""


class Tally:
    """Gathers counts and tells them together: one by one they would cost as much as the answers."""

    def __init__(self, observer: HttpCacheObserver) -> None:
        self._observer = observer
        self._timer: asyncio.TimerHandle | None = None
        self._last: LastHit | None = None
        self._clear()

    def hits(self, kinds: Sequence[Kind], host: str, elapsed_s: float, line: bytes) -> None:
        """Counts answers that were given to one client together. line: the request line of the last."""
        hits, resolutions = self._hits, 0
        for kind in kinds:
            hits[kind] = hits.get(kind, 0) + 1
            resolutions += kind[0] == _RESOLUTION
        if resolutions:
            self._hosts[host] = self._hosts.get(host, 0) + resolutions
            if kinds[-1][0] == _RESOLUTION:
                self._last = LastHit(line, kinds[-1][1], host)
        self._elapsed_s += elapsed_s * len(kinds)
        if self._timer is None:
            self._schedule()

    def miss(self) -> None:
        """Counts a request that the cache could have answered."""
        self._misses += 1
        if self._timer is None:
            self._schedule()

    def tell(self) -> None:
        """Tells the observer what was counted since the last time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        count = sum(self._hits.values())
        if count or self._misses:
            mean_s = self._elapsed_s / max(1, count)
            self._observer.http_looked_up(self._hits, self._misses, self._hosts, mean_s, self._last)
            self._clear()

    def _clear(self) -> None:
        self._hits: dict[Kind, int] = {}
        self._hosts: dict[str, int] = {}
        self._misses = 0
        self._elapsed_s = 0.0
        self._last = None

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TALLY_S, self.tell)


class HttpEntry(TableEntry):
    """An answer: head, and body."""

    __slots__ = (
        "body",
        "head",
        "head_until_s",
        "id_at",
        "id_field",
        "kind",
        "seen_change",
        "stamp",
        "timed",
        "until_s",
    )

    def __init__(self, head: bytes, body: bytes, kind: Kind, reuse: Reuse) -> None:
        self.head = head
        self.body = body
        self.kind = kind
        self.until_s = reuse.until_s
        self.stamp = reuse.stamp
        self.timed = reuse.timed
        self.id_field = reuse.id_field
        self.id_at = 0
        """Where the id stands in the head, which is another one in each answer; 0 for nowhere."""
        self.head_until_s = 0.0
        """Until when the head tells the time, in whatever fields it does."""
        self.seen_change = 0
        """Generations.last_change when its stamp was last compared."""

    def give(self, answers: list[bytes]) -> int:
        """Appends the answer, in pieces; how many octets it has."""
        head, at = self.head, self.id_at
        if at:
            answers += (head[:at], _fresh_id(), head[at + ID_OCTETS :], self.body)
        else:
            answers += (head, self.body)
        return len(head) + len(self.body)

    def write_head(self, now_s: float, date: str, date_until_s: float) -> None:
        """Brings the fields that change with time up to now."""
        fields, until_s = ({}, date_until_s) if self.timed is None else self.timed(now_s)
        fields[_DATE] = date
        head = self.head
        for name, value in fields.items():
            start = _place(head, name)
            head = head[:start] + value.encode() + head[head.index(EOL, start) :]
        self.head = head
        self.id_at = _place(head, self.id_field) if self.id_field else 0
        self.head_until_s = min(until_s, date_until_s, self.until_s)


def _place(head: bytes, name: str) -> int:
    """Where the value of a field begins. Names stand after a line end only, since no value holds one."""
    return head.index(f"\r\n{name}: ".encode()) + len(name) + 4


class HttpCache:
    """Answers by request, bounded in octets and entries.

    generations: where stamps are compared; without it, nothing that has one is kept. accept_class: what the
    application makes of the Accept fields, when its answers depend on them.
    """

    def __init__(
        self,
        *,
        octets_max: int = OCTETS_MAX,
        entries_max: int = ENTRIES_MAX,
        generations: Generations | None = None,
        accept_class: AcceptClass | None = None,
        observer: HttpCacheObserver | None = None,
    ) -> None:
        self._table: BoundedTable[HttpEntry] = BoundedTable(octets_max=octets_max, entries_max=entries_max)
        self._generations = generations
        self._accept_class = accept_class
        self._is_closed = False
        self._date = ""
        self._date_until_s = 0.0
        self._kinds: dict[Kind, Kind] = {}
        """One object of each, for all entries."""
        self.blocks = HeaderBlocks(accept_class)
        self.tally = Tally(observer or _Silent())

    def __len__(self) -> int:
        return len(self._table)

    @property
    def octets(self) -> int:
        """Octets held."""
        return self._table.octets

    @property
    def evicted(self) -> int:
        """Answers that left for want of room."""
        return self._table.evicted

    def find(self, key: bytes, now_s: float) -> HttpEntry | None:
        """The answer to a request, its head as of now; None when there is none that is still true.

        key: the request line, without its end, and the class of the header block. now_s: monotonic.
        """
        entry = self._table.get(key)
        if entry is None:
            return None
        if entry.stamp is not None and not self._is_current(entry, entry.stamp):
            self._table.remove(key)
            return None
        if now_s >= entry.head_until_s:
            if now_s >= entry.until_s:
                self._table.remove(key)
                return None
            self._write_head(entry, now_s)
        return entry

    def clear(self) -> None:
        """Forgets everything."""
        self._table.clear()

    def close(self) -> None:
        """Holds nothing from here on: a front end that is being closed says so with each of its last answers."""
        self._is_closed = True
        self._table.clear()

    async def note(self, request: web.Request, response: web.StreamResponse) -> None:
        """Keeps a response that is about to be sent, if it may be given again. For aiohttp's on_response_prepare."""
        reuse = response.get(REUSE)
        if self._is_closed or reuse is None or not isinstance(response, web.Response):
            return
        if not _may_be_kept(response, reuse):
            return
        if reuse.stamp is not None and self._generations is None:
            return
        key = self._key_of(request)
        body = response.body if response.body is not None else b""
        if key is None or not isinstance(body, bytes) or len(body) > BODY_OCTETS_MAX:
            return
        kind = (reuse.operation, reuse.code)
        entry = HttpEntry(_head(response), body, self._kinds.setdefault(kind, kind), reuse)
        if request.method == "HEAD":
            entry.body = b""
        self._write_head(entry, time.monotonic())
        self._table.put(key, entry, len(entry.head) + len(entry.body) + ENTRY_OCTETS)

    def _key_of(self, request: web.Request) -> bytes | None:
        """The key of a request that find() can be asked for, None for any other."""
        if request.version != HttpVersion11 or request.method not in ("GET", "HEAD"):
            return None
        target = request.raw_path
        suffix = classify(request.raw_headers, self._accept_class)
        if suffix is None or not suffix.startswith(KEY) or not target.startswith("/"):
            return None
        return f"{request.method} {target}{VERSION}".encode("utf-8", "surrogateescape") + suffix

    def _is_current(self, entry: HttpEntry, stamp: Stamp) -> bool:
        generations = self._generations
        if generations is None:
            return False
        last_change = generations.last_change  # before what it tells of is compared
        if entry.seen_change != last_change or not last_change:
            if not generations.current(stamp):
                return False
            entry.seen_change = last_change
        return True

    def _write_head(self, entry: HttpEntry, now_s: float) -> None:
        if now_s >= self._date_until_s:
            wall_s = time.time()
            self._date = formatdate(wall_s, usegmt=True)
            self._date_until_s = now_s + 1 - wall_s % 1
        entry.write_head(now_s, self._date, self._date_until_s)


def _fresh_id() -> bytes:
    """An id like those of answers that the framework gives; not a secret."""
    return b"%016x" % getrandbits(64)


def _may_be_kept(response: web.Response, reuse: Reuse) -> bool:
    headers = response.headers
    if response.status >= 500 or response.status == 429 or response.cookies:
        return False
    if any(name in headers for name in ("Set-Cookie", "Connection", "Transfer-Encoding", "Content-Encoding")):
        return False
    if headers.get("Vary", "Accept") != "Accept":
        return False
    return reuse.despite_no_store or not any(
        word in headers.get("Cache-Control", "") for word in ("no-store", "private", "no-cache")
    )


def _head(response: web.Response) -> bytes:
    """The head of a response as the framework writes it."""
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += (f"{name}: {value}" for name, value in response.headers.items())
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
