"""What the API says about itself, made once at start from the table of its routes."""

from collections.abc import Sequence

import msgspec

from registry.api.openapi import make_document
from registry.api.pages import Pages
from registry.api.route import Route
from registry.api.services import Documents


def make_documents(routes: Sequence[Route]) -> Documents:
    """Make the OpenAPI document and the reference page."""
    document = make_document(routes)
    pages = Pages()
    return Documents(openapi=msgspec.json.encode(document), reference=pages.reference(document), pages=pages)
