"""The table of all routes: what the router, the reference and the tests are made from."""

from typing import Final

from registry.api.resources import meta, usage
from registry.api.route import Route

ROUTES: Final[tuple[Route, ...]] = (*usage.ROUTES, *meta.ROUTES)
