"""Whether a connection may carry a credential: over TLS always, over plain HTTP as the operator has set."""

from functools import lru_cache
from ipaddress import ip_address
from typing import Final, Literal

PlainHttpRule = Literal["refuse", "loopback"]

HOSTS_REMEMBERED: Final = 1_024  # clients that send credentials; each request asks for its own again
_LOOPBACK_REMEDY: Final = 'plain_http_credentials = "loopback"'


def refusal_of_plain_http(*, is_tls: bool, peer_host: str, rule: PlainHttpRule) -> str | None:
    """Return why a connection may not carry a secret, with the remedy; None when it may.

    peer_host: the address of the connection's other end.
    """
    if is_tls or (rule == "loopback" and is_loopback(peer_host)):
        return None
    if rule == "loopback":
        return "Credentials over plain HTTP are accepted from loopback addresses only. Use https:// instead."
    return (
        "Credentials over plain HTTP are refused: anybody on the way could read them. Use https:// (settings "
        f"tls_certificate_file and tls_key_file), or {_LOOPBACK_REMEDY} for clients on the node's own host."
    )


@lru_cache(HOSTS_REMEMBERED)
def is_loopback(host: str) -> bool:
    """Tell whether an address is 127.0.0.0/8 or ::1, also as an IPv4-mapped IPv6 address."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
