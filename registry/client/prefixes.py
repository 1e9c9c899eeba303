"""Calls about prefixes: applications for them, their life once allocated, and their moves."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from registry.api.schemas.applications import (
    ApplicationFilter,
    Applications,
    ApplicationView,
    NewApplication,
    Withdrawal,
)
from registry.api.schemas.base import Paging
from registry.api.schemas.nodes import AbortMove, Moves, MoveView, NewMove, ProbeResult, ProofView
from registry.api.schemas.organisations import Decision, ReviewDecision
from registry.api.schemas.prefixes import (
    AdministratorKey,
    History,
    HistoryView,
    Holder,
    HolderView,
    NewRoute,
    Prefixes,
    PrefixFilter,
    PrefixItem,
    PrefixView,
    PublicReason,
    Transfer,
)
from registry.client.address import path_of
from registry.client.area import Area
from registry.client.connection import ONCE, Write

APPLICATIONS: Final = "applications"
PREFIXES: Final = "prefixes"
MOVES: Final = "moves"
EVERY_APPLICATION: Final = ApplicationFilter()
EVERY_PREFIX: Final = PrefixFilter()


class ApplicationCalls(Area):
    """Applications for prefixes."""

    async def create(self, new: NewApplication, *, how: Write = ONCE) -> ApplicationView:
        """Apply for a certain prefix, or the next free number below one."""
        path = path_of(APPLICATIONS)
        return (await self._connection.write("POST", path, ApplicationView, body=new, how=how)).body

    async def get(self, application: str) -> ApplicationView:
        """One application."""
        return (await self._connection.get(path_of(APPLICATIONS, application), ApplicationView)).body

    def every(self, which: ApplicationFilter = EVERY_APPLICATION) -> AsyncIterator[ApplicationView]:
        """The applications that the caller sees, newest first."""
        return self._every(path_of(APPLICATIONS), Applications, which)

    async def review(
        self,
        application: str,
        decision: Decision,
        *,
        reason: str | None = None,
        version: int,
        how: Write = ONCE,
    ) -> ApplicationView:
        """Approve or reject the version that was read; a rejection takes a reason."""
        answer = await self._connection.write(
            "POST",
            path_of(APPLICATIONS, application, "review"),
            ApplicationView,
            body=ReviewDecision(decision=decision, reason=reason),
            if_match=str(version),
            how=how,
        )
        return answer.body

    async def withdraw(
        self, application: str, reason: str | None = None, *, how: Write = ONCE
    ) -> ApplicationView:
        """Take it back."""
        path = path_of(APPLICATIONS, application, "withdrawal")
        body = Withdrawal(reason=reason)
        return (await self._connection.write("POST", path, ApplicationView, body=body, how=how)).body

    async def prove(self, application: str, *, how: Write = ONCE) -> ProofView:
        """Have the node of a delegated prefix prove that it holds its key."""
        path = path_of(APPLICATIONS, application, "proof")
        return (await self._connection.write("POST", path, ProofView, how=how)).body

    async def allocate(self, application: str, *, how: Write = ONCE) -> PrefixItem:
        """Allocate what was approved: the prefix resolves from now on."""
        path = path_of(APPLICATIONS, application, "allocation")
        return (await self._connection.write("POST", path, PrefixItem, how=how)).body


class PrefixCalls(Area):
    """Allocated prefixes."""

    async def get(self, prefix: str) -> PrefixView:
        """One prefix."""
        return (await self._connection.get(path_of(PREFIXES, prefix), PrefixView)).body

    def every(self, which: PrefixFilter = EVERY_PREFIX) -> AsyncIterator[PrefixItem]:
        """The prefixes that the caller sees, in the order of their names."""
        return self._every(path_of(PREFIXES), Prefixes, which)

    def history(self, prefix: str) -> AsyncIterator[HistoryView]:
        """What was done to it, the latest first."""
        return self._every(path_of(PREFIXES, prefix, "history"), History, Paging())

    async def suspend(self, prefix: str, reason: str, *, how: Write = ONCE) -> PrefixItem:
        """Stop answering below it; everybody who asks is told the reason."""
        return await self._act(prefix, "suspension", PublicReason(reason=reason), how)

    async def resume(self, prefix: str, reason: str, *, how: Write = ONCE) -> PrefixItem:
        """Answer again."""
        return await self._act(prefix, "resumption", PublicReason(reason=reason), how)

    async def revoke(self, prefix: str, reason: str, *, how: Write = ONCE) -> PrefixItem:
        """Take it back for good."""
        return await self._act(prefix, "revocation", PublicReason(reason=reason), how)

    async def purge(self, prefix: str, reason: str, *, how: Write = ONCE) -> PrefixItem:
        """Delete what is left below a revoked prefix."""
        return await self._act(prefix, "purge", PublicReason(reason=reason), how)

    async def transfer(self, prefix: str, organisation: str, reason: str, *, how: Write = ONCE) -> PrefixItem:
        """Give it to another organisation; records that name the old one's administrators are rewritten."""
        return await self._act(prefix, "transfer", Transfer(organisation=organisation, reason=reason), how)

    async def change_route(
        self, prefix: str, route: NewRoute, *, version: int, how: Write = ONCE
    ) -> PrefixItem:
        """Say where the holder's own node is from now on. version: of the prefix as it was read."""
        path = path_of(PREFIXES, prefix, "route")
        answer = await self._connection.write(
            "PUT", path, PrefixItem, body=route, if_match=str(version), how=how
        )
        return answer.body

    async def make_key(self, prefix: str, *, how: Write = ONCE) -> AdministratorKey:
        """Make a key for the administrator of a hosted prefix; it is told this once."""
        path = path_of(PREFIXES, prefix, "administrator-key")
        return (await self._connection.write("POST", path, AdministratorKey, how=how)).body

    async def assign(self, prefix: str, organisation: str, *, how: Write = ONCE) -> HolderView:
        """Let an organisation hold a prefix that the node serves in its own name."""
        path = path_of(PREFIXES, prefix, "holder")
        body = Holder(organisation=organisation)
        return (await self._connection.write("PUT", path, HolderView, body=body, how=how)).body

    async def probe(self, prefix: str) -> ProbeResult:
        """Ask the node of a delegated prefix whether it serves it."""
        path = path_of(PREFIXES, prefix, "probe")
        return (await self._connection.write("POST", path, ProbeResult)).body

    async def move(self, prefix: str, move: NewMove, *, how: Write = ONCE) -> MoveView:
        """Begin to move it to the holder's own node, or back."""
        path = path_of(PREFIXES, prefix, "move")
        return (await self._connection.write("POST", path, MoveView, body=move, how=how)).body

    async def _act(self, prefix: str, act: str, body: msgspec.Struct, how: Write) -> PrefixItem:
        path = path_of(PREFIXES, prefix, act)
        return (await self._connection.write("POST", path, PrefixItem, body=body, how=how)).body


class MoveCalls(Area):
    """Moves of prefixes between nodes."""

    async def get(self, move: str) -> MoveView:
        """How far a move has come."""
        return (await self._connection.get(path_of(MOVES, move), MoveView)).body

    def every(self) -> AsyncIterator[MoveView]:
        """The moves that the caller sees, the latest first."""
        return self._every(path_of(MOVES), Moves, Paging())

    async def abort(self, move: str, reason: str, *, how: Write = ONCE) -> MoveView:
        """Give a move up, as long as the other node does not serve the prefix yet."""
        path = path_of(MOVES, move, "abort")
        body = AbortMove(reason=reason)
        return (await self._connection.write("POST", path, MoveView, body=body, how=how)).body
