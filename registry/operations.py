"""The registry's operations: permission, then storage and log in one transaction, then generations, then the answer.

Every front end (Handle protocol, REST, import, commands) calls these and nothing below them.
A single creation is a batch of one. Results come in the order of the batch.
"""

from collections.abc import Callable, Sequence

from protocol.generations import Generations
from protocol.handle import Handle
from protocol.value import ValueList
from registry.outcomes import Actor, Answer, Creation, Identity, Result
from registry.prefixes import Prefixes
from registry.seal import Sealer
from registry.store import Store


class Operations:
    """What this node can do with handles. Safe for concurrent use by many tasks of one event loop.

    Every method raises StoreUnavailable when the database cannot be reached or does not confirm; a write
    that raised may or may not have happened, a write that returned is committed.
    """

    def __init__(
        self,
        *,
        store: Store,
        prefixes: Prefixes,
        sealer: Sealer,
        generations: Generations,
        wall_clock: Callable[[], float],
        case_sensitive: bool = False,
    ) -> None: ...

    async def resolve(
        self,
        handle: Handle,
        *,
        indexes: Sequence[int] = (),
        types: Sequence[str] = (),
        refer: bool = True,
        reader: Actor | None = None,
    ) -> Answer:
        """Answer a resolution from what this node stores; never from its authorisation copies.

        refer: False for a request with DNRF: 100 or 301 in place of a referral.
        reader: None selects publicly readable values only; an authenticated identity with READ_VALUE also gets
            the restricted ones, without it 400.
        """

    async def create(
        self,
        batch: Sequence[Creation],
        *,
        by: Actor,
        replace: bool = False,
        inherit_admin: bool = False,
    ) -> list[Result]:
        """Create records; with replace an existing record becomes the given one.

        Gives per item Created, Replaced, Unchanged (it exists alike, timestamps aside, with or without replace)
        or Rejected: 101 it exists and differs, 102 handle is no UTF-8, 201 an index twice, 202 a value is
        invalid or the record fits no message, 301 the prefix is not homed here, 400 and 401 not permitted.
        The same handle twice in one batch: the later one is judged after the earlier one.
        inherit_admin: a record without HS_ADMIN gets those of its prefix, at the first free index from 100 on.
        At most BATCH_ITEMS_MAX items (ValueError).
        """

    async def put_values(self, handle: Handle, values: ValueList, *, by: Actor, overwrite: bool = True) -> Result:
        """Add values to an existing handle; with overwrite, values whose index exists are replaced.

        Gives Replaced, Unchanged, or Rejected: 100 unknown handle, 201 index exists (without overwrite) or twice,
        202, 301, 400, 401.
        """

    async def remove_values(self, handle: Handle, indexes: Sequence[int], *, by: Actor) -> Result:
        """Remove values by index; Rejected with 100, 200 (an index is missing; nothing is removed), 301, 400."""

    async def delete(self, batch: Sequence[Handle], *, by: Actor) -> list[Result]:
        """Delete handles: Deleted, or Rejected with 100, 301, 400."""

    async def authenticate(self, claimed: Identity, secret: bytes) -> Identity | None:
        """Check a secret against the HS_SECKEY value that claimed names, in records stored here only.

        Gives the identity with the index that matched (claimed index 0: any HS_SECKEY value), or None.
        """
