"""A node with two organisations and somebody of every role, for tests that ask everything of everybody."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from registry.accounts.person import Person
from registry.accounts.profile import CertificateType, Industry, OrganisationKind, Profile, Region
from registry.accounts.roles import NODE_ROLES, ORGANISATION_ROLES, Role
from registry.accounts.service import HOST
from registry.api.services import Services
from registry.ids import new_id
from registry.outcomes import COMMAND, Origin
from tests.support.registries import HttpAnswer, RunningRegistry, running_registry

PASSWORD: Final = "a long pass phrase of a test"
REQUESTS_PER_MINUTE: Final = 100_000_000
"""No test is about this limit but those that set it."""
PARENT: Final = "88.100"
_APPLICANT: Final = Origin(actor="applicant")


@dataclass(slots=True, kw_only=True)
class Side:
    """One organisation with one of everything, as ids that go into paths and bodies."""

    organisation: str
    prefix: str
    users: dict[Role, str] = field(default_factory=dict)
    tokens: dict[Role, str] = field(default_factory=dict)
    """By role, the token of a session."""
    made: dict[str, str] = field(default_factory=dict)
    """Ids of other things, by the name that they have in paths."""

    @property
    def identifier(self) -> str:
        """An active identifier."""
        return f"{self.prefix}/PUMP-7"

    def marks(self) -> set[str]:
        """What nobody else may ever be shown."""
        return {self.organisation, self.prefix, *self.users.values(), *self.made.values()}


@dataclass(slots=True, kw_only=True)
class ApiWorld:
    """The node and who speaks with it."""

    plant: RunningRegistry
    own: Side
    foreign: Side
    tokens: dict[Role, str]
    """Of the node level."""

    @property
    def services(self) -> Services:
        """What the node's API works with."""
        return self.plant.node.services

    def nobody(self) -> Side:
        """Ids of the right form that nothing has."""
        unknown = Side(organisation=new_id("org"), prefix="88.100.9999")
        unknown.users = {role: new_id("usr") for role in ORGANISATION_ROLES}
        unknown.made = {name: _alike(given) for name, given in self.foreign.made.items()}
        return unknown

    async def ask(
        self,
        token: str | None,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Send a request with a bearer token; None: without."""
        given = dict(headers or {})
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        return await self.plant.ask(method, path, body=body, headers=given)


def _alike(text: str) -> str:
    kind, mark, _ = text.partition("_")
    if mark and len(kind) == 3:
        return new_id(kind)
    if len(text) == 64:  # the id of a key
        return "9" * 64
    return text + "9" if text.isdigit() else text + "-unknown"


def path_of(template: str, values: Mapping[str, str]) -> str:
    """The path of a route with its names filled in, each percent-encoded as one segment."""
    for name, value in values.items():
        template = template.replace("{" + name + "}", quote(value, safe=""))
    assert "{" not in template, template
    return template


@asynccontextmanager
async def api_world(dsn: str, directory: Path, **changes: Any) -> AsyncIterator[ApiWorld]:
    """Run a node for the duration of the block; everybody is signed in. changes: of the node's settings."""
    async with running_registry(dsn, directory, homes=["88.100"], **changes) as plant:
        services = plant.node.services
        tokens = {}
        for role in sorted(NODE_ROLES):
            _, tokens[role] = await _user(plant, services, None, role)
        own = await _side(plant, tokens, number=1)
        foreign = await _side(plant, tokens, number=2)
        yield ApiWorld(plant=plant, own=own, foreign=foreign, tokens=tokens)


def profile(number: int) -> Profile:
    """What describes an organisation; its certificate is its own."""
    return Profile(
        name=f"样例机械{number}有限公司",
        kind=OrganisationKind.PRIVATELY_CONTROLLED,
        certificate_type=CertificateType.OTHER,
        certificate_number=f"LICENCE-{number}",
        region=Region(province="320000", city="320500", detail="1 Sample Road"),
        industry=Industry(section="C", division="34"),
    )


async def _side(plant: RunningRegistry, tokens: Mapping[Role, str], *, number: int) -> Side:
    services = plant.node.services
    async with services.operations.transaction(_APPLICANT) as tx:
        made = await services.accounts.organisations.create(
            tx,
            profile(number),
            legal_representative=Person(name=f"Legal Representative {number}"),
            contact=Person(name=f"Contact {number}"),
        )
    async with services.operations.transaction(COMMAND) as tx:
        await services.accounts.organisations.review(tx, made, approve=True, reason="")
        await tx.connection.execute("UPDATE organisations SET requests_per_minute = $1", REQUESTS_PER_MINUTE)
    side = Side(organisation=made.id, prefix=f"{PARENT}.100{number}")
    assert made.contact is not None
    side.made["person"] = made.contact
    for role in sorted(ORGANISATION_ROLES):
        side.users[role], side.tokens[role] = await _user(plant, services, made.id, role)
    await _allocate(plant, tokens, side)
    await _furnish(plant, side)
    await _neighbour(plant, side, number)
    return side


async def _allocate(plant: RunningRegistry, tokens: Mapping[Role, str], side: Side) -> None:
    """Apply, review and allocate, each by who may."""
    wish = {"parent": PARENT, "label": side.prefix.rpartition(".")[2], "purpose": "pumps"}
    administrator = side.tokens[Role.ENTERPRISE_ADMINISTRATOR]
    application = await made(plant, administrator, "/api/v1/applications", wish)
    one = f"/api/v1/applications/{application['id']}"
    await made(plant, tokens[Role.REVIEWER], one + "/review", {"decision": "approve"}, {"If-Match": "*"})
    await made(plant, tokens[Role.OPERATOR], one + "/allocation", None)


async def _user(
    plant: RunningRegistry, services: Services, organisation: str | None, role: Role
) -> tuple[str, str]:
    """Make a user and sign him in: his id and token."""
    login = f"{role.value}@{organisation or 'node'}"
    users = services.accounts.users
    password_hash = await users.hash_password(PASSWORD, login)
    async with services.operations.transaction(COMMAND) as tx:
        user = await users.create(
            tx,
            HOST,
            organisation=organisation,
            role=role,
            login=login,
            person=Person(name=f"Somebody {role.value}"),
            password_hash=password_hash,
        )
    body = {"login": login, "password": PASSWORD}
    if organisation is not None:
        body["organisation"] = organisation
    answer = await plant.ask("POST", "/api/v1/sessions", body=body)
    assert answer.status == 201, answer.body
    return user.id, plain(answer)["token"]


def plain(answer: HttpAnswer) -> Any:
    """The JSON of an answer."""
    return json.loads(answer.body)


async def _furnish(plant: RunningRegistry, side: Side) -> None:
    """Make one of everything that an enterprise has."""
    token = side.tokens[Role.ENTERPRISE_ADMINISTRATOR]
    key = await made(plant, token, "/api/v1/api-keys", {"name": "line 4", "rights": ["identifier:read"]})
    side.made["key"] = key["key"]["id"]
    await made(plant, token, "/api/v1/identifiers", {"identifier": side.identifier, "values": [URL]})
    pattern = {"prefix": side.prefix, "pattern": "LINE4-{seq:6}", "count": 100}
    side.made["range"] = (await made(plant, token, "/api/v1/ranges", pattern))["id"]
    wish = {"parent": PARENT, "purpose": "valves"}
    side.made["application"] = (await made(plant, token, "/api/v1/applications", wish))["id"]
    side.made["identity"] = f"301:{side.prefix}/ADMIN"
    identity = {"identity": side.made["identity"], "subject": side.organisation}
    await made(plant, token, f"/api/v1/organisations/{side.organisation}/identities", identity)


async def _neighbour(plant: RunningRegistry, side: Side, number: int) -> None:
    """Let the enterprise have a node of its own, and a move that has failed, as they stand in the database."""
    side.made["node"], side.made["move"] = f"{number}" * 64, new_id("mov")
    site = plant.node.site.encode()
    async with plant.node.services.store.connection() as connection:
        await connection.execute(
            """INSERT INTO downstream_nodes (node, public_key, site, claim, organisation, state, first_seen, last_seen)
            VALUES ($1, $2, $3, $4, $4, 'known', now(), now())""",
            side.made["node"],
            b"key",
            site,
            side.organisation,
        )
        await connection.execute(
            """INSERT INTO moves (id, prefix, name, direction, drives, node, organisation, phase, next_at, started_by,
                started, changed, ended)
            VALUES ($1, $2, $2, 'delegated', true, $3, $4, 'aborted', now(), 'usr_x', now(), now(), now())""",
            side.made["move"],
            side.prefix.encode(),
            side.made["node"],
            side.organisation,
        )


async def made(
    plant: RunningRegistry, token: str, path: str, body: Any, headers: Mapping[str, str] | None = None
) -> Any:
    """Make something: what the API says that it has made."""
    given = {"Authorization": f"Bearer {token}", **(headers or {})}
    answer = await plant.ask("POST", path, body=body, headers=given)
    assert answer.status in (200, 201), answer.body
    return plain(answer)


URL: Final = {
    "index": 1,
    "type": "URL",
    "data": {"format": "string", "value": "https://plant.example/pump-7"},
}
