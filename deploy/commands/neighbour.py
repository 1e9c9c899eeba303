"""`handlegrid neighbour`: the nodes below and above, and what passes between them."""

import click

from deploy.commands.api import Api, api_command, limit_option, reason_option, take
from registry.api.schemas.nodes import (
    EnrolmentView,
    FilingDecision,
    FilingFilter,
    FilingView,
    LetterView,
    NewEnrolment,
    NodeView,
    ReportView,
    UpstreamView,
)
from registry.peers.messages import FilingState


@click.group(short_help="Nodes below and above.")
def neighbour() -> None:
    """Neighbours: ask a node above for a prefix, look after the nodes below.

    \b
    Examples:
      handlegrid neighbour enrol https://node88.example:8000 --organisation org_… --node 88.100
      handlegrid neighbour above --node 88.100
      handlegrid neighbour below --node 88
      handlegrid neighbour bar 5f… --reason "its key was stolen" --node 88
    """


@neighbour.command(short_help="Ask a node above for a prefix.")
@click.argument("above", metavar="URL")
@click.option(
    "--key-id", help="Its key id.  [default: the key of the first contact is believed from then on]"
)
@click.option("--organisation", help="Who applies: an organisation of this node.")
@click.option("--claim", help="The organisation's id at the node above, where it has one there.")
@click.option("--label", help="The wanted label.  [default: the next free number]")
@click.option("--joins", is_flag=True, help="No prefix is wanted: one that it hosts shall move here.")
@click.option("--held", help="With --joins: a prefix below it that this node serves already.")
@api_command(writes=True)
def enrol(
    *,
    api: Api,
    above: str,
    key_id: str | None,
    organisation: str | None,
    claim: str | None,
    label: str | None,
    joins: bool,
    held: str | None,
) -> None:
    """Ask the node above, at URL, for a prefix for this node, or join it; asked again until there is an answer."""
    new = NewEnrolment(
        url=above, node=key_id, organisation=organisation, claim=claim, label=label, joins=joins, held=held
    )
    made = api.run(lambda client: client.upstream.enrol(new, how=api.how))
    api.show(made, f"{made.id}: {made.state}; `handlegrid neighbour enrolments` shows how far it is")


@neighbour.command(short_help="What was asked of nodes above.")
@limit_option
@api_command()
def enrolments(*, api: Api, limit: int) -> None:
    """List what was asked of nodes above, and how far it is."""

    def row(found: EnrolmentView) -> tuple[object, ...]:
        return found.id, found.state, found.prefix or found.label, found.reason, found.node

    shown = api.run(lambda client: take(client.upstream.enrolments(), limit))
    api.show_list(shown, ("ID", "STATE", "PREFIX", "REASON", "KEY ID OF THE NODE ABOVE"), row)


@neighbour.command(short_help="Nodes above.")
@limit_option
@api_command()
def above(*, api: Api, limit: int) -> None:
    """List the nodes above, whether they answer, and whether their records name this node."""

    def row(found: UpstreamView) -> tuple[object, ...]:
        seen = found.last_contact and found.last_contact.isoformat(timespec="seconds")
        return found.url, seen, found.fault, found.route_fault, found.node

    shown = api.run(lambda client: take(client.upstream.every(), limit))
    api.show_list(shown, ("URL", "LAST CONTACT", "FAULT", "ROUTE FAULT", "KEY ID"), row)


@neighbour.command(short_help="Forget a node above.")
@click.argument("key_id")
@api_command(writes=True)
def forget(*, api: Api, key_id: str) -> None:
    """Forget the node above with this KEY_ID: nothing is sent to it any more."""
    api.run(lambda client: client.upstream.forget(key_id, how=api.how))
    api.say(f"{key_id}: forgotten")


@neighbour.command(short_help="Messages that wait for a node above.")
@limit_option
@api_command()
def outbox(*, api: Api, limit: int) -> None:
    """List the messages to nodes above that wait, the longest first, and why."""

    def row(found: LetterView) -> tuple[object, ...]:
        due = found.next_at.isoformat(timespec="seconds")
        return found.kind, found.subject, found.attempts, due, found.fault, found.node

    shown = api.run(lambda client: take(client.upstream.outbox(), limit))
    api.show_list(shown, ("KIND", "ABOUT", "TRIED", "NEXT", "FAULT", "KEY ID OF THE NODE ABOVE"), row)


@neighbour.command(short_help="Nodes below.")
@limit_option
@api_command()
def below(*, api: Api, limit: int) -> None:
    """List the nodes below that you may see."""

    def row(found: NodeView) -> tuple[object, ...]:
        fault = found.probe and found.probe.fault
        seen = found.last_seen.isoformat(timespec="seconds")
        return found.state, _holder(found), seen, fault, found.node

    shown = api.run(lambda client: take(client.nodes.every(), limit))
    api.show_list(shown, ("STATE", "ORGANISATION", "LAST SEEN", "PROBE", "KEY ID"), row)


@neighbour.command(short_help="Show a node below.")
@click.argument("key_id")
@api_command()
def show(*, api: Api, key_id: str) -> None:
    """Show the node below with this KEY_ID."""
    api.show(api.run(lambda client: client.nodes.get(key_id)))


@neighbour.command(short_help="Say that a node below is yours.")
@click.argument("key_id")
@api_command(writes=True)
def confirm(*, api: Api, key_id: str) -> None:
    """Confirm that the node below with this KEY_ID belongs to your organisation, as it says."""
    _tell(api, api.run(lambda client: client.nodes.confirm(key_id, how=api.how)))


@neighbour.command(short_help="Listen to a node below no more.")
@click.argument("key_id")
@reason_option
@api_command(writes=True)
def bar(*, api: Api, key_id: str, reason: str) -> None:
    """Listen to the node below with this KEY_ID no more; what it serves goes on resolving."""
    _tell(api, api.run(lambda client: client.nodes.bar(key_id, reason, how=api.how)))


@neighbour.command(short_help="Listen to a node below again.")
@click.argument("key_id")
@reason_option
@api_command(writes=True)
def readmit(*, api: Api, key_id: str, reason: str) -> None:
    """Listen to the node below with this KEY_ID again."""
    _tell(api, api.run(lambda client: client.nodes.readmit(key_id, reason, how=api.how)))


@neighbour.command(short_help="What a node below counted per day.")
@click.argument("key_id")
@limit_option
@api_command()
def reports(*, api: Api, key_id: str, limit: int) -> None:
    """List the daily reports of the node below with this KEY_ID; --json tells all of them."""

    def row(found: ReportView) -> tuple[object, ...]:
        return found.day, found.received.isoformat(timespec="seconds")

    shown = api.run(lambda client: take(client.nodes.reports(key_id), limit))
    api.show_list(shown, ("DAY", "RECEIVED"), row)


@neighbour.command(short_help="Organisations that nodes below filed.")
@click.option("--key-id", help="Only those of this node.")
@limit_option
@api_command()
def filings(*, api: Api, key_id: str | None, limit: int) -> None:
    """List the organisations that nodes below have filed (备案), the latest first."""

    def row(found: FilingView) -> tuple[object, ...]:
        return found.organisation, found.state, found.profile.name, found.reason, found.node

    which = FilingFilter(node=key_id)
    shown = api.run(lambda client: take(client.nodes.filings(which), limit))
    api.show_list(shown, ("ORGANISATION", "STATE", "NAME", "REASON", "KEY ID OF THE NODE"), row)


@neighbour.command(name="decide-filing", short_help="Accept or refuse a filing.")
@click.argument("key_id")
@click.argument("organisation")
@click.argument("state", type=click.Choice([str(state) for state in FilingState]))
@click.option("--reason", default="", help="Needed for a refusal.")
@api_command(writes=True)
def decide_filing(*, api: Api, key_id: str, organisation: str, state: str, reason: str) -> None:
    """Say what becomes of the filing of ORGANISATION, named as the node below with this KEY_ID names it."""
    if state == FilingState.REFUSED and not reason:
        raise click.UsageError("a refusal takes --reason")
    decision = FilingDecision(state=FilingState(state), reason=reason)
    done = api.run(lambda client: client.nodes.decide_filing(key_id, organisation, decision, how=api.how))
    api.show(done, f"{done.organisation} {done.profile.name}: {done.state}")


def _holder(node: NodeView) -> str:
    """Whose node it is; what it says of itself counts once the organisation has confirmed it."""
    if node.organisation:
        return node.organisation
    return f"{node.claim}, not confirmed" if node.claim else ""


def _tell(api: Api, done: NodeView) -> None:
    holder = _holder(done)
    api.show(done, f"{done.node}: {done.state}" + (f", of {holder}" if holder else ""))
