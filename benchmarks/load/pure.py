"""The generators and bare servers of `_wire.pyx` in Python, with the same names: where no compiler is.

Slower than what they measure; enough to see that answers are right.
"""

import hashlib
import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from benchmarks.load.requests import Requests
from benchmarks.load.result import BUCKETS, bucket
from protocol.codes import OpFlag

PACKET: Final = 2_048
STREAM: Final = 262_144
TICK_S: Final = 0.05
BATCH: Final = 64
END_OF_HEAD: Final = b"\r\n\r\n"


class Load:
    """The requests of one run: what is in flight, and what came of the others."""

    def __init__(
        self,
        what: Requests,
        *,
        window: int,
        seconds: float,
        rate: float,
        sent_max: int,
        lost_after_s: float,
    ) -> None:
        self.answers = self.lost = self.wrong = self.stray = self.sent = self.octets = self.closed = 0
        self.elapsed_s = 0.0
        self.first_wrong = b""
        self.window, self.sent_max = window, sent_max
        self.flying: dict[int, tuple[int, bytes]] = {}
        self._what, self._rate, self._lost_after_ns = what, rate, int(lost_after_s * 1e9)
        self._seconds = seconds
        self._id_mask = (1 << (8 * what.id_octets - (2 if what.id_octets == 4 else 0))) - 1
        self._next = 0
        self._counts = [0] * BUCKETS
        self.started = self.until = 0

    def counts(self) -> list[int]:
        """The latency histogram."""
        return self._counts

    def begin(self) -> None:
        """Start the clock."""
        self.started = time.monotonic_ns()
        self.until = self.started + int(self._seconds * 1e9)

    def wanted(self, now: int) -> int:
        """How many requests may be sent now."""
        if now >= self.until:
            return 0
        count = min(self.window - len(self.flying), BATCH)
        if self.sent_max:
            count = min(count, self.sent_max - self.sent)
        if self._rate:
            count = min(count, int((now - self.started) * self._rate / 1e9) + 1 - self.sent)
        return count

    def pause_s(self, now: int) -> float:
        """Seconds until the next request is due."""
        if not self._rate or len(self.flying) >= self.window or now >= self.until:
            return TICK_S
        return max(0.0, min(TICK_S, (self.started - now) / 1e9 + self.sent / self._rate))

    def take(self, now: int) -> tuple[int, bytes]:
        """The next request and its key."""
        what = self._what
        key = self._next & self._id_mask if what.id_octets else self._next
        octets = bytearray(what.template)
        if what.id_octets:
            octets[what.id_at : what.id_at + what.id_octets] = key.to_bytes(what.id_octets, "big")
        if what.number_digits:
            number = what.numbers[self._next % len(what.numbers)]
            octets[what.number_at : what.number_at + what.number_digits] = b"%0*d" % (
                what.number_digits,
                number,
            )
        since = self.started + int(self.sent * 1e9 / self._rate) if self._rate else now
        self.flying[key] = (since, bytes(octets))
        self._next += 1
        self.sent += 1
        return key, self.flying[key][1]

    def untake(self, key: int) -> None:
        """The socket did not take the request: it comes again."""
        del self.flying[key]
        self._next -= 1
        self.sent -= 1

    def key_of(self, answer: bytes) -> int:
        """Which request an answer names."""
        what = self._what
        return int.from_bytes(answer[what.id_at : what.id_at + what.id_octets], "big")

    def judge(self, key: int, answer: bytes, now: int, *, head: int = 0, length: int = 0) -> None:
        """Count an answer, and check it."""
        what = self._what
        found = self.flying.pop(key, None)
        if found is None:
            self.stray += 1
            return
        since, asked = found
        self.answers += 1
        self.octets += len(answer)
        self._counts[bucket(now - since)] += 1
        code = int.from_bytes(answer[what.code_at : what.code_at + what.code_octets], "big")
        back = head + what.echo_back_at
        if (
            code & what.code_mask != what.code
            or answer[back : back + what.echo_octets] != asked[what.echo_at : what.echo_at + what.echo_octets]
            or (length and len(answer) - head != length)
        ):
            self.first_wrong = self.first_wrong or answer[:PACKET]
            self.wrong += 1

    def give_up(self, now: int, *, all_: bool = False) -> None:
        """Count as lost what waited too long."""
        for key in [k for k, (since, _) in self.flying.items() if all_ or now - since > self._lost_after_ns]:
            del self.flying[key]
            self.lost += 1

    def is_over(self, now: int) -> bool:
        """Whether everything was sent and answered or given up."""
        return not self.flying and (now >= self.until or (bool(self.sent_max) and self.sent >= self.sent_max))

    def finish(self, last: int) -> None:
        """Stop the clock."""
        self.elapsed_s = (last - self.started) / 1e9


def udp_load(fd: int, load: Load) -> None:
    """Run a load on a connected, non-blocking UDP socket."""
    load.begin()
    now = last = tick = load.started
    with socket.socket(fileno=fd) as opened:
        try:
            while not load.is_over(now):
                for _ in range(load.wanted(now)):
                    key, octets = load.take(now)
                    try:
                        opened.send(octets)
                    except (BlockingIOError, ConnectionRefusedError):
                        load.untake(key)
                        break
                select.select([opened], [], [], load.pause_s(now))
                now = time.monotonic_ns()
                for answer in _datagrams(opened):
                    load.judge(load.key_of(answer), answer, now)
                    last = now
                if now - tick > TICK_S * 1e9:
                    tick = now
                    load.give_up(now)
        finally:
            opened.detach()
    load.finish(last if last > load.started else now)


def _datagrams(opened: socket.socket) -> Iterable[bytes]:
    while True:
        try:
            yield opened.recv(PACKET)
        except (BlockingIOError, ConnectionRefusedError):
            return


class _Stream:
    """One connection: its requests in flight, in their order, and the answers that have come in part."""

    def __init__(self, fd: int) -> None:
        self.socket = socket.socket(fileno=fd)
        self.order: deque[int] = deque()
        self.buffer = b""

    def answers(self, *, http: bool) -> Iterable[tuple[bytes, int]]:
        """Whole answers, and the octets before their bodies. Raises ConnectionError when the connection is gone."""
        data = self.socket.recv(STREAM)
        if not data:
            raise ConnectionError
        self.buffer += data
        while True:
            octets, head = _http_octets(self.buffer) if http else _message_octets(self.buffer)
            if not octets or octets > len(self.buffer):
                return
            answer, self.buffer = self.buffer[:octets], self.buffer[octets:]
            yield answer, head


def _message_octets(buffer: bytes) -> tuple[int, int]:
    return (20 + int.from_bytes(buffer[16:20], "big") if len(buffer) >= 20 else 0), 0


def _http_octets(buffer: bytes) -> tuple[int, int]:
    end = buffer.find(END_OF_HEAD)
    if end < 0:
        return 0, 0
    _, found, length = buffer[:end].lower().partition(b"\r\ncontent-length:")
    if not found:
        raise ConnectionError("an answer without a length")
    head = end + len(END_OF_HEAD)
    return head + int(length.partition(b"\r\n")[0]), head


def stream_load(fds: Sequence[int], load: Load, *, depth: int, http: bool, length: int) -> None:
    """Run a load on connected, non-blocking TCP sockets, `depth` requests at most under way on each."""
    streams = {fd: _Stream(fd) for fd in fds}
    load.begin()
    now = last = load.started
    try:
        while streams and not load.is_over(now) and now < load.until + 1e9:
            for stream in streams.values():
                for _ in range(min(depth - len(stream.order), load.wanted(now))):
                    key, octets = load.take(now)
                    stream.order.append(key)
                    stream.socket.sendall(octets)  # a few hundred octets always fit
            ready, _, _ = select.select(list(streams), [], [], load.pause_s(now))
            now = time.monotonic_ns()
            for fd in ready:
                stream = streams[fd]
                try:
                    for answer, head in stream.answers(http=http):
                        oldest = stream.order.popleft()
                        load.judge(
                            oldest if http else load.key_of(answer), answer, now, head=head, length=length
                        )
                        last = now
                except (ConnectionError, IndexError):
                    load.closed += 1
                    streams.pop(fd).socket.detach()
    finally:
        for stream in streams.values():
            stream.socket.detach()
    load.give_up(now, all_=True)
    load.finish(last if last > load.started else now)


class Answers:
    """What a bare server answers: what it got, or one record for every name; see `_wire.pyx`."""

    def __init__(
        self, kind: str, data: bytes = b"", records: Iterable[tuple[bytes, bytes]] = (), expiration: int = 0
    ) -> None:
        self._answer = {"echo": self._echo, "handle": self._handle, "dns": self._dns}[kind]
        self._data, self._records, self._expiration = data, dict(records), expiration

    def answer(self, asked: bytes) -> bytes:
        """The answer; empty for none."""
        return self._answer(asked)

    def _echo(self, asked: bytes) -> bytes:
        return asked

    def _handle(self, asked: bytes) -> bytes:
        name = asked[44 : 48 + int.from_bytes(asked[44:48], "big")]
        values = self._records.get(name[4:]) if name[4:].startswith(b"0.NA/") else self._data
        code, body = (1, name + values) if values is not None else (100, b"")
        flags = int.from_bytes(asked[28:32], "big") & 0x9BFF_FFFF | 0x8000_0000
        if flags & OpFlag.RRDG:
            end = 44 + int.from_bytes(asked[40:44], "big")
            body = b"\x03" + hashlib.sha256(asked[20:end]).digest() + body
        header = asked[20:24] + code.to_bytes(4, "big") + flags.to_bytes(4, "big") + asked[32:36]
        header += self._expiration.to_bytes(4, "big") + len(body).to_bytes(4, "big")
        return asked[:16] + (len(header) + len(body) + 4).to_bytes(4, "big") + header + body + bytes(4)

    def _dns(self, asked: bytes) -> bytes:
        end = asked.index(b"\0", 12) + 5
        is_txt = asked[end - 4 : end - 2] == b"\0\x10"
        record = b"\xc0\x0c\0\x10\0\1\0\0\x0e\x10" + len(self._data).to_bytes(2, "big") + self._data
        counts = b"\0\1\0" + bytes([is_txt]) + b"\0\0\0" + bytes([asked[11] > 0])
        extension = b"\0\0\x29\x04\xd0\0\0\0\0\0\0" if asked[11] else b""
        flags = bytes([0x84 | asked[2] & 1, 0])
        return asked[:2] + flags + counts + asked[12:end] + (record if is_txt else b"") + extension


def serve(fd: int, stop_fd: int, answers: Answers) -> None:
    """Answer on a bound UDP socket until stop_fd can be read or is closed."""
    opened: Any = socket.socket(fileno=fd)
    opened.setblocking(False)
    while True:
        ready, _, _ = select.select([opened, stop_fd], [], [])
        if stop_fd in ready:
            opened.detach()
            return
        while True:
            try:
                asked, peer = opened.recvfrom(PACKET)
            except BlockingIOError:
                break
            octets = answers.answer(asked)
            if octets:
                opened.sendto(octets, peer)
