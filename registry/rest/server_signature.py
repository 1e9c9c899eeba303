"""How a node proves to an HTTP client who it is: its server key over the challenge and what the client has added."""

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from registry.key_work import Crowded, KeyWork

ALGORITHM: Final = "SHA-256"


@dataclass(frozen=True, slots=True)
class ServerSignature:
    """A signature of ours, as it is told."""

    algorithm: str
    text: str
    """In base64."""


class Signatures:
    """Signs with the key that the node's site record publishes."""

    def __init__(self, key: RSAPrivateKey, work: KeyWork) -> None:
        self._key = key
        self._work = work

    async def sign(self, octets: bytes, source: str) -> ServerSignature | None:
        """A signature over octets that begin with a nonce of ours; None when too many ask for one.

        source: the network that asks.
        """
        try:
            signature = await self._work.run(
                lambda: self._key.sign(octets, PKCS1v15(), SHA256()), source=source
            )
        except Crowded:
            return None
        return ServerSignature(ALGORITHM, b64encode(signature).decode())
