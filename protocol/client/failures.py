"""Why a resolution ends without a reply, in words for the person who has to do something about it."""

from protocol.client.answers import Answer
from protocol.client.walk import Walk
from protocol.codes import rc_name
from protocol.errors import NoService, PrivateReferral, RecursionLimit, ResolutionFailed
from protocol.handle import Handle, Prefix
from protocol.site import Site


def limit(name: str, value: int, walk: Walk) -> RecursionLimit:
    """A named limit is reached."""
    return RecursionLimit(
        f"the limit {name} ({value}) was reached on the way to {walk.target}",
        node=walk.locator.source,
        remedy="look at the chain with `handlegrid resolve --trace`; some record refers on and on",
    )


def loop(walk: Walk) -> RecursionLimit:
    """The same service would be asked for the same handle again."""
    return RecursionLimit(
        f"a referral loop: the same servers are named again for {walk.asked}",
        node=walk.locator.source,
        remedy=f"correct the site values of {walk.locator.source}: the service must hold the name or refer elsewhere",
    )


def service_loop(service: Handle, walk: Walk) -> RecursionLimit:
    """A service handle is needed to find itself."""
    return RecursionLimit(
        f"a service loop: service handle {service} is needed to find itself",
        node=walk.locator.source,
        remedy=f"give {service} or its prefix an HS_SITE value instead of HS_SERV",
    )


def nowhere(walk: Walk) -> ResolutionFailed:
    """A locator has neither sites that may be asked nor service handles left."""
    if walk.locator.sites:
        return private(walk.locator.sites, walk)
    return NoService(
        f"names no service to ask for {walk.asked}",
        node=walk.locator.source or str(walk.asked),
        remedy=f"add an HS_SITE or HS_SERV value to {walk.locator.source or walk.asked}",
    )


def private(sites: tuple[Site, ...], walk: Walk) -> PrivateReferral:
    """Every site lies at an address that nobody opened."""
    addresses = sorted({str(server.ip) for site in sites for server in site.servers})
    if not addresses:
        return PrivateReferral("names sites without servers", node=walk.locator.source)
    shown = ", ".join(addresses[:3])
    return PrivateReferral(
        f"names {shown}, which is not routable and not opened for prefix {walk.locator.owner}",
        node=walk.locator.source,
        remedy=f"if that network is yours, open it for prefix {walk.locator.owner} in open_networks; "
        "else have the record corrected",
    )


def unusable(walk: Walk, answer: Answer) -> ResolutionFailed:
    """An answer that leads no further."""
    words = f": {answer.message}" if answer.message else ""
    return ResolutionFailed(
        f"answered response code {answer.code} ({rc_name(answer.code)}) for {walk.asked}{words}",
        node=walk.locator.source,
        remedy=f"ask whoever runs the service named by {walk.locator.source}",
    )


def no_sites(walk: Walk, answer: Answer) -> NoService:
    """The record of a service handle is missing or names no site."""
    return NoService(
        f"service handle {walk.target} names no site (response code {answer.code}, {rc_name(answer.code)})",
        node=walk.locator.source,
        remedy=f"register {walk.target} with an HS_SITE value, or correct the HS_SERV value that names it",
    )


def unregistered(walk: Walk, prefix: Prefix) -> NoService:
    """A service handle lies under a prefix that does not exist."""
    return NoService(
        f"prefix {prefix} of service handle {walk.target} is not registered",
        node=walk.locator.source,
        remedy=f"correct the HS_SERV value that names {walk.target}",
    )
