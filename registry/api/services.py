"""Services: what the handlers of the API work with, put together once when the node starts."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from registry.accounts.service import Accounts
from registry.allocation.service import Allocation
from registry.api.pages import Pages
from registry.api.usage import Usage
from registry.audit.log import AuditLog
from registry.identifiers.service import Identifiers, make_identifiers
from registry.node import Node
from registry.operations import Operations
from registry.peers.service import Peers
from registry.peers.watch import OnRoute, ignore_route
from registry.seal import Sealer
from registry.settings import RegistrySettings
from registry.store import Store


class Documents:
    """What the API says about itself; made when it is first asked for, since a start has better things to do."""

    def __init__(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        """describe: makes the OpenAPI document."""
        self._describe = describe

    @cached_property
    def openapi(self) -> bytes:
        """The OpenAPI document as JSON."""
        return msgspec.json.encode(self._describe())

    @cached_property
    def pages(self) -> Pages:
        """What renders the pages."""
        return Pages()

    @cached_property
    def reference(self) -> bytes:
        """The reference page."""
        return self.pages.reference(self._describe())


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One field for each package that the API puts a front end before."""

    operations: Operations
    store: Store
    sealer: Sealer = field(repr=False)
    settings: RegistrySettings
    accounts: Accounts
    allocation: Allocation
    identifiers: Identifiers
    peers: Peers
    audit: AuditLog
    usage: Usage
    documents: Documents


def make_services(
    node: Node, settings: RegistrySettings, documents: Documents, *, on_route: OnRoute = ignore_route
) -> Services:
    """Put the services of an open node together.

    documents: what the API says about itself. on_route: told whether the nodes above know where this one is.
    """
    accounts = Accounts(node.operations)
    node.operations.is_barred = accounts.is_identity_barred
    allocation = Allocation.of(node.operations, settings, node.site)
    return Services(
        operations=node.operations,
        store=node.store,
        sealer=node.operations.context.sealer,
        settings=settings,
        accounts=accounts,
        allocation=allocation,
        identifiers=make_identifiers(
            node.operations,
            default_ttl_s=settings.default_ttl_s,
            utc_offset_s=settings.statistics_utc_offset_s,
        ),
        peers=Peers.of(
            node.operations,
            settings,
            node.site,
            accounts=accounts,
            allocation=allocation,
            on_route=on_route,
        ),
        audit=AuditLog(node.store),
        usage=Usage(node.store, time.monotonic),
        documents=documents,
    )
