"""What the API says about itself, from the table of its routes."""

from collections.abc import Sequence

from registry.api.openapi import make_document
from registry.api.route import Route
from registry.api.services import Documents


def make_documents(routes: Sequence[Route]) -> Documents:
    """The OpenAPI document and the pages, made when they are first asked for."""
    return Documents(lambda: make_document(routes))
