"""Calls about neighbours: the nodes below, those above, and what passes between them."""

from collections.abc import AsyncIterator
from typing import Final

from registry.api.schemas.base import Paging
from registry.api.schemas.nodes import (
    Enrolments,
    EnrolmentView,
    FilingDecision,
    FilingFilter,
    Filings,
    FilingView,
    Letters,
    LetterView,
    NewEnrolment,
    NodeReason,
    Nodes,
    NodeView,
    Reports,
    ReportView,
    Upstreams,
    UpstreamView,
)
from registry.client.address import path_of
from registry.client.area import Area
from registry.client.connection import ONCE, Write

NODES: Final = "nodes"
UPSTREAM: Final = "upstream"
ENROLMENTS: Final = "enrolments"
EVERY_FILING: Final = FilingFilter()


class NodeCalls(Area):
    """Nodes below; each is named by its key id."""

    async def get(self, node: str) -> NodeView:
        """One node."""
        return (await self._connection.get(path_of(NODES, node), NodeView)).body

    def every(self) -> AsyncIterator[NodeView]:
        """The nodes that the caller sees."""
        return self._every(path_of(NODES), Nodes, Paging())

    async def confirm(self, node: str, *, how: Write = ONCE) -> NodeView:
        """Confirm that it belongs to the caller's organisation, as it says."""
        path = path_of(NODES, node, "confirmation")
        return (await self._connection.write("POST", path, NodeView, how=how)).body

    async def bar(self, node: str, reason: str, *, how: Write = ONCE) -> NodeView:
        """Listen to it no more."""
        path = path_of(NODES, node, "barring")
        return (
            await self._connection.write("POST", path, NodeView, body=NodeReason(reason=reason), how=how)
        ).body

    async def readmit(self, node: str, reason: str, *, how: Write = ONCE) -> NodeView:
        """Listen to it again."""
        path = path_of(NODES, node, "readmission")
        return (
            await self._connection.write("POST", path, NodeView, body=NodeReason(reason=reason), how=how)
        ).body

    def reports(self, node: str) -> AsyncIterator[ReportView]:
        """What it counted per day, the latest first."""
        return self._every(path_of(NODES, node, "reports"), Reports, Paging())

    def filings(self, which: FilingFilter = EVERY_FILING) -> AsyncIterator[FilingView]:
        """The organisations that nodes below have filed, the latest first."""
        return self._every(path_of("filings"), Filings, which)

    async def decide_filing(
        self, node: str, organisation: str, decision: FilingDecision, *, how: Write = ONCE
    ) -> FilingView:
        """Decide on a filing. organisation: its id at the node below."""
        path = path_of(NODES, node, "filings", organisation)
        return (await self._connection.write("PUT", path, FilingView, body=decision, how=how)).body


class UpstreamCalls(Area):
    """Nodes above, and what was asked of them."""

    async def every(self) -> AsyncIterator[UpstreamView]:
        """The nodes above, all on one page."""
        for node in (await self._connection.get(path_of(UPSTREAM), Upstreams)).body.items:
            yield node

    async def forget(self, node: str, *, how: Write = ONCE) -> None:
        """Forget a node above."""
        await self._connection.write("DELETE", path_of(UPSTREAM, node), type(None), how=how)

    def outbox(self) -> AsyncIterator[LetterView]:
        """Messages to nodes above that wait, the longest first."""
        return self._every(path_of("outbox"), Letters, Paging())

    async def enrol(self, new: NewEnrolment, *, how: Write = ONCE) -> EnrolmentView:
        """Ask a node above for a prefix, or join it."""
        return (
            await self._connection.write("POST", path_of(ENROLMENTS), EnrolmentView, body=new, how=how)
        ).body

    def enrolments(self) -> AsyncIterator[EnrolmentView]:
        """What was asked of nodes above."""
        return self._every(path_of(ENROLMENTS), Enrolments, Paging())

    async def enrolment(self, enrolment: str) -> EnrolmentView:
        """How far one of them has come."""
        return (await self._connection.get(path_of(ENROLMENTS, enrolment), EnrolmentView)).body
