"""Dissection: a message's octets field by field, for whoever compares two implementations octet by octet.

It reads what the decoders of this package refuse, too, and never raises: what cannot be read is a field of its own
that says why. The fields cover every octet once, in order. Source: PROTOCOL.md §2.1, §3, §4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from protocol.codes import REFERRALS, OpCode, OpFlag, ResponseCode, op_name, rc_name
from protocol.message import DIGEST_OCTETS, ENVELOPE_OCTETS, DigestAlgorithm
from protocol.value import TtlType, format_permissions
from protocol.wire import text

FIELDS_MAX: Final = 32_768  # of one message; a record of 2,048 values has some 20,000
_ENVELOPE_FLAGS: Final = ((0x80, "compressed"), (0x40, "encrypted"), (0x20, "truncated"))


@dataclass(frozen=True, slots=True)
class Field:
    """Octets that mean one thing."""

    offset: int
    """From the first octet of the envelope."""
    name: str
    octets: bytes
    meaning: str = ""


class _Cut(Exception):
    """The octets end before a field does, or there are more fields than anybody reads."""


class _Cursor:
    """Takes one field after the other."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._end = len(octets)
        self.position = 0
        self.fields: list[Field] = []

    @property
    def remaining(self) -> int:
        """Octets before the end of the part that is being read."""
        return self._end - self.position

    def take(self, name: str, octets: int, meaning: Callable[[bytes], str] = bytes.hex) -> bytes:
        """The next field. Raises _Cut."""
        if octets > self.remaining:
            raise _Cut(f"{name}: {octets} octets announced, {self.remaining} are there")
        if len(self.fields) >= FIELDS_MAX:
            raise _Cut(f"more than {FIELDS_MAX} fields")
        taken = self._octets[self.position : self.position + octets]
        self.fields.append(Field(self.position, name, taken, meaning(taken)))
        self.position += octets
        return taken

    def number(self, name: str, octets: int = 4, meaning: Callable[[int], str] = str) -> int:
        """The next field, an unsigned integer."""
        return int.from_bytes(self.take(name, octets, lambda taken: meaning(_number(taken))), "big")

    def string(self, name: str, meaning: Callable[[bytes], str] | None = None) -> bytes:
        """The next two fields: a length, and as many octets."""
        length = self.number(f"{name}: length")
        return self.take(name, length, meaning or _quoted) if length else b""

    def rest(self, name: str, meaning: Callable[[bytes], str] = bytes.hex) -> None:
        """What is left of the part, when there is anything."""
        if self.remaining:
            taken = self._octets[self.position : self._end]
            self.fields.append(Field(self.position, name, taken, meaning(taken)))
            self.position = self._end

    def part(self, octets: int, read: Callable[["_Cursor"], None], surplus: str) -> None:
        """Read so many octets, and no more; what cannot be read of them is one field."""
        outer, self._end = self._end, self.position + octets
        try:
            read(self)
            self.rest(surplus)
        except _Cut as cut:
            taken = self._octets[self.position : self._end]
            self.fields.append(Field(self.position, "unreadable", taken, str(cut)))
            self.position = self._end
        finally:
            self._end = outer


def dissect(message: bytes) -> tuple[Field, ...]:
    """The fields of one whole message, envelope included."""
    cursor = _Cursor(message)
    cursor.part(len(message), _read_message, "surplus")
    return tuple(cursor.fields)


def _read_message(cursor: _Cursor) -> None:
    is_encrypted = _read_envelope(cursor)
    if is_encrypted:
        cursor.rest("encrypted", lambda taken: f"{len(taken)} octets, readable within their session alone")
        return
    version = tuple(cursor.fields[index].octets[0] for index in (0, 1))
    op_code = cursor.number("operation", 4, lambda code: f"{code} ({op_name(code)})")
    code = cursor.number(
        "response code", 4, lambda code: f"{code} ({rc_name(code) if code else 'a request'})"
    )
    flags = cursor.number("operation flags", 4, _flag_names)
    cursor.number("site serial", 2)
    cursor.number("recursion count", 1)
    cursor.number("reserved", 1)
    cursor.number("expiration", 4, _moment)
    length = cursor.number("body length")

    def read_body(inner: _Cursor) -> None:
        if code and flags & OpFlag.RRDG:
            _read_digest(inner, old=version < (2, 1))
        _reader_of(op_code, code)(inner)

    there = min(length, cursor.remaining)
    cursor.part(there, read_body, "surplus of the body")
    if there < length:
        raise _Cut(f"body: {length} octets announced, {there} are there")
    if cursor.remaining:
        cursor.part(cursor.remaining, _read_credential, "surplus")


def _read_envelope(cursor: _Cursor) -> bool:
    """Whether what follows is encrypted."""
    cursor.number("major version", 1)
    cursor.number("minor version", 1)
    flags = cursor.number("flags, suggested major", 1, _envelope_flags)
    cursor.number("suggested minor", 1)
    cursor.number("session id")
    cursor.number("request id")
    cursor.number("sequence number")
    cursor.number("message length")
    assert cursor.position == ENVELOPE_OCTETS
    return bool(flags & 0x40)


def _read_digest(cursor: _Cursor, *, old: bool) -> None:
    if old:
        cursor.string("request digest", lambda taken: f"MD5 {taken.hex()}")
        return
    kind = cursor.number("digest algorithm", 1, _digest_name)
    if kind not in DIGEST_OCTETS:
        raise _Cut(f"request digest of unknown algorithm {kind}")
    cursor.take("request digest", DIGEST_OCTETS[kind])


def _read_credential(cursor: _Cursor) -> None:
    length = cursor.number("credential length")
    if length:
        cursor.take("credential", length)


def _reader_of(op_code: int, code: int) -> Callable[[_Cursor], None]:
    """What reads the body of such a message; a body that nothing here reads is one field."""
    if code in REFERRALS:
        return _read_referral
    if code not in (0, ResponseCode.SUCCESS, ResponseCode.AUTHENTICATION_NEEDED):
        return _read_error
    match (op_code, code):
        case (OpCode.RESOLUTION, 0):
            return _read_question
        case (OpCode.RESOLUTION, ResponseCode.SUCCESS):
            return _read_record
        case (OpCode.GET_SITE_INFO, 0):
            return _read_name
        case _:
            return _read_opaque


def _read_opaque(cursor: _Cursor) -> None:
    cursor.rest("body")


def _read_name(cursor: _Cursor) -> None:
    cursor.string("handle")


def _read_question(cursor: _Cursor) -> None:
    cursor.string("handle")
    for number in range(cursor.number("indexes: count")):
        cursor.number(f"index {number + 1}")
    for number in range(cursor.number("types: count")):
        cursor.string(f"type {number + 1}")


def _read_error(cursor: _Cursor) -> None:
    if cursor.remaining:
        cursor.string("message")
    if cursor.remaining:
        for number in range(cursor.number("indexes: count")):
            cursor.number(f"index {number + 1}")


def _read_referral(cursor: _Cursor) -> None:
    cursor.string("handle")
    if cursor.remaining:
        _read_values(cursor)


def _read_record(cursor: _Cursor) -> None:
    cursor.string("handle")
    _read_values(cursor)


def _read_values(cursor: _Cursor) -> None:
    for number in range(1, cursor.number("values: count") + 1):
        name = f"value {number}"
        cursor.number(f"{name}: index")
        cursor.number(f"{name}: timestamp", 4, _moment)
        cursor.number(f"{name}: TTL type", 1, _ttl_type)
        cursor.number(f"{name}: TTL")
        cursor.number(f"{name}: permissions", 1, format_permissions)
        cursor.string(f"{name}: type")
        cursor.string(f"{name}: data")
        for reference in range(1, cursor.number(f"{name}: references: count") + 1):
            cursor.string(f"{name}: reference {reference}: handle")
            cursor.number(f"{name}: reference {reference}: index")


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _quoted(octets: bytes) -> str:
    """The text that octets are, in quotes; nothing for what is no UTF-8, whose hexadecimal form says it all."""
    string = text(octets)
    return f'"{string}"' if string.isprintable() and '"' not in string else ""


def _moment(wall_s: int) -> str:
    return f"{wall_s} ({datetime.fromtimestamp(wall_s, UTC):%Y-%m-%dT%H:%M:%SZ})" if wall_s else "0"


def _flag_names(flags: int) -> str:
    names = [str(flag.name) for flag in OpFlag if flags & flag]
    unknown = flags & ~sum(OpFlag)
    return " ".join([*names, *([f"0x{unknown:08x}"] if unknown else [])]) or "none"


def _envelope_flags(octet: int) -> str:
    names = [name for bit, name in _ENVELOPE_FLAGS if octet & bit]
    return " ".join([*names, f"suggested major {octet & 0x1F}"])


def _digest_name(kind: int) -> str:
    return f"{kind} ({DigestAlgorithm(kind).name})" if kind in DIGEST_OCTETS else str(kind)


def _ttl_type(kind: int) -> str:
    return f"{kind} ({TtlType(kind).name.lower()})" if kind in set(TtlType) else str(kind)
