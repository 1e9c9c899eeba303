"""The API under /api/v1: routes, the framework that every request passes, and the document that describes them."""
