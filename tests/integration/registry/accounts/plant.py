"""An enterprise as a client of the API, and short words for what tests ask."""

from typing import Any

import msgspec

from tests.integration.registry.accounts.office import CODES, PASSWORD, profile
from tests.integration.registry.api.harness import Answer, Front

API = "/api/v1"
PROFILE = msgspec.to_builtins(profile())
CONTACT = {"name": "韩梅梅", "mobile": "13800138000", "email": "hmm@plant.example"}


async def ok(asked: Any, status: int = 200) -> Any:
    """The body of an answer that is no refusal."""
    answer: Answer = await asked
    assert answer.status == status, (answer.status, answer.body)
    return answer.json if answer.body else None


async def sign_in(front: Front, organisation: str | None, login: str) -> str:
    body = {"organisation": organisation, "login": login, "password": PASSWORD}
    return str((await ok(front.ask("POST", f"{API}/sessions", body, token=""), 201))["token"])


async def make_user(
    front: Front, role: str, login: str, organisation: str | None = None, token: str | None = None
) -> Any:
    body = {"organisation": organisation, "role": role, "login": login, "password": PASSWORD, "name": "李雷"}
    return await ok(front.ask("POST", f"{API}/users", body, token=token), 201)


class Plant:
    """An approved organisation with its administrator."""

    def __init__(self, front: Front, organisation: str, user: str, token: str) -> None:
        self.front = front
        self.id = organisation
        self.path = f"{API}/organisations/{organisation}"
        self.user = user
        self.token = token

    @classmethod
    async def open(cls, front: Front, number: int = 0) -> "Plant":
        """Taken in by the operator, approved by a reviewer, with a user of its own."""
        body = {"profile": {**PROFILE, "certificate_number": CODES[number]}, "contact": CONTACT}
        made = await ok(front.ask("POST", f"{API}/organisations", body), 201)
        reviewer = f"reviewer-{number}"
        await make_user(front, "reviewer", reviewer)
        token = await sign_in(front, None, reviewer)
        path = f"{API}/organisations/{made['id']}"
        decision = {"decision": "approve"}
        await ok(front.ask("POST", f"{path}/review", decision, token=token, headers={"If-Match": '"1"'}))
        user = await make_user(front, "enterprise_administrator", "li.lei", made["id"])
        return cls(front, made["id"], user["id"], await sign_in(front, made["id"], "li.lei"))

    async def ask(self, method: str, target: str, body: Any = None, **more: Any) -> Answer:
        """Ask as the administrator."""
        return await self.front.ask(method, target, body, token=self.token, **more)

    async def key(self, *rights: str, **fields: Any) -> Any:
        """Make an API key."""
        body = {"name": "ERP", "rights": list(rights), **fields}
        return await ok(self.ask("POST", f"{API}/api-keys", body), 201)


async def state_of(front: Front) -> list[Any]:
    """Everything that must not change; last uses aside."""
    tables = ("organisations", "users", "people", "personal_fields", "identities", "api_keys")
    async with front.services.store.connection() as connection:
        return [
            await connection.fetch(f"SELECT to_jsonb(t) - 'last_used' FROM {table} AS t ORDER BY 1")  # noqa: S608
            for table in tables
        ]
