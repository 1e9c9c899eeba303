"""Tables of plain text."""

from collections.abc import Sequence
from typing import Final

from deploy.local.deployment import NODES, RECURSIVE, Deployment

TITLES: Final = {node.name: node.title for node in NODES} | {RECURSIVE: "Recursive node, for clients"}


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length as aligned columns; the first row holds the titles."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def format_places(deployment: Deployment) -> str:
    """Where every daemon listens."""
    rows = [("DAEMON", "WHAT", "UDP AND TCP", "HTTP", "HEALTH AND METRICS")]
    for name, title in TITLES.items():
        health = deployment.health_url(name).removesuffix("/health/ready")
        rows.append((name, title, deployment.address(name), deployment.http_url(name), health))
    return format_table(rows)
