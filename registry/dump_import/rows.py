"""Dumped records as records to create, and what tells two records of one name apart."""

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from protocol.errors import HandleError, InvalidHandle
from protocol.handle import Handle, Prefix
from protocol.jsonform import value_to_json
from protocol.replication import DumpedHandle
from protocol.value import HandleValue, ValueList
from protocol.wire import Writer
from registry.bulk.rows import RejectedRow, Row
from registry.outcomes import Creation

SUM_OCTETS: Final = 32  # of SHA-256


def shown(name: bytes) -> str:
    """A name for people and JSON; an octet that is no UTF-8 shows as its number."""
    return name.decode("utf-8", "backslashreplace")


def prefix_of(name: bytes) -> Prefix:
    """The prefix whose record has this name. Raises InvalidHandle for the name of anything else."""
    handle = Handle.parse(name).resolved
    if not handle.is_prefix_record:
        raise InvalidHandle(f"the source homes {shown(name)[:100]}, which is no prefix")
    return handle.subject


def row_of(record: DumpedHandle, number: int) -> Row | RejectedRow:
    """The record as a row of an import. number: its place in the dump, from 1."""
    try:
        handle = Handle.parse(record.name)
        for value in record.values:
            HandleValue.decode(value)
    except HandleError as error:
        return RejectedRow(number, str(error), named(record.name))
    ordered = sorted(record.values)  # a value begins with its index
    return Row(number, Creation(handle, ValueList(b"".join(ordered), len(ordered)), dated=True), b"")


def source_of(creation: Creation) -> bytes:
    """A refused record as a line of a file that can be put right and imported; it may hold secrets."""
    values = [value_to_json(value) for value in creation.values]
    return msgspec.json.encode({"handle": shown(creation.handle.octets), "values": values})


def named(name: bytes) -> bytes:
    """A name alone, as a line of that file."""
    return msgspec.json.encode({"handle": shown(name)})


def digest_of(key: bytes, values: Iterable[bytes]) -> bytes:
    """SHA-256 over the folded name and the values without their timestamps, in the order of their indexes."""
    writer = Writer().counted(key)
    for value in sorted(values):
        writer.counted(value[:4] + value[8:])
    return hashlib.sha256(writer.octets()).digest()


class RecordSum:
    """A checksum of a set of records, whatever their order: the sum of their digests, and how many they are."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, digest: bytes) -> None:
        """Take a record in."""
        self.count += 1
        self._sum = (self._sum + int.from_bytes(digest, "big")) % (1 << 8 * SUM_OCTETS)

    def __str__(self) -> str:
        return self._sum.to_bytes(SUM_OCTETS, "big").hex()
