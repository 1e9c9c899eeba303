"""Records as the registry works on them: values by index, each in wire form, ascending in what is stored.

Pure. Values are kept encoded throughout, since what is stored is what is sent; only the head of a value is looked at
(PROTOCOL §2.1: index at 0, timestamp at 4, permissions at 13, type at 18).
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from protocol.codes import ResponseCode
from protocol.errors import WireError
from protocol.value import MAX_INDEX, MAX_TYPE_OCTETS, VALUE_HEAD, Permission, TtlType, ValueList
from protocol.valuetypes import decode_typed
from protocol.valuetypes.hs_site import SITE_TYPES
from protocol.wire import MAX_MESSAGE_OCTETS, MAX_VALUES
from registry.namespaces.template import HS_NAMESPACE, parse_template

MESSAGE_RESERVE_OCTETS: Final = 4_096
"""What a message needs beside the values: header, digest, a handle of 2048 octets, counts, a signature."""
RECORD_OCTETS_MAX: Final = MAX_MESSAGE_OCTETS - MESSAGE_RESERVE_OCTETS
HS_ADMIN: Final = b"HS_ADMIN"
HS_SECKEY: Final = b"HS_SECKEY"
CHECKED_TYPES: Final = frozenset(
    {HS_ADMIN, HS_NAMESPACE, b"HS_VLIST", *(name.encode() for name in SITE_TYPES)}
)
"""Types whose data servers act upon: data that do not decode are refused. All others are kept as they come."""

_U32: Final = struct.Struct(">I")
_u32_at: Final = _U32.unpack_from
_NO_REFERENCES: Final = bytes(4)
_PERMISSIONS_AT: Final = 13
_TYPE_AT: Final = 18
_PUBLIC: Final = int(Permission.PUBLIC_READ)

Values = dict[int, bytes]
"""The values of one record: index -> octets of the value, restricted data in the clear."""


class Refusal(Exception):
    """A request that is refused: what the peer is told, as a response code and a sentence."""

    def __init__(self, code: ResponseCode, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


def stamp_octets(wall_s: float) -> bytes:
    """The timestamp field for a value that changes now."""
    return _U32.pack(int(wall_s) & 0xFFFF_FFFF)


def take_in(values: ValueList, timestamp: bytes) -> tuple[Values, bool]:
    """Check values that somebody wants to store and give them our timestamp.

    timestamp: four octets, from stamp_octets; what the peer wrote there is ignored.
    Returns the values, and whether an HS_ADMIN is among them. The work per value of an import is done here.
    Raises Refusal: VALUE_ALREADY_EXISTS (201) for an index given twice, INVALID_VALUE (202) for an index outside
    1..2147483647, an unknown kind of TTL, an unreadable type, data that break a type on which servers act, a secret
    that the public could read, no value at all, or more than a message can carry.
    """
    octets = values.octets
    size = len(octets)
    _check_extent(values.count, size)
    taken: Values = {}
    administered = False
    position = 0
    try:
        while position < size:
            data_at = position + _TYPE_AT + _u32_at(octets, position + _TYPE_AT - 4)[0]
            end = _end_of_value(octets, data_at + 4 + _u32_at(octets, data_at)[0])
            index, permissions, folded_type = _check_head(octets[position:data_at])
            if index in taken:
                raise Refusal(ResponseCode.VALUE_ALREADY_EXISTS, f"index {index} is given twice")
            if folded_type is not None:
                _check_special(folded_type, octets[position:end], permissions)
                administered = administered or folded_type == HS_ADMIN
            taken[index] = octets[position : position + 4] + timestamp + octets[position + 8 : end]
            position = end
    except struct.error:
        position = -1
    if position != size or len(taken) != values.count:
        raise Refusal(ResponseCode.INVALID_VALUE, "the values are cut or contradict their count")
    return taken, administered


def parse_stored(values: ValueList) -> Values:
    """Values from a row of ours, by index, as they stand there."""
    return {_U32.unpack_from(value)[0]: value for value in values.slices()}


def split(values: Values) -> tuple[ValueList, Sequence[bytes]]:
    """Part a record into what everybody may read and the rest, in the clear; both ascending by index."""
    ordered = [values[index] for index in sorted(values)]
    for value in ordered:
        if not value[_PERMISSIONS_AT] & _PUBLIC:
            break
    else:  # as nearly always
        return ValueList(b"".join(ordered), len(ordered)), ()
    public = [value for value in ordered if value[_PERMISSIONS_AT] & _PUBLIC]
    restricted = [value for value in ordered if not value[_PERMISSIONS_AT] & _PUBLIC]
    return ValueList(b"".join(public), len(public)), restricted


def check_total(values: Values) -> None:
    """Raises Refusal (202) when a record as a whole would fit no message."""
    _check_extent(max(len(values), 1), sum(map(len, values.values())))


def keep_timestamps(new: Values, old: Mapping[int, bytes]) -> Values:
    """The new values, where a value that is identical but for its timestamp keeps the old one (PROTOCOL §4.7)."""
    return {index: old[index] if same_value(value, old.get(index)) else value for index, value in new.items()}


def same_value(one: bytes, other: bytes | None) -> bool:
    """Whether two values are identical but for their timestamps."""
    return other is not None and one[8:] == other[8:] and one[:4] == other[:4]


def same_record(one: Mapping[int, bytes], other: Mapping[int, bytes]) -> bool:
    """Whether two records are identical but for timestamps."""
    return one.keys() == other.keys() and all(same_value(value, other[index]) for index, value in one.items())


def permissions_of(value: bytes) -> int:
    """The permission octet of a value."""
    return value[_PERMISSIONS_AT]


def type_of(value: bytes) -> bytes:
    """The type of a value, ASCII letters folded, since types compare without regard to case."""
    return value[_TYPE_AT : _TYPE_AT + _U32.unpack_from(value, _TYPE_AT - 4)[0]].upper()


def data_of(value: bytes) -> bytes:
    """The data of a value."""
    start, end = data_extent(value)
    return value[start:end]


def data_extent(value: bytes) -> tuple[int, int]:
    """Where the data of a value begin and end; their length stands in the four octets before them."""
    length_at = _TYPE_AT + int(_U32.unpack_from(value, _TYPE_AT - 4)[0])
    return length_at + 4, length_at + 4 + int(_U32.unpack_from(value, length_at)[0])


def values_of_type(values: Iterable[bytes], folded_type: bytes) -> list[bytes]:
    """The values whose type, folded, is this."""
    return [value for value in values if type_of(value) == folded_type]


def _check_extent(count: int, octets: int) -> None:
    if count < 1:
        raise Refusal(ResponseCode.INVALID_VALUE, "a record has at least one value")
    if count > MAX_VALUES:
        raise Refusal(ResponseCode.INVALID_VALUE, f"{count} values; a message carries at most {MAX_VALUES}")
    if octets > RECORD_OCTETS_MAX:
        raise Refusal(
            ResponseCode.INVALID_VALUE,
            f"the values take {octets} octets; a message has room for {RECORD_OCTETS_MAX}",
        )


def _end_of_value(octets: bytes, end: int) -> int:
    """Where the value ends whose references begin at end. Raises struct.error when it is cut."""
    if octets[end : end + 4] == _NO_REFERENCES:
        return end + 4
    references = _u32_at(octets, end)[0]
    end += 4
    for _ in range(references):
        end += 8 + int(_u32_at(octets, end)[0])
    return end


@lru_cache(maxsize=1_024)  # a catalogue uses a handful of indexes and types
def _check_head(head: bytes) -> tuple[int, int, bytes | None]:
    """Index and permissions of a value, and its folded type when the registry itself acts upon it, else None.

    head: the octets before the data. Raises Refusal for an index, a kind of TTL or a type that cannot be stored.
    """
    index, _, ttl_type, _, permissions, _ = VALUE_HEAD.unpack_from(head)
    if not 0 < index <= MAX_INDEX or ttl_type > TtlType.ABSOLUTE:
        raise _invalid_head(index, ttl_type)
    return index, permissions, _fold_type(head[_TYPE_AT:])


def _fold_type(octets: bytes) -> bytes | None:
    try:
        readable = octets.decode("utf-8")
    except UnicodeDecodeError:
        readable = ""
    if not readable or len(octets) > MAX_TYPE_OCTETS:
        raise Refusal(ResponseCode.INVALID_VALUE, f"a type is UTF-8 text of 1 to {MAX_TYPE_OCTETS} octets")
    folded = octets.upper()
    return folded if folded in CHECKED_TYPES or folded == HS_SECKEY else None


def _check_special(folded_type: bytes, value: bytes, permissions: int) -> None:
    index = _U32.unpack_from(value)[0]
    if folded_type == HS_SECKEY:
        if permissions & _PUBLIC:
            raise Refusal(
                ResponseCode.INVALID_VALUE,
                f"value {index}: a secret key must not be publicly readable; use 1100",
            )
        return
    fault = _fault_of_data(folded_type, data_of(value))
    if fault:
        raise Refusal(ResponseCode.INVALID_VALUE, f"value {index}: {fault}")


@lru_cache(maxsize=256)  # the records of a catalogue share their administrators
def _fault_of_data(folded_type: bytes, data: bytes) -> str:
    try:
        if folded_type != HS_NAMESPACE:
            decode_typed(folded_type.decode(), data)
        elif data:  # an empty one is passed over
            parse_template(data)
    except WireError as error:
        return f"data that are no {folded_type.decode()}: {error}"
    return ""


def _invalid_head(index: int, ttl_type: int) -> Refusal:
    if ttl_type > TtlType.ABSOLUTE:
        return Refusal(
            ResponseCode.INVALID_VALUE,
            f"value {index}: a TTL is relative (0) or absolute (1), not {ttl_type}",
        )
    return Refusal(ResponseCode.INVALID_VALUE, f"an index is a number from 1 to {MAX_INDEX}, not {index}")
