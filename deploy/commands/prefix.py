"""`handlegrid prefix`: delegate a prefix on its parent's node, and take it over on its own."""

import click


@click.group()
def prefix() -> None:
    """Allocate prefixes on a parent node, and accept them on the child's."""
