"""A dump: everything that a server holds, one record after the other.

Source: PROTOCOL.md §9.4, the recording repl_dump_handles_v27.
"""

from dataclasses import dataclass
from typing import Final

from protocol.errors import Malformed
from protocol.replication.fields import Fields, counted, name, u8, u32, u64, values
from protocol.replication.framing import StreamDecoder
from protocol.valuetypes.hs_pubkey import PublicKey

DUMP_VERSION: Final = 2
OTHER_SITES_OCTETS_MAX: Final = 1_048_576  # a line for each of the sites that replicate from each other


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """Where the source's own log stood: what changes later is not in the dump."""

    date_ms: int
    transaction: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpedHandle:
    """A handle with its values."""

    name: bytes
    """Upper-cased by servers that do not tell case."""
    values: tuple[bytes, ...]
    """Encoded, unchecked: one record that makes no sense should not end a dump."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpedPrefix:
    """A prefix that the source homes."""

    name: bytes
    """The name of its record, 0.NA/<prefix>."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleDate:
    """When a handle changed last, and at which of several primaries."""

    name: bytes
    date_ms: int
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixDate:
    """When a prefix was homed or unhomed last."""

    name: bytes
    date_ms: int
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSites:
    """Where the source stands in the logs of others: a text table."""

    table: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The dump is complete; no signature covers this, even in a signed stream."""


DumpRecord = SourceState | DumpedHandle | DumpedPrefix | HandleDate | PrefixDate | OtherSites | Done


def decode_dump(key: PublicKey | None) -> StreamDecoder[DumpRecord]:
    """A decoder of what follows the first word of a dump. key: see StreamDecoder."""
    return StreamDecoder(
        _head, _record, is_last=lambda record: isinstance(record, Done), last_is_signed=False, key=key
    )


def _head() -> Fields[DumpRecord | None]:
    version = yield from u32()
    if version != DUMP_VERSION:
        raise Malformed(f"a dump of version {version}; {DUMP_VERSION} is known")
    return None


def _record() -> Fields[DumpRecord]:
    kind = yield from u8()
    match kind:
        case 0:
            return SourceState(date_ms=(yield from u64()), transaction=(yield from u64()))
        case 1:
            return DumpedHandle(name=(yield from name()), values=(yield from values()))
        case 2:
            return DumpedPrefix(name=(yield from name()))
        case 3:
            return HandleDate(
                name=(yield from name()), date_ms=(yield from u64()), priority=(yield from u32())
            )
        case 4:
            return PrefixDate(
                name=(yield from name()), date_ms=(yield from u64()), priority=(yield from u32())
            )
        case 5:
            return OtherSites(table=(yield from counted(OTHER_SITES_OCTETS_MAX)))
        case 0xFF:
            return Done()
        case _:
            raise Malformed(f"a dump with a record of unknown kind {kind}")
