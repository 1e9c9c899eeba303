"""The header of a CSV file: which column holds the handle, and what kind of value each other column makes.

A value column is a type, or `index:type`. Columns without an index are numbered 1, 2, 3, ... in their order, past
the indexes that other columns name; HS_ADMIN takes 100 by convention. So a column keeps its index from row to row.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from protocol.errors import HandleError, InvalidValue
from protocol.handle import Handle, Prefix
from protocol.value import (
    DEFAULT_PERMISSIONS,
    MAX_TYPE_OCTETS,
    SECRET_PERMISSIONS,
    VALUE_HEAD,
    TtlType,
    ValueReference,
    check_index,
)
from protocol.valuetypes import Admin
from protocol.valuetypes.hs_site import SITE_TYPES
from protocol.wire import MAX_VALUES

ADMIN_TYPE: Final = "HS_ADMIN"
ADMIN_INDEX: Final = 100  # where clients look for the administrator of a handle
SECRET_TYPES: Final = frozenset({"HS_SECKEY"})
STRUCTURED_TYPES: Final = frozenset({*SITE_TYPES, "HS_VLIST", "HS_PUBKEY"})
"""Types whose data no cell can spell; JSON Lines can."""

LINE_COLUMN: Final = "#line"
REASON_COLUMN: Final = "#reason"
TEXT_COLUMN: Final = "#text"
COMMENT_COLUMNS: Final = (LINE_COLUMN, REASON_COLUMN, TEXT_COLUMN)
"""Columns that a file of rejects adds; they make no values, so that the corrected file can be imported as it is."""

_INDEXED: Final = re.compile(r"(\d{1,10}):(.*)", re.DOTALL)


class HeaderUnusable(HandleError):
    """The first line of the file is no header that an import can follow; the text says what would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueColumn:
    """A column whose cells become values of one index and type."""

    position: int
    index: int
    type: str
    head: bytes
    """The value in wire form up to its data, timestamp 0."""
    encode: Callable[[str], bytes]
    """From a cell to data. Raises InvalidValue or UnicodeEncodeError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What a header says."""

    names: tuple[str, ...]
    """All columns as they are written, comment columns included."""
    name_position: int
    """The column of the handle or of its suffix."""
    name_start: str
    """What stands before the cell in the handle: `<prefix>/` for suffixes, else nothing."""
    values: tuple[ValueColumn, ...]
    """In ascending order of their indexes."""


def read_header(cells: Sequence[str], *, prefix: Prefix | None, ttl_s: int) -> Columns:
    """Read the first row of a CSV file.

    prefix: the one that the rows' suffixes belong to; needed with `suffix`, refused with `handle`.
    ttl_s: TTL of every value. Raises HeaderUnusable.
    """
    names = [cell.strip() for cell in cells]
    name_position, name_start = _find_name(names, prefix)
    typed = [
        (at, name) for at, name in enumerate(names) if at != name_position and name not in COMMENT_COLUMNS
    ]
    values = [
        ValueColumn(
            position=at, index=index, type=type_, head=_head(index, type_, ttl_s), encode=_encoder(type_)
        )
        for (at, _), (index, type_) in zip(typed, _assign_indexes([name for _, name in typed]), strict=True)
    ]
    if not values or len(values) > MAX_VALUES:
        raise HeaderUnusable(f"the header names {len(values)} value columns; 1 to {MAX_VALUES} are possible")
    return Columns(
        names=tuple(names),
        name_position=name_position,
        name_start=name_start,
        values=tuple(sorted(values, key=lambda column: column.index)),
    )


def _find_name(names: Sequence[str], prefix: Prefix | None) -> tuple[int, str]:
    folded = [name.lower() for name in names]
    found = [at for at, name in enumerate(folded) if name in ("handle", "suffix")]
    if len(found) != 1 and any("\0" in name for name in names):
        raise HeaderUnusable("the file looks like UTF-16: save it as UTF-8")
    if len(found) != 1:
        separated = "; columns are separated by commas" if re.search("[;\t]", "".join(names)) else ""
        raise HeaderUnusable(
            "the header must have one column `handle`, or `suffix` with --prefix; it reads "
            f"{_excerpt(names)}{separated}"
        )
    is_suffix = folded[found[0]] == "suffix"
    if is_suffix and prefix is None:
        raise HeaderUnusable("the file has a column `suffix`: say --prefix, which prefix they belong to")
    if not is_suffix and prefix is not None:
        raise HeaderUnusable(
            "the column `handle` holds whole handles: leave --prefix out. If it holds what follows the prefix, call it "
            "`suffix`"
        )
    return found[0], f"{prefix}/" if is_suffix else ""


def _assign_indexes(names: Sequence[str]) -> Iterator[tuple[int, str]]:
    split = [_split_name(name) for name in names]
    taken = {index for index, _ in split if index}
    if len(taken) != sum(1 for index, _ in split if index):
        raise HeaderUnusable(f"two columns name the same index: {_excerpt(names)}")
    for index, type_ in split:
        chosen = index or _first_free(taken, ADMIN_INDEX if type_.upper() == ADMIN_TYPE else 1)
        taken.add(chosen)
        yield chosen, type_


def _split_name(name: str) -> tuple[int, str]:
    """Return index (0 when none is named) and type of a column."""
    match = _INDEXED.fullmatch(name)
    index, type_ = (int(match[1]), match[2].strip()) if match else (0, name)
    try:
        type_octets = type_.encode()
        if match:
            check_index(index)
    except UnicodeEncodeError:
        raise HeaderUnusable("the header is not UTF-8: save the file as UTF-8") from None
    except InvalidValue as error:
        raise HeaderUnusable(f"column {name[:40]!r}: {error}") from None
    if not type_ or len(type_octets) > MAX_TYPE_OCTETS:
        raise HeaderUnusable(
            "a column of the header has no name" if not name else f"column {name[:40]!r}: no type"
        )
    if type_.upper() in STRUCTURED_TYPES:
        raise HeaderUnusable(f"column {type_}: no cell can hold such a value; use JSON Lines for this record")
    return index, type_


def _first_free(taken: set[int], start: int) -> int:
    return next(index for index in count(start) if index not in taken)


def _head(index: int, type_: str, ttl_s: int) -> bytes:
    type_octets = type_.encode()
    permissions = SECRET_PERMISSIONS if type_.upper() in SECRET_TYPES else DEFAULT_PERMISSIONS
    return VALUE_HEAD.pack(index, 0, TtlType.RELATIVE, ttl_s, permissions, len(type_octets)) + type_octets


def _encoder(type_: str) -> Callable[[str], bytes]:
    return _encode_admin if type_.upper() == ADMIN_TYPE else str.encode


def _encode_admin(cell: str) -> bytes:
    """Encode an administrator from `index:handle`, with all rights."""
    match = _INDEXED.fullmatch(cell)
    if match is None:
        raise InvalidValue(
            f"an administrator is written index:handle, such as 300:88.100/ADMIN, not {cell[:40]!r}"
        )
    handle = Handle.parse(match[2])
    index = int(match[1])
    return Admin(ValueReference(handle.octets, index and check_index(index))).encode()


def _excerpt(names: Iterable[str]) -> str:
    text = ",".join(names)
    return text if len(text) <= 120 else text[:120] + "..."
