"""Probes: does a node serve what its prefix record says, with the key that it has proved to hold?

Asked over the Handle protocol at every interface of its site, as any client would ask.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

from protocol.bodies import ResolutionRequest, SiteInfoRequest, SiteInfoResponse
from protocol.client.answers import check_response
from protocol.client.selection import Target, site_targets
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import HandleError, ResolutionFailed, WireError
from protocol.handle import Handle, Prefix
from protocol.message import ANSWER_LIFE_S, Message, response_code_of
from protocol.site import Server, Site
from protocol.transport.exchanger import Exchanger, new_request_id
from registry.allocation.routes import RouteRefused, check_site
from registry.initialise import ADMIN_SUFFIX
from registry.peers.neighbours import Downstream, Home
from registry.peers.node_key import KeyUnusable, key_id_of, key_of_site

PROBE_WAIT_S: Final = 5.0
"""How long one interface may take; real clients give up after three tries of a second."""
FAULTS_TOLD: Final = 5
"""Interfaces whose faults are named one by one."""
_SERVED: Final = frozenset(
    {ResponseCode.SUCCESS, ResponseCode.HANDLE_NOT_FOUND, ResponseCode.VALUES_NOT_FOUND}
)
"""Answers of a server that holds the prefix, whether it has the handle or not."""

Outcome = TypeVar("Outcome")


class ProbeFailed(HandleError):
    """A node that does not serve what it should; the text names each interface and what was wrong."""


class Prober:
    """Asks nodes over the Handle protocol."""

    def __init__(self, home: Home, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._home = home
        self._wall_clock = wall_clock
        self._exchanger: Exchanger | None = None

    async def close(self) -> None:
        """Close every socket."""
        if self._exchanger is not None:
            await self._exchanger.close()
            self._exchanger = None

    async def probe_site(self, below: Downstream, prefix: Prefix) -> None:
        """Whether every interface of a node tells the key that the node has. Raises ProbeFailed."""
        await self.check(Site.decode(below.site), prefix, served=False)

    async def probe_prefix(self, below: Downstream, prefix: Prefix) -> None:
        """Whether, beyond that, every interface answers for the prefix. Raises ProbeFailed."""
        await self.check(Site.decode(below.site), prefix, served=True)

    async def check(self, site: Site, prefix: Prefix, *, served: bool) -> None:
        """Ask every interface of a site that takes queries. served: whether it must answer for the prefix.

        Raises ProbeFailed.
        """
        try:
            check_site(site, prefix, self._home.terms.openings)
            key = key_of_site(site)
        except (RouteRefused, KeyUnusable) as error:
            raise ProbeFailed(str(error)) from None
        targets = [target for server in site.servers for target in _targets(site, server)]
        if not targets:
            raise ProbeFailed("the site has no interface that answers queries")
        probes = (self._probe(target, prefix, key, served=served) for target in targets)
        faults = [fault for fault in await asyncio.gather(*probes) if fault]
        if faults:
            more = f" and {len(faults) - FAULTS_TOLD} more" if len(faults) > FAULTS_TOLD else ""
            raise ProbeFailed("; ".join(faults[:FAULTS_TOLD]) + more)

    async def _probe(self, target: Target, prefix: Prefix, key: bytes, *, served: bool) -> str:
        """What is wrong with one interface; empty when nothing is."""
        try:
            told = await self._ask(target, OpCode.GET_SITE_INFO, SiteInfoRequest().encode())
            site = SiteInfoResponse.decode(told[1])
            if any(server.public_key != key for server in site.site.servers):
                return f"{target} tells another key than {key_id_of(key)[:16]}"
            if served:
                name = Handle(prefix.octets + ADMIN_SUFFIX)
                code, _ = await self._ask(target, OpCode.RESOLUTION, ResolutionRequest(handle=name).encode())
                if code not in _SERVED:
                    return f"{target} answers {name} with {code}"
        except (ResolutionFailed, WireError) as error:
            cause = error.cause if isinstance(error, ResolutionFailed) else str(error)
            return f"{target}: {cause}"
        return ""

    async def _ask(self, target: Target, operation: OpCode, body: bytes) -> tuple[int, bytes]:
        """The response code and the body of an answer. Raises ResolutionFailed, WireError."""
        if self._exchanger is None:
            self._exchanger = Exchanger()
        request = Message.request(
            operation,
            body,
            request_id=new_request_id(),
            expiration=int(self._wall_clock()) + ANSWER_LIFE_S,
            flags=OpFlag.PUBL,
            version=target.version,
        )
        response = await self._exchanger.exchange(
            target.protocol,
            target.address,
            target.port,
            request,
            deadline_s=time.monotonic() + PROBE_WAIT_S,
            path=target.path,
        )
        return response_code_of(response), check_response(request, response, self._wall_clock())


def _targets(site: Site, server: Server) -> list[Target]:
    """The query interfaces of one server of a site."""
    alone = Site(
        protocol_major=site.protocol_major,
        protocol_minor=site.protocol_minor,
        attributes=site.attributes,
        servers=(server,),
    )
    return site_targets(alone, Handle(b"0.NA/0.NA"))
