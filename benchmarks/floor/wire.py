"""Bare UDP servers on the compiled loop: an echo, and an authority that answers every name with one record.

    python -m benchmarks.floor.wire echo | handle | dns

Without a compiler they run in Python, on a socket drained at every wake-up.
"""

import socket
import sys
import time
from typing import Any

from benchmarks.load.build import engine
from benchmarks.load.run import BUFFER_OCTETS
from benchmarks.record import prefix_records, record, txt_data, udp_site
from protocol.message import ANSWER_LIFE_S

LOOPBACK = "127.0.0.1"


def answers(kind: str, port: int) -> Any:
    """What a server of this kind answers."""
    if kind == "echo":
        return engine().Answers(kind)
    if kind == "dns":
        return engine().Answers(kind, txt_data())
    delegations = [
        (name, values.encode()) for name, values in prefix_records(udp_site(LOOPBACK, port)).items()
    ]
    return engine().Answers(kind, record().encode(), delegations, int(time.time()) + ANSWER_LIFE_S)


def main() -> None:
    """Serve until standard input ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_OCTETS)
        opened.bind((LOOPBACK, 0))
        port = opened.getsockname()[1]
        ready = answers(sys.argv[1], port)
        print(port, flush=True)
        engine().serve(opened.fileno(), sys.stdin.fileno(), ready)


if __name__ == "__main__":
    main()
