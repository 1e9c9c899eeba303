"""Allocated prefixes as replies."""

from protocol.handle import Prefix
from registry.allocation.lifecycle import possible_acts
from registry.allocation.model import AllocatedPrefix, HistoryEntry, Job
from registry.api.schemas.prefixes import HistoryView, PrefixItem, PrefixView, ProbeView, WorkView
from registry.api.schemas.sites import site_form
from registry.prefixes import PrefixRow


def item_view(allocated: AllocatedPrefix) -> PrefixItem:
    """A prefix in a list."""
    return PrefixItem(
        prefix=str(allocated.prefix),
        version=allocated.version,
        organisation=allocated.organisation,
        hosting=allocated.hosting,
        state=allocated.state,
        reason=allocated.reason,
        allocated=allocated.allocated,
        changed=allocated.changed,
        revoked=allocated.revoked,
    )


def prefix_view(
    allocated: AllocatedPrefix, row: PrefixRow | None, job: Job | None, history: tuple[HistoryEntry, ...]
) -> PrefixView:
    """A prefix with everything that is known of it."""
    item = item_view(allocated)
    return PrefixView(
        prefix=item.prefix,
        version=item.version,
        organisation=item.organisation,
        hosting=item.hosting,
        state=item.state,
        reason=item.reason,
        allocated=item.allocated,
        changed=item.changed,
        revoked=item.revoked,
        parent=_text(allocated.parent),
        site=site_form(allocated.site),
        status_text="" if row is None else row.status_text,
        writable=row is not None and row.homed and not row.frozen and not row.status_text,
        possible=list(possible_acts(allocated.state)),
        probe=_probe(allocated),
        work=None if job is None else _work(job),
        history=[history_view(entry) for entry in history],
    )


def history_view(entry: HistoryEntry) -> HistoryView:
    """One act."""
    return HistoryView(
        version=entry.version,
        act=entry.act,
        state=entry.state,
        hosting=entry.hosting,
        organisation=entry.organisation,
        reason=entry.reason,
        actor=entry.actor,
        at=entry.at,
    )


def etag_of(allocated: AllocatedPrefix, row: PrefixRow | None, job: Job | None) -> str:
    """The version, and beside it what changes without an act: the probe, and how far work on all records is."""
    probed = 0 if allocated.probed is None else int(allocated.probed.timestamp())
    done = "-" if job is None else f"{job.records}{'.' if job.ended is None else '-'}"
    frozen = "f" if row is not None and row.frozen else "-"
    return f"{allocated.version}.{probed}.{done}{frozen}"


def _probe(allocated: AllocatedPrefix) -> ProbeView | None:
    return None if allocated.probed is None else ProbeView(at=allocated.probed, fault=allocated.probe_fault)


def _work(job: Job) -> WorkView:
    return WorkView(
        id=job.id,
        kind=job.kind,
        records=job.records,
        changed=job.changed,
        started=job.started,
        ended=job.ended,
    )


def _text(prefix: Prefix | None) -> str | None:
    return None if prefix is None else str(prefix)
