"""Composition root of a registry node: settings -> objects -> listeners; the only place that wires things up."""

from dataclasses import dataclass

from registry.settings import RegistrySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAddresses:
    """Where a started node listens, as (address, port) pairs; a disabled listener has no pair."""

    udp: tuple[tuple[str, int], ...]
    tcp: tuple[tuple[str, int], ...]
    http: tuple[tuple[str, int], ...]
    admin: tuple[tuple[str, int], ...]


class RegistryNode:
    """One registry node on the running event loop: start() opens it, stop() drains and closes it."""

    def __init__(self, settings: RegistrySettings, *, unsafe: bool = False) -> None:
        """Prepare a node; nothing is opened or written yet.

        unsafe: accept a database that may lose acknowledged writes in a crash.
        """
        self.settings = settings
        self._unsafe = unsafe

    @property
    def addresses(self) -> RegistryAddresses:
        """Where the node listens; only between start() and stop()."""
        raise NotImplementedError

    async def start(self) -> None:
        """Initialise the database when it is new, and open every listener.

        Raises SettingsError (what to change) or StoreUnavailable (which database, why); nothing stays open then.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop accepting, let requests in progress end, write the counters, close the database. Safe to repeat."""
        raise NotImplementedError


async def run(settings: RegistrySettings, *, unsafe: bool = False) -> None:
    """Run a node until SIGTERM or SIGINT, then drain it."""
    raise NotImplementedError
