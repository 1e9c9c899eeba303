"""The record API of a node, put together from what the node consists of."""

from protocol.runtime.signing import Signer
from registry.api.app import ApiApp
from registry.metrics import RegistryMetrics
from registry.node import Node
from registry.rest.app import RestApi
from registry.rest.callers import Callers
from registry.rest.handles import HandlesApi
from registry.rest.listing import ListingApi
from registry.rest.prefixes import PrefixesApi
from registry.rest.reverse import ReverseApi
from registry.rest.session_api import SessionApi
from registry.rest.sessions import HttpSessions
from registry.rest.verifications import VerificationsApi
from registry.searching import Searching
from registry.settings import RegistrySettings
from registry.single_creations import SingleCreations
from registry.statistics import RegistryObserver
from registry.wire.proofs import Proofs


def make_rest_api(
    node: Node,
    api: ApiApp,
    settings: RegistrySettings,
    metrics: RegistryMetrics,
    observer: RegistryObserver,
    *,
    creations: SingleCreations,
    proofs: Proofs,
    signer: Signer,
) -> RestApi:
    """Return the public HTTP interface of an open node."""
    callers = Callers(
        operations=node.operations,
        proofs=proofs,
        sessions=HttpSessions.of(node),
        signer=signer,
        metrics=metrics,
        plain_http_credentials=settings.plain_http_credentials,
    )
    return RestApi(
        handles=HandlesApi(
            operations=node.operations,
            creations=creations,
            callers=callers,
            observer=observer,
            default_ttl_s=settings.default_ttl_s,
        ),
        listing=ListingApi(operations=node.operations, callers=callers),
        prefixes=PrefixesApi(operations=node.operations, callers=callers),
        sessions=SessionApi(callers=callers),
        verifications=VerificationsApi(callers=callers),
        reverse=_make_reverse(node, settings, metrics, callers),
        api=api,
        site=node.site,
        on_answer=observer.answered_http,
    )


def _make_reverse(
    node: Node, settings: RegistrySettings, metrics: RegistryMetrics, callers: Callers
) -> ReverseApi | None:
    if settings.reverse_lookup == "off":
        return None
    return ReverseApi(
        operations=node.operations,
        searching=Searching(node.store),
        types=settings.lookups(),
        is_open=settings.reverse_lookup == "open",
        callers=callers,
        metrics=metrics,
    )
