"""A wire server of a registry without its daemon, and without threads until a proof is to be checked."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from protocol.codes import OpCode
from protocol.site import Site
from registry.context import Context
from registry.operations import Operations
from registry.outcomes import Identity, Result
from registry.single_creations import SingleCreations
from registry.wire.challenges import ChallengeStore
from registry.wire.desk import Desk
from registry.wire.policy import WirePolicy
from registry.wire.proofs import Floors, KnownKeys, Proofs
from registry.wire.replies import StoredReplies
from registry.wire.server import WireServer
from registry.wire.session_ids import SessionIds
from registry.wire.status import Status


def nothing(*_: Any) -> None:
    """Count nothing."""


async def _nobody(_: Identity) -> bool:
    return False


def wire_server(
    operations: Operations,
    site: Site,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
    policy: WirePolicy | None = None,
    registered: Callable[[str, OpCode, Result], None] = nothing,
    floors: Floors | None = None,
    is_barred: Callable[[Identity], Awaitable[bool]] = _nobody,
    **others: Any,
) -> WireServer:
    """Return a server on these operations, with what a node has by default."""
    keys = KnownKeys(cast(Context, getattr(operations, "context", None)))  # fakes have none
    proofs = Proofs(
        keys, Desk(1, on_limit=nothing), floors or Floors(), on_result=nothing, is_barred=is_barred
    )
    return WireServer(
        operations,
        site,
        creations=SingleCreations(operations),
        challenges=ChallengeStore(SessionIds(), clock=clock, on_limit=nothing),
        proofs=proofs,
        replies=StoredReplies(clock=clock, on_limit=nothing),
        status=Status(operations, requests=int, clock=clock, wall_clock=wall_clock),
        registered=registered,
        policy=policy or WirePolicy(),
        clock=clock,
        wall_clock=wall_clock,
        **others,
    )
