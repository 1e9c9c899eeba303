"""Replication streams: what was recorded of a live server, read octet by octet, and what nobody should send."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pytest

from protocol.errors import BadSignature, Malformed, TooLarge, WireError
from protocol.replication import (
    Done,
    DumpedHandle,
    DumpedPrefix,
    EndOfQueue,
    EndOfStream,
    HandleDate,
    OtherSites,
    PrefixDate,
    QueueSwitch,
    SourceState,
    StreamDecoder,
    StreamHead,
    StreamKind,
    StreamStatus,
    Transaction,
    TransactionAction,
    decode_dump,
    decode_transactions,
    stream_kind,
)
from protocol.replication.fields import RECORD_OCTETS_MAX, RECORD_VALUES_MAX
from protocol.transport.stream_link import certified_key
from protocol.value import HandleValue
from protocol.valuetypes import PublicKey
from protocol.wire import Writer
from tests.support.keys import admin_key
from tests.support.vectors import keys, recorded

KEY: Final = PublicKey.decode(bytes.fromhex(keys()["server_rsa_public_key_hex"]))
DUMP: Final = "repl_dump_handles_v27"
TRANSACTIONS: Final = "repl_retrieve_txn_v27"
DECODERS: Final[dict[str, Callable[[PublicKey | None], StreamDecoder[Any]]]] = {
    DUMP: decode_dump,
    TRANSACTIONS: decode_transactions,
}


@cache
def stream_of(recording: str) -> bytes:
    """Return the recorded stream with its first word."""
    (entry,) = [entry for entry in recorded() if entry.recording == recording and entry.part == "stream"]
    return entry.octets


@cache
def described(recording: str) -> list[dict[str, Any]]:
    """Return what the recording says stands in the stream, behind its first word."""
    (entry,) = [entry for entry in recorded() if entry.recording == recording and entry.part == "stream"]
    found: list[dict[str, Any]] = entry.decoded["stream"]
    return found[1:]


def read(recording: str, octets: bytes, key: PublicKey | None = KEY, *, step: int = 1 << 20) -> list[Any]:
    """Read a stream behind its first word, fed step by step to its end."""
    decoder = DECODERS[recording](key)
    records: list[Any] = []
    for start in range(0, len(octets), step):
        records += decoder.feed(octets[start : start + step])
    assert decoder.ended
    return records


def matches(value: bytes, described_value: dict[str, Any]) -> bool:
    """Whether a value is the one that the recording describes."""
    decoded, data = HandleValue.decode(value), described_value["data"]
    expected = bytes.fromhex(data["hex"]) if isinstance(data, dict) else data.encode()
    heads = ("index", "timestamp", "ttl", "ttl_type", "permissions", "type")
    return decoded.data == expected and all(getattr(decoded, head) == described_value[head] for head in heads)


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_the_recorded_dump_gives_every_record_however_it_is_cut(step: int) -> None:
    assert stream_kind(stream_of(DUMP)[:4]) is StreamKind.SIGNED

    state, administrator, r1, prefix, done = read(DUMP, stream_of(DUMP)[4:], step=step)

    assert state == SourceState(date_ms=1_795_195_640_195, transaction=4)
    for record, told in zip((administrator, r1), described(DUMP)[2:4], strict=True):
        assert record.name == told["handle"].encode()
        assert [matches(*pair) for pair in zip(record.values, told["values"], strict=True)] == [True] * len(
            told["values"]
        )
    assert len(administrator.values) == 4
    assert (prefix, done) == (DumpedPrefix(name=b"0.NA/20.500.12345"), Done())


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_the_recorded_transactions_are_read_however_they_are_cut(step: int) -> None:
    head, *transactions, end = read(TRANSACTIONS, stream_of(TRANSACTIONS)[4:], step=step)

    assert head == StreamHead(format=1, status=StreamStatus.SENDING)
    for record, told in zip(transactions, described(TRANSACTIONS)[1:-1], strict=True):
        assert (record.number, record.name.decode()) == (told["txn_id"], told["handle"])
        assert (record.action, record.date_ms) == (told["action"], told["date_ms"])
        assert all(matches(*pair) for pair in zip(record.values, told.get("values", []), strict=True))
    actions = [record.action for record in transactions]
    assert actions == [TransactionAction.CREATE, TransactionAction.UPDATE, TransactionAction.DELETE]
    assert end == EndOfStream(date_ms=1_795_195_640_063)


@pytest.mark.parametrize("recording", DECODERS)
def test_no_record_is_given_out_under_another_key(recording: str) -> None:
    decoder = DECODERS[recording](PublicKey.of_rsa(admin_key().public_key()))
    with pytest.raises(BadSignature):
        decoder.feed(stream_of(recording)[4:])


@pytest.mark.parametrize("recording", DECODERS)
def test_a_bit_that_was_changed_anywhere_spoils_its_block(recording: str) -> None:
    octets, genuine = stream_of(recording)[4:], read(recording, stream_of(recording)[4:])
    for position in range(0, len(octets) - 1, 13):
        changed = bytearray(octets)
        changed[position] ^= 1
        decoder = DECODERS[recording](KEY)
        given: list[Any] = []
        try:
            for start in range(0, len(changed), 64):
                given += decoder.feed(bytes(changed[start : start + 64]))
        except (WireError, BadSignature):
            pass
        else:
            assert not decoder.ended, position
        assert given == genuine[: len(given)], position


@pytest.mark.parametrize("recording", ["repl_dump_handles_v211", "repl_retrieve_txn_v211"])
def test_the_recorded_tls_streams_show_the_key_of_the_site_record(recording: str) -> None:
    octets = stream_of(recording)
    assert stream_kind(octets[:4]) is StreamKind.TLS
    start = octets.index(b"\x30\x82", 90)  # of the certificate, behind the hello
    der = octets[start : start + 4 + int.from_bytes(octets[start + 2 : start + 4], "big")]
    assert certified_key(der) == KEY


def bare(*blocks: bytes) -> bytes:
    """A dump without signatures."""
    return b"".join((Writer().u32(2).octets(), *blocks))


def test_dates_and_the_state_of_other_sites_are_read_too() -> None:
    date = Writer().counted(b"88.100/A").u64(7).u32(2)
    octets = bare(
        Writer().u8(3).raw(date.octets()).octets(),
        Writer().u8(4).raw(date.octets()).octets(),
        Writer().u8(5).counted(b"1:x").octets(),
        b"\xff",
    )
    assert read(DUMP, octets, None) == [
        HandleDate(name=b"88.100/A", date_ms=7, priority=2),
        PrefixDate(name=b"88.100/A", date_ms=7, priority=2),
        OtherSites(table=b"1:x"),
        Done(),
    ]


def test_transactions_of_all_queues_are_told_apart() -> None:
    octets = (
        Writer()
        .u32(2)
        .u32(2)
        .u8(2)
        .counted(b"1:site")
        .u8(1)
        .u64(9)
        .counted(b"0.NA/88.100")
        .u8(4)
        .u64(5)
        .u8(3)
        .u64(6)
        .u8(0)
        .octets()
    )
    homed = Transaction(number=9, name=b"0.NA/88.100", action=TransactionAction.HOME, date_ms=5)
    expected = [QueueSwitch(queue=b"1:site"), homed, EndOfQueue(date_ms=6), EndOfStream(date_ms=None)]
    assert read(TRANSACTIONS, octets, None)[1:] == expected


def test_a_source_that_cannot_reach_back_says_so_and_ends() -> None:
    assert read(TRANSACTIONS, Writer().u32(1).u32(1).octets(), None) == [
        StreamHead(format=1, status=StreamStatus.NEEDS_DUMP)
    ]


@pytest.mark.parametrize(
    "octets",
    [
        bare(b"\1\xff\xff\xff\xff"),
        bare(b"\1", Writer().counted(b"88.100/A").u32(RECORD_VALUES_MAX + 1).octets()),
        bare(b"\1", Writer().counted(b"88.100/A").u32(1).u32(RECORD_OCTETS_MAX + 1).octets()),
        bare(b"\1", Writer().counted(b"A/1").u32(2).counted(b"x").u32(RECORD_OCTETS_MAX).octets()),
        bare(b"\5\x7f\xff\xff\xff"),
    ],
)
def test_a_length_or_count_that_is_too_large_ends_the_stream_at_once(octets: bytes) -> None:
    with pytest.raises(TooLarge, match="announces"):
        decode_dump(None).feed(octets)


@pytest.mark.parametrize("octets", [b"\0\0\0\1", bare(b"\6"), bare(b"\x7f")])
def test_an_unknown_version_or_record_of_a_dump_is_refused(octets: bytes) -> None:
    with pytest.raises(Malformed):
        decode_dump(None).feed(octets)


@pytest.mark.parametrize(
    "octets",
    [
        Writer().u32(3).u32(2).octets(),
        Writer().u32(1).u32(3).octets(),
        Writer().u32(1).u32(2).u8(4).octets(),
        Writer().u32(1).u32(2).u8(1).u64(1).counted(b"A/1").u8(7).octets(),
    ],
)
def test_unknown_formats_statuses_and_actions_of_transactions_are_refused(octets: bytes) -> None:
    with pytest.raises(Malformed):
        decode_transactions(None).feed(octets)


def test_a_stream_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(Malformed, match="0x00000001"):
        stream_kind(b"\0\0\0\1")


def test_a_record_that_makes_no_sense_does_not_end_a_dump() -> None:
    octets = bare(Writer().u8(1).counted(b"").u32(1).counted(b"xyz").octets(), b"\xff")
    assert read(DUMP, octets, None)[0] == DumpedHandle(name=b"", values=(b"xyz",))
