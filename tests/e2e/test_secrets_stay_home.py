"""Personal data and secrets, planted through every route that takes them, are found nowhere but where they belong.

A node runs as a process of its own on a Postgres of its own. What is planted comes from the table of routes, so that a
new field cannot be forgotten; files are imported, and the node key is rotated meanwhile. Searched are every answer, the
log, the metrics, what commands print, every notification of the database, every table (rows, versions, the log of
transactions, the audit, kept answers), a dump of it, and the very files of the database and of the node.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg

from deploy.local.binaries import find_binaries
from registry.accounts.roles import ORGANISATION_ROLES, Role
from registry.accounts.tokens import TokenKind, new_token
from registry.api.route import Access, Route
from registry.api.table import ROUTES
from registry.audit.numbering import CHANNEL
from registry.ids import new_id
from registry.key_rotation import KeyRotation
from registry.node import open_node
from registry.resealing import TABLES, tally
from tests.integration.deploy.commanding import run_command
from tests.support.api import (
    ApiAnswer,
    ApiUser,
    a_profile,
    allocate_prefix,
    make_operator,
    make_organisation,
    make_user,
    segment,
    sign_in,
)
from tests.support.api_examples import EXAMPLES
from tests.support.api_world import Side, path_of
from tests.support.planting import (
    MARK,
    finds,
    is_classified,
    plant,
    planted_text,
    takes_plants,
    text_fields,
)
from tests.support.postgres import TestPostgres
from tests.support.processes import NodeProcess
from tests.support.registries import basic

SHOWS_PLANTS: Final = frozenset(
    {"person.read", "user.read_personal", "whoami.read_personal", "identifier.read_restricted"}
)
"""Whose answers personal data and secret values belong in."""
SHOWS_TOKENS: Final = frozenset({"session.create", "key.create", "key.rotate", "prefix.make_key"})
"""Whose answers a new credential belongs in, once."""
CONTROL: Final = b"Pumpenwerk"
"""What an organisation is called, for everybody to read."""
NODE_FILES: Final = frozenset({"admin.secret", "node.key", "server.key"})
"""Files of secrets, their owner's alone."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """Who acts, what they act upon, and everything that was answered."""

    node: NodeProcess
    operator: ApiUser
    reviewer: ApiUser
    administrator: ApiUser
    side: Side
    answers: list[tuple[str, ApiAnswer]] = field(default_factory=list)
    """By name of the route."""
    notices: list[str] = field(default_factory=list)
    """Payloads of the database's notifications."""
    credentials: list[str] = field(default_factory=list)
    """Tokens and keys that the node has made, or was shown."""

    async def ask(
        self,
        who: ApiUser,
        route: Route,
        body: Any = None,
        *,
        octets: bytes | None = None,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ApiAnswer:
        """Ask for an operation about the enterprise's own things."""
        path = path_of(route.path, EXAMPLES[route.name].path(self.side)).removeprefix("/api/v1")
        given = {**({"If-Match": "*"} if route.if_match else {}), **(headers or {})}
        if octets is not None:
            given.setdefault("Content-Type", "application/json")
        answer = await who.ask(route.method, path, body, octets=octets, headers=given, query=query)
        self.answers.append((route.name, answer))
        self._keep_credentials(answer)
        return answer

    def _keep_credentials(self, answer: ApiAnswer) -> None:
        if answer.status in (200, 201) and answer.headers.get("Content-Type") == "application/json":
            told = answer.json
            self.credentials += [told[name] for name in ("token", "key") if isinstance(told.get(name), str)]


def route_of(name: str) -> Route:
    return next(route for route in ROUTES if route.name == name)


@asynccontextmanager
async def stage(postgres: TestPostgres, scratch: Path) -> AsyncIterator[Stage]:
    """A node with an enterprise that has one of everything; all of it made through the API."""
    node = NodeProcess(
        postgres.database(), scratch, homes=["88.100"], log_level="debug", reverse_lookup="open"
    )
    async with aiohttp.ClientSession() as session:
        try:
            await node.start()
            operator = await make_operator(node.settings, session, node.base)
            reviewer = await make_user(operator, Role.REVIEWER)
            contact = {"name": planted_text("name"), "email": planted_text("email")}
            organisation = await make_organisation(operator, reviewer, contact=contact)
            administrator = await make_user(
                operator, Role.ENTERPRISE_ADMINISTRATOR, organisation, name=planted_text("name")
            )
            await allocate_prefix(operator, reviewer, administrator, "88.100", "7")
            side = Side(organisation=organisation, prefix="88.100.7")
            made = Stage(
                node=node, operator=operator, reviewer=reviewer, administrator=administrator, side=side
            )
            await furnish(made)
            async with listening(made):
                yield made
        finally:
            await node.stop()


@asynccontextmanager
async def listening(stage: Stage) -> AsyncIterator[None]:
    """Keep what the database tells everybody who listens."""
    connection = await asyncpg.connect(stage.node.settings.dsn())
    await connection.add_listener(CHANNEL, lambda *notice: stage.notices.append(str(notice[-1])))
    try:
        yield
    finally:
        connection.terminate()


async def furnish(stage: Stage) -> None:
    """What the examples of the routes name."""
    side, administrator = stage.side, stage.administrator
    side.users = dict.fromkeys(ORGANISATION_ROLES, administrator.id)
    side.users[Role.READER] = (await make_user(administrator, Role.READER, side.organisation)).id
    found = (await administrator.get(f"/organisations/{side.organisation}")).expect(200)
    side.made = {"person": found["contact"], "node": "1" * 64, "move": new_id("mov")}
    side.made["identity"] = f"301:{side.prefix}/ADMIN"
    for name in ("identifier.create", "range.reserve", "application.create", "key.create"):
        body = EXAMPLES[name].body
        assert body is not None
        new = body(side)
        if name == "identifier.create":
            new["identifier"] = side.identifier
        told = (await stage.ask(administrator, route_of(name), new)).expect(201)
        made = told.get("key", told)
        side.made[name.partition(".")[0]] = made.get("id", "")


def test_every_text_that_a_route_takes_is_known_to_be_open_personal_or_secret() -> None:
    unknown = {
        f"{name} of {route.name}"
        for route in ROUTES
        for name in text_fields(route)
        if not is_classified(name)
    }
    assert unknown == set(), "say in tests/support/planting.py what these fields hold"


async def test_what_is_planted_is_found_nowhere_else(own_postgres: TestPostgres, scratch: Path) -> None:
    async with stage(own_postgres, scratch) as on:
        await plant_in_bodies(on)
        await plant_in_sign_ins(on)
        await plant_in_values(on)
        await plant_in_credentials(on)
        printed = await plant_in_imports(on, scratch)
        await read_everything(on)
        metrics = await fetch(on.node.admin_base + "/metrics")
        await search_tables(on)
        await rotate_node_key(on)
        await search_tables(on)
        dump = await asyncio.to_thread(dump_of, on.node.settings.dsn())
        await plant_during_an_outage(on, own_postgres)
        on.credentials = sorted(set(on.credentials))
        assert len(on.credentials) > 10, "the tokens of everybody are searched for"
        check_answers(on)
        assert finds(metrics, on.credentials) == [], "in the metrics"
        assert finds(printed.encode(), on.credentials) == [], "printed by a command"
        assert finds(dump, on.credentials) == [], "in a dump"
        assert CONTROL in dump
        assert on.notices, "the database tells what has changed"
        assert finds("\n".join(on.notices).encode(), on.credentials) == [], "in a notification"
    assert finds(on.node.log(), on.credentials) == [], "in the log"
    assert b"listening" in on.node.log()
    own_postgres.stop()
    files = [*own_postgres.directory.rglob("*"), *on.node.settings.data_dir.rglob("*")]
    seen = {path: path.read_bytes() for path in files if path.is_file() and path.name not in NODE_FILES}
    assert {path: found for path, octets in seen.items() if (found := finds(octets, on.credentials))} == {}
    assert any(CONTROL in octets for octets in seen.values()), "what is no secret can be found"


async def plant_in_bodies(on: Stage) -> None:
    """Each route that takes such fields: as it should be, and wrong in every way that answers with a problem."""
    for route in filter(takes_plants, ROUTES):
        example = EXAMPLES[route.name].body
        assert example is not None
        assert route.access is not Access.NODE, "people are not passed on"
        who = on.operator if route.name == "organisation.create" else on.administrator
        done = []
        for replay in range(2):
            body = plant(route, example(on.side))
            if "profile" in body:
                body["profile"] = a_profile()
            key = {"Idempotency-Key": f"planting-{route.name}-{replay}"}
            done.append((await on.ask(who, route, body, headers=key)).status)
            await on.ask(who, route, body, headers=key)
            await on.ask(who, route, {**body, "password": planted_text("password")}, headers=key)
        assert route.name in {"session.create", "user.change_password"} or set(done) == {route.status}, done
        await plant_wrongly(on, who, route, plant(route, example(on.side)))


async def plant_wrongly(on: Stage, who: ApiUser, route: Route, body: dict[str, Any]) -> None:
    octets = json.dumps(body).encode()
    await on.ask(who, route, body, query={"dry_run": "true"})
    await on.ask(who.holding(""), route, body)
    await on.ask(who.holding(new_token(TokenKind.LIVE).text), route, body)
    await on.ask(on.reviewer, route, body)
    await on.ask(who, route, octets=octets[:-3])
    await on.ask(who, route, octets=octets + b"]")
    await on.ask(who, route, octets=octets, headers={"Content-Type": "text/plain"})
    await on.ask(who, route, octets=octets.replace(MARK.encode(), MARK.encode() + b"\\u0000"))
    await on.ask(who, route, octets=octets.replace(MARK.encode(), MARK.encode() + b"\xff"))
    await on.ask(who, route, {**body, "unknown": planted_text("name")})
    for wrong in (planted_text("password"), [planted_text("name")], {"a": planted_text("email")}):
        for name in body:
            await on.ask(who, route, {**body, name: wrong})
    for name, text in body.items():
        if isinstance(text, str):
            await on.ask(who, route, {**body, name: text * 500})
            await on.ask(who, route, {**body, name: f"{text}\u202e{MARK}"})


async def plant_in_sign_ins(on: Stage) -> None:
    """Users who sign in, mistype, change their password and are locked out."""
    login, password = planted_text("login"), planted_text("password")
    person = {"name": planted_text("name"), "email": planted_text("email"), "mobile": planted_text("mobile")}
    user = await make_user(
        on.administrator,
        Role.ENTERPRISE_ADMINISTRATOR,
        on.side.organisation,
        login=login,
        password=password,
        **person,
    )
    on.credentials.append(user.token)
    taken = {"role": "reader", "login": login, "password": password, **person}
    await on.ask(on.administrator, route_of("user.create"), taken)
    change = f"/users/{user.id}/password"
    wrong = {"current": planted_text("current"), "password": planted_text("password")}
    on.answers.append(("user.change_password", await user.put(change, wrong)))
    right = {"current": password, "password": planted_text("password")}
    changed = await user.put(change, right)
    changed.expect(200, 204)
    on.answers.append(("user.change_password", changed))
    again = await sign_in(user, login=login, password=right["password"], organisation=on.side.organisation)
    on.credentials.append(again.token)
    for _ in range(7):
        body = {"organisation": on.side.organisation, "login": login, "password": planted_text("password")}
        on.answers.append(("session.create", await user.holding("").post("/sessions", body)))


async def plant_in_values(on: Stage) -> None:
    """Keys of administrators, in every route and form that takes values."""

    def key(index: int, permissions: str = "1100") -> dict[str, Any]:
        data = {"format": "string", "value": planted_text("password")}
        return {"index": index, "type": "HS_SECKEY", "data": data, "permissions": permissions}

    name = f"{on.side.prefix}/SAFE"
    for permissions in ("1100", "1110"):  # the second one would show the key to everybody, and is refused
        values = [key(300, permissions), key(301, permissions)]
        for body in (
            {"identifier": name, "values": values},
            {"identifier": name + "\u200b", "values": values},
            {"identifier": name, "values": [*values, key(300)]},
        ):
            await on.ask(on.administrator, route_of("identifier.create"), body)
        items = [
            {"action": "create", "identifier": f"{name}-{permissions}-{n}", "values": [key(300, permissions)]}
            for n in range(3)
        ]
        for mode in ("best_effort", "transactional"):
            await on.ask(on.administrator, route_of("identifier.batch"), {"mode": mode, "items": items})
        await on.ask(on.administrator, route_of("identifier.replace"), {"values": [key(300, permissions)]})
        await on.ask(on.administrator, route_of("identifier.put_value"), key(1, permissions))
    for state in ("suspended", "active"):
        change = {"state": state, "reason": "a recall"}
        (await on.ask(on.administrator, route_of("identifier.set_state"), change)).expect(200)
    shown = (await on.ask(on.administrator, route_of("prefix.make_key"))).expect(201)
    await write_records(on, shown["identity"], shown["key"], key(300))


async def write_records(on: Stage, identity: str, secret: str, value: dict[str, Any]) -> None:
    """As older clients do, with the key of the prefix's administrator."""
    name = segment(f"{on.side.prefix}/OLD")
    user = identity.replace(":", "%3A")
    for password in (secret, planted_text("password")):
        for body in ({"values": [value]}, {"values": [value, value]}, {"values": [{**value, "index": "x"}]}):
            async with on.operator.session.put(
                f"{on.node.base}/api/handles/{name}", json=body, headers=basic(user, password)
            ) as response:
                octets = await response.read()
                assert finds(octets, [secret]) == [], octets
                assert response.status < 500, octets


async def plant_in_imports(on: Stage, directory: Path) -> str:
    """A file with keys of administrators, one of which the public could read; gives what was printed."""
    file = directory / "records.jsonl"
    with file.open("w") as lines:
        for permissions in ("1100", "1110"):
            data = {"format": "string", "value": planted_text("password")}
            values = [{"index": 300, "type": "HS_SECKEY", "data": data, "permissions": permissions}]
            lines.write(json.dumps({"handle": f"88.100/I-{permissions}", "values": values}) + "\n")
    rejects = directory / "rejects.jsonl"
    words = ("import", str(file), "--config", str(on.node.settings_file), "--rejects", str(rejects))
    ended = await asyncio.to_thread(run_command, words)
    assert ended.code == 1, ended
    assert "1" in ended.out
    assert finds(rejects.read_bytes()), "the row that was rejected, for whom it belongs to"
    assert rejects.stat().st_mode & 0o777 == 0o600
    return ended.out + ended.err


async def rotate_node_key(on: Stage) -> None:
    """Everything is opened and sealed again."""
    settings = on.node.settings
    async with open_node(settings) as node:
        rotation = KeyRotation(node.operations, settings.sealing_key_file(), settle_s=0)
        _, state = await rotation.rotate(lambda _: None)
        assert (state.held, state.broken) == (0, set())
        assert (await tally(node.store))[2].keys() == {table.name for table in TABLES}, "all have something"
        assert await rotation.retire() == (1,)


async def plant_in_credentials(on: Stage) -> None:
    """Credentials that are wrong, misplaced or of somebody else; and those that the node makes."""
    whoami, body = route_of("whoami"), {"overlap_days": 1}
    once = {"Idempotency-Key": "rotating-a-key"}
    rotated = (await on.ask(on.administrator, route_of("key.rotate"), body, headers=once)).expect(200)
    key = on.administrator.holding(rotated["token"])
    (await on.ask(key, whoami)).expect(200)
    for kind in TokenKind:
        token = new_token(kind).text
        on.credentials.append(token)
        await on.ask(on.operator.holding(token), whoami)
        await on.ask(on.operator.holding(token[:-1]), whoami)
        for query in ({"token": token}, {"cursor": token}, {token: "1"}):
            await on.ask(on.operator.holding(""), whoami, query=query)
            await on.ask(on.operator, route_of("user.list"), query=query)
        await on.operator.ask("GET", f"/users/{token}")
        await on.ask(on.operator, route_of("api.describe"), headers={"Cookie": f"session={token}"})
        for header in (f"Basic {token}", f"Bearer{token}", token):
            await on.ask(on.operator.holding(""), whoami, headers={"Authorization": header})
    on.credentials += [on.operator.token, on.reviewer.token, on.administrator.token]


async def read_everything(on: Stage) -> None:
    """Every list and every object, as everybody who may."""
    for route in ROUTES:
        if route.method == "GET" and route.access is not Access.NODE:
            query = EXAMPLES[route.name].query(on.side)
            parameters = dict(part.split("=") for part in query.split("&")) if query else None
            for who in (on.operator, on.reviewer, on.administrator):
                await on.ask(who, route, query=parameters)
    for problem in ("not-found", "unauthenticated"):
        on.answers.append(("problem.read", await on.operator.get(f"/problems/{problem}")))


async def plant_during_an_outage(on: Stage, postgres: TestPostgres) -> None:
    """What is told and logged while the database is away."""
    await asyncio.to_thread(postgres.stop)
    for route in filter(takes_plants, ROUTES):
        example = EXAMPLES[route.name].body
        assert example is not None
        answer = await on.ask(on.administrator, route, plant(route, example(on.side)))
        assert answer.status == 503, answer.octets
    await asyncio.to_thread(postgres.start)


def check_answers(on: Stage) -> None:
    for name, answer in on.answers:
        known = [] if name in SHOWS_TOKENS else on.credentials
        found = finds(answer.octets, known) + finds(repr(dict(answer.headers)).encode(), known)
        shown = name in SHOWS_PLANTS and answer.status == 200
        assert shown or found == [], f"{name} answered {answer.status}: {found}"
        assert answer.status < 500 or answer.status == 503, (name, answer.octets)
    shown_names = {name for name, answer in on.answers if finds(answer.octets)}
    assert shown_names == SHOWS_PLANTS, "what is planted can be found where it belongs"


async def search_tables(on: Stage) -> None:
    """Every row of every table, as text and as the octets of its columns."""
    controls = 0
    connection = await asyncpg.connect(on.node.settings.dsn())
    try:
        tables = await connection.fetch(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        for (table,) in tables:
            rows = await connection.fetch(f"SELECT t::text FROM {table} AS t")  # noqa: S608 - its own names
            for (row,) in rows:
                controls += CONTROL in row.encode()
                assert finds(row.encode(), on.credentials) == [], f"in the table {table}"
        assert controls, "what is no secret can be found"
    finally:
        await connection.close()


def dump_of(dsn: str) -> bytes:
    """The whole database as a backup has it."""
    program = find_binaries() / "pg_dump"
    return subprocess.run([program, "--no-owner", dsn], check=True, capture_output=True).stdout


async def fetch(url: str) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.read()
