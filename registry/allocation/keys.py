"""The key of a hosted prefix's administrator, with which the holder's own programs speak the Handle protocol."""

import secrets
from typing import Final

from protocol.handle import Prefix
from protocol.value import SECRET_PERMISSIONS, HandleValue, ValueList
from registry.allocation.lifecycle import Hosting, PrefixState
from registry.allocation.terms import expect, locked
from registry.initialise import administrator_of
from registry.outcomes import OPERATOR, Identity
from registry.problem_types import ApiProblem
from registry.problem_types.allocation import PREFIX_HOSTING, PREFIX_STATE
from registry.transaction import Transaction

SECRET_OCTETS: Final = 32
"""256 random bits, as text of 43 characters."""


async def make_administrator_key(tx: Transaction, prefix: Prefix) -> tuple[Identity, str]:
    """Give the administrator of a hosted prefix a fresh key, in the place of an earlier one.

    Gives who he is, 300:<prefix>/ADMIN, and the secret, which is told once and never again.
    Raises ApiProblem: unknown (404), not hosted here, or not active (409).
    """
    allocated = await locked(tx, prefix)
    if allocated.hosting is not Hosting.HOSTED:
        raise ApiProblem(PREFIX_HOSTING, f"{allocated.prefix} is not hosted here; its own node has its keys.")
    if allocated.state is not PrefixState.ACTIVE:
        raise ApiProblem(PREFIX_STATE, f"{allocated.prefix} is {allocated.state}.")
    administrator = administrator_of(allocated.prefix)
    secret = secrets.token_urlsafe(SECRET_OCTETS)
    value = HandleValue(
        index=administrator.index, type="HS_SECKEY", data=secret.encode(), permissions=SECRET_PERMISSIONS
    )
    expect(await tx.put_values(administrator.handle, ValueList.of([value]), by=OPERATOR))
    tx.audit("prefix.make_key", str(allocated.prefix), organisation=allocated.organisation)
    return administrator, secret
