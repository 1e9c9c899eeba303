"""`handlegrid resolve --raw`: one exchange with one server, octet by octet."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from deploy.commands.failure import ExitCode
from deploy.commands.text import printable
from protocol.bodies import ResolutionRequest
from protocol.client import Question
from protocol.client.client import ASK_FLAGS, EXCHANGE_S
from protocol.codes import REFERRALS, OpCode, ResponseCode
from protocol.dissection import Field, dissect
from protocol.errors import Unreachable, WireError
from protocol.message import ANSWER_LIFE_S, Message, decode_message
from protocol.transport.exchanger import new_request_id
from protocol.transport.tcp_exchange import exchange_octets_tcp
from protocol.transport.udp_exchange import UdpExchanger

OCTETS_PER_LINE: Final = 16
NAME_WIDTH: Final = 26
HEX_WIDTH: Final = OCTETS_PER_LINE * 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RawExchange:
    """What went out, and what came back."""

    server: str
    request: bytes
    response: bytes | None
    """None when nothing came."""
    failure: str = ""
    """Why not."""

    @property
    def exit_code(self) -> ExitCode:
        """0 found, 1 denied, 3 no answer that could be read, or a referral."""
        if self.response is None:
            return ExitCode.NO_ANSWER
        try:
            code = decode_message(self.response).header.response_code
        except WireError:
            return ExitCode.NO_ANSWER
        if code == ResponseCode.SUCCESS:
            return ExitCode.DONE
        return ExitCode.NO_ANSWER if code in REFERRALS else ExitCode.DENIED

    def to_text(self) -> str:
        """Both messages as a table: offset, octets, name and meaning of each field."""
        parts = [f"request to {self.server}, {len(self.request)} octets", *_rows(dissect(self.request)), ""]
        if self.response is None:
            parts.append(f"no response: {self.failure}")
        else:
            parts += [f"response, {len(self.response)} octets", *_rows(dissect(self.response))]
        return "\n".join(printable(part) for part in parts)

    def to_json(self) -> dict[str, Any]:
        """The same for machines; octets in hexadecimal."""
        response = None if self.response is None else _to_json(self.response)
        content = {"server": self.server, "request": _to_json(self.request), "response": response}
        return content if response is not None else {**content, "failure": self.failure}


async def exchange_raw(question: Question, address: str, port: int, *, tcp: bool) -> RawExchange:
    """Ask one server, over UDP or TCP; never raises for what the server does."""
    request = _request(question).encode()
    server = f"{address} {'TCP' if tcp else 'UDP'} {port}"
    deadline_s = time.monotonic() + EXCHANGE_S
    udp = UdpExchanger()
    try:
        exchange = exchange_octets_tcp if tcp else udp.exchange_octets
        response = await exchange(address, port, request, deadline_s=deadline_s)
    except (Unreachable, WireError) as error:
        return RawExchange(server=server, request=request, response=None, failure=str(error))
    finally:
        await udp.close()
    return RawExchange(server=server, request=request, response=response)


def _request(question: Question) -> Message:
    body = ResolutionRequest(handle=question.handle, indexes=question.indexes, types=question.types)
    return Message.request(
        OpCode.RESOLUTION,
        body.encode(),
        request_id=new_request_id(),
        expiration=int(time.time()) + ANSWER_LIFE_S,
        flags=ASK_FLAGS,
    )


def _rows(fields: tuple[Field, ...]) -> Iterator[str]:
    for field in fields:
        name, meaning = field.name, field.meaning
        for start in range(0, max(1, len(field.octets)), OCTETS_PER_LINE):
            octets = field.octets[start : start + OCTETS_PER_LINE].hex(" ")
            yield f"  {field.offset + start:6}  {octets:<{HEX_WIDTH}} {name:<{NAME_WIDTH}} {meaning}".rstrip()
            name = meaning = ""


def _to_json(message: bytes) -> dict[str, Any]:
    fields = [
        {
            "offset": field.offset,
            "name": field.name,
            "octets": field.octets.hex(),
            "meaning": field.meaning.encode("utf-8", "replace").decode(),
        }
        for field in dissect(message)
    ]
    return {"octets": message.hex(), "fields": fields}
