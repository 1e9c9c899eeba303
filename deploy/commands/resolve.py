"""`handlegrid resolve`: ask for a handle, from the root down or one server, and show how the answer came about."""

import asyncio
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

import click

from deploy.commands.failure import ExitCode
from deploy.commands.options import SETTINGS_FILE, echo_json, home_option, json_option
from deploy.commands.raw import exchange_raw
from deploy.commands.text import printable
from deploy.local.deployment import LOOPBACK, NODES, Deployment
from deploy.local.processes import LocalError
from protocol.client import (
    Denied,
    Found,
    HandleClient,
    Hop,
    Opening,
    Question,
    Reply,
    format_hops,
    hop_to_json,
    literal_site,
    load_bundle,
)
from protocol.codes import REFERRALS, ResponseCode, rc_name
from protocol.errors import InvalidHandle, ResolutionFailed
from protocol.handle import Handle, Prefix
from protocol.jsonform import record_to_json, value_to_json
from protocol.site import Service, Site
from protocol.transport.exchanger import Exchanger
from protocol.value import HandleValue, ValueList
from resolver.scheme import strip_scheme

DEFAULT_PORT: Final = 2641
MAX_INDEX: Final = 2**32 - 1

Ask = Callable[[HandleClient, Question, Callable[[Hop], None]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a question: a reply or a failure, and the way there."""

    reply: Reply | ResolutionFailed
    hops: tuple[Hop, ...]
    certified: bool = False
    """Whether the reply, and every one that led there, had to be signed."""
    unsigned: tuple[Prefix, ...] = ()
    """Levels that need not be."""

    @property
    def exit_code(self) -> ExitCode:
        """0 found, 1 denied by its authority, 3 no answer."""
        match self.reply:
            case Found():
                return ExitCode.DONE
            case Denied():
                return ExitCode.DENIED
            case ResolutionFailed():
                return ExitCode.NO_ANSWER

    def to_text(self) -> str:
        """The reply as lines for a person."""
        if self.certified and not isinstance(self.reply, ResolutionFailed):
            return f"{self._reply_to_text()}\n{self._certificate()}"
        return self._reply_to_text()

    def _certificate(self) -> str:
        excepted = ", ".join(str(prefix) for prefix in self.unsigned)
        return "signed at every level, from the root bundle down" + (
            f", but for {excepted}" if excepted else ""
        )

    def _reply_to_text(self) -> str:
        match self.reply:
            case Found(handle=handle, values=values):
                return values_to_text(handle, values)
            case Denied(handle=handle, code=code, message=message):
                said = f': "{message}"' if message else ""
                return printable(f"{handle}: denied, response code {code} ({rc_name(code)}){said}")
            case ResolutionFailed() as failure:
                return printable(describe_failure(failure))

    def to_json(self) -> dict[str, Any]:
        """The reply in the JSON form of records, with the hops; a failure as its parts."""
        content = self._reply_to_json() | {"hops": [hop_to_json(hop) for hop in self.hops]}
        return content | {"certified": True} if self.certified and "failure" not in content else content

    def _reply_to_json(self) -> dict[str, Any]:
        match self.reply:
            case Found(handle=handle, values=values, authoritative=authoritative):
                found = record_to_json(ResponseCode.SUCCESS, handle, values=values)
                return {**found, "authoritative": authoritative}
            case Denied(handle=handle, code=code, message=message):
                return record_to_json(code, handle, message=message)
            case ResolutionFailed() as failure:
                parts = {"node": failure.node, "cause": failure.cause}
                parts |= {"since": failure.since, "remedy": failure.remedy}
                return {"failure": {name: part for name, part in parts.items() if part}}


@click.command(short_help="Resolve a handle.")
@click.argument("handle")
@click.option("--trace", is_flag=True, help="Show every hop: who was asked, what for, and what came back.")
@click.option("--server", metavar="ADDRESS[:PORT]", help="Ask this server alone, such as a recursive node.")
@click.option(
    "--raw", is_flag=True, help="Show the octets of request and response, field by field; takes --server."
)
@click.option("--tcp", is_flag=True, help="With --raw: over TCP in place of UDP.")
@click.option("--type", "types", multiple=True, help="Only values of this type; may be repeated.")
@click.option("--index", "indexes", multiple=True, type=click.IntRange(0, MAX_INDEX), help="Only this value.")
@click.option(
    "--certified",
    is_flag=True,
    help="Believe only what is signed, level by level, from the root bundle down.",
)
@click.option(
    "--unsigned",
    multiple=True,
    metavar="PREFIX",
    help="With --certified: believe the service of this prefix without a signature; 0.NA is the root.",
)
@click.option("--root", type=SETTINGS_FILE, help="Root bundle to start from.  [default: the deployment's]")
@home_option
@json_option
def resolve(
    *,
    handle: str,
    trace: bool,
    server: str | None,
    raw: bool,
    tcp: bool,
    types: tuple[str, ...],
    indexes: tuple[int, ...],
    certified: bool,
    unsigned: tuple[str, ...],
    root: Path | None,
    home: Path,
    as_json: bool,
) -> int:
    """Resolve HANDLE, from the root down or with --server.

    Exit code: 0 found, 1 denied by its authority, 2 usage, 3 no answer.
    """
    question = Question(handle=parse_handle(handle), types=types, indexes=indexes)
    if server and certified:
        raise click.UsageError("--certified begins at the root, whose key is known; leave --server out")
    if unsigned and not certified:
        raise click.UsageError("--unsigned is an exception from --certified")
    if raw or tcp:
        if not (raw and server):
            raise click.UsageError(
                "--raw shows one exchange with one server: name it with --server; --tcp takes --raw"
            )
        shown = asyncio.run(exchange_raw(question, *parse_server(server), tcp=tcp))
        if as_json:
            echo_json(shown.to_json())
        else:
            click.echo(shown.to_text())
        return shown.exit_code
    if server:
        outcome = asyncio.run(ask_server(question, *parse_server(server)))
    else:
        start = load_bundle(root) if root else local_root(home)
        exceptions = [_parse_prefix(name) for name in unsigned]
        outcome = asyncio.run(ask_from_root(question, start, certified=certified, unsigned=exceptions))
    if as_json:
        echo_json(outcome.to_json() if trace else without_hops(outcome.to_json()))
    else:
        if trace and outcome.hops:
            click.echo(format_hops(outcome.hops) + "\n")
        click.echo(outcome.to_text(), err=isinstance(outcome.reply, ResolutionFailed))
    return outcome.exit_code


async def ask_from_root(
    question: Question, root: Service, *, certified: bool = False, unsigned: Sequence[Prefix] = ()
) -> Outcome:
    """Walk from the root to the answer, with nothing remembered; loopback is open where the root is on loopback.

    certified: whether every answer must be signed as the level above certifies, but at the levels in unsigned.
    """

    async def walk(client: HandleClient, asked: Question, on_hop: Callable[[Hop], None]) -> Reply:
        return await client.resolve(asked, on_hop=on_hop, certified=certified)

    outcome = await _ask(question, walk, root, openings_of(root), unsigned)
    return replace(outcome, certified=certified, unsigned=tuple(unsigned))


async def ask_server(question: Question, address: str, port: int) -> Outcome:
    """Ask one server and follow nothing."""
    site = literal_site(address, port)

    async def ask(client: HandleClient, asked: Question, on_hop: Callable[[Hop], None]) -> Reply:
        answer = await client.exchange_with_site(site, asked, on_hop=on_hop)
        if answer.code in REFERRALS:
            raise ResolutionFailed(
                f"it refers to another service for {asked.handle} (response code {answer.code})",
                node=f"{address} port {port}",
                remedy="ask a recursive node, or leave --server out to walk from the root",
            )
        return answer.reply(asked.handle)

    return await _ask(question, ask, Service("the named server", (site,)), ())


async def _ask(
    question: Question,
    ask: Ask,
    root: Service,
    openings: Sequence[Opening],
    unsigned: Sequence[Prefix] = (),
) -> Outcome:
    exchanger = Exchanger()
    hops: list[Hop] = []
    reply: Reply | ResolutionFailed
    try:
        client = HandleClient(root, exchanger, openings=openings, unsigned_prefixes=unsigned)
        reply = await ask(client, question, hops.append)
    except ResolutionFailed as failure:
        reply = failure
    finally:
        await exchanger.close()
    return Outcome(reply=reply, hops=tuple(hops))


def openings_of(root: Service) -> tuple[Opening, ...]:
    """Loopback for the top-level prefixes of a one-machine deployment, and nothing when the root is elsewhere."""
    if not all(_is_on_loopback(site) for site in root.sites):
        return ()
    top_level = [Prefix.parse(node.name) for node in NODES if node.parent == "root"]
    return tuple(Opening(network=IPv4Network(LOOPBACK), prefix=prefix) for prefix in top_level)


def _is_on_loopback(site: Site) -> bool:
    return all(server.ip.is_loopback for server in site.servers)


def local_root(home: Path) -> Service:
    """The root of the deployment on this machine. Raises LocalError when there is none."""
    bundle = Deployment(home).bundle_file
    if not bundle.exists():
        raise LocalError(
            f"no deployment in {home}, so there is no root to start from; make one with `handlegrid up`, "
            "name a root bundle with --root, or ask one server with --server"
        )
    return load_bundle(bundle)


def parse_handle(text: str) -> Handle:
    """The handle on the command line, without the scheme in front of it. Raises UsageError."""
    octets = text.encode("utf-8", "surrogateescape")
    stripped = strip_scheme(octets)
    try:
        return Handle.parse(octets if stripped == octets.strip() else stripped)
    except InvalidHandle as error:
        raise click.UsageError(f"{text!r} is no handle: {error}") from None


def _parse_prefix(text: str) -> Prefix:
    """A prefix on the command line. Raises UsageError."""
    try:
        return Prefix.parse(text)
    except InvalidHandle as error:
        raise click.UsageError(f"--unsigned {text}: {error}") from None


def parse_server(text: str) -> tuple[str, int]:
    """Address and port of ADDRESS, ADDRESS:PORT, [IPV6]:PORT or NAME:PORT. Raises UsageError."""
    host, port = text, str(DEFAULT_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise click.UsageError(f"--server {text}: the port must be a number from 1 to 65535")
    try:
        return str(ipaddress.ip_address(host)), int(port)
    except ValueError:
        return _look_up(host, text), int(port)


def _look_up(host: str, text: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise click.UsageError(f"--server {text}: no address is known for {host!r}") from None
    return str(found[0][4][0])


def values_to_text(handle: Handle, values: ValueList) -> str:
    """A record as lines for a person."""
    rows = [_one_row(value) for value in values.sorted()]
    return "\n".join(printable(row) for row in [f"{handle}", *rows])


def _one_row(value: HandleValue) -> str:
    """A value as a line; further lines of its data are indented, so that none looks like another value."""
    head = f"  {value.index:>5}  {value.type:<10} "
    return head + describe_data(value).rstrip().replace("\n", "\n" + " " * len(head))


def describe_data(value: HandleValue) -> str:
    """The data of a value on one line."""
    data = value_to_json(value)["data"]
    content = data["value"]
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def describe_failure(failure: ResolutionFailed) -> str:
    """Node, cause, since when and remedy in one sentence each, as far as they are known."""
    parts = [
        f"no answer from {failure.node}: {failure.cause}" if failure.node else f"no answer: {failure.cause}",
        f"failing since {failure.since}" if failure.since else "",
        failure.remedy,
    ]
    return "\n  ".join(part for part in parts if part)


def without_hops(content: dict[str, Any]) -> dict[str, Any]:
    """A JSON outcome that nobody asked the way of."""
    return {name: part for name, part in content.items() if name != "hops"}
