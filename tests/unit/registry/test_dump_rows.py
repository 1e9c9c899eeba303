"""Dumped records: what becomes of them, and the checksum by which two sets of them are compared."""

from protocol.replication import DumpedHandle
from protocol.value import HandleValue
from registry.bulk.rows import RejectedRow, Row
from registry.dump_import.rows import RecordSum, digest_of, named, row_of, source_of

KEY = b"88.100/A"


def value(index: int, data: bytes = b"u", timestamp: int = 7) -> bytes:
    """A value."""
    return HandleValue(index=index, type="URL", data=data, timestamp=timestamp).encode()


def test_a_record_keeps_its_values_to_the_octet_in_the_order_of_their_indexes() -> None:
    row = row_of(DumpedHandle(name=KEY, values=(value(300), value(2))), 1)
    assert isinstance(row, Row)
    assert row.creation.values.octets == value(2) + value(300)
    assert row.creation.dated


def test_a_value_that_goes_on_behind_its_end_spoils_its_record_alone() -> None:
    row = row_of(DumpedHandle(name=KEY, values=(value(1) + b"\0",)), 4)
    assert isinstance(row, RejectedRow)
    assert (row.line, row.source) == (4, named(KEY))


def test_every_octet_counts_in_the_digest_but_those_of_the_timestamp() -> None:
    octets = value(1)
    plain = digest_of(KEY, [octets])
    for position in range(len(octets)):
        changed = bytearray(octets)
        changed[position] ^= 1
        assert (digest_of(KEY, [bytes(changed)]) == plain) == (4 <= position < 8), position
    assert digest_of(b"88.100/B", [octets]) != plain
    assert digest_of(KEY, [octets, value(2)]) != plain


def test_the_order_of_values_and_records_does_not_count() -> None:
    assert digest_of(KEY, [value(1), value(2)]) == digest_of(KEY, [value(2), value(1)])
    one, other = RecordSum(), RecordSum()
    digests = [digest_of(b"88.100/%d" % number, [value(1)]) for number in range(5)]
    for digest in digests:
        one.add(digest)
    for digest in reversed(digests):
        other.add(digest)
    assert (str(one), one.count) == (str(other), 5)
    other.add(digests[0])
    assert str(one) != str(other)


def test_a_refused_record_is_a_line_that_can_be_put_right_whatever_its_octets() -> None:
    row = row_of(DumpedHandle(name=b"88.100/\xff", values=(value(1, b"\xfe"),)), 1)
    assert isinstance(row, Row)
    assert rb"88.100/\\xff" in source_of(row.creation)
