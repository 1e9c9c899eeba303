"""What is told of identifiers that exist already: as whom, since when, and how they could be changed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from protocol.handle import Handle
from registry.context import Context
from registry.identifiers.reading import registered_at
from registry.problem_types import CONFLICT, ApiProblem
from registry.problem_types.identifiers import IDENTIFIER_EXISTS
from registry.transaction import Transaction
from registry.writing import Row

PATH = "/api/v1/identifiers/"


def path_of(handle: Handle) -> str:
    """The path of an identifier: one segment."""
    return PATH + quote(handle.octets, safe="")


async def existing_problems(
    tx: Transaction, context: Context, handles: Sequence[Handle]
) -> dict[bytes, ApiProblem]:
    """Why these handles could not be registered: storage key -> problem."""
    keys = [context.key_of(handle) for handle in handles]
    rows = await tx.writing.find(keys)
    registered = await registered_at(tx.connection, list(rows.values()))
    return {
        key: _problem(handle, rows[key], registered[key]) if key in rows else _gone()
        for key, handle in zip(keys, handles, strict=True)
    }


def _problem(wanted: Handle, row: Row, registered_ms: int) -> ApiProblem:
    stored = Handle(row.name)
    spelling = f" as {stored} (differs in case only)" if stored.octets != wanted.octets else ""
    moment = datetime.fromtimestamp(registered_ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ApiProblem(
        IDENTIFIER_EXISTS,
        f"{wanted} exists{spelling}, registered {moment}.",
        remedy=f'To change it: PUT {path_of(stored)} with If-Match: "{row.version}". Else choose another suffix.',
    )


def _gone() -> ApiProblem:
    return ApiProblem(CONFLICT, "The identifier was registered and deleted by somebody else just now.")
