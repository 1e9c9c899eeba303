"""RegistryClient: the calls of the API, by areas."""

from pathlib import Path
from typing import Self

from registry.client.apikeys import ApiKeyCalls
from registry.client.audit import AuditCalls, UsageCalls
from registry.client.connection import DEADLINE_S, Connection
from registry.client.credential import Credential
from registry.client.identifiers import IdentifierCalls, RangeCalls
from registry.client.nodes import NodeCalls, UpstreamCalls
from registry.client.organisations import OrganisationCalls
from registry.client.prefixes import ApplicationCalls, MoveCalls, PrefixCalls
from registry.client.retrying import Retries
from registry.client.users import SessionCalls, UserCalls


class RegistryClient:
    """A client of one node. Every call raises ClientError; what may be repeated safely is repeated.

    Use it in `async with`, or close it.
    """

    def __init__(
        self,
        url: str,
        *,
        credential: Credential | None = None,
        ca_file: Path | None = None,
        retries: Retries | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Prepare; nothing is opened yet.

        url: scheme, host and port of the node, such as https://node.example:8000. credential: who calls; None for
        sign-in and what is public. ca_file: PEM with the authorities that are trusted, in place of the system's.
        deadline_s: for a call with all its repetitions. Raises SettingsError.
        """
        self.connection = Connection(
            url, credential=credential, ca_file=ca_file, retries=retries, deadline_s=deadline_s
        )
        self.organisations = OrganisationCalls(self.connection)
        self.users = UserCalls(self.connection)
        self.sessions = SessionCalls(self.connection)
        self.api_keys = ApiKeyCalls(self.connection)
        self.applications = ApplicationCalls(self.connection)
        self.prefixes = PrefixCalls(self.connection)
        self.moves = MoveCalls(self.connection)
        self.nodes = NodeCalls(self.connection)
        self.upstream = UpstreamCalls(self.connection)
        self.identifiers = IdentifierCalls(self.connection)
        self.ranges = RangeCalls(self.connection)
        self.audit = AuditCalls(self.connection)
        self.usage = UsageCalls(self.connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self.connection.close()
