"""Tables of plain text."""

from collections.abc import Sequence
from typing import Final
from unicodedata import east_asian_width

from deploy.local.deployment import NODES, RECURSIVE, Deployment

TITLES: Final = {node.name: node.title for node in NODES} | {RECURSIVE: "Recursive node, for clients"}


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length as aligned columns; the first row holds the titles."""
    widths = [max(_cells(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _cells(text))


def _cells(text: str) -> int:
    """Cells that a terminal takes for a text: two for each Chinese character."""
    return (
        len(text) if text.isascii() else sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
    )


def format_places(deployment: Deployment) -> str:
    """Where every daemon listens."""
    rows = [("DAEMON", "WHAT", "UDP AND TCP", "HTTP", "HEALTH AND METRICS")]
    for name, title in TITLES.items():
        health = deployment.health_url(name).removesuffix("/health/ready")
        rows.append((name, title, deployment.address(name), deployment.http_url(name), health))
    return format_table(rows)
