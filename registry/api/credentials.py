"""Who calls: the bearer token of a request, over a connection that may carry it, and never in a URL."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from protocol.transport.http import is_tls, peer_host
from registry.accounts.roles import Caller
from registry.metrics import RegistryMetrics
from registry.plain_http import PlainHttpRule, refusal_of_plain_http
from registry.problem_types import CREDENTIAL_IN_TARGET, HTTPS_REQUIRED, UNAUTHENTICATED, ApiProblem

SCHEME: Final = "bearer"
CHALLENGE: Final = 'Bearer realm="handlegrid"'
TOKEN_CHARACTERS_MAX: Final = 4_096

_TOKEN_START: Final = re.compile(r"hg_(?:live|test|session)_")
_SECRET_NAMES: Final = frozenset(
    {
        "access_token",
        "api_key",
        "apikey",
        "authorization",
        "bearer",
        "credential",
        "password",
        "secret",
        "token",
    }
)

Authenticate = Callable[[str], Awaitable[Caller | None]]
"""From a token to its holder; None for one that is unknown, expired, revoked or barred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Checks who calls, and counts it."""

    authenticate: Authenticate
    metrics: RegistryMetrics
    plain_http_credentials: PlainHttpRule

    def check_target(self, parameters: Mapping[str, list[str]], raw_path: str) -> None:
        """Raises ApiProblem 400 for a request that carries a credential in its target."""
        named = any(name.lower() in _SECRET_NAMES for name in parameters)
        texts = (text for name, values in parameters.items() for text in (name, *values))
        held = any(_TOKEN_START.search(text) for text in texts)
        if named or held or _TOKEN_START.search(raw_path):
            self.metrics.authenticated(SCHEME, "refused")
            raise ApiProblem(CREDENTIAL_IN_TARGET, "The target of the request holds a credential.")

    async def caller(self, request: web.Request) -> Caller:
        """The holder of the token that a request carries. Raises ApiProblem 401 or 403."""
        self.check_connection(request)
        header, *others = request.headers.getall("Authorization", [None])
        if header is None:
            raise self._refuse("missing", "No credential came.")
        if others:  # a proxy and we might believe different ones
            raise self._refuse("unreadable", "More than one credential came.")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != SCHEME or not token or len(token) > TOKEN_CHARACTERS_MAX:
            raise self._refuse("unreadable", "The Authorization header holds no bearer token.")
        caller = await self.authenticate(token.strip())
        if caller is None:
            raise self._refuse("failed", "The credential is unknown, expired, revoked or suspended.")
        self.metrics.authenticated(SCHEME, "success")
        return caller

    def check_connection(self, request: web.Request) -> None:
        """Raises ApiProblem 403 unless the connection of a request may carry secrets."""
        reason = refusal_of_plain_http(
            is_tls=is_tls(request), peer_host=peer_host(request), rule=self.plain_http_credentials
        )
        if reason is not None:
            self.metrics.authenticated(SCHEME, "refused")
            raise ApiProblem(HTTPS_REQUIRED, reason)

    def _refuse(self, result: str, detail: str) -> ApiProblem:
        self.metrics.authenticated(SCHEME, result)
        return ApiProblem(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": CHALLENGE})
