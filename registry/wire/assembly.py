"""The wire server of a node, put together from its settings."""

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from protocol.challenge import SecretCode
from protocol.codes import OpCode
from protocol.message import Version
from protocol.runtime.signing import Signer
from registry.metrics import RegistryMetrics
from registry.node import Node
from registry.outcomes import Identity, Result
from registry.settings import RegistrySettings
from registry.single_creations import SingleCreations
from registry.wire.challenges import ChallengeStore
from registry.wire.desk import Desk
from registry.wire.policy import WirePolicy
from registry.wire.proofs import Floors, KnownKeys, Proofs
from registry.wire.replies import StoredReplies
from registry.wire.server import WireServer
from registry.wire.session_ids import SessionIds
from registry.wire.sessions import Sessions
from registry.wire.status import Status

SECRET_CODES: Final = {
    "pbkdf2-hmac-sha1": SecretCode.PBKDF2_HMAC_SHA1,
    "hmac-sha256": SecretCode.HMAC_SHA256,
    "hmac-sha1": SecretCode.HMAC_SHA1,
    "sha256": SecretCode.SHA256,
    "sha1": SecretCode.SHA1,
    "md5": SecretCode.MD5,
}
HASHES: Final = {"sha-256": ("SHA-256", "SHA256"), "sha-1": ("SHA-1", "SHA1")}
"""The names by which each hash travels."""


def make_wire_server(
    node: Node,
    settings: RegistrySettings,
    metrics: RegistryMetrics,
    registered: Callable[[str, OpCode, Result], None],
    resources: AsyncExitStack,
    *,
    creations: SingleCreations,
    desk: Desk,
    proofs: Proofs,
    signer: Signer | None = None,
    worker: int = 0,
) -> WireServer:
    """The wire server of one process; resources close it.

    registered: counts writes. creations, desk, proofs: shared with the other front ends. worker: the number by which
    session ids name the process, 0 when it is alone.
    """
    operations = node.operations
    clock, wall_clock = time.monotonic, time.time
    ids = SessionIds(worker)
    sessions = Sessions(
        ids,
        desk,
        observer=metrics,
        idle_max_s=settings.session_idle_max_s,
        binding=settings.session_source,
        case_sensitive=settings.case_sensitive,
        clock=clock,
    )
    metrics.watch_sessions(lambda: len(sessions.unproved), lambda: len(sessions.proved))
    server = WireServer(
        operations,
        node.site,
        creations=creations,
        challenges=ChallengeStore(ids, clock=clock, on_limit=metrics.limit_reached),
        proofs=proofs,
        replies=StoredReplies(clock=clock, on_limit=metrics.limit_reached),
        status=Status(operations, requests=metrics.requests, clock=clock, wall_clock=wall_clock),
        registered=registered,
        policy=policy_of(settings),
        sessions=sessions,
        signer=signer,
        clock=clock,
        wall_clock=wall_clock,
    )
    resources.push_async_callback(server.close)
    return server


def make_desk(settings: RegistrySettings, metrics: RegistryMetrics, resources: AsyncExitStack) -> Desk:
    """Where all front ends of one process have keys worked with; resources close it."""
    desk = Desk(settings.verification_threads, on_limit=metrics.limit_reached)
    resources.callback(desk.close)
    return desk


def make_proofs(node: Node, settings: RegistrySettings, metrics: RegistryMetrics, desk: Desk) -> Proofs:
    """How all front ends of one process check proofs."""
    operations = node.operations

    async def is_barred(identity: Identity) -> bool:
        return operations.is_barred is not None and await operations.is_barred(identity)

    return Proofs(
        KnownKeys(operations.context),
        desk,
        floors_of(settings),
        on_result=metrics.authenticated,
        is_barred=is_barred,
    )


def floors_of(settings: RegistrySettings) -> Floors:
    """What proofs are believed."""
    return Floors(
        secret_codes=frozenset(SECRET_CODES[name] for name in settings.secret_key_answers),
        hashes=frozenset(spelled for name in settings.public_key_hashes for spelled in HASHES[name]),
        dsa=settings.dsa_answers,
        iterations_max=settings.pbkdf2_iterations_max,
    )


def policy_of(settings: RegistrySettings) -> WirePolicy:
    """What is told before a proof, and to whom."""
    return WirePolicy(
        existence_before_challenge=settings.existence_before_challenge,
        refuse_sessionless_writes=settings.refuse_sessionless_writes,
        authentication_version_min=_version(settings.authentication_version_min),
    )


def _version(text: str) -> Version:
    major, _, minor = text.partition(".")
    return int(major), int(minor)
