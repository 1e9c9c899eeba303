"""The proof: a dump read once more and compared with what is stored, and a sample resolved at both."""

import heapq
import time
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from typing import Final

from protocol.bodies import ResolutionRequest, ResolutionResponse
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.credential import verify
from protocol.errors import HandleError
from protocol.handle import Handle
from protocol.message import Message, matches_digest, response_code_of, split_digest
from protocol.replication import DumpedHandle
from protocol.transport.stream_link import open_link
from registry.bulk.report import ImportCounts, Progress
from registry.dump_import.report import NAMES_MAX, Comparison
from registry.dump_import.rows import RecordSum, digest_of, shown
from registry.dump_import.server import CONNECT_S, SIGNED, HandleServer
from registry.dump_import.source import DumpSource
from registry.operations import Operations
from registry.outcomes import Found

SAMPLE: Final = 20
"""Handles that are resolved at both: enough to find a service that answers otherwise as such."""
BATCH: Final = 1_000


class Comparing:
    """Compares, and gathers what it finds."""

    def __init__(self, source: DumpSource, operations: Operations, progress: Progress) -> None:
        self._source = source
        self._context = operations.context
        self._operations = operations
        self._progress = progress
        self._found = Comparison()
        self._sums = RecordSum(), RecordSum()
        self._sample: list[tuple[bytes, bytes]] = []
        self._counts = ImportCounts()
        self._started_s = time.monotonic()

    async def run(self) -> Comparison:
        """Raises as DumpSource.records(), and StoreUnavailable."""
        batch: list[DumpedHandle] = []
        async with aclosing(self._source.records()) as records:
            async for record in records:
                if isinstance(record, DumpedHandle):
                    batch.append(record)
                if len(batch) >= BATCH:
                    await self._compare(batch)
                    batch = []
        await self._compare(batch)
        await self._resolve_sample()
        self._found.source_sum, self._found.stored_sum = map(str, self._sums)
        return self._found

    async def _compare(self, batch: Sequence[DumpedHandle]) -> None:
        keyed = [(self._key_of(record), record) for record in batch]
        rows = await self._context.store.find([key for key, _ in keyed])
        for key, record in keyed:
            expected = digest_of(key, record.values)
            self._sums[0].add(expected)
            self._consider(expected, record.name)
            row = rows.get(key)
            if row is None or not row.in_force:
                self._found.missing += 1
                self._name(record)
                continue
            stored = digest_of(key, self._context.values_of(row).values())
            self._sums[1].add(stored)
            if stored == expected:
                self._found.alike += 1
            else:
                self._found.different += 1
                self._name(record)
        self._counts.unchanged += len(batch)
        self._progress.advanced(self._counts, time.monotonic() - self._started_s)

    def _key_of(self, record: DumpedHandle) -> bytes:
        return self._context.key_of(Handle(record.name)) if record.name else b""

    def _name(self, record: DumpedHandle) -> None:
        if len(self._found.names) < NAMES_MAX:
            self._found.names.append(shown(record.name))

    def _consider(self, digest: bytes, name: bytes) -> None:
        """Keep the records of the largest digests: a sample that nobody chose, in one pass and little memory."""
        if name:
            push = heapq.heappush if len(self._sample) < SAMPLE else heapq.heappushpop
            push(self._sample, (digest, name))

    async def _resolve_sample(self) -> None:
        for _, name in self._sample:
            handle = Handle(name)
            try:
                theirs: set[bytes] | None = await _resolved(self._source.server, handle)
            except HandleError:
                theirs = None
            answer = await self._operations.resolve(handle)
            ours = set(_undated(answer.values.slices())) if isinstance(answer, Found) else set()
            self._found.asked += 1
            if theirs != ours:
                self._found.answered_otherwise.append(shown(name))


def _undated(values: Iterable[bytes]) -> list[bytes]:
    return [value[:4] + value[8:] for value in values]


async def _resolved(server: HandleServer, handle: Handle) -> set[bytes]:
    """The public values that the server answers with, signed, timestamps aside; none for a denial."""
    body = ResolutionRequest(handle=handle).encode()
    request = server.request(OpCode.RESOLUTION, body, flags=SIGNED | OpFlag.RRDG)
    async with open_link(server.host, server.port, connect_s=CONNECT_S, idle_s=CONNECT_S) as link:
        response = await link.exchange(request)
    _check(request, response, server)
    if response_code_of(response) != ResponseCode.SUCCESS:
        return set()
    return set(_undated(ResolutionResponse.decode(split_digest(response)[1]).values.slices()))


def _check(request: Message, response: Message, server: HandleServer) -> None:
    verify(response, server.key)
    digest, _ = split_digest(response)
    if digest is None or not matches_digest(request, digest):
        raise HandleError(f"{server}: an answer to another question")
