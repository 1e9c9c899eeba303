"""The table of all routes: what the router, the reference and the tests are made from."""

from typing import Final

from registry.api.resources import (
    apikeys,
    applications,
    audit,
    identifiers,
    identities,
    meta,
    moves,
    node_api,
    nodes,
    organisations,
    people,
    prefixes,
    ranges,
    sessions,
    usage,
    users,
)
from registry.api.route import Route

ROUTES: Final[tuple[Route, ...]] = (
    *organisations.ROUTES,
    *people.ROUTES,
    *identities.ROUTES,
    *users.ROUTES,
    *sessions.ROUTES,
    *apikeys.ROUTES,
    *applications.ROUTES,
    *prefixes.ROUTES,
    *moves.ROUTES,
    *nodes.ROUTES,
    *node_api.ROUTES,
    *identifiers.ROUTES,
    *ranges.ROUTES,
    *audit.ROUTES,
    *usage.ROUTES,
    *meta.ROUTES,
)
