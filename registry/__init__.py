"""The authoritative side: storage, operations, permissions, prefix life cycle, REST API.

One engine plays root, top-level, secondary and enterprise node; a role is which prefixes it homes.
"""

from registry.operations import Operations
from registry.outcomes import (
    OPERATOR,
    Created,
    Creation,
    Deleted,
    Denied,
    Found,
    Identity,
    Referred,
    Rejected,
    Replaced,
    Unchanged,
)

__all__ = [
    "OPERATOR",
    "Created",
    "Creation",
    "Deleted",
    "Denied",
    "Found",
    "Identity",
    "Operations",
    "Referred",
    "Rejected",
    "Replaced",
    "Unchanged",
]
