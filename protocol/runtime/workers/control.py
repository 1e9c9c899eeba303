"""What a supervisor and a worker tell each other, over a pair of sockets that nobody else can reach."""

import msgspec

from protocol.runtime.workers.channel import Channel
from protocol.runtime.workers.sockets import Inherited


class Start(msgspec.Struct, frozen=True, tag=True):
    """To a worker, first of all: who it is."""

    settings: bytes
    """In MessagePack: what the supervisor has read and checked, so that a file that changes meanwhile does nothing."""
    index: int
    column: int
    """Of the shared seconds."""
    sockets: list[Inherited]
    memory: int
    """Descriptor of the shared memory."""
    meeting_place: str
    """Directory of the sockets by which workers reach each other."""
    workers: int
    """How many there are."""


class Collect(msgspec.Struct, frozen=True, tag=True):
    """To a worker: tell what you have counted."""


class Probe(msgspec.Struct, frozen=True, tag=True):
    """To a worker: are you ready?"""


class Drain(msgspec.Struct, frozen=True, tag=True):
    """To a worker: take nothing new, finish, and end."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """From a worker: it answers."""

    site_serial: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From a worker: it cannot start."""

    faults: list[str]
    outage: bool
    """Whether something that it needs is down; else the settings are at fault."""


class Family(msgspec.Struct, frozen=True, array_like=True):
    """A metric with its samples: name, labels and number of each."""

    name: str
    documentation: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


class Collected(msgspec.Struct, frozen=True, tag=True):
    """From a worker: what it has counted since it began. Also sent as the last thing it says."""

    families: list[Family]


class Probed(msgspec.Struct, frozen=True, tag=True):
    """From a worker: why it is not ready, by the name of the check."""

    reasons: dict[str, str]


ToWorker = Start | Collect | Probe | Drain
FromWorker = Ready | Failed | Collected | Probed
WorkerEnd = Channel[ToWorker]
SupervisorEnd = Channel[FromWorker]
