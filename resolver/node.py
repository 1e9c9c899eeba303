"""RecursiveNode: every object of one recursive node, wired together on the running event loop."""

from dataclasses import dataclass

from resolver.settings import ResolverSettings

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverAddresses:
    """Where a started node listens, as (address, port) pairs; a disabled listener has no pair."""

    udp: tuple[Endpoint, ...]
    tcp: tuple[Endpoint, ...]
    http: tuple[Endpoint, ...]
    admin: tuple[Endpoint, ...]


class RecursiveNode:
    """One recursive node on the running event loop: start() opens it, stop() drains and closes it."""

    def __init__(self, settings: ResolverSettings) -> None:
        """Prepare a node; nothing is opened yet."""
        self.settings = settings

    @property
    def addresses(self) -> ResolverAddresses:
        """Where the node listens; only between start() and stop()."""
        raise NotImplementedError

    async def start(self) -> None:
        """Load the root bundle and open every listener.

        Raises SettingsError that says what to change; nothing stays open then.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop accepting, let requests in progress end, write the counters. Safe to repeat."""
        raise NotImplementedError
