"""HS_SECKEY: a shared secret. Source: PROTOCOL.md §2.7.

Never public: a node refuses to store one that the public may read.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SecretKey:
    """The secret's octets, which show in no representation."""

    secret: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The data of the value."""
        return self.secret

    @classmethod
    def decode(cls, data: bytes) -> "SecretKey":
        """Any octets are a secret."""
        return cls(data)
