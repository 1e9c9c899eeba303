"""Who has proved to be whom: secrets, and answers to challenges, against the keys that are stored here.

Front ends bring a claimed identity and what shall prove it; they get the identity with the index of the key that
matched, or None. An identity whose organisation is suspended proves nothing.
"""

from collections.abc import Set
from functools import partial

from protocol.challenge import ACCEPTED_CODES, Challenge
from registry.authenticate import HS_PUBKEY, check_public_key_answer, check_secret_key_answer
from registry.key_work import KeyWork
from registry.operations import Operations
from registry.outcomes import Identity
from registry.record import HS_SECKEY


class Identities:
    """Checks proofs at one node. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(
        self, operations: Operations, work: KeyWork, *, accepted_codes: Set[int] = ACCEPTED_CODES
    ) -> None:
        """accepted_codes: of answers with a secret key."""
        self._operations = operations
        self._work = work
        self._accepted_codes = accepted_codes

    async def by_secret(self, claimed: Identity, secret: bytes) -> Identity | None:
        """Who tells a secret; see Operations.authenticate."""
        return await self._operations.authenticate(claimed, secret)

    async def by_answer(
        self, claimed: Identity, kind: bytes, challenge: Challenge, answer: bytes, *, source: str
    ) -> Identity | None:
        """Who has answered a challenge; None too for a kind of key that there is not.

        kind: HS_SECKEY or HS_PUBKEY. source: the network that the answer came from.
        Raises WireError for octets that are no answer, Crowded when too many wait to be checked.
        """
        record = await self._operations.context.read_record(claimed.handle)
        if kind == HS_SECKEY:
            check = partial(
                check_secret_key_answer, claimed, record, challenge, answer, accepted=self._accepted_codes
            )
        elif kind == HS_PUBKEY:
            check = partial(check_public_key_answer, claimed, record, challenge, answer)
        else:
            return None
        identity = await self._work.run(check, source=source)
        return None if identity is None or await self.is_barred(identity) else identity

    async def is_barred(self, identity: Identity) -> bool:
        """Whether whoever the identity belongs to is suspended."""
        is_barred = self._operations.is_barred
        return is_barred is not None and await is_barred(identity)
