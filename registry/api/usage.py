"""What organisations use, per day: counted in memory, added to the database every few seconds; and their quotas.

A counter row written in every request would make the writers of an organisation wait for each other. So a crash can
lose the counts of FLUSH_S seconds, and a quota of the day is exact within what other processes count meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from registry.problem_types import QUOTA_EXCEEDED, ApiProblem
from registry.store import Store

FLUSH_S: Final = 5.0
STANDING_S: Final = 10.0
"""How long quotas and the count of the day are believed; a changed quota counts after as long."""
STANDINGS_MAX: Final = 100_000
NODE: Final = ""
"""Stands for callers of the node level, who belong to no organisation."""
NODE_REQUESTS_PER_MINUTE: Final = 6_000
UNLIMITED: Final = 2**62

_ADD: Final = """
    INSERT INTO usage_days AS u (organisation, day, requests, failures, identifiers_created)
    SELECT * FROM unnest($1::text[], $2::date[], $3::bigint[], $4::bigint[], $5::bigint[]) AS fresh (organisation, day)
    ORDER BY organisation, day
    ON CONFLICT (organisation, day) DO UPDATE SET requests = u.requests + excluded.requests,
        failures = u.failures + excluded.failures,
        identifiers_created = u.identifiers_created + excluded.identifiers_created"""
_STANDING: Final = """
    SELECT o.requests_per_minute, o.identifiers_per_day, coalesce(u.identifiers_created, 0)
    FROM organisations AS o LEFT JOIN usage_days AS u ON u.organisation = o.id AND u.day = $2
    WHERE o.id = $1"""


@dataclass(slots=True)
class Counts:
    """What was used and is not yet in the database."""

    requests: int = 0
    failures: int = 0
    identifiers_created: int = 0


@dataclass(slots=True)
class Standing:
    """What an organisation may use, and what it has used today as far as the database knows."""

    requests_per_minute: int
    identifiers_per_day: int
    identifiers_today: int
    day: date
    read_s: float
    known: bool = True
    """Whether there is such an organisation."""


class Usage:
    """The counters of one process."""

    def __init__(self, store: Store, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._counts: dict[tuple[str, date], Counts] = {}
        self._standings: dict[str, Standing] = {}

    async def standing(self, organisation: str, now: datetime) -> Standing:
        """What an organisation may do; read from the database every STANDING_S seconds. Raises StoreUnavailable."""
        now_s = self._monotonic()
        known = self._standings.get(organisation)
        if known is not None and now_s - known.read_s < STANDING_S and known.day == _day(now):
            return known
        if len(self._standings) >= STANDINGS_MAX:
            self._standings.clear()
        fresh = self._standings[organisation] = await self._read(organisation, _day(now), now_s)
        return fresh

    def count(self, organisation: str, now: datetime, *, failed: bool, identifiers_created: int = 0) -> None:
        """Count one answered request."""
        counts = self._counts.setdefault((organisation, _day(now)), Counts())
        counts.requests += 1
        counts.failures += failed
        counts.identifiers_created += identifiers_created

    def check_identifiers(self, organisation: str, count: int, now: datetime) -> None:
        """Raises ApiProblem 429 when so many more identifiers would exceed the quota of the day."""
        standing = self._standings.get(organisation)
        if standing is None:
            return
        counted = self._counts.get((organisation, _day(now)), Counts()).identifiers_created
        today = standing.identifiers_today + counted
        if today + count > standing.identifiers_per_day:
            raise ApiProblem(
                QUOTA_EXCEEDED,
                f"The quota allows {standing.identifiers_per_day} new identifiers a day; today there are {today}, "
                f"and this request would make {count} more.",
            )

    async def flush(self) -> None:
        """Add what was counted to the database; what cannot be written is kept. Raises StoreUnavailable."""
        if not self._counts:
            return
        taken, self._counts = self._counts, {}
        try:
            async with self._store.connection() as connection:
                await connection.execute(
                    _ADD,
                    [organisation for organisation, _ in taken],
                    [day for _, day in taken],
                    [counts.requests for counts in taken.values()],
                    [counts.failures for counts in taken.values()],
                    [counts.identifiers_created for counts in taken.values()],
                )
        except BaseException:
            self._give_back(taken)
            raise
        self._move_to_standings(taken)

    async def _read(self, organisation: str, day: date, now_s: float) -> Standing:
        if organisation == NODE:
            return Standing(NODE_REQUESTS_PER_MINUTE, UNLIMITED, 0, day, now_s)
        async with self._store.connection() as connection:
            record = await connection.fetchrow(_STANDING, organisation, day)
        if record is None:  # removed since it was authenticated
            return Standing(NODE_REQUESTS_PER_MINUTE, 0, 0, day, now_s, known=False)
        return Standing(record[0], record[1], record[2], day, now_s)

    def _give_back(self, taken: dict[tuple[str, date], Counts]) -> None:
        for where, counts in taken.items():
            now = self._counts.setdefault(where, Counts())
            now.requests += counts.requests
            now.failures += counts.failures
            now.identifiers_created += counts.identifiers_created

    def _move_to_standings(self, taken: dict[tuple[str, date], Counts]) -> None:
        for (organisation, day), counts in taken.items():
            standing = self._standings.get(organisation)
            if standing is not None and standing.day == day:
                standing.identifiers_today += counts.identifiers_created


def _day(now: datetime) -> date:
    return now.astimezone(UTC).date()
