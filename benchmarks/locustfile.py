"""A day of ten million resolutions, played by locust against the recursive node of a one-machine deployment.

    make up
    .venv/bin/locust -f benchmarks/locustfile.py --headless --users 116 --spawn-rate 116 --run-time 60s

Ten million a day are 116 a second on average; each user here does ten a second, so 116 users play ten times the plan's
average rate. The mix: supply-chain systems that resolve over UDP, some over TCP, enterprise systems that read JSON,
people whose scanned code is a link, and names that do not exist. An answer that is not the right one is an error.
"""

import csv
import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from locust import FastHttpUser, User, constant_throughput, events, task
from locust.env import Environment

from deploy.local.deployment import RECURSIVE, Deployment, default_home
from protocol.bodies import ResolutionRequest
from protocol.codes import OpCode, ResponseCode
from protocol.handle import Handle
from protocol.message import ENVELOPE_OCTETS, Message, decode_envelope, decode_message

PER_USER_PER_S: Final = 10
TIMEOUT_S: Final = 5.0
HOST: Final = "127.0.0.1"
PREFIX: Final = "88.100.1"

_deployment: Final = Deployment.load(Path(os.environ.get("HANDLEGRID_HOME", default_home())))
if RECURSIVE not in _deployment.ports:
    raise SystemExit(f"no deployment in {_deployment.home}: run `make up` first")
PORTS: Final = _deployment.ports[RECURSIVE]


def _sample_handles() -> list[str]:
    """The handles of the sample catalogue, in random order, so that few are asked for often and most seldom."""
    handles = []
    for path in sorted((_deployment.home / "sample").glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as rows:
            handles += [f"{PREFIX}/{row['suffix']}" for row in csv.DictReader(rows)]
    random.shuffle(handles)
    return handles


HANDLES: Final = _sample_handles()
WEIGHTS: Final = [1 / (rank + 1) for rank in range(len(HANDLES))]


def a_handle() -> str:
    """One of the sample's handles; the n-th is asked for 1/n times as often as the first."""
    return random.choices(HANDLES, WEIGHTS)[0]


def _request(name: str) -> bytes:
    body = ResolutionRequest(handle=Handle.parse(name)).encode()
    expiration = int(time.time()) + 43_200
    return Message.request(
        OpCode.RESOLUTION, body, request_id=random.getrandbits(31), expiration=expiration
    ).encode()


class HandleUser(User):
    """A supply-chain system with a Handle client."""

    weight = 85
    wait_time = constant_throughput(PER_USER_PER_S)

    @task(88)
    def resolve_over_udp(self) -> None:
        """The usual case."""
        self._measure("resolve", "UDP", a_handle(), _exchange_udp, ResponseCode.SUCCESS)

    @task(7)
    def resolve_over_tcp(self) -> None:
        """Clients behind firewalls."""
        self._measure("resolve", "TCP", a_handle(), _exchange_tcp, ResponseCode.SUCCESS)

    @task(5)
    def resolve_unknown(self) -> None:
        """Mistyped and counterfeit codes."""
        name = f"88.100.1/unknown-{random.getrandbits(40):x}"
        self._measure("unknown", "UDP", name, _exchange_udp, ResponseCode.HANDLE_NOT_FOUND)

    def _measure(
        self, what: str, kind: str, name: str, exchange: Callable[[bytes], bytes], expected: ResponseCode
    ) -> None:
        started_s = time.perf_counter()
        error: Exception | None = None
        octets = b""
        try:
            octets = exchange(_request(name))
            code = decode_message(octets).header.response_code
            if code != expected:
                error = ValueError(f"response code {code}, expected {int(expected)}")
        except OSError as failure:
            error = failure
        self.environment.events.request.fire(
            request_type=kind,
            name=what,
            response_time=(time.perf_counter() - started_s) * 1000,
            response_length=len(octets),
            exception=error,
        )


def _exchange_udp(request: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT_S)
        client.connect((HOST, PORTS.handle))
        client.send(request)
        return client.recv(65_535)


def _exchange_tcp(request: bytes) -> bytes:
    with socket.create_connection((HOST, PORTS.handle), timeout=TIMEOUT_S) as client:
        client.sendall(request)
        with client.makefile("rb") as stream:
            head = stream.read(ENVELOPE_OCTETS)
            return head + stream.read(decode_envelope(head).message_octets)


class WebUser(FastHttpUser):
    """An enterprise system that reads JSON, and people whose scanned code is a link."""

    weight = 15
    wait_time = constant_throughput(PER_USER_PER_S)
    host = f"http://{HOST}:{PORTS.http}"

    @task(10)
    def read_json(self) -> None:
        """GET /api/handles/<handle>."""
        path = "/api/handles/" + Handle.parse(a_handle()).percent_encode()
        self._get(path, "json", 200)

    @task(5)
    def follow_code(self) -> None:
        """GET /<handle>, as a phone does."""
        self._get("/" + Handle.parse(a_handle()).percent_encode(), "redirect", 302)

    def _get(self, path: str, name: str, expected: int) -> None:
        with self.client.get(path, name=name, allow_redirects=False, catch_response=True) as response:
            if response.status_code == expected:
                response.success()
            else:
                response.failure(f"status {response.status_code}, expected {expected}")


def _fail_on_any_error(environment: Environment, **_: Any) -> None:
    """An exit code that means something: 1 when a single request failed or none was made."""
    total = environment.stats.total
    environment.process_exit_code = 1 if total.num_failures or not total.num_requests else 0


events.quitting.add_listener(_fail_on_any_error)  # type: ignore[no-untyped-call]  # locust has no type for it
