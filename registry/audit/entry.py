"""What the audit is made of: entries, the digest of the changes that one covers, the chain over them all; pure.

Two entries never have the same octets: every field of variable length is preceded by its length.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

FIRST_LINK: Final = bytes(32)
"""What stands before the first entry in place of a chain."""
DETAIL_OCTETS_MAX: Final = 65_536
"""Octets of an entry's detail: a reason of 2,000 characters and a few names are a fifth of it."""
ENTRY_COLUMNS: Final = (
    "xact", "id", "at_ms", "actor", "organisation", "via", "action", "target", "items", "digest", "detail",
    "request_id",
)  # fmt: skip
"""The columns of audit_log, in the order of the fields of Entry."""

Detail: TypeAlias = str | int | float | bool | Sequence["Detail"] | Mapping[str, "Detail"] | None
"""What JSON can say."""

_FORM: Final = b"handlegrid audit 1\0"
"""Begins every entry, so that its hash is none of anything else; another number would mean other fields."""
_NUMBERS: Final = struct.Struct(">qqqi")
_LENGTH: Final = struct.Struct(">I")
_ABSENT: Final = b"\xff\xff\xff\xff"
"""Stands where the length would, for a field that is null; no field is that long."""
_LOG_HEAD: Final = struct.Struct(">IIhqq")


@dataclass(frozen=True, slots=True)
class Entry:
    """One act, as audit_log keeps it; the fields in the order of ENTRY_COLUMNS."""

    xact: int
    """Number of the transaction that wrote it."""
    id: int
    """What the rows of the transaction log name it by; not its number in the chain."""
    at_ms: int
    actor: str
    organisation: str | None
    via: str
    action: str
    target: str
    items: int
    """Rows of the transaction log that belong to it."""
    digest: bytes | None
    """What digest_of gave for those rows; None when there are none."""
    detail: str
    """JSON, as canonical_detail gave it."""
    request_id: str


LogRow: TypeAlias = Iterable[Any]
"""A row of the transaction log: key, name, action, version, changed_ms."""


class LogDigest:
    """The digest of an entry's rows, taken piece by piece."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.rows = 0

    def add(self, rows: Iterable[LogRow]) -> None:
        """Take the next rows, in the order of `position`."""
        pack = _LOG_HEAD.pack
        parts: list[bytes] = []
        for key, name, action, version, changed_ms in rows:
            parts += (pack(len(key), len(name), action, version, changed_ms), key, name)
        self._hash.update(b"".join(parts))
        self.rows += len(parts) // 3

    def octets(self) -> bytes:
        """SHA-256 over what was added."""
        return self._hash.digest()


def digest_of(rows: Iterable[LogRow]) -> bytes:
    """SHA-256 over rows of the transaction log, in the order of `position`."""
    digest = LogDigest()
    digest.add(rows)
    return digest.octets()


def canonical_detail(detail: Mapping[str, Detail] | None) -> str:
    """The one text of a JSON object that audit_log keeps: sorted names, no spaces, storable in any database of UTF-8.

    None is the empty object. Raises ValueError for what JSON cannot say, and above DETAIL_OCTETS_MAX.
    """
    if not detail:
        return "{}"
    text = json.dumps(detail, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    octets = text.encode("utf-8", "backslashreplace")  # half a surrogate pair becomes its escape in JSON
    if len(octets) > DETAIL_OCTETS_MAX:
        raise ValueError(f"the detail of an entry has {len(octets)} octets; at most {DETAIL_OCTETS_MAX}")
    return octets.decode("utf-8")


def canonical(entry: Entry) -> bytes:
    """The octets of an entry that the chain covers: every column."""
    parts = [_FORM, _NUMBERS.pack(entry.xact, entry.id, entry.at_ms, entry.items)]
    for field in (
        entry.actor,
        entry.organisation,
        entry.via,
        entry.action,
        entry.target,
        entry.detail,
        entry.request_id,
    ):
        if field is None:
            parts.append(_ABSENT)
        else:
            octets = field.encode("utf-8", "surrogatepass")
            parts += (_LENGTH.pack(len(octets)), octets)
    digest = entry.digest
    parts.append(_ABSENT if digest is None else _LENGTH.pack(len(digest)) + digest)
    return b"".join(parts)


def link(previous: bytes, entry: Entry) -> bytes:
    """The chain up to and including an entry: SHA-256 over the chain before it, and the entry."""
    return hashlib.sha256(previous + canonical(entry)).digest()
