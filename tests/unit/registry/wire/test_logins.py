"""Logins: of one connection, and not for ever."""

from protocol.handle import Handle
from protocol.transport.base import Link, Peer
from registry.outcomes import Identity
from registry.wire.logins import LIFE_S, Logins

ADMIN = Identity(index=300, handle=Handle.parse("88.1/ADMIN"))


def test_a_login_is_of_one_connection_and_ends_after_a_day_though_the_connection_goes_on() -> None:
    now_s = 100.0
    logins = Logins(lambda: now_s)
    mine, other = (Peer("192.0.2.1", 4711, "tcp", Link()) for _ in range(2))
    logins.remember(mine, ADMIN)

    assert logins.identity_of(mine) == ADMIN
    assert logins.identity_of(other) is None
    assert logins.identity_of(mine._replace(link=None)) is None
    now_s += LIFE_S
    assert logins.identity_of(mine) is None
