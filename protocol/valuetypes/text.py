"""Types whose data are bare text: EMAIL, DESC, and names of handles: HS_ALIAS, HS_SERV, HS_SERV.PREFIX."""

from dataclasses import dataclass

from protocol.errors import InvalidHandle, Malformed
from protocol.handle import Handle


@dataclass(frozen=True, slots=True)
class Text:
    """UTF-8 text."""

    string: str

    def encode(self) -> bytes:
        """The data of the value."""
        return self.string.encode()

    @classmethod
    def decode(cls, data: bytes) -> "Text":
        """Raises Malformed for what is no UTF-8."""
        try:
            return cls(data.decode())
        except UnicodeDecodeError as error:
            raise Malformed(f"text that is no UTF-8 at octet {error.start}") from None


@dataclass(frozen=True, slots=True)
class HandleName:
    """The name of another handle: an alias's target, or the service handle that holds the sites of a service."""

    handle: Handle

    def encode(self) -> bytes:
        """The data of the value."""
        return self.handle.octets

    @classmethod
    def decode(cls, data: bytes) -> "HandleName":
        """Raises Malformed for what cannot be a handle."""
        try:
            return cls(Handle.parse(data))
        except InvalidHandle as error:
            raise Malformed(str(error)) from None
