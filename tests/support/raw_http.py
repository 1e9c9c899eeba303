"""HTTP as octets: requests written as they come, answers read one after the other, both compared but for their date."""

import asyncio
import re
from dataclasses import dataclass
from types import TracebackType

from tests.support.transport import WAIT_S

_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """Status line, fields as sent, and body."""

    line: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def __getitem__(self, name: bytes) -> bytes:
        return dict(self.fields)[name]

    def without(self, *names: bytes) -> "RawAnswer":
        """The same without some fields."""
        return RawAnswer(self.line, tuple(field for field in self.fields if field[0] not in names), self.body)


class RawClient:
    """One connection: `async with RawClient(address) as client`."""

    def __init__(self, address: tuple[str, int], *, local: str | None = None) -> None:
        self._address = address
        self._local = None if local is None else (local, 0)

    async def __aenter__(self) -> "RawClient":
        self.reader, self.writer = await asyncio.open_connection(*self._address, local_addr=self._local)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def answer(self, method: bytes = b"GET") -> RawAnswer:
        """The next answer."""
        async with asyncio.timeout(WAIT_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            octets = int(length[1]) if length and method != b"HEAD" and b" 304 " not in head[:13] else 0
            return parse(head, await self.reader.readexactly(octets))

    async def ask(self, octets: bytes) -> RawAnswer:
        """The answer to one request."""
        self.send(octets)
        return await self.answer(octets.partition(b" ")[0])

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b"reset"


def parse(head: bytes, body: bytes = b"") -> RawAnswer:
    """An answer from its octets."""
    line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    fields = tuple((name, value) for name, _, value in (field.partition(b": ") for field in lines))
    return RawAnswer(line, fields, body)


def get(target: str, *fields: str, method: str = "GET") -> bytes:
    """A request as an ordinary client sends it."""
    lines = [f"{method} {target} HTTP/1.1", "Host: node.example", "User-Agent: test/1.0", *fields, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")
