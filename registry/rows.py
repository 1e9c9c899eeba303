"""Rows as writers need them: the next state of a row, its line in the log, and batches without a key twice."""

from collections.abc import Iterable, Iterator, Sequence

from protocol.handle import Handle
from registry.context import RECORD_KEY_START, Context
from registry.record import Values, split
from registry.work import Work
from registry.writing import Action, LogEntry, Row, State


def changed_row(
    context: Context,
    row: Row,
    values: Values | None,
    now_ms: int,
    *,
    name: Handle | None = None,
    state: State = State.STORED,
) -> Row:
    """The next state of a row.

    values: the whole record, restricted data in the clear; None deletes it.
    name: the spelling of a handle that is created again. state: of a handle that is not deleted.
    The time never goes back, whatever the clock does: replicas compare it (PROTOCOL §9.6).
    """
    public, restricted = split(values or {})
    sealed = context.sealer.seal(row.key, restricted)
    return Row(
        row.key,
        name.resolved.octets if name else row.name,
        public.octets,
        public.count,
        sealed.octets if sealed.count else None,
        sealed.count,
        State.DELETED if values is None else state,
        row.version + 1,
        max(now_ms, row.changed_ms + 1),
    )


def log_entry(row: Row, action: Action) -> LogEntry:
    """The line of the log for a row that this transaction writes."""
    return (row.key, row.name, action, row.version, row.changed_ms)


def rounds(keys: Sequence[bytes]) -> Iterator[Sequence[int]]:
    """Positions of a batch, parted so that no round holds a key twice and later ones come in later rounds."""
    if len(set(keys)) == len(keys):
        yield range(len(keys))
        return
    seen: dict[bytes, int] = {}
    parted: list[list[int]] = []
    for position, key in enumerate(keys):
        number = seen.get(key, 0)
        seen[key] = number + 1
        if number == len(parted):
            parted.append([])
        parted[number].append(position)
    yield from parted


async def renew_authorisations(work: Work, keys: Iterable[bytes]) -> None:
    """Where a prefix record is written whose prefix this very node knows, renew our copy with it.

    A record that is deleted leaves an empty copy: nobody but the operator may then write below the prefix.
    """
    prefixes = [key.removeprefix(RECORD_KEY_START) for key in keys if key.startswith(RECORD_KEY_START)]
    if not prefixes:
        return
    known = await work.writing.prefix_rows(prefixes)
    rows = await work.writing.find([RECORD_KEY_START + prefix for prefix in known]) if known else {}
    for prefix in sorted(known):
        await work.renew_authorisation(prefix, rows[RECORD_KEY_START + prefix].public)
