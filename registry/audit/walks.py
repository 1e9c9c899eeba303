"""Walks of a verification: along the chain from number to number, and over the rows that the entries cover."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from registry.audit.checkpoints import Checkpoint
from registry.audit.entry import FIRST_LINK, Entry, LogDigest, digest_of, link
from registry.audit.faults import FaultKind, Faults
from registry.audit.numbering import WALK_WAIT_S, Connection

PAGE_LOG_ROWS: Final = 20_000
"""Rows of the transaction log held in memory at once."""

_LOG: Final = """
    SELECT entry, position, key, name, action, version, changed_ms FROM transaction_log
    WHERE entry = ANY ($1::bigint[]) ORDER BY entry, position LIMIT $2"""
_LOG_AFTER: Final = """
    SELECT position, key, name, action, version, changed_ms FROM transaction_log
    WHERE entry = $1 AND position > $2 ORDER BY position LIMIT $3"""
_COUNT_LOG: Final = "SELECT count(*) FROM transaction_log WHERE entry = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an entry says of its rows of the transaction log."""

    number: int | None
    """None while it has no number."""
    id: int
    items: int
    digest: bytes | None

    @property
    def rows(self) -> int:
        """How many rows that can be, whatever somebody wrote there."""
        return max(0, self.items)


class ChainWalk:
    """Follows the chain from number to number. Each link starts from the stored one before it, so that one change is
    one fault and not as many as entries follow.
    """

    def __init__(self, faults: Faults, checkpoints: Sequence[Checkpoint]) -> None:
        self._faults = faults
        self._checkpoints: dict[int, list[Checkpoint]] = defaultdict(list)
        for checkpoint in checkpoints:
            self._checkpoints[checkpoint.number].append(checkpoint)
        self._expected = 1
        self._previous: bytes | None = FIRST_LINK
        self._log_number: int | None = 0
        self.entries = 0

    def follow(self, record: asyncpg.Record) -> Claim | None:
        """Check the next number; gives what its entry claims, None when the entry is gone."""
        number, xact, entry_id, chain, log_number, *columns = record
        self._check_number(number)
        self._compare_checkpoints(number, chain)
        previous, counted = self._previous, self._log_number
        self._previous, self._log_number = chain, log_number
        self.entries += 1
        if columns[0] is None:
            message = f"entry {number} (xact {xact}, id {entry_id}) is missing from audit_log"
            self._faults.add(FaultKind.ENTRY_MISSING, number, message)
            return None
        entry = Entry(*columns)
        if previous is not None and link(previous, entry) != chain:
            message = f"entry {number} (xact {xact}, id {entry_id}) is not what the chain says"
            self._faults.add(FaultKind.ENTRY_CHANGED, number, message)
        if counted is not None and log_number != counted + entry.items:
            message = (
                f"entry {number} counts {log_number} rows of transaction_log and not {counted + entry.items}"
            )
            self._faults.add(FaultKind.NUMBER_WRONG, number, message)
        return Claim(number=number, id=entry.id, items=entry.items, digest=entry.digest)

    def end(self, last: int) -> None:
        """Tell which checkpoints the chain never came through."""
        beyond = [number for number in self._checkpoints if number > last]
        if beyond:
            (noted, *_) = self._checkpoints[max(beyond)]
            message = (
                f"the chain ends with entry {last}, but entry {noted.number} was noted at {noted.time}:"
                " its end was cut off, or an older backup restored"
            )
            self._faults.add(FaultKind.CHECKPOINT_DIFFERS, noted.number, message)
        for number in self._checkpoints.keys() - set(beyond):
            message = (
                f"entry {number} was noted at {self._checkpoints[number][0].time} and is not in the chain"
            )
            self._faults.add(FaultKind.CHECKPOINT_DIFFERS, number, message)

    def _check_number(self, number: int) -> None:
        if number < self._expected:
            self._faults.add(
                FaultKind.NUMBER_WRONG, number, f"audit_chain holds the number {number}, below 1"
            )
            return
        if number > self._expected:
            gap = (
                f"number {self._expected} is"
                if number == self._expected + 1
                else f"numbers {self._expected} to {number - 1} are"
            )
            self._faults.add(FaultKind.NUMBER_MISSING, self._expected, f"{gap} missing from audit_chain")
            self._previous = self._log_number = None
        self._expected = number + 1

    def _compare_checkpoints(self, number: int, chain: bytes) -> None:
        for checkpoint in self._checkpoints.pop(number, ()):
            if checkpoint.chain != chain:
                message = f"entry {number} has another chain than was noted at {checkpoint.time}"
                self._faults.add(FaultKind.CHECKPOINT_DIFFERS, number, message)


class LogWalk:
    """Compares the rows of the transaction log with what their entries claim."""

    def __init__(self, connection: Connection, faults: Faults) -> None:
        self._connection = connection
        self._faults = faults
        self.rows = 0
        """Rows of the transaction log that were looked at."""
        self.is_faulty = False

    async def check(self, claims: Sequence[Claim]) -> None:
        """Check the rows of these entries."""
        for group in _groups(claims):
            expected = sum(claim.rows for claim in group)
            if len(group) == 1 and expected > PAGE_LOG_ROWS:
                await self._check_large(group[0])
                continue
            records = await self._connection.fetch(_LOG, [claim.id for claim in group], expected + 1)
            if len(records) > expected:  # of whom, is not known: the rows of the last ones were not read
                for claim in group:
                    await self._check_large(claim)
                continue
            rows: dict[int, list[asyncpg.Record]] = defaultdict(list)
            for record in records:
                rows[record[0]].append(record)
            for claim in group:
                self._check_rows(claim, rows[claim.id])

    def _check_rows(self, claim: Claim, records: Sequence[asyncpg.Record]) -> None:
        self.rows += len(records)
        if len(records) != claim.items:
            self._fault(claim, f"has {len(records)} rows of transaction_log and not {claim.items}")
        elif [record[1] for record in records] != list(range(claim.items)):
            self._fault(claim, "has rows of transaction_log in another order")
        elif (digest_of(record[2:] for record in records) if records else None) != claim.digest:
            self._fault(claim, "has other rows of transaction_log than it covers")

    async def _check_large(self, claim: Claim) -> None:
        count = await self._connection.fetchval(_COUNT_LOG, claim.id, timeout=WALK_WAIT_S)
        if count != claim.items:
            self._fault(claim, f"has {count} rows of transaction_log and not {claim.items}")
            return
        digest = LogDigest()
        while records := await self._connection.fetch(_LOG_AFTER, claim.id, digest.rows - 1, PAGE_LOG_ROWS):
            if [record[0] for record in records] != list(range(digest.rows, digest.rows + len(records))):
                self._fault(claim, "has rows of transaction_log in another order")
                return
            digest.add(record[1:] for record in records)
        self.rows += digest.rows
        if digest.rows != count or (digest.octets() if count else None) != claim.digest:
            self._fault(claim, "has other rows of transaction_log than it covers")

    def _fault(self, claim: Claim, what: str) -> None:
        self.is_faulty = True
        name = f"entry {claim.number}" if claim.number else f"the entry without a number of id {claim.id}"
        self._faults.add(FaultKind.LOG_CHANGED, claim.number, f"{name} {what}")


def _groups(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Entries whose rows are read together; one of very many rows is alone."""
    group: list[Claim] = []
    rows = 0
    for claim in claims:
        if group and rows + claim.rows > PAGE_LOG_ROWS:
            yield group
            group, rows = [], 0
        group.append(claim)
        rows += claim.rows
    if group:
        yield group
