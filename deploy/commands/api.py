"""What the commands that speak with a node's API share: whom they ask, as whom, and how a refusal is told."""

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import click
import msgspec

from deploy.commands.failure import CommandFailed, ExitCode
from deploy.commands.options import echo_json, home_option, json_option
from deploy.commands.tables import format_table
from deploy.commands.text import format_fields, one_line, printable
from deploy.local.deployment import ENTERPRISE_KEY, NODES, OPERATOR_KEY, Deployment
from deploy.local.processes import LocalError
from registry.client import KEY_VARIABLE, Credential, Refused, RegistryClient, Retries, Write, read_key_file

URL_VARIABLE: Final = "HANDLEGRID_URL"
SHOWN_ITEMS: Final = 50
"""Of a list, unless --limit says otherwise: a screen of them."""
KEY_OF_HOLDER: Final = (ENTERPRISE_KEY, OPERATOR_KEY)
"""With --node: who holds the node's prefix registers below it; where nobody does, the operator may look."""
SOMEBODY_WAITS: Final = Retries(repeats_max=4, asked_max_s=2.0)
"""Of a command that a person has typed: three seconds, then he is told; at once by a node that asks for more."""
INPUT_OCTETS_MAX: Final = 1_048_576
"""Of a JSON file: as much as the API takes in one request."""

Result = TypeVar("Result")
Item = TypeVar("Item")
Command = Callable[..., Any]


def exit_code_of(refused: Refused) -> ExitCode:
    """3 when the same may be granted later, 2 when the request cannot be understood, else 1."""
    if refused.retry or refused.status >= 500:
        return ExitCode.NO_ANSWER
    return ExitCode.USAGE if refused.status == 400 else ExitCode.DENIED


@dataclass(frozen=True, slots=True)
class Shown(Generic[Item]):
    """The part of a list that is shown."""

    items: list[Item]
    more: bool
    """Whether there is more of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Whom a command asks, as whom, and how it prints."""

    url: str
    credential: Credential | None
    ca_file: Path | None
    as_json: bool
    how: Write

    def run(
        self, work: Callable[[RegistryClient], Awaitable[Result]], *, retries: Retries = SOMEBODY_WAITS
    ) -> Result:
        """Do something with a client. Raises CommandFailed for a refusal, and what else the client raises."""
        try:
            return asyncio.run(self._run(work, retries))
        except Refused as refused:
            facts = {"problem": msgspec.to_builtins(refused.problem)}
            raise CommandFailed(printable(refused.explain()), exit_code_of(refused), facts) from None

    async def _run(self, work: Callable[[RegistryClient], Awaitable[Result]], retries: Retries) -> Result:
        async with RegistryClient(
            self.url, credential=self.credential, ca_file=self.ca_file, retries=retries
        ) as client:
            return await work(client)

    def show(self, content: msgspec.Struct, said: str = "") -> None:
        """Print one object: as JSON, else what is said, else its fields."""
        if self.as_json:
            echo_json(msgspec.to_builtins(content))
        else:
            click.echo(self._mark + (printable(said) if said else format_fields(content)))

    def say(self, said: str) -> None:
        """Print what was done where nothing came back: for machines, that it was."""
        if self.as_json:
            echo_json({"done": not self.how.dry_run})
        else:
            click.echo(self._mark + printable(said))

    @property
    def _mark(self) -> str:
        return "[dry run] " if self.how.dry_run else ""

    def show_list(
        self, shown: Shown[Item], titles: Sequence[str], row: Callable[[Item], Sequence[object]]
    ) -> None:
        """Print a list: as JSON, else as a table with these titles."""
        if self.as_json:
            echo_json({"items": msgspec.to_builtins(shown.items), "more": shown.more})
            return
        rows = [titles, *([one_line(cell) or "-" for cell in row(item)] for item in shown.items)]
        click.echo(format_table(rows) if shown.items else "none")
        if shown.more:
            click.echo("there are more; --limit N shows more of them, --limit 0 all")


def api_command(
    *, writes: bool = False, signed_in: bool = True, key_of: Sequence[str] = (OPERATOR_KEY,)
) -> Callable[[Command], Command]:
    """Give a command the options of the API; the function gets them as one argument `api`.

    writes: whether --dry-run and --idempotency-key make sense. signed_in: whether it takes a credential. key_of:
    whose key is taken with --node, the first one that is there.
    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def run(**given: Any) -> Any:
            how = Write()
            if writes:
                how = _how(given.pop("dry_run"), given.pop("idempotency_key"))
            api = _api(given, how, key_of if signed_in else ())
            return function(api=api, **given)

        options = [_url_option, *([_key_option] if signed_in else []), _ca_option, _node_option, home_option]
        options += [_dry_run_option, _idempotency_option] if writes else []
        for option in reversed([*options, json_option]):
            run = option(run)
        return run

    return decorate


async def take(items: AsyncIterator[Item], limit: int) -> Shown[Item]:
    """The first items of a list, at most `limit` of them; 0 for all."""
    taken: list[Item] = []
    async for item in items:
        if limit and len(taken) == limit:
            return Shown(taken, more=True)
        taken.append(item)
    return Shown(taken, more=False)


def read_json(file: Path, shape: type[Result]) -> Result:
    """Read what is sent from a JSON file, - for standard input. Raises UsageError that says where it is wrong."""
    with click.open_file(str(file), "rb") as stream:
        octets = stream.read(INPUT_OCTETS_MAX + 1)
    if len(octets) > INPUT_OCTETS_MAX:
        raise click.UsageError(f"{file}: more than {INPUT_OCTETS_MAX} octets")
    try:
        return msgspec.json.decode(octets, type=shape)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file}: {str(error)[:1].lower()}{str(error)[1:]}") from None


def _how(dry_run: bool, idempotency_key: str | None) -> Write:
    try:
        return Write(dry_run=dry_run, idempotency_key=idempotency_key)
    except ValueError as error:
        raise click.UsageError(f"--idempotency-key: {error}") from None


def _api(given: dict[str, Any], how: Write, key_of: Sequence[str]) -> Api:
    """Take the options of the API out of those of a command; key_of: empty for nobody's key.

    Raises UsageError, LocalError or SettingsError.
    """
    url, key_file, ca_file = given.pop("url"), given.pop("key_file", None), given.pop("ca_file")
    node, home, as_json = given.pop("node"), given.pop("home"), given.pop("as_json")
    if url and node:
        raise click.UsageError("say which node: either --url or --node")
    if node:
        deployment = _deployment(home)
        url = deployment.http_url(node)
        key_file = key_file or _local_key(deployment, node, key_of)
    url = url or os.environ.get(URL_VARIABLE)
    if not url:
        raise click.UsageError(
            f"say which node: --url URL (or {URL_VARIABLE}), or --node with one of this machine"
        )
    credential = _credential(key_file) if key_of else None
    return Api(url=url, credential=credential, ca_file=ca_file, as_json=as_json, how=how)


def _local_key(deployment: Deployment, node: str, key_of: Sequence[str]) -> Path | None:
    files = [deployment.key_file(node, whose) for whose in key_of]
    if not files:
        return None
    found = next((file for file in files if file.exists()), None)
    if found is None:
        raise LocalError(f"{files[-1]} is missing; `handlegrid up` makes it")
    return found


def _deployment(home: Path) -> Deployment:
    deployment = Deployment.load(home)
    if not deployment.ports:
        raise LocalError(f"no deployment in {home}; make one with `handlegrid up`, or name it with --home")
    return deployment


def _credential(key_file: Path | None) -> Credential:
    if key_file is not None:
        return read_key_file(key_file)
    given = os.environ.get(KEY_VARIABLE, "").strip()
    if not given:
        raise click.UsageError(f"say who you are: --key-file FILE, or the key itself in {KEY_VARIABLE}")
    return Credential(given)


_url_option: Final = click.option(
    "--url", help=f"The node, such as https://node.example:8000.  [default: {URL_VARIABLE}]"
)
_node_option: Final = click.option(
    "--node",
    type=click.Choice([node.name for node in NODES]),
    help="A node of the deployment on this machine, in place of --url.",
)
_key_option: Final = click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"File with the API key or session, its owner's alone.  [default: that of --node, else {KEY_VARIABLE}]",
)
_ca_option: Final = click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file with the authorities that are trusted, in place of the system's.",
)
_dry_run_option: Final = click.option("--dry-run", is_flag=True, help="Check and answer, and change nothing.")
_idempotency_option: Final = click.option(
    "--idempotency-key", help="Repeated with the same key within 24 hours, it is done once."
)
limit_option: Final = click.option(
    "--limit",
    type=click.IntRange(0),
    default=SHOWN_ITEMS,
    show_default=True,
    help="Items to show; 0 for all.",
)
reason_option: Final = click.option(
    "--reason", required=True, help="Why; it is kept, and shown to who is concerned."
)
