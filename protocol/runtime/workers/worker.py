"""What a process knows of its place among the workers of a node."""

from dataclasses import dataclass
from pathlib import Path

from protocol.runtime.workers.memory import SharedMemory
from protocol.runtime.workers.sockets import WorkerSockets


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """What the supervisor has made for a worker."""

    sockets: WorkerSockets
    memory: SharedMemory
    meeting_place: Path
    """Directory of the sockets by which workers reach each other; only this node's processes may enter it."""
    workers: int
    """How many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process of a node; a node without a supervisor has one, which is ALONE."""

    index: int = 0
    inheritance: Inheritance | None = None
    """None for a process that opens its sockets itself."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that does what a node does once."""
        return self.index == 0

    @property
    def number(self) -> int:
        """What session ids name it by (session_ids.py): from 1 on, and 0 for ALONE."""
        return 0 if self.inheritance is None else self.index + 1


ALONE = Worker()
