"""`handlegrid id range`: suffixes that are reserved for lines that are off the network."""

import click
from msgspec import UNSET

from deploy.commands.api import KEY_OF_HOLDER, Api, api_command, limit_option, take
from registry.api.schemas.ranges import RangeFilter, ReservedRange
from registry.identifiers.forms import RANGE_NUMBERS_MAX, NewRange


@click.group(name="range", short_help="Reserved suffixes.")
def range_() -> None:
    """Ranges: reserve suffixes of a pattern for a line that registers later.

    \b
    Examples:
      handlegrid id range reserve 88.100.1 "LINE4-{yyyy}-{seq:8}" 100000 --node 88.100.1
      handlegrid id register 88.100.1/LINE4-2026-00000001 URL=https://example.com --range rng_… --node 88.100.1
    """


@range_.command(short_help="Reserve suffixes.")
@click.argument("prefix")
@click.argument("pattern")
@click.argument("count", type=click.IntRange(1, RANGE_NUMBERS_MAX))
@click.option(
    "--first", type=click.IntRange(0), help="The first number.  [default: the next one that is free]"
)
@api_command(writes=True, key_of=KEY_OF_HOLDER)
def reserve(*, api: Api, prefix: str, pattern: str, count: int, first: int | None) -> None:
    """Reserve COUNT suffixes of PATTERN, with one {seq:n} in it, below PREFIX; none resolves until it is registered."""
    new = NewRange(prefix=prefix, pattern=pattern, count=count, first=UNSET if first is None else first)
    made = api.run(lambda client: client.ranges.reserve(new, how=api.how))
    api.show(made, f"{made.id}: {made.pattern} from {made.first} to {made.last}")


@range_.command(name="list", short_help="List ranges.")
@click.argument("prefix")
@limit_option
@api_command(key_of=KEY_OF_HOLDER)
def list_(*, api: Api, prefix: str, limit: int) -> None:
    """List the ranges below PREFIX."""

    def row(found: ReservedRange) -> tuple[object, ...]:
        return found.id, found.pattern, found.first, found.last, found.count

    shown = api.run(lambda client: take(client.ranges.every(RangeFilter(prefix=prefix)), limit))
    api.show_list(shown, ("ID", "PATTERN", "FIRST", "LAST", "HELD"), row)


@range_.command(short_help="Show one, and how far it is used.")
@click.argument("range_id", metavar="RANGE")
@api_command(key_of=KEY_OF_HOLDER)
def show(*, api: Api, range_id: str) -> None:
    """Show RANGE, and how far it is used."""
    api.show(api.run(lambda client: client.ranges.get(range_id)))


@range_.command(short_help="Give the rest back.")
@click.argument("range_id", metavar="RANGE")
@click.option(
    "--first", type=click.IntRange(0), help="From this number on.  [default: behind the last one in use]"
)
@api_command(writes=True, key_of=KEY_OF_HOLDER)
def release(*, api: Api, range_id: str, first: int | None) -> None:
    """Give the unused rest of RANGE back."""
    left = api.run(lambda client: client.ranges.release(range_id, first=first, how=api.how))
    api.show(left, f"{left.id}: holds {left.count:,} of the {left.reserved:,} that were reserved")
