"""HS_PUBKEY and the keys in site records: public-key blobs. Source: PROTOCOL.md §2.8, vector V10."""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.dsa import (
    DSAParameterNumbers,
    DSAPublicKey,
    DSAPublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from protocol.errors import InvalidValue, Malformed
from protocol.wire import Reader, Writer

RSA: Final = b"RSA_PUB_KEY"
DSA: Final = b"DSA_PUB_KEY"
DH: Final = b"DH_PUB_KEY"
_NUMBERS: Final = {RSA: 2, DSA: 4, DH: 3}
_RSA_TAIL: Final = bytes(4)  # deployed encoders allocate one length too many; written, not asked for
MAX_NUMBER_OCTETS: Final = 2_049  # 16384 bits and a sign octet


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key's algorithm name and numbers: RSA e, n; DSA q, p, g, y; DH y, p, g."""

    algorithm: bytes
    numbers: tuple[int, ...]
    flags: int = 0

    def encode(self) -> bytes:
        """The blob. Blobs that came from elsewhere are kept verbatim; this is for keys of our own."""
        writer = Writer().counted(self.algorithm).u16(self.flags)
        for number in self.numbers:
            writer.counted(encode_number(number))
        return writer.raw(_RSA_TAIL if self.algorithm == RSA else b"").octets()

    @classmethod
    def decode(cls, blob: bytes) -> "PublicKey":
        """Raises WireError, for an unknown algorithm too."""
        reader = Reader(blob)
        algorithm, flags = reader.counted(64), reader.u16()
        if algorithm not in _NUMBERS:
            raise Malformed(f"public key of unknown algorithm {algorithm[:32]!r}")
        numbers = tuple(
            int.from_bytes(reader.counted(MAX_NUMBER_OCTETS), "big") for _ in range(_NUMBERS[algorithm])
        )
        if algorithm == RSA and reader.remaining:
            reader.take(len(_RSA_TAIL))
        reader.expect_end()
        return cls(algorithm, numbers, flags)

    @classmethod
    def of_rsa(cls, key: RSAPublicKey) -> "PublicKey":
        """The blob's content for an RSA key."""
        numbers = key.public_numbers()
        return cls(RSA, (numbers.e, numbers.n))

    @classmethod
    def of_dsa(cls, key: DSAPublicKey) -> "PublicKey":
        """The blob's content for a DSA key."""
        numbers = key.public_numbers()
        parameters = numbers.parameter_numbers
        return cls(DSA, (parameters.q, parameters.p, parameters.g, numbers.y))

    def dsa(self) -> DSAPublicKey:
        """The DSA key. Raises InvalidValue for another algorithm or numbers that make no key."""
        if self.algorithm != DSA:
            raise InvalidValue(f"a key of algorithm {self.algorithm!r} is no DSA key")
        q, p, g, y = self.numbers
        try:
            return DSAPublicNumbers(y, DSAParameterNumbers(p, q, g)).public_key()
        except ValueError as error:
            raise InvalidValue("the numbers make no DSA key") from error

    def rsa(self) -> RSAPublicKey:
        """The RSA key. Raises InvalidValue for another algorithm or numbers that make no key."""
        if self.algorithm != RSA:
            raise InvalidValue(f"a key of algorithm {self.algorithm!r} is no RSA key")
        try:
            return RSAPublicNumbers(*self.numbers).public_key()
        except ValueError as error:
            raise InvalidValue("the numbers make no RSA key") from error


def encode_number(number: int) -> bytes:
    """Two's complement, big-endian: a leading zero octet when the top bit is set. Source: PROTOCOL.md §2.8."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")
