"""`handlegrid org`: organisations, from their first data to their suspension."""

from pathlib import Path
from typing import Final

import click
import msgspec

from deploy.commands.api import Api, api_command, limit_option, read_json, reason_option, take
from registry.accounts.person import Person
from registry.accounts.profile import Profile
from registry.api.schemas.organisations import (
    Decision,
    NewOrganisation,
    OrganisationAct,
    OrganisationFilter,
    OrganisationState,
    OrganisationView,
    ReferenceView,
)
from registry.api.schemas.usage import UsageDay, UsageFilter
from registry.client import RegistryClient

STATES: Final = [str(state) for state in OrganisationState]
FILE: Final = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)

version_option: Final = click.option(
    "--version", type=click.IntRange(1), help="Only if it is still this one.  [default: the present one]"
)


@click.group(short_help="Organisations and their review.")
def org() -> None:
    """Organisations: take in, review, suspend, list.

    \b
    Examples:
      handlegrid org register organisation.json --node 88.100
      handlegrid org list --state submitted --node 88.100
      handlegrid org review org_… --approve --url https://node.example:8000 --key-file reviewer.key
    """


@org.command(short_help="Take an organisation in.")
@click.argument("file", type=FILE)
@click.option("--draft", is_flag=True, help="Do not submit it for review yet.")
@api_command(writes=True)
def register(*, api: Api, file: Path, draft: bool) -> None:
    """Take in the organisation in FILE (JSON; - for standard input), and submit it for review.

    \b
    The least that FILE holds:
      {"profile": {"name": "样例机械有限公司", "kind": "privately_controlled",
        "certificate_type": "uscc", "certificate_number": "91320500MA88100047",
        "region": {"province": "320000"}, "industry": {"section": "C", "division": "34"}}}
    `legal_representative` and `contact` beside `profile` are people: name, mobile, email and the like.
    """
    new = read_json(file, NewOrganisation)
    if draft:
        new = msgspec.structs.replace(new, submit=False)
    made = api.run(lambda client: client.organisations.create(new, how=api.how))
    api.show(made, f"{made.id} {made.profile.name}: {made.state}")


@org.command(name="list", short_help="List organisations.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--uscc", help="Only the one with this unified social credit code.")
@limit_option
@api_command()
def list_(*, api: Api, state: str | None, uscc: str | None, limit: int) -> None:
    """List the organisations that you may see."""
    which = OrganisationFilter(state=OrganisationState(state) if state else None, uscc=uscc)
    shown = api.run(lambda client: take(client.organisations.every(which), limit))
    api.show_list(shown, ("ID", "STATE", "FILED", "NAME", "CERTIFICATE"), _row)


def _row(found: OrganisationView) -> tuple[object, ...]:
    profile = found.profile
    return found.id, found.state, found.filing.state, profile.name, profile.certificate_number


@org.command(short_help="Show one organisation.")
@click.argument("organisation")
@api_command()
def show(*, api: Api, organisation: str) -> None:
    """Show ORGANISATION; people are named by id."""
    api.show(api.run(lambda client: client.organisations.get(organisation)))


@org.command(short_help="Replace what describes it.")
@click.argument("organisation")
@click.argument("file", type=FILE)
@version_option
@api_command(writes=True)
def change(*, api: Api, organisation: str, file: Path, version: int | None) -> None:
    """Replace the profile of ORGANISATION by the one in FILE (JSON); what reviewers check is reviewed again."""
    profile = read_json(file, Profile)

    async def work(client: RegistryClient) -> OrganisationView:
        at = version or (await client.organisations.get(organisation)).version
        return await client.organisations.change(organisation, profile, version=at, how=api.how)

    _tell(api, api.run(work))


@org.command(name="set-person", short_help="Name its contact or legal representative.")
@click.argument("organisation")
@click.argument("role", type=click.Choice(["contact", "legal-representative"]))
@click.argument("file", type=FILE)
@version_option
@api_command(writes=True)
def set_person(*, api: Api, organisation: str, role: str, file: Path, version: int | None) -> None:
    """Name the person in FILE (JSON: name, mobile, email and the like) as the contact or legal representative."""
    person = read_json(file, Person)

    async def work(client: RegistryClient) -> OrganisationView:
        at = version or (await client.organisations.get(organisation)).version
        if role == "contact":
            return await client.organisations.name_contact(organisation, person, version=at, how=api.how)
        return await client.organisations.name_legal_representative(
            organisation, person, version=at, how=api.how
        )

    _tell(api, api.run(work))


@org.command(short_help="Show a person; this is audited.")
@click.argument("organisation")
@click.argument("person")
@api_command()
def person(*, api: Api, organisation: str, person: str) -> None:
    """Show what is known of PERSON of ORGANISATION; every reading is audited."""
    api.show(api.run(lambda client: client.organisations.read_person(organisation, person)))


@org.command(short_help="Ask for its review.")
@click.argument("organisation")
@api_command(writes=True)
def submit(*, api: Api, organisation: str) -> None:
    """Ask for the review of ORGANISATION, a draft or one that was rejected."""
    _tell(api, api.run(lambda client: client.organisations.submit(organisation, how=api.how)))


@org.command(short_help="Approve or reject it.")
@click.argument("organisation")
@click.option("--approve", "decision", flag_value="approve", help="Approve.")
@click.option("--reject", "decision", flag_value="reject", help="Reject; takes --reason.")
@click.option("--reason", help="Shown to the organisation.")
@version_option
@api_command(writes=True)
def review(
    *, api: Api, organisation: str, decision: str | None, reason: str | None, version: int | None
) -> None:
    """Decide on ORGANISATION, which somebody else has submitted. It takes a reviewer's session or key."""
    chosen = checked_decision(decision, reason)

    async def work(client: RegistryClient) -> OrganisationView:
        at = version or (await client.organisations.get(organisation)).version
        return await client.organisations.review(organisation, chosen, reason=reason, version=at, how=api.how)

    _tell(api, api.run(work))


@org.command(short_help="Bar its users and keys.")
@click.argument("organisation")
@reason_option
@api_command(writes=True)
def suspend(*, api: Api, organisation: str, reason: str) -> None:
    """Bar users, keys and administrators of ORGANISATION, within a second; its prefixes go on resolving."""
    _tell(api, api.run(lambda client: client.organisations.suspend(organisation, reason, how=api.how)))


@org.command(short_help="Let its users and keys in again.")
@click.argument("organisation")
@reason_option
@api_command(writes=True)
def resume(*, api: Api, organisation: str, reason: str) -> None:
    """Let users and keys of ORGANISATION in again."""
    _tell(api, api.run(lambda client: client.organisations.resume(organisation, reason, how=api.how)))


@org.command(short_help="Set what it may use.")
@click.argument("organisation")
@click.option("--requests-per-minute", type=click.IntRange(1))
@click.option("--identifiers-per-day", type=click.IntRange(0))
@click.option("--users-max", type=click.IntRange(0))
@click.option("--keys-max", type=click.IntRange(0))
@api_command(writes=True)
def quota(*, api: Api, organisation: str, **given: int | None) -> None:
    """Set the quotas of ORGANISATION that are named; the others stay."""
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("name the quota to set; `handlegrid org show` shows the present ones")

    async def work(client: RegistryClient) -> OrganisationView:
        found = await client.organisations.get(organisation)
        quotas = msgspec.structs.replace(found.quotas, **changes)
        return await client.organisations.set_quotas(organisation, quotas, version=found.version, how=api.how)

    changed = api.run(work)
    api.show(changed.quotas)


@org.command(short_help="What was done to it.")
@click.argument("organisation")
@limit_option
@api_command()
def history(*, api: Api, organisation: str, limit: int) -> None:
    """Show what was done to ORGANISATION, when, why and by whom, the latest first."""

    def row(act: OrganisationAct) -> tuple[object, ...]:
        return act.version, act.at.isoformat(timespec="seconds"), act.act, act.actor, act.reason

    shown = api.run(lambda client: take(client.organisations.history(organisation), limit))
    api.show_list(shown, ("VERSION", "AT", "ACT", "BY", "REASON"), row)


@org.command(short_help="What it uses per day.")
@click.argument("organisation", required=False)
@limit_option
@api_command()
def usage(*, api: Api, organisation: str | None, limit: int) -> None:
    """Show requests and new identifiers per day, of ORGANISATION or of those that you may see."""

    def row(day: UsageDay) -> tuple[object, ...]:
        return day.day, day.organisation, day.requests, day.failures, day.identifiers_created

    which = UsageFilter(organisation=organisation)
    shown = api.run(lambda client: take(client.usage.every(which), limit))
    api.show_list(shown, ("DAY", "ORGANISATION", "REQUESTS", "FAILED", "IDENTIFIERS"), row)


@org.command(short_help="What still names a leaver.")
@click.argument("organisation")
@click.option("--subject", help="Only the identities of this user, API key or organisation.")
@limit_option
@api_command()
def references(*, api: Api, organisation: str, subject: str | None, limit: int) -> None:
    """List the values of records that still name administrators of ORGANISATION, or of one user or key of it."""

    def row(found: ReferenceView) -> tuple[object, ...]:
        return found.identifier, found.index, found.identity

    shown = api.run(
        lambda client: take(client.organisations.references(organisation, subject=subject), limit)
    )
    api.show_list(shown, ("IDENTIFIER", "VALUE", "NAMES"), row)


def checked_decision(decision: str | None, reason: str | None) -> Decision:
    """What a reviewer chose. Raises UsageError for nothing, and for a rejection without a reason."""
    if decision is None:
        raise click.UsageError("say what you decide: --approve or --reject")
    if decision == "reject" and not reason:
        raise click.UsageError("a rejection takes --reason: the organisation wants to know what to mend")
    return Decision(decision)


def _tell(api: Api, changed: OrganisationView) -> None:
    api.show(changed, f"{changed.id} {changed.profile.name}: {changed.state}, version {changed.version}")
