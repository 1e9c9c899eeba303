"""`handlegrid user`: users, their roles, and sessions. Passwords are asked for, or read from a file."""

import sys
from pathlib import Path
from typing import Final

import click

from deploy.commands.api import Api, api_command, limit_option, reason_option, take
from deploy.commands.organisation import version_option
from deploy.commands.saving import check_save
from protocol.errors import SettingsError
from registry.accounts.roles import Role
from registry.accounts.user import SignIn
from registry.api.schemas.users import NewUser, UserFilter, UserView
from registry.client import RegistryClient
from registry.secret_files import write_secret_file

ROLES: Final = [str(role) for role in Role]
PASSWORD_OCTETS_MAX: Final = 4_096

password_option: Final = click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="File with the password in its first line, - for standard input.  [default: you are asked]",
)


@click.group(short_help="Users, roles and sessions.")
def user() -> None:
    """Users: make, give roles, suspend; sign in.

    \b
    Examples:
      handlegrid user add --role reviewer --login li.wei --name 李伟 --node 88.100
      handlegrid user sign-in --login li.wei --save reviewer.key --url https://node.example:8000
      handlegrid user suspend usr_… --reason "left the company" --revoke-keys --node 88.100
    """


@user.command(short_help="Make a user.")
@click.option(
    "--role", metavar="ROLE", type=click.Choice(ROLES), required=True, help=f"One of {', '.join(ROLES)}."
)
@click.option("--login", required=True, help="Unique in the organisation.")
@click.option("--name", required=True, help="The person's name; kept under seal.")
@click.option("--email")
@click.option("--mobile")
@click.option("--organisation", help="Id of the organisation.  [default: yours, or the node itself]")
@password_option
@api_command(writes=True)
def add(
    *,
    api: Api,
    role: str,
    login: str,
    name: str,
    email: str | None,
    mobile: str | None,
    organisation: str | None,
    password_file: Path | None,
) -> None:
    """Make a user. His personal data are kept under seal, and everything else names him by an id."""
    new = NewUser(
        organisation=organisation,
        role=Role(role),
        login=login,
        password=_password(password_file, confirm=True),
        name=name,
        email=email,
        mobile=mobile,
    )
    made = api.run(lambda client: client.users.create(new, how=api.how))
    _tell(api, made)


@user.command(name="list", short_help="List users.")
@click.option("--organisation", help="Only those of this one.")
@limit_option
@api_command()
def list_(*, api: Api, organisation: str | None, limit: int) -> None:
    """List the users that you may see, without personal data."""

    def row(found: UserView) -> tuple[object, ...]:
        seen = found.last_sign_in and found.last_sign_in.isoformat(timespec="minutes")
        return found.id, found.role, found.state, found.organisation, seen

    which = UserFilter(organisation=organisation)
    shown = api.run(lambda client: take(client.users.every(which), limit))
    api.show_list(shown, ("ID", "ROLE", "STATE", "ORGANISATION", "LAST SIGN-IN"), row)


@user.command(short_help="Show one user.")
@click.argument("user_id", metavar="USER")
@click.option("--personal", is_flag=True, help="Who he is, in the clear; this is audited.")
@api_command()
def show(*, api: Api, user_id: str, personal: bool) -> None:
    """Show USER, without personal data unless you ask for them."""
    if personal:
        api.show(api.run(lambda client: client.users.read_person(user_id)))
    else:
        api.show(api.run(lambda client: client.users.get(user_id)))


@user.command(short_help="Give another role.")
@click.argument("user_id", metavar="USER")
@click.argument("role", metavar="ROLE", type=click.Choice(ROLES))
@version_option
@api_command(writes=True)
def role(*, api: Api, user_id: str, role: str, version: int | None) -> None:
    """Give USER another ROLE; it counts within a second.

    ROLE is operator, reviewer, enterprise_administrator, enterprise_editor, auditor or reader.
    """

    async def work(client: RegistryClient) -> UserView:
        at = version or (await client.users.get(user_id)).version
        return await client.users.change_role(user_id, Role(role), version=at, how=api.how)

    _tell(api, api.run(work))


@user.command(short_help="Let a user in no more.")
@click.argument("user_id", metavar="USER")
@reason_option
@click.option("--revoke-keys", is_flag=True, help="Revoke the API keys that he has made too.")
@api_command(writes=True)
def suspend(*, api: Api, user_id: str, reason: str, revoke_keys: bool) -> None:
    """End the sessions of USER and let him in no more, within a second."""
    done = api.run(lambda client: client.users.suspend(user_id, reason, revoke_keys=revoke_keys, how=api.how))
    api.show(
        done,
        f"{done.user.id}: {done.user.state}; of the API keys that he has made {done.keys_revoked} were revoked, "
        f"{done.keys_left} still count",
    )


@user.command(short_help="Let a user in again.")
@click.argument("user_id", metavar="USER")
@reason_option
@api_command(writes=True)
def resume(*, api: Api, user_id: str, reason: str) -> None:
    """Let USER in again."""
    _tell(api, api.run(lambda client: client.users.resume(user_id, reason, how=api.how)))


@user.command(short_help="Remove a user for good.")
@click.argument("user_id", metavar="USER")
@api_command(writes=True)
def remove(*, api: Api, user_id: str) -> None:
    """Remove USER for good: his personal data are erased, his id stays in the audit."""
    api.run(lambda client: client.users.remove(user_id, how=api.how))
    api.say(f"{user_id}: removed")


@user.command(short_help="Set a password.")
@click.argument("user_id", metavar="USER")
@click.option("--own", is_flag=True, help="It is yours: you are asked for the present one too.")
@password_option
@api_command(writes=True)
def password(*, api: Api, user_id: str, own: bool, password_file: Path | None) -> None:
    """Set the password of USER; his other sessions end."""
    current = click.prompt("Present password", hide_input=True, err=True) if own else None
    new = _password(password_file, confirm=True)
    api.run(lambda client: client.users.set_password(user_id, new, current=current, how=api.how))
    api.say(f"{user_id}: the password is set")


@user.command(name="sign-in", short_help="Open a session.")
@click.option("--login", required=True)
@click.option("--organisation", help="Id of the organisation; none for users of the node itself.")
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File for the session's token, yours alone; name it to other commands as --key-file.",
)
@password_option
@api_command(signed_in=False)
def sign_in(
    *, api: Api, login: str, organisation: str | None, save: Path, password_file: Path | None
) -> None:
    """Open a session, for an hour without a request and twelve hours at most."""
    check_save(save, replaces=True)
    shown = SignIn(organisation=organisation, login=login, password=_password(password_file))
    opened = api.run(lambda client: client.sessions.sign_in(shown))
    write_secret_file(save, opened.token.encode() + b"\n")
    until = opened.expires.isoformat(timespec="minutes")
    api.say(f"signed in as {opened.user} until {until}; the session is in {save}")


@user.command(name="sign-out", short_help="End the session.")
@api_command()
def sign_out(*, api: Api) -> None:
    """End the session of --key-file."""

    async def work(client: RegistryClient) -> str:
        me = await client.sessions.whoami()
        if me.session is None:
            raise click.UsageError("the key file holds an API key, and no session")
        await client.sessions.sign_out(me.session)
        return me.session

    api.say(f"{api.run(work)}: ended")


@user.command(short_help="Who you are to a node.")
@api_command()
def whoami(*, api: Api) -> None:
    """Show who you are to the node and what you may do."""
    api.show(api.run(lambda client: client.sessions.whoami()))


def _password(file: Path | None, *, confirm: bool = False) -> str:
    """A password: the first line of a file, or what is typed.

    Raises SettingsError for an empty file, UsageError without a terminal to type it on.
    """
    if file is None:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask for the password on: name --password-file")
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
        return typed
    with click.open_file(str(file), encoding="utf-8") as stream:
        line = str(stream.readline(PASSWORD_OCTETS_MAX)).rstrip("\r\n")
    if not line:
        raise SettingsError([f"{file}: holds no password in its first line"])
    return line


def _tell(api: Api, changed: UserView) -> None:
    api.show(changed, f"{changed.id}: {changed.role}, {changed.state}, version {changed.version}")
