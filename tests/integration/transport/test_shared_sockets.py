"""Sockets of one port for several processes, in the kernel at hand."""

import os
import socket

import pytest

from protocol.errors import SettingsError
from protocol.transport.shared_sockets import close_all, open_shared_tcp, open_shared_udp
from tests.support.scratch import free_port

HOST = "127.0.0.1"


def received(bound: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(bound.recv(2_048))
        except BlockingIOError:
            return found


def test_the_request_id_decides_which_socket_has_a_datagram() -> None:
    port = free_port(HOST)
    opened = open_shared_udp(HOST, port, 3)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.connect((HOST, port))
        for request_id in (0, 1, 2, 3, 0x7FFF_FFFF, 0xFFFF_FFFF):
            client.send(bytes(8) + request_id.to_bytes(4, "big") + os.urandom(20))
        ids = [[int.from_bytes(one[8:12], "big") for one in received(bound)] for bound in opened]
        client.send(b"short")
        shorts = [received(bound) for bound in opened]
    close_all(opened)

    assert ids == [[0, 3, 0xFFFF_FFFF], [1, 0x7FFF_FFFF], [2]]
    assert shorts == [[b"short"], [], []]


@pytest.mark.parametrize("open_shared", [open_shared_udp, open_shared_tcp])
def test_a_port_that_somebody_shares_already_is_in_use(open_shared: object) -> None:
    assert callable(open_shared)
    port = free_port(HOST)
    opened = open_shared(HOST, port, 2)
    with pytest.raises(SettingsError, match="already in use"):
        open_shared(HOST, port, 2)
    close_all(opened)
    close_all(open_shared(HOST, port, 2))
