"""Where administration goes: the sites that hold a handle, found from the root or named by a person."""

import time
from collections import OrderedDict
from dataclasses import replace
from ipaddress import ip_address
from typing import Final, Protocol

from protocol.bodies import SiteInfoRequest, SiteInfoResponse
from protocol.client.answers import Question, check_response, error_text
from protocol.client.client import HandleClient, MessageExchanger
from protocol.client.resolution import Ask
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.errors import NoService, OperationRefused
from protocol.handle import Handle, Prefix
from protocol.message import ANSWER_LIFE_S, Message, response_code_of
from protocol.site import Interface, InterfaceProtocol, Server, Site
from protocol.transport.exchanger import new_request_id

MAX_PREFIXES: Final = 1_024  # whose sites are remembered; a batch seldom has more than one


class Places(Protocol):
    """Finds sites."""

    async def sites(self, handle: Handle) -> tuple[Site, ...]:
        """The sites that hold a handle. Raises ResolutionFailed."""

    def forget(self, handle: Handle) -> bool:
        """Forget what is remembered of a handle, which a server has said not to hold; False when it was not."""


class NamedPlace:
    """One site for everything, as a person named it."""

    def __init__(self, site: Site) -> None:
        self._sites = (site,)

    async def sites(self, handle: Handle) -> tuple[Site, ...]:
        """The site."""
        return self._sites

    def forget(self, handle: Handle) -> bool:
        """False: a person's word stands."""
        return False


class PlacesFromRoot:
    """Sites found by walking from the root, once for each prefix; prefix records each have a way of their own."""

    def __init__(self, client: HandleClient, *, certified: bool = False) -> None:
        """certified: as HandleClient.resolve()."""
        self._client = client
        self._certified = certified
        self._known: OrderedDict[bytes, tuple[Site, ...]] = OrderedDict()

    async def sites(self, handle: Handle) -> tuple[Site, ...]:
        """The sites that hold a handle. Raises ResolutionFailed."""
        key = _memory_key(handle)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = await self._find(handle)
            while len(self._known) > MAX_PREFIXES:
                self._known.popitem(last=False)
        return known

    def forget(self, handle: Handle) -> bool:
        """Forget the sites of a handle, so that they are looked up anew; False when nothing was known."""
        return self._known.pop(_memory_key(handle), None) is not None

    async def _find(self, handle: Handle) -> tuple[Site, ...]:
        question = Question(handle=handle, authoritative=True)
        found = await self._client.locate(question, certified=self._certified)
        if not isinstance(found, Ask):
            raise NoService(
                f"no service holds {handle}",
                remedy=f"check that the prefix {handle.prefix} is delegated to a service",
            )
        return found.service.sites


def _memory_key(handle: Handle) -> bytes:
    return handle.key if handle.is_global else handle.prefix.key


def below(prefix: Prefix) -> Handle:
    """A name below a prefix, by which the service of the prefix is found."""
    return Handle(prefix.octets + b"/")


async def ask_for_site(
    exchanger: MessageExchanger,
    interface_protocol: InterfaceProtocol,
    address: str,
    port: int,
    *,
    patience_s: float,
) -> Site:
    """The site of a server that a person named, which is spoken to at the place named, whatever its record says.

    The record comes unsigned from the server itself: its key is as trustworthy as the way there. A site that is divided
    among several servers keeps their addresses. Raises Unreachable, OperationRefused, WireError.
    """
    request = Message.request(
        OpCode.GET_SITE_INFO,
        SiteInfoRequest().encode(),
        request_id=new_request_id(),
        expiration=int(time.time()) + ANSWER_LIFE_S,
        flags=OpFlag.PUBL | OpFlag.RRDG,
    )
    deadline_s = time.monotonic() + patience_s
    response = await exchanger.exchange(interface_protocol, address, port, request, deadline_s=deadline_s)
    body = check_response(request, response, time.time())
    if response_code_of(response) != ResponseCode.SUCCESS:
        raise OperationRefused(response_code_of(response), error_text(body), node=f"{address} port {port}")
    site = SiteInfoResponse.decode(body).site
    if len(site.servers) != 1:
        return site
    interface = Interface(admin=True, query=True, protocol=interface_protocol, port=port)
    server = replace(
        site.servers[0], address=Server.pack_address(ip_address(address)), interfaces=(interface,)
    )
    return replace(site, servers=(server,))
