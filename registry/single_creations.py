"""Records that administrators create one by one: those that come at once share a transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from registry.gathering import REGISTRATIONS_WAITING, Gathering, TooManyWaiting, Waiting
from registry.operations import Operations
from registry.outcomes import Actor, Creation, Origin, Result
from registry.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Asked:
    """One creation."""

    creation: Creation
    by: Actor
    replace: bool


class SingleCreations:
    """Creates single records at one node; close() waits for those that are under way."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._gathering: Gathering[Asked, Result] = Gathering(operations, _create)

    async def create(self, creation: Creation, *, by: Actor, replace: bool, origin: Origin) -> Result:
        """What Operations.create makes of one record, with the administrators of its prefix where it names none.

        Raises as Operations.create, and TooManyWaiting.
        """
        asked = Asked(creation, by, replace)
        try:
            return await self._operations.knowing_groups(
                lambda: self._gathering.do(asked, origin=origin, settle=_tell)
            )
        except TooManyWaiting:
            on_limit = self._operations.context.on_limit
            if on_limit is not None:
                on_limit(REGISTRATIONS_WAITING)
            raise

    async def close(self) -> None:
        """Wait until what was asked for is done."""
        await self._gathering.close()


async def _create(transaction: Transaction, group: Sequence[Waiting[Asked]]) -> Sequence[Result]:
    """One batch, whose rows are locked in one order; in two, groups could wait for each other."""
    return await transaction.create(
        [waiting.asked.creation for waiting in group],
        by=[waiting.asked.by for waiting in group],
        replace=[waiting.asked.replace for waiting in group],
        inherit_admin=True,
        origins=[waiting.origin for waiting in group],
    )


async def _tell(_: Transaction, result: Result) -> Result:
    return result
