"""`handlegrid prefix`, the part about allocated prefixes: show, suspend, transfer, revoke, change the route."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from deploy.commands.api import Api, api_command, limit_option, reason_option, take
from deploy.commands.failure import ExitCode
from deploy.commands.options import echo_json
from deploy.commands.organisation import version_option
from deploy.commands.saving import check_save, save_option
from deploy.commands.sites import address_option, site_given, site_option
from registry.allocation.lifecycle import PrefixState
from registry.api.schemas.prefixes import HistoryView, NewRoute, PrefixFilter, PrefixItem
from registry.client import RegistryClient
from registry.secret_files import write_secret_file

STATES: Final = [str(state) for state in PrefixState]


@click.command(name="list", short_help="List prefixes.")
@click.option("--organisation", help="Only those of this one.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--below", "parent", help="Only those directly below this one.")
@limit_option
@api_command()
def list_(*, api: Api, organisation: str | None, state: str | None, parent: str | None, limit: int) -> None:
    """List the prefixes that the node has allocated and you may see."""

    def row(found: PrefixItem) -> tuple[object, ...]:
        return found.prefix, found.state, found.hosting, found.organisation, found.reason

    which = PrefixFilter(
        organisation=organisation, state=PrefixState(state) if state else None, parent=parent
    )
    shown = api.run(lambda client: take(client.prefixes.every(which), limit))
    api.show_list(shown, ("PREFIX", "STATE", "HOSTING", "ORGANISATION", "REASON"), row)


@click.command(short_help="Show one prefix.")
@click.argument("name", metavar="PREFIX")
@api_command()
def show(*, api: Api, name: str) -> None:
    """Show PREFIX: who holds and serves it, what was done to it, and what may happen to it now."""
    api.show(api.run(lambda client: client.prefixes.get(name)))


@click.command(short_help="What was done to it.")
@click.argument("name", metavar="PREFIX")
@limit_option
@api_command()
def history(*, api: Api, name: str, limit: int) -> None:
    """Show what was done to PREFIX, when, why and by whom, the latest first."""

    def row(entry: HistoryView) -> tuple[object, ...]:
        return entry.at.isoformat(timespec="seconds"), entry.act, entry.state, entry.actor, entry.reason

    shown = api.run(lambda client: take(client.prefixes.history(name), limit))
    api.show_list(shown, ("AT", "ACT", "STATE", "BY", "REASON"), row)


@click.command(short_help="Stop answering below it.")
@click.argument("name", metavar="PREFIX")
@reason_option
@api_command(writes=True)
def suspend(*, api: Api, name: str, reason: str) -> None:
    """Stop answering below PREFIX, within a second; everybody who asks is told the reason."""
    _tell(api, api.run(lambda client: client.prefixes.suspend(name, reason, how=api.how)))


@click.command(short_help="Answer below it again.")
@click.argument("name", metavar="PREFIX")
@reason_option
@api_command(writes=True)
def resume(*, api: Api, name: str, reason: str) -> None:
    """Answer below PREFIX again."""
    _tell(api, api.run(lambda client: client.prefixes.resume(name, reason, how=api.how)))


@click.command(short_help="Take it back for good.")
@click.argument("name", metavar="PREFIX")
@reason_option
@api_command(writes=True)
def revoke(*, api: Api, name: str, reason: str) -> None:
    """Take PREFIX back for good; nobody gets it again before the quarantine is over."""
    _tell(api, api.run(lambda client: client.prefixes.revoke(name, reason, how=api.how)))


@click.command(short_help="Delete what is left below it.")
@click.argument("name", metavar="PREFIX")
@reason_option
@api_command(writes=True)
def purge(*, api: Api, name: str, reason: str) -> None:
    """Delete what is left below PREFIX, which was revoked and whose quarantine is over."""
    _tell(api, api.run(lambda client: client.prefixes.purge(name, reason, how=api.how)))


@click.command(short_help="Give it to another organisation.")
@click.argument("name", metavar="PREFIX")
@click.argument("organisation")
@reason_option
@api_command(writes=True)
def transfer(*, api: Api, name: str, organisation: str, reason: str) -> None:
    """Give PREFIX to ORGANISATION; records that name administrators of the old holder are rewritten."""
    _tell(api, api.run(lambda client: client.prefixes.transfer(name, organisation, reason, how=api.how)))


@click.command(short_help="Say where its node is now.")
@click.argument("name", metavar="PREFIX")
@address_option
@site_option
@reason_option
@version_option
@api_command(writes=True)
def route(
    *,
    api: Api,
    name: str,
    address: str | None,
    site_file: Path | None,
    reason: str,
    version: int | None,
) -> None:
    """Say where the node of PREFIX, which is delegated, is from now on."""
    change = NewRoute(site=site_given(address, site_file), reason=reason)

    async def work(client: RegistryClient) -> PrefixItem:
        at = version or (await client.prefixes.get(name)).version
        return await client.prefixes.change_route(name, change, version=at, how=api.how)

    _tell(api, api.run(work))


@click.command(short_help="Ask its node whether it serves it.")
@click.argument("name", metavar="PREFIX")
@api_command()
def probe(*, api: Api, name: str) -> ExitCode:
    """Ask the node of PREFIX, which is delegated, at every address whether it serves it.

    Exit code: 0 all is well, 1 something is wrong, 2 usage, 3 no answer.
    """
    found = api.run(lambda client: client.prefixes.probe(name))
    api.show(found, f"{found.prefix}: {found.fault or 'all is well'}")
    return ExitCode.DENIED if found.fault else ExitCode.DONE


@click.command(short_help="Make its administrator's key.")
@click.argument("name", metavar="PREFIX")
@save_option
@api_command(writes=True)
def key(*, api: Api, name: str, save: Path | None) -> None:
    """Make a key for the administrator of PREFIX, which this node hosts, for clients of the Handle protocol's kind.

    It is told this once.
    """
    check_save(save)
    made = api.run(lambda client: client.prefixes.make_key(name, how=api.how))
    if api.how.dry_run:
        api.say(f"a key for {made.identity} can be made")
    elif save:
        write_secret_file(save, made.key.encode() + b"\n")
        _show_key(api, made.identity, {"file": str(save)}, f"its key is in {save}")
    else:
        text = f"{made.key}\nIt is not shown again; keep it where only you read it."
        _show_key(api, made.identity, {"key": made.key}, text)


@click.command(short_help="Let an organisation hold the node's own.")
@click.argument("name", metavar="PREFIX")
@click.argument("organisation")
@api_command(writes=True)
def assign(*, api: Api, name: str, organisation: str) -> None:
    """Let ORGANISATION hold PREFIX, which the node serves in its own name, so that its keys may register."""
    done = api.run(lambda client: client.prefixes.assign(name, organisation, how=api.how))
    api.show(done, f"{done.prefix}: held by {done.organisation}")


def _show_key(api: Api, identity: str, facts: Mapping[str, str], text: str) -> None:
    if api.as_json:
        echo_json({"identity": identity, **facts})
    else:
        api.say(f"{identity}\n{text}")


def _tell(api: Api, done: PrefixItem) -> None:
    reason = f" ({done.reason})" if done.reason else ""
    api.show(done, f"{done.prefix}: {done.state}, {done.hosting}, version {done.version}{reason}")


COMMANDS: Final = (
    list_,
    show,
    history,
    suspend,
    resume,
    revoke,
    purge,
    transfer,
    route,
    probe,
    key,
    assign,
)
