"""Reservations: which suffixes below a prefix are reserved in ranges for whoever will register them later.

A range is one row however many suffixes it holds, and a prefix has a handful of shapes by which a suffix is taken
apart; both are told from here, and written by the package of identifiers.
"""

from collections.abc import Sequence
from typing import Final

from registry.work import Connection

SHAPES: Final = "SELECT head_octets, digits, tail_octets FROM identifier_range_shapes WHERE prefix = $1"
_HOLDING: Final = """
    SELECT asked.place, r.id, r.last FROM unnest($2::int[], $3::bytea[], $4::bytea[], $5::smallint[], $6::bigint[])
        AS asked (place, head, tail, digits, number)
    CROSS JOIN LATERAL (
        SELECT id, last FROM identifier_ranges
        WHERE prefix = $1 AND head = asked.head AND tail = asked.tail AND digits = asked.digits
            AND first <= asked.number AND last >= first
        ORDER BY first DESC LIMIT 1) AS r
    WHERE r.last >= asked.number"""


def apart(key: bytes, suffix_at: int, shape: tuple[int, int, int]) -> tuple[bytes, int, bytes] | None:
    """Head, number and tail of the suffix of a key when it has the shape (octets of head, digits, octets of tail)."""
    head_octets, digits, tail_octets = shape
    start = suffix_at + head_octets
    end = start + digits
    written = key[start:end]
    if len(key) != end + tail_octets or not written.isdigit():
        return None
    return key[suffix_at:start], int(written), key[end:]


async def ranges_holding(
    connection: Connection, prefix: bytes, keys: Sequence[bytes]
) -> dict[int, tuple[str, int]]:
    """Which of these storage keys below a folded prefix lie in ranges: place -> (id of the range, its last number)."""
    shapes = [tuple(record) for record in await connection.fetch(SHAPES, prefix)]
    asked = [
        (place, *parts, digits)
        for head_octets, digits, tail_octets in shapes
        for place, key in enumerate(keys)
        if (parts := apart(key, len(prefix) + 1, (head_octets, digits, tail_octets))) is not None
    ]
    if not asked:
        return {}
    places, heads, numbers, tails, digits_of = ([row[column] for row in asked] for column in range(5))
    records = await connection.fetch(_HOLDING, prefix, places, heads, tails, digits_of, numbers)
    return {record[0]: (record[1], record[2]) for record in records}
