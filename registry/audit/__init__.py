"""The audit: who did what, in an order that cannot be changed afterwards without being found out."""

__all__: list[str] = []
