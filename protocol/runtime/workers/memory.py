"""The memory that the workers of a node share: limits that hold for all of them, and the seconds of the node."""

import mmap
import os
from typing import Final

from protocol.runtime import node_seconds
from protocol.runtime.node_seconds import NodeSeconds
from protocol.transport import buckets
from protocol.transport.buckets import Buckets

COLUMNS_MAX: Final = 128  # two for each of 63 workers: while one is replaced, its successor counts beside it


def _whole_pages(octets: int) -> int:
    return -(-octets // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY


_BUCKETS_OCTETS: Final = _whole_pages(buckets.octets_of())
_SECONDS_OCTETS: Final = _whole_pages(node_seconds.octets_of(COLUMNS_MAX))


class SharedMemory:
    """One block in a file without a name; memory is used as far as it is written."""

    def __init__(self, descriptor: int, column: int) -> None:
        """descriptor: of the file, which may be closed afterwards. column: of this process in the seconds."""
        self.sources = Buckets(mmap.mmap(descriptor, _BUCKETS_OCTETS))
        """The token buckets of source networks."""
        self.callers = Buckets(mmap.mmap(descriptor, _BUCKETS_OCTETS, offset=_BUCKETS_OCTETS))
        """Those of organisations that use an API."""
        seconds = mmap.mmap(descriptor, _SECONDS_OCTETS, offset=2 * _BUCKETS_OCTETS)
        self.seconds = NodeSeconds(memoryview(seconds), column)

    @staticmethod
    def create() -> int:
        """The descriptor of a new block that is ready for all workers at once."""
        descriptor = os.memfd_create("handlegrid-workers")
        os.ftruncate(descriptor, 2 * _BUCKETS_OCTETS + _SECONDS_OCTETS)
        SharedMemory(
            descriptor, 0
        )  # gives the buckets their key, which two workers at once might do differently
        return descriptor
