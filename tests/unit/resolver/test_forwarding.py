"""Forwarding rules: which question goes where, in which order, and what is final."""

import pytest

from protocol.bodies import ErrorBody
from protocol.client.answers import Question
from protocol.codes import OpFlag, ResponseCode
from protocol.errors import RecursionLimit, Unreachable
from protocol.handle import Handle
from protocol.message import Message, decode_message
from protocol.site import InterfaceProtocol
from resolver.forwarding import ForwardClient, Forwarding
from resolver.settings import ForwardRule

WALL_S = 1_700_000_000.0
ONE, TWO = ("192.0.2.1", 2641), ("192.0.2.2", 3000)
UDP = InterfaceProtocol.UDP


def rules(**addresses: str) -> Forwarding:
    return Forwarding(
        ForwardRule(prefix="*" if prefix == "all" else prefix[1:].replace("_", "."), addresses=(address,))
        for prefix, address in addresses.items()
    )


@pytest.mark.parametrize(
    ("handle", "endpoint"),
    [
        ("88/x", ONE),
        ("88.100/x", TWO),
        ("88.100.5/x", TWO),
        ("88.1001/x", ONE),
        ("0.NA/88.100", TWO),
        ("88.100", TWO),
        ("0.NA/88", ONE),
    ],
)
def test_the_longest_prefix_that_fits_decides(handle: str, endpoint: tuple[str, int]) -> None:
    forwarding = rules(_88="192.0.2.1", _88_100="192.0.2.2:3000")

    assert forwarding.endpoints_for(Handle.parse(handle)) == (endpoint,)


def test_what_no_rule_names_is_walked_unless_everything_is_forwarded() -> None:
    handle = Handle.parse("20.500/x")

    assert rules(_88="192.0.2.1").endpoints_for(handle) == ()
    assert rules(_88="192.0.2.1", all="192.0.2.2:3000").endpoints_for(handle) == (TWO,)


def test_a_way_that_failed_is_tried_last_for_a_while() -> None:
    forwarding = Forwarding([ForwardRule(prefix="*", addresses=("192.0.2.1", "192.0.2.2:3000"))])
    handle = Handle.parse("88.1/x")
    first = forwarding.targets(handle, 0.0)[0]
    forwarding.failed(first, 0.0)

    order = [(target.protocol.name, target.address[-1]) for target in forwarding.targets(handle, 1.0)]
    assert order == [("UDP", "2"), ("TCP", "1"), ("TCP", "2"), ("UDP", "1")]
    assert forwarding.targets(handle, 11.0)[0] == first
    assert forwarding.failing_since_s(first) == 0.0


class Peers:
    """Other recursive nodes: what each answers, and what it was sent."""

    def __init__(self, **codes: ResponseCode) -> None:
        self.codes = {f"192.0.2.{number[1:]}": code for number, code in codes.items()}
        self.requests: list[tuple[str, Message]] = []

    async def exchange(
        self, protocol: InterfaceProtocol, address: str, port: int, request: Message, *, deadline_s: float
    ) -> Message:
        self.requests.append((address, decode_message(request.encode())))
        code = self.codes.get(address)
        if code is None:
            raise Unreachable("no answer in time", node=address)
        body = ErrorBody(message=f"from {address}").encode()
        return request.answer(code, body, authoritative=False, site_serial=1, wall_s=WALL_S)

    def exchanged(self, level: str, result: str) -> None:
        """Count nothing."""


async def ask(peers: Peers, *, authoritative: bool = False) -> str:
    rule = ForwardRule(prefix="*", addresses=("192.0.2.1", "192.0.2.2"))
    client = ForwardClient(
        Forwarding([rule]), peers, observer=peers, clock=lambda: 0.0, wall_clock=lambda: WALL_S
    )
    question = Question(handle=Handle.parse("88.1/x"), authoritative=authoritative)
    return (await client.ask(question, deadline_s=5.0, recursion_count=3)).message


async def test_a_denial_is_final() -> None:
    peers = Peers(_1=ResponseCode.HANDLE_NOT_FOUND, _2=ResponseCode.SUCCESS)

    assert await ask(peers) == "from 192.0.2.1"


@pytest.mark.parametrize(
    "code", [ResponseCode.ERROR, ResponseCode.SERVER_TOO_BUSY, ResponseCode.SERVER_BACKUP]
)
async def test_a_node_that_speaks_of_itself_is_followed_by_the_next(code: ResponseCode) -> None:
    peers = Peers(_1=code, _2=ResponseCode.HANDLE_NOT_FOUND)

    assert await ask(peers) == "from 192.0.2.2"


async def test_a_node_that_answered_is_not_asked_again_in_another_way() -> None:
    peers = Peers(_1=ResponseCode.ERROR, _2=ResponseCode.ERROR)

    with pytest.raises(Unreachable, match="response code 2 from 192"):
        await ask(peers)
    assert [address for address, _ in peers.requests] == ["192.0.2.1", "192.0.2.2"]


async def test_a_loop_is_final_so_that_it_does_not_multiply() -> None:
    peers = Peers(_1=ResponseCode.RECURSION_LIMIT, _2=ResponseCode.SUCCESS)

    with pytest.raises(RecursionLimit):
        await ask(peers)
    assert len(peers.requests) == 1


async def test_a_failure_tells_of_every_address_since_when_and_why() -> None:
    with pytest.raises(Unreachable, match=r"192\.0\.2\.1:2641/udp since 2023-11-14 22:13:20Z.*192\.0\.2\.2"):
        await ask(Peers())


async def test_a_forwarded_question_is_recursive_whole_counted_and_bound_to_its_answer() -> None:
    peers = Peers(_1=ResponseCode.HANDLE_NOT_FOUND)
    await ask(peers, authoritative=True)

    ((_, request),) = peers.requests
    assert request.flags & (OpFlag.RECU | OpFlag.PUBL | OpFlag.RRDG | OpFlag.AUTH) == (
        OpFlag.RECU | OpFlag.PUBL | OpFlag.RRDG | OpFlag.AUTH
    )
    assert request.header.recursion_count == 3
    assert request.body[-8:] == bytes(8)
