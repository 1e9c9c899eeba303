"""The table of all routes: what the router, the reference and the tests are made from."""

from typing import Final

from registry.api.resources import audit, meta, usage
from registry.api.route import Route

ROUTES: Final[tuple[Route, ...]] = (*audit.ROUTES, *usage.ROUTES, *meta.ROUTES)
