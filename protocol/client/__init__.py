"""Resolving handles: the pure state machine, site selection, and the asynchronous client that drives them."""

from protocol.client.answers import Answer, Denied, Found, Question, Reply
from protocol.client.bootstrap import load_bundle, write_bundle
from protocol.client.client import HandleClient, MessageExchanger, literal_site
from protocol.client.delegation import Delegation
from protocol.client.resolution import Ask, Limits, Purpose, Resolution
from protocol.client.selection import Opening, is_routable
from protocol.client.trace import Hop, format_hops, hop_to_json

__all__ = [
    "Answer",
    "Ask",
    "Delegation",
    "Denied",
    "Found",
    "HandleClient",
    "Hop",
    "Limits",
    "MessageExchanger",
    "Opening",
    "Purpose",
    "Question",
    "Reply",
    "Resolution",
    "format_hops",
    "hop_to_json",
    "is_routable",
    "literal_site",
    "load_bundle",
    "write_bundle",
]
