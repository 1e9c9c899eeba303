"""The short way of a usual request gives what the general way gives, whatever is stored and however it is asked."""

import asyncio
import random
from dataclasses import dataclass
from itertools import product
from typing import Final

import pytest

from protocol.bodies import ResolutionRequest
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag
from protocol.handle import Handle
from protocol.message import Message, Version
from protocol.site import Site
from protocol.transport.base import Answer, Peer
from protocol.value import HandleValue, TtlType, ValueList
from registry.outcomes import COMMAND
from registry.prefixes import PrefixRow, PrefixStatus
from registry.reads import SharedReads
from registry.wire.server import WireServer
from registry.writing import State
from tests.integration.registry.bench import Bench, admin, secret, url
from tests.support.transport import answer_of
from tests.support.wire_servers import wire_server
from tests.unit.registry.namespaces import V36

PEER: Final = Peer("192.0.2.1", 4711, "udp")
WALL_S: Final = 1_800_000_000.0
VERSIONS: Final[tuple[Version, ...]] = ((2, 11), (2, 0))
FLAGS: Final = (DEFAULT_FLAGS, OpFlag.RRDG, OpFlag.AUTH | OpFlag.DNRF | OpFlag.KPAL, OpFlag.CERT, OpFlag(0))
FILTERS: Final[tuple[tuple[tuple[int, ...], tuple[str, ...]], ...]] = (
    ((), ()),
    ((1,), ()),
    ((77,), ()),
    ((), ("url",)),
    ((100,), ("DESC",)),
)
STATES: Final = {
    "draft": State.DRAFT,
    "suspended": State.SUSPENDED,
    "retired": State.RETIRED,
    "deleted": State.DELETED,
}
NAMES: Final = (
    "88.100/plain", "88.100/PLAIN", "88.100/many", "88.100/secret", "88.100/short", "88.100/never", "88.100/past",
    "88.100/unknown", *(f"88.100/{state}" for state in STATES), "88.200/plain", "88.300/plain", "88.400/plain",
    "88.600/plain", "88.600/plain@7", "88.600/unknown@7", "88.600/literal@7",
    *(f"88.600/{state}@7" for state in STATES),
    "88.500/x", "88.100.9/x", "99/x", "0.NA/88.100", "0.NA/88.100.9", "0.NA/88.100.9.1", "88.100", "nowhere/", "/",
)  # fmt: skip


async def populate(bench: Bench) -> None:
    """One handle or prefix of every kind."""
    site = ValueList.of([HandleValue(index=1, type="HS_SITE", data=Site(serial=3).encode())])
    for name, fields in {
        "88.200": {"status": PrefixStatus.SUSPENDED, "status_text": "suspended: unpaid"},
        "88.300": {"status": PrefixStatus.REVOKED, "status_text": "revoked"},
        "88.400": {"homed": False, "moved": site},
    }.items():
        known = {"homed": True, "authorisation": ValueList.of([admin()]), **fields}
        row = PrefixRow(key=name.encode(), name=name.encode(), **known)  # type: ignore[arg-type]
        await bench.home(name)
        await bench.create(f"{name}/plain", url("https://plant.example/1"))
        async with bench.operations.transaction(COMMAND) as transaction:
            await transaction.save_prefix(row)
    await bench.create("88.100/plain", url("https://plant.example/1"), admin())
    await bench.create("88.100/many", *(url(f"https://plant.example/{i}", i) for i in range(1, 40)))
    await bench.create("88.100/secret", secret("hunter2"))
    for name, ttl, kind in (("short", 7, 0), ("never", 0, 0), ("past", 1_000, TtlType.ABSOLUTE)):
        value = HandleValue(index=1, type="URL", data=b"x", ttl=ttl, ttl_type=kind)
        await bench.create(f"88.100/{name}", url("y", 2), value)
    await bench.create("0.NA/88.100.9", HandleValue(index=1, type="HS_SITE", data=Site(serial=3).encode()))
    await bench.home("88.600", admin(), HandleValue(index=1, type="HS_NAMESPACE", data=V36.encode()))
    for name in ("plain", "literal@7"):
        await bench.create(f"88.600/{name}", url("https://plant.example/1"))
    async with bench.store.connection() as connection:
        for prefix, (word, state) in product(("88.100", "88.600"), STATES.items()):
            await bench.create(f"{prefix}/{word}", url("https://plant.example/1"))
            await connection.execute(
                "UPDATE handles SET state = $1 WHERE key = $2", state, f"{prefix}/{word}".upper().encode()
            )


@dataclass(slots=True)
class Ways:
    """One server, asked twice."""

    server: WireServer
    short: int = 0

    @classmethod
    def of(cls, bench: Bench, *, case_sensitive: bool = False) -> "Ways":
        operations = bench.make_operations(case_sensitive=case_sensitive)
        server = wire_server(operations, Site(serial=9), clock=lambda: 1_000.0, wall_clock=lambda: WALL_S)
        return cls(server)

    async def compare(self, octets: bytes) -> Answer | None:
        """The answer, the same both ways."""
        general = await answer_of(self.server.answer_later, octets, PEER)
        taken: list[Answer | None] = []
        if self.server.answer_soon(octets, PEER, taken.append):
            self.short += 1
        short = await answer_of(self.server.respond, octets, PEER)
        assert short == general
        return short


def question(
    name: str | bytes,
    *,
    filters: tuple[tuple[int, ...], tuple[str, ...]] = ((), ()),
    flags: int = DEFAULT_FLAGS,
    version: Version = (2, 11),
) -> bytes:
    body = ResolutionRequest(handle=Handle.parse(name), indexes=filters[0], types=filters[1]).encode()
    return Message.request(
        OpCode.RESOLUTION,
        body,
        request_id=random.getrandbits(31),
        expiration=0,
        flags=flags,
        version=version,
        recursion_count=3,
    ).encode()


@pytest.mark.parametrize("case_sensitive", [False, True])
async def test_both_ways_give_the_same_octets_life_and_stamp(bench: Bench, case_sensitive: bool) -> None:
    await populate(bench)
    ways = Ways.of(bench, case_sensitive=case_sensitive)
    cases = list(product(NAMES, FILTERS, FLAGS, VERSIONS))

    for name, filters, flags, version in cases:
        await ways.compare(question(name, filters=filters, flags=flags, version=version))

    without_cert = len(cases) * (len(FLAGS) - 1) // len(FLAGS)
    homed = sum(name.startswith(("88.100/", "88.600/")) and "@" not in name for name in NAMES)
    assert ways.short == without_cert * homed // len(NAMES)


async def test_an_unknown_prefix_is_looked_up_once_and_then_known_to_the_short_way(bench: Bench) -> None:
    await bench.create("88.100/plain", url("https://plant.example/1"))
    server = Ways.of(bench).server
    octets = question("88.100/plain")
    bench.generations.bump_all()

    assert not server.answer_soon(octets, PEER, lambda _: None)
    await answer_of(server.respond, octets, PEER)

    answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
    assert server.answer_soon(octets, PEER, answered.set_result)
    assert await answered is not None


async def test_a_prefix_that_is_suspended_is_noticed_by_the_short_way(bench: Bench) -> None:
    await bench.create("88.100/plain", url("https://plant.example/1"))
    ways = Ways.of(bench)
    before = await ways.compare(question("88.100/plain"))
    row = await bench.prefixes.row(b"88.100")
    assert row is not None
    changed = PrefixRow(
        key=row.key,
        name=row.name,
        homed=True,
        authorisation=row.authorisation,
        status=PrefixStatus.SUSPENDED,
        status_text="suspended",
    )
    async with bench.operations.transaction(COMMAND) as transaction:
        await transaction.save_prefix(changed)

    after = await ways.compare(question("88.100/plain"))

    assert before is not None
    assert after is not None
    assert (before.octets[27], after.octets[27]) == (1, 200)


async def test_requests_of_one_moment_share_a_statement(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        await bench.create(f"88.100/{number}", url(f"https://plant.example/{number}"))
    server = Ways.of(bench).server
    await answer_of(server.respond, question("88.100/0"), PEER)
    statements: list[int] = []
    send = SharedReads._send

    async def noted(self: SharedReads, lane: object, statement: object) -> None:
        statements.append(len(statement.keys))  # type: ignore[attr-defined]
        await send(self, lane, statement)  # type: ignore[arg-type]

    monkeypatch.setattr(SharedReads, "_send", noted)

    answers = await asyncio.gather(
        *(answer_of(server.respond, question(f"88.100/{number}"), PEER) for number in range(40))
    )
    lone = await answer_of(server.respond, question("88.100/7"), PEER)

    assert statements == [40, 1]
    assert lone is not None
    for number, answer in enumerate(answers):
        assert answer is not None
        assert b"https://plant.example/%d" % number in answer.octets
