"""The caches of a node behind one face: records, denials and delegations, in memory and in the optional second tier."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.client.delegation import Delegation
from protocol.handle import Handle, Prefix
from protocol.runtime.memory_cache import MemoryCache
from protocol.site import Site
from resolver.cache.policy import (
    DENIALS,
    ENTRY_OVERHEAD_OCTETS,
    Denial,
    Entry,
    FlatDenial,
    FlatRecord,
    Lifetimes,
    Record,
    cache_key,
)
from resolver.cache.records import (
    Clocks,
    decode_delegation,
    decode_entry,
    encode_delegation,
    encode_entry,
)
from resolver.cache.redis import RedisTier

SITE_OCTETS: Final = 1_024  # a decoded site without its servers, measured with sys.getsizeof, rounded up
SERVER_OCTETS: Final = 512  # a server of it, without its key and interfaces
INTERFACE_OCTETS: Final = 192
ANCESTORS_ASKED_MAX: Final = 8  # prefix records looked up beside a record; real prefixes have four labels


class LookupObserver(Protocol):
    """Who counts look-ups."""

    def looked_up(self, cache: str, tier: str, *, hit: bool) -> None:
        """One look-up in one tier of one cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The first tier: three tables, so that a flood of one kind evicts none of the others."""

    records: MemoryCache[FlatRecord]
    denials: MemoryCache[FlatDenial]
    delegations: MemoryCache[Delegation]


class TieredCache:
    """Answers from memory at once, from the second tier after one round trip, and writes to both."""

    def __init__(
        self,
        memory: Memory,
        *,
        lifetimes: Lifetimes,
        observer: LookupObserver,
        clocks: Callable[[], Clocks],
        redis: RedisTier | None = None,
        namespace: str = "",
    ) -> None:
        """namespace begins every key of the second tier; clocks says what time it is."""
        self.memory = memory
        self.lifetimes = lifetimes
        self._observer = observer
        self._clocks = clocks
        self._redis = redis
        self._record_keys = f"{namespace}:r:".encode()
        self._delegation_keys = f"{namespace}:d:".encode()

    @property
    def has_second_tier(self) -> bool:
        """Whether what memory lacks may be had without asking another node."""
        return self._redis is not None

    def entry(self, key: bytes, now_s: float) -> Entry | None:
        """The record or denial in memory under a cache key; None when there is none that is live."""
        record = self.memory.records.get(key, now_s)
        self._observer.looked_up("values", "memory", hit=record is not None)
        if record is not None:
            return Record.of(record)
        denial = self.memory.denials.get(key, now_s)
        self._observer.looked_up("denials", "memory", hit=denial is not None)
        return None if denial is None else Denial.of(denial)

    def delegation(self, prefix: Prefix) -> Delegation | None:
        """What the record of a prefix said, as far as memory knows."""
        return self.delegation_under(prefix.key, self._clocks().now_s)

    def delegation_under(self, prefix_key: bytes, now_s: float) -> Delegation | None:
        """The same by the prefix's folded octets."""
        delegation = self.memory.delegations.get(prefix_key, now_s)
        self._observer.looked_up("delegations", "memory", hit=delegation is not None)
        return delegation

    async def fetch(self, handle: Handle) -> Entry | None:
        """The record or denial in the second tier, after one look-up that also brings what it knows of the prefixes.

        None at once without a second tier, and whenever it has nothing or fails.
        """
        if self._redis is None:
            return None
        unknown = self._unknown_prefixes(handle)
        keys = [self._record_keys + cache_key(handle)]
        keys += [self._delegation_keys + prefix.key for prefix in unknown]
        found = await self._redis.get_many(keys)
        clocks = self._clocks()
        self._adopt_delegations(zip(unknown, found[1:], strict=True), clocks)
        return self._adopt_entry(handle, found[0], clocks)

    def put(self, handle: Handle, entry: Entry) -> None:
        """Keep a record or denial for as long as it lives, in place of what was there.

        One that must not be kept still ends an older record of memory, which it has shown to be out of date.
        """
        if isinstance(entry, Denial) and entry.code not in DENIALS:
            return  # an authority that is busy says nothing about the record
        key, clocks = cache_key(handle), self._clocks()
        self.put_under(key, entry, clocks.now_s)
        if self._redis is not None and entry.expires_s > clocks.now_s:
            left_ms = int((entry.expires_s - clocks.now_s) * 1_000)
            self._redis.put_later(self._record_keys + key, encode_entry(entry, clocks), left_ms)

    def put_under(self, key: bytes, entry: Entry, now_s: float) -> None:
        """The same in memory alone, by a cache key, for an entry that is no refusal."""
        if entry.expires_s > now_s:
            self._keep(key, entry)
        else:
            self._forget(key)

    def put_delegation(self, delegation: Delegation) -> None:
        """Keep what a prefix record said for its TTL; 0 is never kept."""
        clocks = self._clocks()
        ttl_s = min(delegation.ttl_s, self.lifetimes.ttl_max_s)
        if ttl_s <= 0:
            return
        expires_s = clocks.now_s + ttl_s
        self._keep_delegation(delegation, expires_s)
        if self._redis is not None:
            octets = encode_delegation(delegation, expires_s, clocks)
            self._redis.put_later(self._delegation_keys + delegation.prefix.key, octets, ttl_s * 1_000)

    def _unknown_prefixes(self, handle: Handle) -> list[Prefix]:
        """The prefixes above a handle that memory knows nothing of, down to the nearest that it knows."""
        prefix = Prefix(handle.suffix) if handle.is_prefix_record else handle.prefix
        unknown: list[Prefix] = []
        for candidate in (prefix, *prefix.ancestors()):
            if len(unknown) == ANCESTORS_ASKED_MAX or self.delegation(candidate) is not None:
                break
            unknown.append(candidate)
        return unknown

    def _adopt_entry(self, handle: Handle, octets: bytes | None, clocks: Clocks) -> Entry | None:
        entry = None
        if octets is not None:
            entry = decode_entry(octets, clocks, ttl_max_s=self.lifetimes.ttl_max_s)
        self._observer.looked_up("values", "redis", hit=entry is not None)
        if entry is not None:
            self._keep(cache_key(handle), entry)
        return entry

    def _adopt_delegations(self, found: Iterable[tuple[Prefix, bytes | None]], clocks: Clocks) -> None:
        for prefix, octets in found:
            decoded = None
            if octets is not None:
                decoded = decode_delegation(octets, prefix, clocks, ttl_max_s=self.lifetimes.ttl_max_s)
            self._observer.looked_up("delegations", "redis", hit=decoded is not None)
            if decoded is not None:
                self._keep_delegation(*decoded)

    def _forget(self, key: bytes) -> None:
        self.memory.records.discard(key)
        self.memory.denials.discard(key)

    def _keep(self, key: bytes, entry: Entry) -> None:
        self._forget(key)
        match entry:
            case Record():
                self.memory.records.put(key, entry.flat, octets=entry.octets, expires_s=entry.expires_s)
            case Denial():
                self.memory.denials.put(key, entry.flat, octets=entry.octets, expires_s=entry.expires_s)

    def _keep_delegation(self, delegation: Delegation, expires_s: float) -> None:
        weight = ENTRY_OVERHEAD_OCTETS + sum(map(_weight, (*delegation.sites, *delegation.prefix_sites)))
        self.memory.delegations.put(delegation.prefix.key, delegation, octets=weight, expires_s=expires_s)


def _weight(site: Site) -> int:
    """What a decoded site weighs; a record of a quarter of a megabyte becomes many times that in objects."""
    attributes = sum(len(name) + len(content) + INTERFACE_OCTETS for name, content in site.attributes)
    servers = sum(
        SERVER_OCTETS + len(server.public_key) + INTERFACE_OCTETS * len(server.interfaces)
        for server in site.servers
    )
    return SITE_OCTETS + len(site.hash_filter) + attributes + servers
