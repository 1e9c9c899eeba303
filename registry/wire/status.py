"""0.SITE/status: what a server tells its administrators of itself, as values of a handle that nobody stores.

Source: PROTOCOL.md §1.3, §12.2. The types are those of deployed servers; the data are JSON of our own.
"""

import json
import resource
import sys
from collections.abc import Callable
from typing import Final

from protocol.handle import Handle
from protocol.runtime.build import build
from protocol.value import SECRET_PERMISSIONS, HandleValue, ValueList
from registry.operations import Operations

STATUS_HANDLE: Final = Handle(b"0.SITE/STATUS")
SERVER_STATUS: Final = "CNRI.SERVER_STATUS"
REPLICATION_STATUS: Final = "CNRI.REPLICATION_STATUS"
_SERVER_INDEX: Final = 1
_REPLICATION_INDEX: Final = 3
_LATEST: Final = "SELECT log_number FROM audit_chain ORDER BY number DESC LIMIT 1"


class Status:
    """The status of one process."""

    def __init__(
        self,
        operations: Operations,
        *,
        requests: Callable[[], int],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """requests: how many were answered since the start. clock: monotonic seconds."""
        self._operations = operations
        self._requests = requests
        self._clock = clock
        self._wall_clock = wall_clock
        self._started_s = clock()

    async def values(self) -> ValueList:
        """The status as it is now, in values that administrators may read. Raises StoreUnavailable."""
        return ValueList.of(
            [
                _value(_SERVER_INDEX, SERVER_STATUS, self._server()),
                _value(_REPLICATION_INDEX, REPLICATION_STATUS, await self._replication()),
            ]
        )

    def _server(self) -> dict[str, object]:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kibibytes, on Darwin octets
        return {
            "software": "handlegrid",
            "version": build(),
            "time": int(self._wall_clock()),
            "uptimeSeconds": int(self._clock() - self._started_s),
            "requests": self._requests(),
            "memoryMaxOctets": used if sys.platform == "darwin" else used * 1_024,
        }

    async def _replication(self) -> dict[str, object]:
        async with self._operations.context.store.connection() as connection:
            latest = await connection.fetchval(_LATEST)
        return {"latestTxnId": latest or 0}


def _value(index: int, type_name: str, data: dict[str, object]) -> HandleValue:
    octets = json.dumps(data).encode()
    return HandleValue(index=index, type=type_name, data=octets, ttl=0, permissions=SECRET_PERMISSIONS)
