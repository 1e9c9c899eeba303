"""An embedded Postgres: one server in one data directory, owned by the process that started it.

Durable as any Postgres: nothing that loses a committed transaction is switched off unless the caller asks.
It listens on a Unix socket only. When its owner dies it shuts down; what it committed is there at the next
start.
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import asyncpg

from deploy.local import binaries
from deploy.local.processes import (
    POLL_S,
    LocalError,
    ProcessIdentity,
    end,
    exclusive,
    open_log,
    socket_directory,
    tail,
)
from protocol.runtime.processes import ends_with_parent

UNPRIVILEGED_USER: Final = "nobody"  # Postgres refuses to run as root
START_TIMEOUT_S: Final = 300.0  # recovery after a crash may be long
STOP_TIMEOUT_S: Final = 60.0
PORT: Final = 5432  # names the Unix socket; nothing listens on the network
DATABASE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


class StopMode(Enum):
    """How Postgres ends: both keep every committed transaction, the second one recovers at the next start."""

    FAST = signal.SIGINT
    IMMEDIATE = signal.SIGQUIT


class EmbeddedPostgres:
    """A Postgres server in `data_dir`; start it from a thread that lives as long as the server should.

    data_dir: made at the first start. As root the server runs as `nobody`, who must be able to enter every
    directory above it. Beside it lie `<data_dir>.log` and `<data_dir>.lock`.
    settings: server parameters, such as `{"max_connections": "100"}`.
    """

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.log_file = self.data_dir.with_name(self.data_dir.name + ".log")
        self._settings = dict(settings or {})
        self._owned = contextlib.ExitStack()
        self._account = pwd.getpwnam(UNPRIVILEGED_USER) if os.geteuid() == 0 else None
        self._is_owner = False
        self._binary_dir: Path | None = None
        self._sockets: Path | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start the server and wait until it takes connections.

        Raises LocalError when it cannot, with the end of its log, or when another process owns the directory.
        """
        self.prepare()
        self.launch()
        until_s = time.monotonic() + timeout_s
        while not self.is_ready():
            if time.monotonic() > until_s:
                self.stop(StopMode.IMMEDIATE)
                raise LocalError(f"Postgres was not ready after {timeout_s:.0f} s; see {self.log_file}")
            time.sleep(POLL_S)

    def prepare(self) -> None:
        """Own the data directory, and make it if it is new. From any thread; a second or two when it is new."""
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self._own()
        try:
            self._end_orphan()
            self._binary_dir = self._binaries()
            self._initialise(self._binary_dir)
        except BaseException:
            self.released()
            raise

    def launch(self) -> None:
        """Start the prepared server without waiting: `is_ready` tells when it takes connections."""
        assert self._binary_dir is not None, "prepared first"
        self._run(self._binary_dir)

    def is_ready(self) -> bool:
        """Whether it takes connections; raises LocalError when it has ended instead."""
        assert self.process is not None, "launched first"
        if self.process.poll() is not None:
            raise LocalError(f"Postgres ended at once; the end of {self.log_file}:\n{tail(self.log_file)}")
        lines = self._pid_file()
        return len(lines) >= 8 and int(lines[0]) == self.process.pid and lines[7].strip() == "ready"

    def stop(self, mode: StopMode = StopMode.FAST, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the server, if it runs, and wait for it; after `timeout_s` seconds at once."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(mode.value)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.send_signal(StopMode.IMMEDIATE.value)
                self.process.wait()
        self.released()

    def released(self) -> None:
        """Give the directory up, after the server has ended."""
        self._owned.close()
        self._is_owner = False

    def dsn(self, database: str = "postgres") -> str:
        """How to connect: no password, since only the owner of its directory reaches the socket."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.sockets), safe='/')}&port={PORT}"

    @property
    def sockets(self) -> Path:
        """The directory of the Unix socket."""
        if self._sockets is None:
            self._sockets = socket_directory(self.data_dir, owner=self._uid)
        return self._sockets

    @property
    def _uid(self) -> int:
        return self._account.pw_uid if self._account else os.geteuid()

    @property
    def _as_account(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _own(self) -> None:
        if self._is_owner:
            return
        lock = self.data_dir.with_name(self.data_dir.name + ".lock")
        self._is_owner = self._owned.enter_context(exclusive(lock))
        if not self._is_owner:
            self.released()
            raise LocalError(f"another process runs the Postgres in {self.data_dir}; stop that one first")

    def _end_orphan(self) -> None:
        """End a server that outlived its owner: the lock is ours, so it has none."""
        lines = self._pid_file()
        if not lines or not lines[0].strip().isdigit():
            return
        orphan = ProcessIdentity.of(int(lines[0]))
        if orphan and self._is_ours(orphan):
            end(orphan, gently=signal.SIGINT, forcibly=signal.SIGQUIT, timeout_s=STOP_TIMEOUT_S)

    def _is_ours(self, process: ProcessIdentity) -> bool:
        try:
            return os.fsencode(self.data_dir) in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        except OSError:
            return False

    def _pid_file(self) -> list[str]:
        try:
            return (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _binaries(self) -> Path:
        version_file = self.data_dir / "PG_VERSION"
        _check_user(self._uid)
        found = binaries.find_binaries(int(version_file.read_text()) if version_file.exists() else None)
        if self._account is None:
            return found
        closed = [path for path in self.data_dir.parents if not path.stat().st_mode & 0o001]
        if closed:
            raise LocalError(
                f"as root, Postgres runs as user {UNPRIVILEGED_USER}, who cannot enter {closed[0]}; "
                f"run `chmod o+x {closed[0]}`, or choose another data directory with HANDLEGRID_HOME"
            )
        if binaries.reachable_by_others(found):
            return found
        stamp = int((found / "postgres").stat().st_mtime)
        copy = self.data_dir.with_name(f"{self.data_dir.name}.binaries-{stamp}")
        return binaries.private_copy(found, copy)

    def _initialise(self, binary_dir: Path) -> None:
        """Make the data directory, whole or not at all: an interrupted attempt is thrown away."""
        if (self.data_dir / "PG_VERSION").exists():
            return
        unfinished = self.data_dir.with_name(self.data_dir.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        os.chown(unfinished, self._uid, -1)
        command: list[str | Path] = [binary_dir / "initdb", "-D", unfinished, "-U", "postgres", "-A", "trust"]
        done = subprocess.run(
            [*command, "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums"],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
            cwd="/",
            **self._as_account,
        )
        if done.returncode:
            raise LocalError(
                f"Postgres could not make its data directory {self.data_dir}: {done.stderr[-2000:]}"
            )
        unfinished.rename(self.data_dir)

    def _run(self, binary_dir: Path) -> None:
        parameters = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            **self._settings,
        }
        options = [word for name, value in parameters.items() for word in ("-c", f"{name}={value}")]
        log = open_log(self.log_file)
        try:
            self.process = subprocess.Popen(
                [binary_dir / "postgres", "-D", self.data_dir, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment() | self._disclaimed(),
                cwd="/",
                start_new_session=True,  # a terminal's Ctrl-C must not reach it
                preexec_fn=ends_with_parent(signal.SIGINT),  # noqa: PLW1509 - calls nothing that takes a lock
                **self._as_account,
            )
        finally:
            os.close(log)

    def _disclaimed(self) -> dict[str, str]:
        """Tell the server that the process its last run names is no server, when the number is another's by now.

        After a reboot it may be anybody's, and Postgres would refuse to start beside it. The variable is meant for
        the number of a launcher's parent; what is left of a server in shared memory is still looked for.
        """
        lines = self._pid_file()
        number = lines[0].strip() if lines else ""
        return {"PG_GRANDPARENT_PID": number} if number.isdigit() else {}

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return kept | {"LC_ALL": "C.UTF-8", "HOME": str(self.data_dir)}


def _check_user(uid: int) -> None:
    """Raises LocalError for a user id without a name, as some containers have: initdb asks for it."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise LocalError(
            f"Postgres needs a user with a name, and user id {uid} has none; add it to /etc/passwd, such as "
            f"handlegrid:x:{uid}:{os.getegid()}::/:/bin/sh"
        ) from None


async def ensure_database(postgres: EmbeddedPostgres, name: str) -> str:
    """Create a database unless it exists; returns how to connect to it.

    name: lower-case letters, digits and underscores.
    """
    assert DATABASE_NAME.fullmatch(name), name
    connection = await asyncpg.connect(postgres.dsn())
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return postgres.dsn(name)
