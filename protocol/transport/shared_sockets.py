"""Sockets of one port that several processes share, each its own: SO_REUSEPORT, and what steers requests among them.

Datagrams are steered by their request id, so that one busy client on one socket is spread over all, while the fragments
and retransmissions of one request come to the same process. TCP connections are spread by the kernel's hash of their
two ends.
"""

import ctypes
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from protocol.errors import SettingsError
from protocol.transport.sockets import open_tcp, open_udp

SO_ATTACH_REUSEPORT_CBPF: Final = 51  # asm-generic/socket.h; the socket module does not know it
_REQUEST_ID_OFFSET: Final = 8  # in the envelope, which begins a datagram
_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS: big-endian, from the payload's first octet
_MODULO: Final = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_RETURN: Final = 0x16  # BPF_RET | BPF_A: the number of the socket in the order in which they were bound
_INSTRUCTION: Final = struct.Struct("HBBI")
_PROGRAM: Final = struct.Struct("HP")  # struct sock_fprog

log = structlog.get_logger(__name__)


def open_shared_udp(host: str, port: int, count: int) -> list[socket.socket]:
    """So many datagram sockets of one port, among which request ids are spread. Raises SettingsError."""
    opened = _open_all(open_udp, host, port, count)
    steer(opened)
    return opened


def open_shared_tcp(host: str, port: int, count: int) -> list[socket.socket]:
    """So many listening sockets of one port. Raises SettingsError."""
    return _open_all(open_tcp, host, port, count)


def _open_all(
    open_one: Callable[..., socket.socket], host: str, port: int, count: int
) -> list[socket.socket]:
    # SO_REUSEPORT would let us in beside another node of the same user that has the port with it too.
    open_one(host, port).close()
    opened: list[socket.socket] = []
    try:
        while len(opened) < count:
            opened.append(open_one(host, port, shared=True))
    except SettingsError:
        close_all(opened)
        raise
    return opened


def close_all(opened: Sequence[socket.socket]) -> None:
    """Closes our descriptors; who inherited them keeps his."""
    for one in opened:
        one.close()


def steer(opened: Sequence[socket.socket]) -> bool:
    """Gives each datagram to the socket whose number is its request id modulo their count.

    A datagram too short for a request id goes to the first. False where the kernel refuses: its own hash of addresses
    and ports then spreads clients, but not the requests of one client socket.
    """
    instructions = b"".join(
        _INSTRUCTION.pack(code, 0, 0, operand)
        for code, operand in ((_LOAD_WORD, _REQUEST_ID_OFFSET), (_MODULO, len(opened)), (_RETURN, 0))
    )
    memory = ctypes.create_string_buffer(instructions, len(instructions))
    program = _PROGRAM.pack(len(instructions) // _INSTRUCTION.size, ctypes.addressof(memory))
    try:
        opened[0].setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
    except OSError as error:
        log.warning("datagrams_not_steered", reason=error.strerror, port=opened[0].getsockname()[1])
        return False
    return True
