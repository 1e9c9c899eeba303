"""Registering many: JSON Lines in, batches to the API, and for each line what became of it."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from registry.api.schemas.identifiers import Act, ItemProblem
from registry.client.connection import Write
from registry.client.identifiers import IdentifierCalls
from registry.identifiers.forms import BatchForm, CreateItem

BATCH_ITEMS: Final = 1_000
"""Items of one request: more is not faster, and an interrupted run repeats less."""
BATCH_OCTETS_MAX: Final = 8 * 1024 * 1024
"""Of the lines of one request; the API takes four times as much."""
LINE_OCTETS_MAX: Final = 1_048_576
"""A record of the largest size as JSON takes less."""

RUN_KEY_CHARACTERS_MAX: Final = 240
"""Of 255 characters of an idempotency key; the number of the batch takes the others."""

_decoder: Final = msgspec.json.Decoder(CreateItem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A line that is not registered."""

    line: int
    """From 1 on."""
    octets: bytes
    """The line itself; what may be a secret is in it."""
    reason: str
    remedy: str = ""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far it is."""

    registered: int = 0
    refused: int = 0
    octets: int = 0
    """Of the lines that are done."""


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    octets: bytes
    item: CreateItem


async def register_lines(
    calls: IdentifierCalls,
    lines: Iterable[bytes],
    *,
    on_refusal: Callable[[Refusal], None],
    on_progress: Callable[[Progress], None],
    run_key: str | None = None,
    dry_run: bool = False,
    items: int = BATCH_ITEMS,
) -> Progress:
    """Register what lines of JSON describe, each as registry/identifiers/forms.NewIdentifier; empty ones are skipped.

    run_key: repeated within 24 hours with the same lines, what was registered before is not registered again. Raises
    ClientError when a request as a whole is refused or not answered; what was done before stays.
    """
    if run_key is not None and len(run_key) > RUN_KEY_CHARACTERS_MAX:
        raise ValueError(f"the key of a run has at most {RUN_KEY_CHARACTERS_MAX} characters")
    run_key = run_key or secrets.token_urlsafe(12)
    progress = Progress()
    for place, batch in enumerate(_batches(_read(lines, on_refusal, progress), items), start=1):
        key = f"{run_key}-{place}"
        form = BatchForm(mode="best_effort", items=[line.item for line in batch])
        done = await calls.batch(form, how=Write(dry_run=dry_run, idempotency_key=key))
        for line, result in zip(batch, done.items, strict=True):
            progress.octets += len(line.octets)
            if result.result is Act.REFUSED:
                progress.refused += 1
                on_refusal(_refusal(line, result.problem))
            else:
                progress.registered += 1
        on_progress(progress)
    return progress


def _read(
    lines: Iterable[bytes], on_refusal: Callable[[Refusal], None], progress: Progress
) -> Iterator[_Line]:
    """The lines that can be read; the others are refused at once."""
    for number, octets in enumerate(lines, start=1):
        if not octets.strip():
            progress.octets += len(octets)
            continue
        reason = ""
        if len(octets) > LINE_OCTETS_MAX:
            reason = f"has more than {LINE_OCTETS_MAX} octets"
        else:
            try:
                yield _Line(number, octets, _decoder.decode(octets))
                continue
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                reason = str(error)
        progress.refused += 1
        progress.octets += len(octets)
        on_refusal(Refusal(line=number, octets=octets, reason=reason))


def _batches(lines: Iterable[_Line], items: int) -> Iterator[list[_Line]]:
    batch: list[_Line] = []
    octets = 0
    for line in lines:
        if batch and (len(batch) == items or octets + len(line.octets) > BATCH_OCTETS_MAX):
            yield batch
            batch, octets = [], 0
        batch.append(line)
        octets += len(line.octets)
    if batch:
        yield batch


def _refusal(line: _Line, problem: ItemProblem | None) -> Refusal:
    if problem is None:
        return Refusal(line=line.number, octets=line.octets, reason="was refused")
    at = f"{problem.pointer}: " if problem.pointer else ""
    return Refusal(
        line=line.number, octets=line.octets, reason=f"{at}{problem.detail}", remedy=problem.remedy
    )
