"""Runs a batch: one operation after the other, in one session with each server, to the end or to an outage.

What a server refuses is noted, and the batch goes on; it stops where nothing that follows could succeed either, and
says from which line to go on.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from deploy.batch.files import Files
from deploy.batch.report import FailedFile, Report, describe
from deploy.batch.syntax import (
    Authenticate,
    Entry,
    Fault,
    Homing,
    ServerPlace,
    SessionSetup,
    Write,
    read_batch,
)
from protocol.client.administration import Administration, SessionUse
from protocol.client.identity import Identity, KeyIdentity, SecretIdentity
from protocol.codes import ResponseCode
from protocol.errors import (
    HandleError,
    InvalidHandle,
    InvalidValue,
    LameService,
    NoService,
    OperationRefused,
    PrivateReferral,
    UnreadableKey,
)
from protocol.signature import PrivateKey

FAULTS_SHOWN: Final = 20
CLIENTS_MAX: Final = 8  # at once: a batch that homes prefixes goes through one server after the other

_OF_ENTRY: Final = (OperationRefused, InvalidHandle, InvalidValue, NoService, LameService, PrivateReferral)
"""What is the fault of one entry, and says nothing about the next."""
_OUTAGES: Final = frozenset({ResponseCode.ERROR, ResponseCode.SERVER_TOO_BUSY, ResponseCode.SERVER_BACKUP})

Connect = Callable[[Identity | None, SessionUse | None, ServerPlace | None], Awaitable[Administration]]
"""Makes a client for somebody, found from the root or as options say, or at the place that HOME names."""
LoadKey = Callable[[Path, bytes], PrivateKey]
"""The private key in a file. Raises UnreadableKey, OSError."""
Advanced = Callable[[], None]


def survey_batch(stream: BinaryIO) -> tuple[int, list[Fault]]:
    """How many operations a batch has, and what is wrong with it, at most FAULTS_SHOWN faults."""
    count, faults = 0, list[Fault]()
    for entry in read_batch(stream):
        if isinstance(entry, Write | Homing):
            count += 1
        elif isinstance(entry, Fault) and len(faults) < FAULTS_SHOWN:
            faults.append(entry)
    return count, faults


class Batch:
    """One run of one batch."""

    def __init__(
        self,
        report: Report,
        connect: Connect,
        load_key: LoadKey,
        *,
        directory: Path,
        files: Files,
        identity: Identity | None,
        sessions: SessionUse | None,
        from_line: int = 1,
        failed: FailedFile | None = None,
    ) -> None:
        """report: is filled in. directory: where relative names of key files begin. identity, sessions: at first."""
        self.report = report
        self._connect = connect
        self._load_key = load_key
        self._directory = directory
        self._files = files
        self._identity = identity
        self._sessions = sessions
        self._from_line = from_line
        self._failed = failed
        self._clients: dict[ServerPlace | None, Administration] = {}

    async def run(self, stream: BinaryIO, advanced: Advanced) -> None:
        """Run it; the report says how far it came, also when this raises. advanced: called after each operation."""
        try:
            for entry in read_batch(stream):
                if not await self._take(entry):
                    return
                if isinstance(entry, Write | Homing):
                    advanced()
        finally:
            await self._forget_clients()

    async def _take(self, entry: Entry) -> bool:
        """Do what an entry says; False where the batch ends."""
        match entry:
            case Authenticate():
                await self._forget_clients()
                return self._authenticate(entry)
            case SessionSetup():
                self._set_sessions(entry)
                await self._forget_clients()
            case Write() | Homing() if entry.line < self._from_line:
                self.report.passed_over += 1
            case Write() | Homing():
                return await self._attempt(entry)
            case _:
                raise AssertionError("a batch is surveyed before it runs")
        return True

    async def _attempt(self, entry: Write | Homing) -> bool:
        try:
            await self._do(entry)
        except HandleError as error:
            outage = isinstance(error, OperationRefused) and error.refusal in _OUTAGES
            if outage or not isinstance(error, _OF_ENTRY):
                self.report.stop(entry, str(error))
                return False
            failure = self.report.fail(entry, error)
            if self._failed is not None:
                self._failed.write(entry, failure)
        except BaseException:
            self.report.stop(entry, "interrupted; that operation may have been done")
            raise
        else:
            self.report.done += 1
        return True

    async def _do(self, entry: Write | Homing) -> None:
        if isinstance(entry, Homing):
            client = await self._client(entry.place)
            await (client.home if entry.verb == "HOME" else client.unhome)(entry.prefix)
            return
        values = [self._files.value(line) for line in entry.values]
        client = await self._client(None)
        match entry.verb:
            case "CREATE":
                await client.create(entry.handle, values)
            case "ADD":
                await client.add(entry.handle, values)
            case "MODIFY":
                await client.modify(entry.handle, values)
            case "REMOVE":
                await client.remove(entry.handle, entry.indexes)
            case "DELETE":
                await client.delete(entry.handle)
            case _:
                raise AssertionError(describe(entry))

    async def _client(self, place: ServerPlace | None) -> Administration:
        """The client for a place, or for all that is found by itself."""
        client = self._clients.get(place)
        if client is None:
            if len(self._clients) >= CLIENTS_MAX:
                await self._forget_clients()
            client = self._clients[place] = await self._connect(self._identity, self._sessions, place)
        return client

    async def _forget_clients(self) -> None:
        while self._clients:
            await self._clients.popitem()[1].end_sessions()

    def _authenticate(self, entry: Authenticate) -> bool:
        """Whether there is what proves who sends what follows."""
        if not entry.by_key:
            self._identity = SecretIdentity(reference=entry.reference, secret=entry.secret)
            return True
        try:
            key = self._load_key(self._directory / entry.key_file, entry.passphrase)
        except (UnreadableKey, OSError) as error:
            cause = f"{entry.key_file}: {error.strerror}" if isinstance(error, OSError) else str(error)
            self.report.stop(entry, cause)
            self.report.is_unusable = True
            return False
        self._identity = KeyIdentity(reference=entry.reference, key=key)
        return True

    def _set_sessions(self, entry: SessionSetup) -> None:
        use = SessionUse(encrypted=entry.encrypted, fallback=entry.fallback)
        if entry.timeout_s is not None:
            use = replace(use, timeout_s=entry.timeout_s)
        self._sessions = use if entry.in_sessions else None
        if entry.names_exchange_keys:
            self.report.remarks.append(
                f"line {entry.line}: the exchange keys are not used; keys of sessions are agreed on by Diffie-Hellman, "
                "as every deployed server does"
            )
