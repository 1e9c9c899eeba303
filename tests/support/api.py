"""Somebody who speaks with the API of a running node, and who must be there before anything can be registered.

All but the operator's key and a prefix of the node's own is made through the API itself, so that the node may be a
process of its own.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from protocol.handle import Prefix
from registry.accounts.roles import ROLE_RIGHTS, Role
from registry.accounts.service import Accounts
from registry.allocation.commands import assign
from registry.node import open_node
from registry.outcomes import COMMAND
from registry.settings import RegistrySettings

API: Final = "/api/v1"
PROBLEM: Final = "application/problem+json"
PASSWORD: Final = "correct horse battery staple"
_numbers: Final = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAnswer:
    """What a client sees."""

    status: int
    headers: Mapping[str, str]
    octets: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.octets)

    @property
    def slug(self) -> str:
        """The problem type of a refusal; empty for an answer that is none."""
        if self.headers.get("Content-Type") != PROBLEM:
            return ""
        return str(self.json["type"]).rpartition("/")[2]

    @property
    def etag(self) -> str:
        """What If-Match takes."""
        return self.headers["ETag"]

    def expect(self, *statuses: int) -> Any:
        """The body of an answer that has one of these statuses; None when it has none. Raises AssertionError."""
        assert self.status in statuses, f"{self.status}: {self.octets[:2_000].decode(errors='replace')}"
        return self.json if self.octets else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiUser:
    """Somebody with a credential, or nobody, at one node."""

    session: aiohttp.ClientSession
    base: str
    """URL of the node without a path."""
    token: str = field(default="", repr=False)
    id: str = ""
    """`usr_…` or `key_…`, where it is known."""
    organisation: str | None = None

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        octets: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, object] | None = None,
    ) -> ApiAnswer:
        """Send a request. path: below /api/v1, percent-encoded."""
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        given |= headers or {}
        if body is not None:
            octets = json.dumps(body).encode("utf-8", "surrogatepass")
        if octets is not None:
            given.setdefault("Content-Type", "application/json")
        target = self.base + API + path + (f"?{urlencode(query)}" if query else "")
        url = URL(target, encoded=True)
        data = None if octets is None else BytesIO(octets)
        async with self.session.request(
            method, url, data=data, headers=given, allow_redirects=False
        ) as response:
            return ApiAnswer(status=response.status, headers=response.headers, octets=await response.read())

    async def get(self, path: str, **query: object) -> ApiAnswer:
        """Read."""
        return await self.ask("GET", path, query=query)

    async def post(self, path: str, body: Any = None, **query: object) -> ApiAnswer:
        """Write."""
        return await self.ask("POST", path, body, query=query)

    async def put(self, path: str, body: Any, *, if_match: str | None = None) -> ApiAnswer:
        """Replace what has this version."""
        return await self.ask("PUT", path, body, headers={"If-Match": if_match} if if_match else None)

    async def delete(self, path: str, *, if_match: str | None = None) -> ApiAnswer:
        """Remove what has this version."""
        return await self.ask("DELETE", path, headers={"If-Match": if_match} if if_match else None)

    def holding(self, token: str, *, who: str = "", organisation: str | None = None) -> "ApiUser":
        """Somebody else at the same node."""
        return replace(self, token=token, id=who, organisation=organisation)

    async def register(self, identifier: str, url: str = "https://plant.example/", **more: Any) -> ApiAnswer:
        """Register an identifier with one URL."""
        return await self.post("/identifiers", {"identifier": identifier, "values": [url_form(url)], **more})


def segment(text: str) -> str:
    """A name as one segment of a path."""
    return quote(text, safe="")


def url_form(url: str, index: int = 1) -> dict[str, Any]:
    """A URL value as JSON."""
    return {"index": index, "type": "URL", "data": {"format": "string", "value": url}}


async def make_operator(settings: RegistrySettings, session: aiohttp.ClientSession, base: str) -> ApiUser:
    """The operator of a node, by a key that is made in its database, as `handlegrid apikey operator` does."""
    async with open_node(settings, unsafe=True) as node:
        accounts = Accounts(node.operations)
        async with node.operations.transaction(COMMAND) as tx:
            shown = await accounts.make_operator_key(tx)
    return ApiUser(session=session, base=base, token=shown.token, id=shown.key.id)


async def assign_prefix(settings: RegistrySettings, prefix: str, organisation: str) -> None:
    """Let an organisation hold a prefix that the node homes in its own name, as `handlegrid up` does."""
    async with open_node(settings, unsafe=True) as node, node.operations.transaction(COMMAND) as tx:
        await assign(tx, Prefix.parse(prefix), organisation)


async def make_user(by: ApiUser, role: Role, organisation: str | None = None, **person: Any) -> ApiUser:
    """A user who has signed in. organisation: None for one of the node itself."""
    login = f"user-{next(_numbers)}"
    new = {"role": role.value, "login": login, "password": PASSWORD, "name": f"Name of {login}", **person}
    if organisation is not None:
        new["organisation"] = organisation
    made = (await by.post("/users", new)).expect(201)
    return await sign_in(by, login=new["login"], password=new["password"], organisation=made["organisation"])


async def sign_in(at: ApiUser, *, login: str, password: str = PASSWORD, organisation: str | None) -> ApiUser:
    """Somebody with a session."""
    shown = {"organisation": organisation, "login": login, "password": password}
    opened = (await at.holding("").post("/sessions", shown)).expect(201)
    return at.holding(opened["token"], who=opened["user"], organisation=organisation)


def a_profile(name: str = "Pumpenwerk", **changes: Any) -> dict[str, Any]:
    """What describes an organisation that nobody else is."""
    return {
        "name": name,
        "kind": "foreign_controlled",
        "certificate_type": "other",
        "certificate_number": f"HRB-{next(_numbers)}",
        "region": {"province": "310000"},
        "industry": {"section": "C", "division": "34"},
        **changes,
    }


async def make_organisation(
    operator: ApiUser, reviewer: ApiUser, name: str = "Pumpenwerk", **more: Any
) -> str:
    """An approved organisation; its id."""
    taken_in = await operator.post("/organisations", {"profile": a_profile(name), **more})
    organisation: str = taken_in.expect(201)["id"]
    decided = await reviewer.ask(
        "POST",
        f"/organisations/{organisation}/review",
        {"decision": "approve"},
        headers={"If-Match": taken_in.etag},
    )
    decided.expect(200)
    return organisation


async def allocate_prefix(
    operator: ApiUser,
    reviewer: ApiUser,
    applicant: ApiUser,
    parent: str,
    label: str | None = None,
    **wish: Any,
) -> str:
    """A prefix for the organisation of the applicant, from the application to the allocation; its name."""
    given = {"label": label} if label is not None else {}
    new = {"parent": parent, "purpose": "product identifiers", **given, **wish}
    applied = await applicant.post("/applications", new)
    path = f"/applications/{applied.expect(201)['id']}"
    decision = {"decision": "approve"}
    reviewed = await reviewer.ask("POST", path + "/review", decision, headers={"If-Match": applied.etag})
    reviewed.expect(200)
    return str((await operator.post(path + "/allocation")).expect(201)["prefix"])


async def set_quotas(operator: ApiUser, organisation: str, **quotas: int) -> None:
    """Allow an organisation more or less than usual."""
    path = f"/organisations/{organisation}"
    found = await operator.get(path)
    changed = {**found.expect(200)["quotas"], **quotas}
    (await operator.put(path + "/quotas", changed, if_match=found.etag)).expect(200)


async def make_key(
    by: ApiUser,
    *,
    role: Role = Role.ENTERPRISE_EDITOR,
    prefixes: Sequence[str] | None = None,
    **more: Any,
) -> ApiUser:
    """An API key of the organisation of who makes it, with the rights of a role."""
    rights = sorted(right.value for right in ROLE_RIGHTS[role] & ROLE_RIGHTS[Role.ENTERPRISE_ADMINISTRATOR])
    new: dict[str, Any] = {"name": f"key {next(_numbers)}", "rights": rights, **more}
    if prefixes is not None:
        new["prefixes"] = list(prefixes)
    shown = (await by.post("/api-keys", new)).expect(201)
    return by.holding(shown["token"], who=shown["key"]["id"], organisation=shown["key"]["organisation"])
