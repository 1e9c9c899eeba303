"""Registering: from what was asked for to records in the database, all of a batch in one go.

What can be said without the database is said first, item by item, at the cost of a few microseconds each; then the
whole batch is one creation. Only suffixes that are minted, or that lie where ranges were reserved, take questions of
their own, once for all of them.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from protocol.codes import ResponseCode
from protocol.handle import Handle
from registry.accounts.roles import Caller
from registry.context import Context
from registry.identifiers.access import NO_PREFIX, check_here, held_prefix, problem_of
from registry.identifiers.drafting import Draft, draft_of, name_octets
from registry.identifiers.existing import existing_problems
from registry.identifiers.forms import NewIdentifier
from registry.identifiers.minting import Counters, SeriesExhausted, draw, first_free, series_key
from registry.identifiers.ranges import read_ranges
from registry.outcomes import Created, Creation, Origin, Principal, Rejected, Result
from registry.prefixes import PrefixRow
from registry.problem_types import CONFLICT, ApiProblem, FieldFault
from registry.problem_types.identifiers import RANGE_MISMATCH, RANGE_RESERVED, SERIES_EXHAUSTED
from registry.reservations import ranges_holding
from registry.transaction import Transaction
from registry.writing import State

ATTEMPTS_MAX: Final = 16
"""Times that a suffix is minted afresh because somebody has registered the one before; twice is rare."""
JUMPS_MAX: Final = 100
"""Ranges that a search for a free number jumps over."""

Outcome = Created | ApiProblem
Outcomes = list[Outcome | None]


class Registrar:
    """Registers identifiers at one node."""

    def __init__(self, context: Context, *, default_ttl_s: int, utc_offset_s: int = 0) -> None:
        """utc_offset_s: where the day of a pattern begins, in seconds east of Greenwich."""
        self._context = context
        self._default_ttl_s = default_ttl_s
        self._offset = timedelta(seconds=utc_offset_s)
        self._counters = Counters()

    @property
    def counters(self) -> Counters:
        """The numbers that this process mints with."""
        return self._counters

    def day(self, now: datetime) -> date:
        """The date in patterns."""
        return (now + self._offset).date()

    async def register(
        self,
        tx: Transaction,
        forms: Sequence[NewIdentifier],
        caller: Caller,
        *,
        origins: Sequence[Origin] = (),
    ) -> list[Outcome]:
        """Register identifiers; gives for each that it was created, or why not. The others stay in force.

        origins: the requests that asked for each, where it was not one for all of them.
        """
        outcomes: Outcomes = [None] * len(forms)
        drafts = self._drafts(forms, tx.now, outcomes)
        by = caller.actor()
        prefixes = await self._prefixes(tx, drafts, caller, by, outcomes)
        drafts = [draft for draft in drafts if outcomes[draft.place] is None]
        drafts = await self._activated(tx, drafts, outcomes)
        for _ in range(ATTEMPTS_MAX):
            drafts = await self._named(tx, drafts, prefixes, outcomes)
            drafts = await self._create(tx, drafts, by, outcomes, origins)
            if not drafts:
                break
            await self._step_over(tx, drafts)
        for draft in drafts:
            outcomes[draft.place] = ApiProblem(CONFLICT, "Others take the same suffixes; try again.")
        done = [outcome for outcome in outcomes if outcome is not None]
        assert len(done) == len(forms)
        return done

    def _drafts(self, forms: Sequence[NewIdentifier], now: datetime, outcomes: Outcomes) -> list[Draft]:
        day, default_ttl_s = self.day(now), self._default_ttl_s
        drafts = []
        for place, form in enumerate(forms):
            try:
                drafts.append(draft_of(form, place, day=day, default_ttl_s=default_ttl_s))
            except ApiProblem as problem:
                outcomes[place] = problem
        return drafts

    async def _prefixes(
        self, tx: Transaction, drafts: Sequence[Draft], caller: Caller, by: Principal, outcomes: Outcomes
    ) -> dict[bytes, PrefixRow]:
        """The prefixes of these drafts that the caller may write below; the other drafts end here."""
        rows: dict[bytes, PrefixRow] = {}
        problems: dict[bytes, ApiProblem] = {}
        for draft in drafts:
            prefix = draft.prefix
            if prefix not in rows and prefix not in problems:
                table = await tx.table(draft.handle)
                try:
                    row = held_prefix(table, prefix, caller, words=NO_PREFIX)
                    check_here(table, draft.handle, by)
                    rows[prefix] = row
                except ApiProblem as problem:
                    problems[prefix] = problem
            if prefix in problems:
                outcomes[draft.place] = problems[prefix]
        return rows

    async def _activated(self, tx: Transaction, drafts: list[Draft], outcomes: Outcomes) -> list[Draft]:
        """The drafts without those that name a range to which they do not belong."""
        wanted = {draft.range_id for draft in drafts if draft.range_id is not None}
        if not wanted:
            return drafts
        ranges = await read_ranges(tx.connection, wanted, lock="FOR KEY SHARE")
        for draft in drafts:
            if draft.range_id is None:
                continue
            found = ranges.get(draft.range_id)
            if found is None or found.extent.prefix != draft.prefix:
                outcomes[draft.place] = _mismatch("There is no such range of this prefix.")
            elif not found.holds(self._context.key_of(draft.handle)):
                outcomes[draft.place] = _mismatch(
                    f"The range {found.id} has no such suffix: {found.pattern} from {found.first} to {found.last}."
                )
        return [draft for draft in drafts if outcomes[draft.place] is None]

    async def _named(
        self, tx: Transaction, drafts: list[Draft], prefixes: dict[bytes, PrefixRow], outcomes: Outcomes
    ) -> list[Draft]:
        """The drafts, all with a suffix that no range reserves for somebody else."""
        nameless = [draft for draft in drafts if draft.series is not None]
        to_check = [draft for draft in drafts if draft.range_id is None and prefixes[draft.prefix].has_ranges]
        for _ in range(JUMPS_MAX):
            await self._mint(tx, nameless, outcomes)
            nameless = []
            for draft, last, range_id in await self._reserved(tx, to_check, outcomes):
                if draft.series is None:
                    outcomes[draft.place] = ApiProblem(
                        RANGE_RESERVED, f"{draft.handle} is reserved in the range {range_id}."
                    )
                    continue
                self._counters.skip(draft.prefix, self._series_key(draft), last + 1)
                nameless.append(draft)
            if not nameless:
                return [draft for draft in drafts if outcomes[draft.place] is None]
            to_check = nameless
        for draft in nameless:
            outcomes[draft.place] = _exhausted("The next numbers are reserved in ranges.")
        return [draft for draft in drafts if outcomes[draft.place] is None]

    async def _reserved(
        self, tx: Transaction, drafts: Sequence[Draft], outcomes: Outcomes
    ) -> list[tuple[Draft, int, str]]:
        """Those of the drafts whose suffixes are reserved, with the last number and the id of the range."""
        found = []
        for prefix in {draft.prefix for draft in drafts}:
            below = [draft for draft in drafts if draft.prefix == prefix and outcomes[draft.place] is None]
            keys = [self._context.key_of(draft.handle) for draft in below]
            holding = await ranges_holding(tx.connection, prefix, keys)
            found += [(below[place], last, range_id) for place, (range_id, last) in holding.items()]
        return found

    async def _mint(self, tx: Transaction, drafts: Iterable[Draft], outcomes: Outcomes) -> None:
        """Give each draft a suffix of its series."""
        groups: dict[tuple[bytes, str], list[Draft]] = {}
        for draft in drafts:
            groups.setdefault((draft.prefix, self._series_key(draft)), []).append(draft)
        for (prefix, key), group in sorted(groups.items()):  # counters are locked in one order
            series = group[0].series
            assert series is not None
            numbers = [0] * len(group)
            if series.digits:
                numbers = await self._counters.take(
                    tx.connection, prefix, key, digits=series.digits, count=len(group)
                )
            for draft, number in zip(group, numbers, strict=False):
                self._name(draft, number, outcomes)
            for draft in group[len(numbers) :]:
                outcomes[draft.place] = _exhausted(f"All numbers of {series.text} are used or reserved.")

    def _name(self, draft: Draft, number: int, outcomes: Outcomes) -> None:
        assert draft.series is not None
        spelled = draft.handle.octets.partition(b"/")[0].decode()
        try:
            draft.handle = Handle(name_octets(f"{spelled}/{draft.series.suffix(number, draw)}", "prefix"))
        except ApiProblem as problem:
            outcomes[draft.place] = problem
        draft.number = number

    async def _create(
        self,
        tx: Transaction,
        drafts: Sequence[Draft],
        by: Principal,
        outcomes: Outcomes,
        origins: Sequence[Origin],
    ) -> list[Draft]:
        """Create what can be created; gives the drafts that have to be minted afresh."""
        taken: list[Draft] = []
        for state in (State.STORED, State.DRAFT):
            group = [draft for draft in drafts if draft.state is state]
            if not group:
                continue
            batch = [Creation(draft.handle, draft.values) for draft in group]
            asked_by = [origins[draft.place] for draft in group] if origins else ()
            results = await tx.create(batch, by=by, inherit_admin=True, state=state, origins=asked_by)
            for draft, result in zip(group, results, strict=True):
                if type(result) is Created:
                    outcomes[draft.place] = result
                elif _exists(result):
                    taken.append(draft)
                else:
                    assert isinstance(result, Rejected)
                    outcomes[draft.place] = problem_of(result)
        given = [draft for draft in taken if draft.series is None]
        if given:
            problems = await existing_problems(tx, self._context, [draft.handle for draft in given])
            for draft in given:
                outcomes[draft.place] = problems[self._context.key_of(draft.handle)]
        return [draft for draft in taken if draft.series is not None]

    async def _step_over(self, tx: Transaction, drafts: Sequence[Draft]) -> None:
        """Let the counters of these drafts go on behind what is registered already."""
        highest: dict[tuple[bytes, str], Draft] = {}
        for draft in drafts:
            known = highest.get((draft.prefix, self._series_key(draft)))
            if known is None or known.number < draft.number:
                highest[draft.prefix, self._series_key(draft)] = draft
        for (prefix, key), draft in highest.items():
            series = draft.series
            if series is None or series.is_random:
                continue  # the next draw differs
            start = draft.handle.octets.partition(b"/")[0]

            async def is_taken(numbers: list[int], *, draft: Draft = draft, start: bytes = start) -> set[int]:
                assert draft.series is not None
                keys = [
                    self._context.key_of(Handle(start + b"/" + draft.series.suffix(number, draw).encode()))
                    for number in numbers
                ]
                rows = await tx.writing.find(keys)
                return {number for number, key in zip(numbers, keys, strict=True) if key in rows}

            try:
                free = await first_free(draft.number, digits=series.digits, is_taken=is_taken)
            except SeriesExhausted:
                free = 10**series.digits  # the next attempt tells
            self._counters.skip(prefix, key, free)

    def _series_key(self, draft: Draft) -> str:
        assert draft.series is not None
        return series_key(draft.series, case_sensitive=self._context.case_sensitive)


def _exists(result: Result) -> bool:
    """Whether the handle was there: with other values, or alike, which is no registration either."""
    if isinstance(result, Rejected):
        return result.code is ResponseCode.HANDLE_ALREADY_EXISTS
    return True


def _mismatch(detail: str) -> ApiProblem:
    return ApiProblem(RANGE_MISMATCH, detail, errors=[FieldFault("/range", detail)])


def _exhausted(detail: str) -> ApiProblem:
    return ApiProblem(SERIES_EXHAUSTED, detail)
