"""Query samples: every n-th resolution as a log line, so that an operator sees what is asked without a capture."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from protocol.bodies import ResolutionRequest
from protocol.codes import rc_name
from protocol.errors import HandleError
from protocol.jsonform import printable
from protocol.message import decode_message
from protocol.transport.base import TransportName
from protocol.transport.source import source_network

NAME_OCTETS_MAX: Final = 200  # of a name in a log line; the longest is ten times that
TYPES_MAX: Final = 8
SAMPLES_PER_S_MAX: Final = 100  # log lines a second, however many are asked

log = structlog.get_logger(__name__)


class QuerySampler:
    """Picks every n-th resolution and logs it. It names networks and never hosts.

    every: 1 for all of them; SAMPLES_PER_S_MAX holds in any case.
    """

    def __init__(self, every: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        assert every >= 1
        self._every = every
        self._clock = clock
        self._second, self._in_second = 0, 0
        self._left = every

    def is_due(self, count: int) -> bool:
        """Counts resolutions; whether one of them is to be picked."""
        self._left -= count
        return self._left <= 0

    def sample(
        self, transport: TransportName, request: bytes, response: bytes, outcome: str, host: str
    ) -> None:
        """Logs a resolution and begins to count anew. request, response: whole messages, envelopes included."""
        if not self._begins_anew():
            return
        try:
            question = ResolutionRequest.decode(decode_message(request).body)
        except HandleError:
            return
        log.info(
            "query_sampled",
            transport=transport,
            handle=printable(question.handle.octets[:NAME_OCTETS_MAX]),
            types=question.types[:TYPES_MAX],
            indexes=question.indexes[:TYPES_MAX],
            rc=rc_name(int.from_bytes(response[24:28], "big")),
            outcome=outcome,
            source=source_network(host),
            every=self._every,
        )

    def sample_http(self, target: str, code: int, outcome: str, host: str) -> None:
        """Logs a resolution over HTTP likewise. target: of the request line; what follows its path is left out."""
        if not self._begins_anew():
            return
        log.info(
            "query_sampled",
            transport="http",
            path=printable(target.partition("?")[0].encode("utf-8", "surrogateescape")[:NAME_OCTETS_MAX]),
            rc=rc_name(code),
            outcome=outcome,
            source=source_network(host),
            every=self._every,
        )

    def _begins_anew(self) -> bool:
        """Counts from the start again; whether a line may be logged."""
        self._left = self._every
        second = int(self._clock())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return self._in_second <= SAMPLES_PER_S_MAX
