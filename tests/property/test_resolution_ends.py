"""Whatever the nodes of a world say, a resolution ends within its limits and asks nobody who is not public."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from protocol.client.answers import Answer, Denied, Found
from protocol.client.resolution import DEFAULT_LIMITS, Ask
from protocol.client.selection import is_public
from protocol.errors import LameService, ResolutionFailed, Unreachable
from protocol.handle import Handle
from protocol.value import HandleValue, ValueList
from tests.support.scripted_world import ROOT, DelegationMemory, resolution, site, value

ADDRESSES: Final = (ROOT, "20.0.0.2", "20.0.0.3", "10.0.0.4", "::ffff:127.0.0.1")
HANDLES: Final = ("0.NA/0.NA", "0.NA/1", "1/S", "1.2/S", "1.2.3/S", "2/S", "x")
NAMES: Final = ("1/x", "1.2/x", "1.2.3/x", "1.2.3.4.5.6.7.8.9.10.11/x", "0.NA/1.2.3", "1.2", "2/x")
SITE_TYPES: Final = ("HS_SITE", "HS_SITE.6", "HS_SITE.PREFIX", "HS_NA_DELEGATE")
SERVICE_TYPES: Final = ("HS_SERV", "HS_SERV.PREFIX")

site_values = st.builds(
    lambda index, kind, address: value(index, kind, site(address)),
    st.integers(1, 9),
    st.sampled_from(SITE_TYPES),
    st.sampled_from(ADDRESSES),
)
service_values = st.builds(
    value,
    st.integers(1, 9),
    st.sampled_from(SERVICE_TYPES),
    st.sampled_from(HANDLES),
)
junk_values: st.SearchStrategy[HandleValue] = st.builds(
    lambda kind, data: value(1, kind, data),
    st.sampled_from(SITE_TYPES + SERVICE_TYPES),
    st.binary(max_size=40),
)
value_lists = st.lists(site_values | service_values | junk_values, max_size=4).map(ValueList.of)
answers: st.SearchStrategy[Answer | ResolutionFailed] = st.one_of(
    st.builds(
        Answer,
        code=st.sampled_from([1, 1, 1, 100, 200, 302, 303, 303, 402]),
        values=value_lists,
        referral=st.none() | st.sampled_from(HANDLES).map(Handle.parse),
    ),
    st.sampled_from([Unreachable("silent"), LameService("not responsible")]),
)


def is_asked_rightly(ask: Ask, tell: Callable[[str], None]) -> bool:
    """Whether every server of an Ask may be asked."""
    servers = [server for each in ask.service.sites for server in each.servers]
    tell(str(ask.handle))
    return bool(servers) and all(is_public(ip_address(str(server.ip))) for server in servers)


@given(st.sampled_from(NAMES), st.lists(answers, min_size=1, max_size=60), st.booleans())
def test_every_resolution_ends_within_its_limits(
    name: str, script: list[Answer | ResolutionFailed], remembers: bool
) -> None:
    memory, asked = DelegationMemory(), list[str]()
    for _ in range(2 if remembers else 1):
        walk = resolution(name, memory)
        asked.clear()
        try:
            while isinstance(step := walk.step(), Ask):
                assert is_asked_rightly(step, asked.append)
                outcome = script[len(asked) % len(script)]
                if isinstance(outcome, ResolutionFailed):
                    walk.failed(outcome)
                    continue
                for delegation in walk.answered(outcome, 0.0):
                    memory.learn(delegation)
            assert isinstance(step, Found | Denied)
            assert str(step.handle) == name
        except ResolutionFailed:
            pass
        assert len(asked) <= DEFAULT_LIMITS.exchanges_max
