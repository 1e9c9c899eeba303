"""How the commands of `handlegrid admin` reach servers and as whom, and how a refusal is told."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import click

from deploy.batch.syntax import ServerPlace
from deploy.commands.failure import CommandFailed, ExitCode
from deploy.commands.key import load_key, load_private_key
from deploy.commands.options import SETTINGS_FILE, home_option, json_option
from deploy.commands.resolve import local_root, openings_of, parse_server
from deploy.commands.secrets import read_secret, secret_of_variable, typed_secret
from deploy.commands.text import printable
from deploy.key_forms import blob
from protocol.client import HandleClient, load_bundle
from protocol.client.administration import PATIENCE_S, Administration, SessionUse
from protocol.client.identity import Identity, KeyIdentity, SecretIdentity
from protocol.client.places import NamedPlace, Places, PlacesFromRoot, ask_for_site
from protocol.codes import ResponseCode
from protocol.errors import (
    BadSignature,
    HandleError,
    NoService,
    OperationRefused,
    ResolutionFailed,
    SessionFailed,
    Unreachable,
)
from protocol.handle import Handle
from protocol.site import InterfaceProtocol, Site
from protocol.transport.exchanger import Exchanger
from protocol.value import ValueReference

Result = TypeVar("Result")
Command = Callable[..., Any]

TRANSPORTS: Final = ("udp", "tcp", "http", "https")
LATER: Final = frozenset({ResponseCode.ERROR, ResponseCode.SERVER_TOO_BUSY, ResponseCode.SERVER_BACKUP})
"""Refusals that may be none a little later."""

_REMEDIES: Final[dict[int, str]] = {
    ResponseCode.PROTOCOL_ERROR: "try another --transport: few servers take writes over UDP",
    ResponseCode.OPERATION_NOT_SUPPORTED: "that server does not do this, or is not configured to",
    ResponseCode.HANDLE_NOT_FOUND: "create it first",
    ResponseCode.HANDLE_ALREADY_EXISTS: "change it with add and modify, or replace it with --overwrite",
    ResponseCode.VALUES_NOT_FOUND: "look at its indexes with `handlegrid resolve`",
    ResponseCode.VALUE_ALREADY_EXISTS: "take another index, or modify the value",
    ResponseCode.SERVER_NOT_RESPONSIBLE: "that server does not home the prefix: leave --server out, or home it first",
    ResponseCode.INVALID_ADMINISTRATOR: (
        "an HS_ADMIN value of the handle or of its prefix must give the right to --as; "
        "homing and the status of a server are for administrators of the server itself"
    ),
    ResponseCode.ACCESS_DENIED: "that value lets no administrator write it",
    ResponseCode.AUTHENTICATION_NEEDED: "say who you are with --as, and prove it with a key or a secret",
    ResponseCode.AUTHENTICATION_FAILED: "the key or secret is not the one at that index and handle",
    ResponseCode.AUTHENTICATION_TIMEOUT: "try again",
    ResponseCode.AUTHENTICATION_ERROR: "the server could not look up the key: check that --as resolves from there",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where a command goes, and as whom."""

    identity: str | None
    private_key: Path | None
    passphrase_file: Path | None
    secret_file: Path | None
    secret_variable: str | None
    server: str | None
    server_key: Path | None
    transport: str | None
    root: Path | None
    certified: bool
    in_sessions: bool | None
    """None: as the command does by default."""
    patience_s: float
    home: Path
    as_json: bool

    @property
    def sessions(self) -> SessionUse | None:
        """How sessions are used."""
        return SessionUse() if self.in_sessions else None

    def load_identity(self) -> Identity | None:
        """Who asks; None for anybody. Raises UsageError, UnreadableKey, SettingsError; may ask for a secret."""
        if self.identity is None:
            if self.private_key or self.secret_file or self.secret_variable:
                raise click.UsageError("say whose key or secret that is: --as INDEX:HANDLE")
            return None
        reference = parse_reference(self.identity)
        if self.private_key is not None:
            return KeyIdentity(
                reference=reference, key=load_private_key(self.private_key, self.passphrase_file)
            )
        if self.secret_file is not None:
            secret = read_secret(self.secret_file)
        elif self.secret_variable is not None:
            secret = secret_of_variable(self.secret_variable)
        else:
            secret = typed_secret(
                f"secret of {self.identity}", "--private-key, --secret-file or --secret-env"
            )
        return SecretIdentity(reference=reference, secret=secret)

    def run(self, work: Callable[[Administration], Awaitable[Result]]) -> Result:
        """Do something as the administrator. Raises CommandFailed that says what to do, UsageError and others."""
        identity = self.load_identity()

        async def all_of_it() -> Result:
            async with Connections(self) as connections:
                client = await connections.connect(identity, self.sessions)
                async with client:
                    return await work(client)

        try:
            return asyncio.run(all_of_it())
        except HandleError as error:
            raise told(error) from None


class Connections:
    """Makes clients; closes what they used."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._stack = AsyncExitStack()
        self._exchanger: Exchanger | None = None
        self._places: Places | None = None

    async def __aenter__(self) -> "Connections":
        self._exchanger = Exchanger()
        self._stack.push_async_callback(self._exchanger.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def connect(
        self, identity: Identity | None, sessions: SessionUse | None, place: ServerPlace | None = None
    ) -> Administration:
        """A client for somebody. place: instead of where the options say. Raises HandleError."""
        assert self._exchanger is not None
        access = self._access
        if place is not None:
            site = await self._site(place)
            places: Places = NamedPlace(site)
            protocol: InterfaceProtocol | None = place.protocol
        else:
            places = self._places = self._places or await self._find_places()
            protocol = None if access.transport is None else InterfaceProtocol[access.transport.upper()]
        return Administration(
            self._exchanger,
            places,
            identity,
            interface_protocol=protocol,
            sessions=sessions,
            certified=access.certified,
            patience_s=access.patience_s,
        )

    async def _find_places(self) -> Places:
        assert self._exchanger is not None
        access = self._access
        if access.server is not None:
            protocol = InterfaceProtocol[(access.transport or "tcp").upper()]
            address, port = parse_server(access.server)
            return NamedPlace(await self._site(ServerPlace(address, port, protocol)))
        root = load_bundle(access.root) if access.root else local_root(access.home)
        client = HandleClient(root, self._exchanger, openings=openings_of(root), clock=time.monotonic)
        return PlacesFromRoot(client, certified=access.certified)

    async def _site(self, place: ServerPlace) -> Site:
        assert self._exchanger is not None
        access = self._access
        site = await ask_for_site(
            self._exchanger, place.protocol, place.address, place.port, patience_s=access.patience_s
        )
        if access.server_key is None:
            return site
        key = blob(load_key(access.server_key, None))
        return replace(site, servers=tuple(replace(server, public_key=key) for server in site.servers))


def admin_command(function: Command) -> Command:
    """Give a command the options of access; the function gets them as one argument `access`."""

    @functools.wraps(function)
    def command(**options: Any) -> Any:
        own = {name: options.pop(name) for name in list(options) if name not in Access.__slots__}
        access = Access(**options)
        if access.certified and access.server and not access.server_key:
            raise click.UsageError("--certified needs a key from a place that is trusted: name --server-key")
        if access.server_key and not access.server:
            raise click.UsageError("--server-key is the key of the server that --server names")
        if access.server_key:  # it would be believed of nobody's signature else
            access = replace(access, certified=True)
        return function(access=access, **own)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: Final = (
    click.option(
        "--as", "identity", metavar="INDEX:HANDLE", help="Who you are: where your key or secret stands."
    ),
    click.option(
        "--private-key", type=SETTINGS_FILE, help="Your private key, in any form of `handlegrid key`."
    ),
    click.option(
        "--passphrase-file", type=SETTINGS_FILE, help="File with its passphrase.  [default: it is asked for]"
    ),
    click.option("--secret-file", type=SETTINGS_FILE, help="File with your secret, yours alone."),
    click.option(
        "--secret-env", "secret_variable", metavar="NAME", help="Environment variable with your secret."
    ),
    click.option(
        "--server",
        metavar="ADDRESS[:PORT]",
        help="Go to this server.  [default: the one that the root leads to]",
    ),
    click.option(
        "--server-key", type=SETTINGS_FILE, help="Believe that server only what it signs with this key."
    ),
    click.option(
        "--transport",
        type=click.Choice(TRANSPORTS),
        help="How; with --server its port is meant.  [default: tcp, or what the site record offers]",
    ),
    click.option(
        "--root", type=SETTINGS_FILE, help="Root bundle to start from.  [default: the deployment's]"
    ),
    click.option(
        "--certified",
        is_flag=True,
        help="Believe only what is signed, from the root bundle or --server-key on.",
    ),
    click.option(
        "--session/--no-session",
        "in_sessions",
        default=None,
        help="Whether within an encrypted session.  [default: of show and batch]",
    ),
    click.option(
        "--timeout",
        "patience_s",
        type=click.FloatRange(0.1, 600),
        default=PATIENCE_S,
        show_default=True,
        help="Seconds to wait for an answer.",
    ),
    home_option,
    json_option,
)


def parse_reference(text: str) -> ValueReference:
    """INDEX:HANDLE. Raises UsageError."""
    index, colon, name = text.partition(":")
    if not colon or not index.isascii() or not index.isdigit() or int(index[:11]) > 0xFFFF_FFFF:
        raise click.UsageError(f"{text!r} is no INDEX:HANDLE, such as 300:0.NA/88.1")
    return ValueReference(Handle.parse(name).octets, int(index))


def told(error: HandleError) -> HandleError | CommandFailed:
    """The failure of an operation in words for a person, with an exit code; other errors as they are."""
    match error:
        case OperationRefused(refusal=refusal, node=node):
            code = ExitCode.NO_ANSWER if refusal in LATER else ExitCode.DENIED
            facts = {"responseCode": refusal, "node": node}
            return _failed(f"{node}: refused: {error}", _REMEDIES.get(refusal, ""), code, facts)
        case NoService():
            remedy = f"{error.remedy}, or name the server with --server"
            return _failed(str(error), remedy, facts={"node": error.node})
        case Unreachable(remedy=""):
            remedy = "check that a server runs there, and that --server and --transport are meant so"
            return _failed(str(error), remedy, facts={"node": error.node})
        case ResolutionFailed():
            return CommandFailed(printable(error.explain()), ExitCode.NO_ANSWER, {"node": error.node})
        case SessionFailed():
            return _failed(f"no session: {error}", "--no-session does without, and sends values unencrypted")
        case BadSignature():
            remedy = "look for who is in between, or for a new key of that server"
            return _failed(f"an answer is not believed: {error}", remedy)
        case _:
            return error


def _failed(
    cause: str,
    remedy: str,
    code: ExitCode = ExitCode.NO_ANSWER,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> CommandFailed:
    text = f"{cause}\nWhat to do: {remedy}" if remedy else cause
    return CommandFailed(printable(text), code, facts)
