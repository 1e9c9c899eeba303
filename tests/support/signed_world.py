"""The national hierarchy in memory, whose nodes sign: keys by address, and scripts for those in between."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.codes import OpCode, OpFlag
from protocol.credential import sign
from protocol.message import Message, decode_message
from protocol.site import Service, Site
from protocol.value import HandleValue
from protocol.valuetypes import PublicKey
from tests.support import scripted_world
from tests.support.scripted_world import ENTERPRISE, PUMP, ROOT, SECOND, TOP, ScriptedWorld, value
from tests.support.server_keys import server_key

LEVELS: Final = {TOP: "88", SECOND: "88.100", ENTERPRISE: "88.100.1"}
Spoil = Callable[[Message], Message]
"""What somebody on the way makes of a response."""


def key_of(address: str) -> rsa.RSAPrivateKey:
    """The key of the node at an address."""
    return server_key(int(address.rpartition(".")[2]))


def public_key_of(address: str) -> bytes:
    """The public half, as a site record holds it."""
    return PublicKey.of_rsa(key_of(address).public_key()).encode()


def site(address: str, public_key: bytes | None = None) -> Site:
    """The site of a node, with its key."""
    plain = scripted_world.site(address)
    key = public_key_of(address) if public_key is None else public_key
    return replace(plain, servers=(replace(plain.servers[0], public_key=key),))


def root_service() -> Service:
    """The root, as the bundle names it."""
    return Service("the root service", (site(ROOT),))


def delegation(address: str, public_key: bytes | None = None) -> list[HandleValue]:
    """The values that delegate a prefix to a node, with its key unless told otherwise."""
    where = site(address, public_key)
    return [value(1, "HS_SITE", where), value(2, "HS_SITE.PREFIX", where)]


class SignedWorld(ScriptedWorld):
    """The national hierarchy, whose nodes sign what is asked with CERT."""

    def __init__(self) -> None:
        super().__init__()
        self.signers = dict.fromkeys((ROOT, *LEVELS))
        self.signs: dict[str, rsa.RSAPrivateKey | None] = {
            address: key_of(address) for address in self.signers
        }
        self.spoils: dict[str, Spoil] = {}
        self.operations: dict[str, Spoil] = {}
        """What nodes answer to other requests than resolutions."""
        self.node(ROOT).hold("0.NA/88", *delegation(TOP))
        self.node(TOP).hold("0.NA/88.100", *delegation(SECOND))
        self.node(SECOND).hold("0.NA/88.100.1", *delegation(ENTERPRISE))
        self.node(ENTERPRISE).hold(PUMP, value(1, "URL", "https://plant.example/pump-7"))

    def ask(self, address: str, octets: bytes) -> Message | None:
        """As an honest node that signs."""
        request = decode_message(octets)
        operation = self.operations.get(address)
        if request.header.op_code != OpCode.RESOLUTION and operation is not None:
            response: Message | None = operation(request)
        else:
            response = super().ask(address, octets)
        key = self.signs.get(address)
        if response is None:
            return None
        if request.has(OpFlag.CERT) and key is not None:
            response = sign(response, key)
        spoil = self.spoils.get(address)
        return response if spoil is None else spoil(response)
