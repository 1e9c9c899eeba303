"""A server together with what it is asked: what a measurement takes in turn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.load.requests import Requests
from benchmarks.load.result import LoadResult
from benchmarks.load.run import Address, run_streams, run_udp
from benchmarks.rounds import Sample, measure
from benchmarks.targets.process import Server


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the load on it."""

    server: Server
    load: Callable[..., LoadResult]
    """Takes seconds, rate_per_s and sent_max; see `benchmarks.load.run`."""

    def sample(self, **how: Any) -> Sample:
        """Load it now."""
        return measure(self.server, lambda: self.load(**how))

    def flat_out(self, seconds: float) -> Callable[[], Sample]:
        """As many answers as it gives with so many requests in flight."""
        return lambda: self.sample(seconds=seconds)

    def paced(self, rate_per_s: float, seconds: float) -> Callable[[], Sample]:
        """At a fixed rate."""
        return lambda: self.sample(seconds=seconds, rate_per_s=rate_per_s)


def udp(server: Server, requests: Requests, **fixed: Any) -> Target:
    """A server asked over UDP."""
    return Target(server, lambda **how: run_udp(server.address, requests, **{**fixed, **how}))


def streams(server: Server, address: Address, requests: Requests, **fixed: Any) -> Target:
    """A server asked over TCP or HTTP."""
    return Target(server, lambda **how: run_streams(address, requests, **{**fixed, **how}))
