"""`handlegrid prefix`, the part about applications for prefixes: apply, review, allocate what was approved."""

from pathlib import Path
from typing import Final

import click

from deploy.commands.api import Api, api_command, limit_option, take
from deploy.commands.organisation import checked_decision, version_option
from deploy.commands.sites import address_option, site_given, site_option
from registry.allocation.lifecycle import ApplicationState, Hosting
from registry.api.schemas.applications import ApplicationFilter, ApplicationView, NewApplication
from registry.client import RegistryClient

STATES: Final = [str(state) for state in ApplicationState]


@click.command(short_help="Apply for a prefix.")
@click.option("--below", "parent", help="The prefix below which it shall be.")
@click.option("--label", help="The wanted label.  [default: the next free number]")
@click.option("--organisation", help="Id of who shall hold it.  [default: yours]")
@click.option("--purpose", required=True, help="What it is wanted for.")
@click.option("--delegated", is_flag=True, help="A node of the holder's own serves it; else this one does.")
@address_option
@site_option
@api_command(writes=True)
def apply(
    *,
    api: Api,
    parent: str | None,
    label: str | None,
    organisation: str | None,
    purpose: str,
    delegated: bool,
    address: str | None,
    site_file: Path | None,
) -> None:
    """Apply for a prefix, which somebody else decides and the node's operator allocates.

    \b
    Examples:
      handlegrid prefix apply --below 88.100 --purpose "Pumps of two plants" --key-file admin.session
      handlegrid prefix apply --below 88.100 --label 7 --delegated --address 198.51.100.7 --purpose "Own node"
    """
    if not delegated and (address or site_file):
        raise click.UsageError("--address and --site go with --delegated")
    new = NewApplication(
        organisation=organisation,
        parent=parent,
        label=label,
        hosting=Hosting.DELEGATED if delegated else Hosting.HOSTED,
        site=site_given(address, site_file) if delegated else None,
        purpose=purpose,
    )
    _tell_application(api, api.run(lambda client: client.applications.create(new, how=api.how)))


@click.command(short_help="List applications.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--organisation", help="Only those of this one.")
@limit_option
@api_command()
def applications(*, api: Api, state: str | None, organisation: str | None, limit: int) -> None:
    """List the applications that you may see, newest first."""

    def row(found: ApplicationView) -> tuple[object, ...]:
        wanted = found.prefix or f"{found.parent or ''}.{found.label or '*'}".lstrip(".")
        return found.id, found.state, wanted, found.hosting, found.organisation, found.purpose

    which = ApplicationFilter(state=ApplicationState(state) if state else None, organisation=organisation)
    shown = api.run(lambda client: take(client.applications.every(which), limit))
    api.show_list(shown, ("ID", "STATE", "PREFIX", "HOSTING", "ORGANISATION", "PURPOSE"), row)


@click.command(short_help="Show one application.")
@click.argument("application_id", metavar="APPLICATION")
@api_command()
def application(*, api: Api, application_id: str) -> None:
    """Show APPLICATION, and what may happen to it now."""
    api.show(api.run(lambda client: client.applications.get(application_id)))


@click.command(short_help="Approve or reject an application.")
@click.argument("application_id", metavar="APPLICATION")
@click.option("--approve", "decision", flag_value="approve", help="Approve.")
@click.option("--reject", "decision", flag_value="reject", help="Reject; takes --reason.")
@click.option("--reason", help="Shown to who applied.")
@version_option
@api_command(writes=True)
def review(
    *, api: Api, application_id: str, decision: str | None, reason: str | None, version: int | None
) -> None:
    """Decide on APPLICATION, which somebody else has made. It takes a reviewer's session or key."""
    chosen = checked_decision(decision, reason)

    async def work(client: RegistryClient) -> ApplicationView:
        at = version or (await client.applications.get(application_id)).version
        return await client.applications.review(
            application_id, chosen, reason=reason, version=at, how=api.how
        )

    _tell_application(api, api.run(work))


@click.command(short_help="Take an application back.")
@click.argument("application_id", metavar="APPLICATION")
@click.option("--reason")
@api_command(writes=True)
def withdraw(*, api: Api, application_id: str, reason: str | None) -> None:
    """Take APPLICATION back."""
    _tell_application(
        api, api.run(lambda client: client.applications.withdraw(application_id, reason, how=api.how))
    )


@click.command(short_help="Have the applicant's node prove its key.")
@click.argument("application_id", metavar="APPLICATION")
@api_command(writes=True)
def prove(*, api: Api, application_id: str) -> None:
    """Have the node that APPLICATION names prove that it holds the key in its site record."""
    done = api.run(lambda client: client.applications.prove(application_id, how=api.how))
    api.show(done, f"{done.application}: node {done.node} proved its key")


@click.command(short_help="Allocate what was approved.")
@click.argument("application_id", metavar="APPLICATION")
@api_command(writes=True)
def grant(*, api: Api, application_id: str) -> None:
    """Allocate the prefix that APPLICATION was approved for: it resolves from now on."""
    done = api.run(lambda client: client.applications.allocate(application_id, how=api.how))
    api.show(done, f"{done.prefix}: {done.state}, {done.hosting}")


def _tell_application(api: Api, done: ApplicationView) -> None:
    wanted = done.prefix or done.label or "the next free number"
    reason = f" ({done.reason})" if done.reason else ""
    api.show(done, f"{done.id}: {done.state}, {wanted}{reason}")


COMMANDS: Final = (apply, applications, application, review, withdraw, prove, grant)
