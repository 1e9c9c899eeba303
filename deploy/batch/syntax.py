"""The syntax of batch files, as deployed tools read it: commands, each with the lines that belong to it.

CREATE, ADD and MODIFY are followed by lines of values, DELETE and REMOVE stand alone, HOME and UNHOME are followed by
prefix records, AUTHENTICATE and SESSIONSETUP say how what follows is sent. A block ends with an empty line, the end of
the file, or the next command; a line that begins with # is a remark. Source: HANDLE.NET Technical Manual §4.

Every line is bounded before it is believed; what is wrong becomes a Fault, and the rest of its block is passed over.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from protocol.errors import HandleError, InvalidHandle, InvalidValue
from protocol.handle import Handle, Prefix
from protocol.site import InterfaceProtocol
from protocol.value import HandleValue, ValueReference, check_index, parse_permissions
from protocol.valuetypes import Admin, ValueReferences
from protocol.wire import MAX_MESSAGE_OCTETS, MAX_VALUES

MAX_LINE_OCTETS: Final = MAX_MESSAGE_OCTETS  # what is longer goes into no message
MAX_BLOCK_OCTETS: Final = (
    2 * MAX_MESSAGE_OCTETS
)  # of all lines of one command: text is not twice as long as its values
MAX_BLOCK_LINES: Final = MAX_VALUES + 1
MAX_NAMES: Final = 100_000  # of one HOME: a server homes hundreds
MAX_TTL: Final = 0x7FFF_FFFF  # deployed decoders read it signed
MAX_TIMEOUT_HOURS: Final = 24 * 7

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_VALUE: Final = re.compile(r"(\d{1,10})\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)(?:\s+(.*))?", re.ASCII | re.DOTALL)
_ADMIN: Final = re.compile(r"(\d{1,10})\s*:\s*([01]{12})\s*:\s*(\S.*)", re.ASCII | re.DOTALL)
_REFERENCE: Final = re.compile(r"\s*(\d{1,10})\s*:\s*(\S.*?)\s*", re.ASCII | re.DOTALL)
_PLACE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):(\d{1,5}):(\w+)", re.ASCII)
_IDENTITY: Final = re.compile(r"(SECKEY|PUBKEY)\s*:\s*(\d{1,10})\s*:\s*(\S.*)", re.ASCII | re.IGNORECASE)
_PROTOCOLS: Final = {
    "UDP": InterfaceProtocol.UDP,
    "TCP": InterfaceProtocol.TCP,
    "HTTP": InterfaceProtocol.HTTP,
    "HTTPS": InterfaceProtocol.HTTPS,
}
_SESSION_FLAGS: Final = re.compile("[01]{2,3}")
_EXCHANGE_KEYS: Final = frozenset({"PUBEXNGKEYFILE", "PUBEXNGKEYREF", "PRIVEXNGKEYFILE", "PASSPHRASE"})


class Unreadable(Exception):
    """A line that breaks the syntax."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One command."""

    line: int
    """Where it begins, from 1; of one of several prefixes to home, its own line."""
    text: tuple[str, ...] = field(repr=False)
    """Its lines, which may hold secrets."""


@dataclass(frozen=True, slots=True)
class ValueLine:
    """A value, and the file that holds its data where the line names one."""

    value: HandleValue
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write(Entry):
    """CREATE, ADD, MODIFY, DELETE or REMOVE."""

    verb: str
    handle: Handle
    values: tuple[ValueLine, ...] = field(default=(), repr=False)
    indexes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """One interface of one server."""

    address: str
    port: int
    protocol: InterfaceProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Homing(Entry):
    """HOME or UNHOME of one prefix."""

    verb: str
    prefix: Prefix
    place: ServerPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticate(Entry):
    """As whom what follows is sent."""

    by_key: bool
    reference: ValueReference
    secret: bytes = field(default=b"", repr=False)
    key_file: str = ""
    passphrase: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSetup(Entry):
    """Whether and how what follows is sent in sessions."""

    in_sessions: bool
    encrypted: bool = False
    fallback: bool = True
    timeout_s: int | None = None
    names_exchange_keys: bool = False
    """Keys for an exchange that no deployed server can do; Diffie-Hellman takes its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(Entry):
    """What is wrong."""

    message: str


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    is_whole: bool = True

    @property
    def word(self) -> str:
        """The first word, in upper case."""
        return self.text.split(maxsplit=1)[0].upper() if self.text else ""

    @property
    def rest(self) -> str:
        """What follows the first word."""
        return self.text[len(self.word) :].strip()


class _Lines:
    """The lines of a file, without space around them; one can be looked at before it is taken."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._number = 0
        self._next: _Line | None = None

    def peek(self) -> _Line | None:
        """The next line that is no remark; None at the end."""
        while self._next is None or self._next.text.startswith("#"):
            self._next = self._read()
            if self._next is None:
                return None
        return self._next

    def take(self) -> _Line | None:
        """The same, which is gone then. Raises Unreadable for what is no line."""
        line = self.peek()
        self._next = None
        return self._whole(line)

    def take_raw(self) -> _Line | None:
        """The next line, whatever it begins with."""
        line, self._next = self._next or self._read(), None
        return self._whole(line)

    def follows(self) -> bool:
        """Whether the next line belongs to the block."""
        line = self.peek()
        return line is not None and bool(line.text) and line.word not in _COMMANDS

    def skip_block(self) -> None:
        """Pass over the rest of a block."""
        while self.follows():
            self._next = None

    def _read(self) -> _Line | None:
        octets = self._stream.readline(MAX_LINE_OCTETS + 1)
        if not octets:
            return None
        self._number += 1
        if len(octets) > MAX_LINE_OCTETS and not octets.endswith(b"\n"):
            while (more := self._stream.readline(MAX_LINE_OCTETS)) and not more.endswith(b"\n"):
                pass
            return _Line(self._number, "?", is_whole=False)
        if self._number == 1:
            octets = octets.removeprefix(_BYTE_ORDER_MARK)
        try:
            return _Line(self._number, octets.decode().strip())
        except UnicodeDecodeError:
            return _Line(self._number, "?", is_whole=False)

    @staticmethod
    def _whole(line: _Line | None) -> _Line | None:
        if line is not None and not line.is_whole:
            raise Unreadable(line.number, f"it is no UTF-8, or longer than {MAX_LINE_OCTETS:,} octets")
        return line


def read_batch(stream: BinaryIO) -> Iterator[Entry]:
    """The commands of a batch file, in their order; a Fault for each that cannot be read."""
    lines = _Lines(stream)
    while True:
        start: _Line | None = lines.peek()
        if start is None:
            return
        try:
            taken = lines.take()
            assert taken is not None
            if not taken.text:
                continue
            command = _COMMANDS.get(taken.word)
            if command is None:
                raise Unreadable(taken.number, f"{taken.word[:20]!r} is none of {', '.join(_COMMANDS)}")
            yield from command(taken, lines)
        except Unreadable as unreadable:
            yield Fault(line=unreadable.line, text=(start.text,), message=str(unreadable))
            lines.skip_block()


def _with_values(start: _Line, lines: _Lines) -> Iterator[Entry]:
    handle, text, octets = _handle(start, start.rest), [start.text], 0
    values: dict[int, ValueLine] = {}
    while lines.follows():
        line = _line(lines.take())
        if re.fullmatch(r".*\sADMIN", line.text, re.IGNORECASE | re.DOTALL) and lines.follows():
            line = _Line(line.number, f"{line.text} {_line(lines.take()).text}")  # as the manual prints it
        text.append(line.text)
        octets += len(line.text)
        if octets > MAX_BLOCK_OCTETS or len(text) > MAX_BLOCK_LINES:
            raise Unreadable(line.number, "more values than one message carries")
        parsed = _value(line)
        if values.setdefault(parsed.value.index, parsed) is not parsed:
            raise Unreadable(line.number, f"a second value with the index {parsed.value.index}")
    if not values:
        raise Unreadable(start.number, f"{start.word} {start.rest[:80]} is followed by no value")
    yield Write(
        line=start.number,
        text=tuple(text),
        verb=start.word,
        handle=handle,
        values=tuple(values.values()),
    )


def _delete(start: _Line, lines: _Lines) -> Iterator[Entry]:
    yield Write(line=start.number, text=(start.text,), verb=start.word, handle=_handle(start, start.rest))


def _remove(start: _Line, lines: _Lines) -> Iterator[Entry]:
    numbers, colon, name = start.rest.partition(":")
    try:
        indexes = tuple(check_index(int(number)) for number in numbers.split(",")[: MAX_VALUES + 1])
    except (ValueError, HandleError):
        indexes = ()
    if not colon or not indexes or len(indexes) > MAX_VALUES:
        raise Unreadable(start.number, "REMOVE is followed by indexes and a handle, as 2,3:88.1/pump")
    yield Write(
        line=start.number,
        text=(start.text,),
        verb=start.word,
        handle=_handle(start, name.strip()),
        indexes=indexes,
    )


def _homing(start: _Line, lines: _Lines) -> Iterator[Entry]:
    place, count = _place(start), 0
    while lines.follows():
        line = _line(lines.take())
        count += 1
        if count > MAX_NAMES:
            raise Unreadable(line.number, f"more than {MAX_NAMES:,} prefixes")
        handle = _handle(line, line.text)
        try:
            if not handle.is_prefix_record or b"/" not in handle.octets:
                raise InvalidHandle("")
            prefix = handle.subject
        except InvalidHandle:
            raise Unreadable(line.number, f"{line.text[:80]!r} is no prefix record 0.NA/…") from None
        text = (start.text, line.text)
        yield Homing(line=line.number, text=text, verb=start.word, prefix=prefix, place=place)
    if not count:
        raise Unreadable(start.number, f"{start.word} is followed by no prefix record")


def _authenticate(start: _Line, lines: _Lines) -> Iterator[Entry]:
    match = _IDENTITY.fullmatch(start.rest)
    secret = lines.take_raw()
    if match is None or secret is None or not secret.text:
        message = (
            "AUTHENTICATE is followed by SECKEY or PUBKEY, :index:handle, and the secret or key file below"
        )
        raise Unreadable(start.number, message)
    handle = _handle(start, match[3])
    reference = ValueReference(handle.octets, int(match[2]))
    text = (start.text, secret.text)
    if match[1].upper() == "SECKEY":
        octets = secret.text.encode()
        yield Authenticate(line=start.number, text=text, by_key=False, reference=reference, secret=octets)
        return
    file, _, passphrase = secret.text.partition("|")
    yield Authenticate(
        line=start.number,
        text=text,
        by_key=True,
        reference=reference,
        key_file=file.strip(),
        passphrase=passphrase.strip().encode(),
    )


def _session_setup(start: _Line, lines: _Lines) -> Iterator[Entry]:
    text, told = [start.text], dict[str, str]()
    while lines.follows():
        line = _line(lines.take())
        text.append(line.text)
        name, _, value = line.text.partition(":")
        told[name.strip().upper()] = value.strip()
        if name.strip().upper() not in {"USESESSION", "OPTIONS", "TIMEOUT"} | _EXCHANGE_KEYS:
            raise Unreadable(line.number, f"{name[:20]!r} says nothing about sessions")
    options, hours = told.get("OPTIONS", "001"), told.get("TIMEOUT", "0")
    if told.get("USESESSION") not in ("0", "1") or not _SESSION_FLAGS.fullmatch(options):
        raise Unreadable(
            start.number, "SESSIONSETUP takes USESESSION:1 or 0, and OPTIONS of three digits 0 or 1"
        )
    if not hours.isascii() or not hours.isdigit() or int(hours[:9]) > MAX_TIMEOUT_HOURS:
        raise Unreadable(start.number, f"TIMEOUT is a number of hours up to {MAX_TIMEOUT_HOURS}")
    yield SessionSetup(
        line=start.number,
        text=tuple(text),
        in_sessions=told["USESESSION"] == "1",
        encrypted=options[0] == "1",
        fallback=options[2:] == "1",
        timeout_s=int(hours) * 3_600 or None,
        names_exchange_keys=bool(_EXCHANGE_KEYS & told.keys()),
    )


def _value(line: _Line) -> ValueLine:
    match = _VALUE.fullmatch(line.text)
    if match is None:
        message = (
            "a value is index, type, TTL, permissions, encoding and data: 1 URL 86400 1110 UTF8 https://…"
        )
        raise Unreadable(line.number, message)
    index, kind, ttl, permissions, encoding, data = match.groups()
    reader = _ENCODINGS.get(encoding.upper())
    if reader is None:
        raise Unreadable(line.number, f"{encoding[:20]!r} is none of {', '.join(_ENCODINGS)}")
    if not ttl.isascii() or not ttl.isdigit() or len(ttl) > 10 or int(ttl) > MAX_TTL:
        raise Unreadable(line.number, f"a TTL is a number of seconds, not {ttl[:20]!r}")
    if not data:
        raise Unreadable(line.number, f"no data behind {encoding}")
    try:
        octets, file = reader(data)
        value = HandleValue(
            index=check_index(int(index)),
            type=kind,
            data=octets,
            ttl=int(ttl),
            permissions=parse_permissions(permissions),
        )
    except (InvalidValue, InvalidHandle) as error:
        raise Unreadable(line.number, str(error)) from None
    return ValueLine(value, file)


def _text_data(data: str) -> tuple[bytes, str | None]:
    return data.encode(), None


def _file_data(data: str) -> tuple[bytes, str | None]:
    return b"", data


def _admin_data(data: str) -> tuple[bytes, str | None]:
    """index:permissions:handle; the digits stand for the bits of the mask from the lowest to the highest.

    So deployed tools read them, whatever their manual says of the order (PROTOCOL.md §2.5 has the bits).
    """
    match = _ADMIN.fullmatch(data)
    if match is None:
        raise InvalidValue("an administrator is index:permissions:handle, with twelve digits 0 or 1")
    handle = Handle.parse(match[3].strip())
    permissions = int(match[2][::-1], 2)
    return Admin(ValueReference(handle.octets, _u32(match[1])), permissions).encode(), None


def _list_data(data: str) -> tuple[bytes, str | None]:
    """index:handle, each but the last with a semicolon behind it."""
    members = []
    for part in data.rstrip().removesuffix(";").split(";"):
        match = _REFERENCE.fullmatch(part)
        if match is None:
            raise InvalidValue("a list is index:handle;index:handle;…")
        members.append(ValueReference(Handle.parse(match[2]).octets, _u32(match[1])))
    return ValueReferences(tuple(members)).encode(), None


_ENCODINGS: Final[dict[str, Callable[[str], tuple[bytes, str | None]]]] = {
    "UTF8": _text_data,
    "ADMIN": _admin_data,
    "FILE": _file_data,
    "LIST": _list_data,
}
_COMMANDS: Final[dict[str, Callable[[_Line, _Lines], Iterator[Entry]]]] = {
    "AUTHENTICATE": _authenticate,
    "SESSIONSETUP": _session_setup,
    "CREATE": _with_values,
    "ADD": _with_values,
    "MODIFY": _with_values,
    "REMOVE": _remove,
    "DELETE": _delete,
    "HOME": _homing,
    "UNHOME": _homing,
}


def _u32(digits: str) -> int:
    if int(digits) > 0xFFFF_FFFF:
        raise InvalidValue(f"an index is a number of 32 bits, not {digits}")
    return int(digits)


def _line(line: _Line | None) -> _Line:
    assert line is not None, "follows() has seen it"
    return line


def _handle(line: _Line, name: str) -> Handle:
    try:
        return Handle.parse(name)
    except InvalidHandle as error:
        raise Unreadable(line.number, f"no handle: {error}") from None


def _place(start: _Line) -> ServerPlace:
    match = _PLACE.fullmatch(start.rest)
    protocol = None if match is None else _PROTOCOLS.get(match[4].upper())
    if match is None or protocol is None or not 0 < int(match[3]) < 65_536:
        raise Unreadable(start.number, f"{start.word} is followed by address:port:TCP, UDP or HTTP")
    return ServerPlace(match[1] or match[2], int(match[3]), protocol)
