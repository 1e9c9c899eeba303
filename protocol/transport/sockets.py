"""Opens listening sockets: IPv4 and IPv6 apart, so that both wildcards can be bound to one port."""

import errno
import ipaddress
import os
import socket
from pathlib import Path
from typing import Final

from protocol.errors import SettingsError

BACKLOG: Final = 1_024  # connections that wait to be accepted
UDP_BUFFER_OCTETS: Final = 4 * 1_048_576  # rides out a pause of tens of milliseconds at 100,000 datagrams/s


def family_of(host: str) -> socket.AddressFamily:
    """The address family of a literal address. Raises ValueError for anything else, host names included."""
    version = ipaddress.ip_address(host.partition("%")[0]).version
    return socket.AF_INET if version == 4 else socket.AF_INET6


def is_address_available(host: str) -> bool:
    """Whether this machine has the address: "::" is in many settings of hosts without IPv6."""
    try:
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def open_udp(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A bound, non-blocking datagram socket with large buffers. Raises SettingsError when it cannot be bound.

    shared: with other sockets of ours that are opened so.
    """
    opened = socket.socket(family_of(host), socket.SOCK_DGRAM)
    if shared:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        opened.setsockopt(socket.SOL_SOCKET, option, UDP_BUFFER_OCTETS)
    return _bind(opened, host, port)


def open_tcp(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening, non-blocking stream socket. Raises SettingsError when it cannot be bound. shared: as above."""
    opened = socket.socket(family_of(host), socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    _bind(opened, host, port).listen(BACKLOG)
    return opened


def open_local(path: Path) -> socket.socket:
    """A listening, non-blocking stream socket that this user's processes alone reach. Raises OSError.

    path: in a directory that exists; whoever listened there goes on with what it has accepted.
    """
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        opened.setblocking(False)
        fresh.unlink(missing_ok=True)
        opened.bind(str(fresh))
        fresh.chmod(0o600)
        opened.listen(BACKLOG)
        fresh.rename(path)  # at no moment does nobody listen there
    except OSError:
        opened.close()
        raise
    return opened


def bound_address(bound: socket.socket) -> tuple[str, int]:
    """Host and port that a socket is bound to."""
    name = bound.getsockname()
    return str(name[0]), int(name[1])


def peer_address(name: object) -> tuple[str, int]:
    """Host without zone, and port, of what the event loop calls a peer name; ("", 0) when the peer is gone."""
    if not isinstance(name, tuple) or len(name) < 2:
        return "", 0
    return str(name[0]).partition("%")[0], int(name[1])


def inode_of(opened: socket.socket) -> int:
    """What names a socket in the kernel's tables."""
    return os.fstat(opened.fileno()).st_ino


def udp_drops(inode: int) -> int:
    """Datagrams that the kernel dropped because a socket's buffer was full; 0 where the kernel does not tell."""
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[9] == str(inode):
                return int(columns[-1])
    return 0


def _bind(opened: socket.socket, host: str, port: int) -> socket.socket:
    try:
        if opened.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setblocking(False)
        opened.bind((host, port))
    except OSError as error:
        opened.close()
        raise SettingsError([_bind_fault(opened, host, port, error)]) from error
    return opened


def _bind_fault(opened: socket.socket, host: str, port: int, error: OSError) -> str:
    kind = "TCP" if opened.type == socket.SOCK_STREAM else "UDP"
    where = f"{kind} port {port} of {host}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is already in use: stop what uses it, or set another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where} cannot be opened: this machine does not have the address {host}"
    if error.errno == errno.EACCES:
        return f"{where} cannot be opened: ports below 1024 need a privilege; set another port"
    return f"{where} cannot be opened: {error.strerror}"
