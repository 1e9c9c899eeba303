"""The listening sockets of a node with workers: each worker has its own of every port, and keeps it when replaced."""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from protocol.runtime.listen_settings import ListenSettings
from protocol.transport.shared_sockets import close_all, open_shared_tcp, open_shared_udp
from protocol.transport.sockets import bound_address, inode_of, udp_drops

Kind = Literal["udp", "tcp", "http"]


class Inherited(msgspec.Struct, frozen=True, array_like=True):
    """A socket as a worker is told of it."""

    kind: Kind
    host: str
    descriptor: int


@dataclass(slots=True)
class WorkerSockets:
    """What one worker listens on."""

    opened: list[tuple[Kind, str, socket.socket]] = field(default_factory=list)

    @classmethod
    def adopt(cls, inherited: Sequence[Inherited]) -> "WorkerSockets":
        """The sockets behind descriptors that this process has inherited; it hands them to no child of its own."""
        adopted = cls()
        for one in inherited:
            opened = socket.socket(fileno=one.descriptor)
            opened.set_inheritable(False)
            opened.setblocking(False)
            adopted.opened.append((one.kind, one.host, opened))
        return adopted

    def inherited(self) -> list[Inherited]:
        """What to tell a worker of them."""
        return [Inherited(kind, host, opened.fileno()) for kind, host, opened in self.opened]

    def of(self, kind: Kind) -> Iterator[tuple[str, socket.socket]]:
        """The sockets of a kind with the address that each was opened for."""
        return ((host, opened) for known, host, opened in self.opened if known == kind)

    def close(self) -> None:
        """Close our descriptors of them."""
        close_all([opened for _, _, opened in self.opened])


class NodeSockets:
    """All sockets of a node, for as many workers as it has."""

    def __init__(self, workers: int) -> None:
        self.of_worker = [WorkerSockets() for _ in range(workers)]

    @classmethod
    def open(cls, settings: ListenSettings, hosts: Sequence[str]) -> "NodeSockets":
        """Bind every port on every host. Raises SettingsError with the first that cannot be, and closes all then."""
        sockets = cls(settings.worker_count())
        try:
            for host in hosts:
                sockets._open(settings, host)
        except BaseException:
            sockets.close()
            raise
        return sockets

    def _open(self, settings: ListenSettings, host: str) -> None:
        count = len(self.of_worker)
        if settings.handle_port:
            self._share_out("tcp", host, open_shared_tcp(host, settings.handle_port, count))
            self._share_out("udp", host, open_shared_udp(host, settings.handle_port, count))
        if settings.http_port:
            self._share_out("http", host, open_shared_tcp(host, settings.http_port, count))

    def _share_out(self, kind: Kind, host: str, opened: Sequence[socket.socket]) -> None:
        for worker, one in zip(self.of_worker, opened, strict=True):
            worker.opened.append((kind, host, one))

    def addresses(self) -> dict[Kind, tuple[tuple[str, int], ...]]:
        """Where the node listens, by kind."""
        first = self.of_worker[0]
        kinds: tuple[Kind, ...] = ("udp", "tcp", "http")
        return {kind: tuple(bound_address(opened) for _, opened in first.of(kind)) for kind in kinds}

    def drops(self) -> int:
        """Datagrams that the kernel dropped since the sockets were opened, whichever worker had them."""
        return sum(udp_drops(inode_of(opened)) for worker in self.of_worker for _, opened in worker.of("udp"))

    def close(self) -> None:
        """Close our descriptors of them; what waits in them is lost when no worker has them."""
        for worker in self.of_worker:
            worker.close()
