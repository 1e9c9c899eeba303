"""Puts the API of an open node together: services, routes, documents, and what runs beside the requests."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.transport.buckets import Buckets
from registry.api.app import ApiApp
from registry.api.credentials import Credentials
from registry.api.documents import make_documents
from registry.api.limits import RateLimits
from registry.api.services import Services, make_services
from registry.api.table import ROUTES
from registry.api.usage import FLUSH_S
from registry.metrics import RegistryMetrics
from registry.node import Node
from registry.settings import RegistrySettings

PURGE_S: Final = 600.0
"""Between two removals of idempotency keys that are too old."""

PeriodicTask = tuple[Callable[[], Awaitable[None]], float]
"""An action, and the seconds between two of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The API of one node."""

    app: ApiApp
    services: Services
    tasks: Sequence[PeriodicTask]
    """To be repeated by every process while the node runs, and once more at its end."""
    node_tasks: Sequence[PeriodicTask]
    """The same, by one process of the node."""


def make_api(
    node: Node, settings: RegistrySettings, metrics: RegistryMetrics, *, buckets: Buckets | None = None
) -> Api:
    """Make the API; nothing is running or written yet. buckets: of organisations, shared by the node's processes."""
    services = make_services(
        node,
        settings,
        make_documents(ROUTES),
        on_route=metrics.parent_route_matches.set,
    )
    credentials = Credentials(
        authenticate=services.accounts.authenticate,
        metrics=metrics,
        plain_http_credentials=settings.plain_http_credentials,
    )
    app = ApiApp(
        services=services,
        routes=ROUTES,
        credentials=credentials,
        metrics=metrics,
        limits=RateLimits(buckets),
    )
    node_tasks = [
        (app.idempotency.purge, PURGE_S),
        *services.accounts.tasks(),
        *services.allocation.tasks(),
    ]
    tasks = [(services.usage.flush, FLUSH_S)]
    return Api(app=app, services=services, tasks=tasks, node_tasks=node_tasks)
