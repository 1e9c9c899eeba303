"""`handlegrid audit`, the part that asks a node's API: who did what, and the head of the chain."""

from datetime import UTC, datetime
from typing import Final

import click

from deploy.commands.api import Api, api_command, limit_option, take
from registry.api.schemas.audit import AuditEntry, AuditFilter, EntryChange

MOMENT: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


@click.command(name="list", short_help="Who did what.")
@click.option("--actor", help="Done by this user, API key, administrator or node.")
@click.option("--action", help="Such as prefix.suspend, or prefix for every act on prefixes.")
@click.option("--target", help="Done to this object, by its id or name.")
@click.option("--organisation", help="Of this organisation alone.")
@click.option("--since", type=MOMENT, help="Not before this time, in UTC.")
@click.option("--until", type=MOMENT, help="Before this time, in UTC.")
@limit_option
@api_command()
def list_(
    *,
    api: Api,
    actor: str | None,
    action: str | None,
    target: str | None,
    organisation: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> None:
    """List entries of the audit, the latest first; that somebody reads them is an entry itself.

    \b
    Examples:
      handlegrid audit list --action prefix --since 2026-11-01 --node 88.100
      handlegrid audit list --target 88.100.7 --json --url https://node.example:8000 --key-file auditor.session
    """

    def row(entry: AuditEntry) -> tuple[object, ...]:
        at = entry.at.isoformat(timespec="seconds")
        return entry.number, at, entry.actor, entry.action, entry.target, entry.changes or None

    which = AuditFilter(
        actor=actor,
        action=action,
        target=target,
        organisation=organisation,
        since=_utc(since),
        until=_utc(until),
    )
    shown = api.run(lambda client: take(client.audit.every(which), limit))
    api.show_list(shown, ("NUMBER", "AT", "BY", "ACTION", "TARGET", "CHANGES"), row)


@click.command(short_help="Show one entry.")
@click.argument("number", type=click.IntRange(1))
@api_command()
def show(*, api: Api, number: int) -> None:
    """Show the entry with this NUMBER, with its reasons and its chain."""
    api.show(api.run(lambda client: client.audit.get(number)))


@click.command(short_help="What one entry changed.")
@click.argument("number", type=click.IntRange(1))
@limit_option
@api_command()
def changes(*, api: Api, number: int, limit: int) -> None:
    """List the identifiers that the act of the entry with this NUMBER changed."""

    def row(change: EntryChange) -> tuple[object, ...]:
        return change.identifier, change.action, change.version

    shown = api.run(lambda client: take(client.audit.changes(number), limit))
    api.show_list(shown, ("IDENTIFIER", "ACTION", "VERSION"), row)


@click.command(short_help="The last entry's number and chain.")
@api_command()
def head(*, api: Api) -> None:
    """Show the head of the chain; kept elsewhere, it proves later that nothing before it was changed."""
    api.show(api.run(lambda client: client.audit.head()))


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


COMMANDS: Final = (list_, show, changes, head)
