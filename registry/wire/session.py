"""One session as its server sees it: whose it is, which of its messages are genuine, and what its answers look like."""

import os
from dataclasses import replace

from protocol.codes import OpFlag
from protocol.credential import mac, verify_mac
from protocol.encryption import must_be_encrypted
from protocol.errors import BadMac, SessionFailed, SessionReplay, Unsigned, WireError
from protocol.message import Message, Version
from protocol.session import BLOCK_OCTETS, CounterWindow, decrypt, encrypt
from registry.outcomes import Identity
from registry.permission import Reference, names


class Session:
    """The state of one session. Its versions, its key and whom it is for never change; its key is shown to nobody."""

    __slots__ = (
        "_case_sensitive",
        "_claimed",
        "_key",
        "_sent",
        "_window",
        "host",
        "id",
        "identity",
        "idle_s",
        "made_s",
        "used_s",
        "version",
    )

    def __init__(
        self,
        session_id: int,
        key: bytes,
        version: Version,
        *,
        claimed: Reference | None,
        case_sensitive: bool,
        host: str,
        idle_s: float,
        now_s: float,
    ) -> None:
        """claimed: for whom it was set up, which nobody has proved yet; None for nobody. host: who set it up.

        case_sensitive: the node's rule about suffixes. idle_s: how long it lives unused. now_s: monotonic.
        """
        self.id = session_id
        self.version = version
        self._claimed = claimed
        self.identity: Identity | None = None
        """Who has proved to be the one it was set up for; then later requests need no challenge."""
        self.host = host
        self.idle_s = idle_s
        self.made_s = self.used_s = now_s
        self._case_sensitive = case_sensitive
        self._key = key
        self._window = CounterWindow()
        self._sent = 0

    def prove(self, identity: Identity) -> None:
        """A challenge of the session was answered by this identity, who asks from then on if it was set up for him."""
        if self._claimed is not None and names(identity, case_sensitive=self._case_sensitive)(self._claimed):
            self.identity = identity

    def decrypt(self, octets: bytes) -> Message:
        """An encrypted request in the clear, whose envelope still says how it came. Raises SessionFailed, WireError.

        Both sides have the same key: what the server itself encrypted, sent back to it, must not have it answer itself.
        """
        message = decrypt(octets, self._key)
        if message.header.response_code:
            raise SessionFailed("an answer, where a request is due")
        return replace(message, envelope=replace(message.envelope, encrypted=True))

    def check(self, message: Message) -> None:
        """Raises Unsigned, BadMac or SessionReplay unless who set up the session sent the message, for the first time.

        A wrong MAC in an encrypted message raises SessionFailed, as if it could not be decrypted: nobody should learn
        what an altered message looks like inside.
        """
        try:
            counter = self._counter_of(message)
        except (BadMac, Unsigned):
            if message.envelope.encrypted:
                raise SessionFailed("a message that this session did not encrypt") from None
            raise
        if not self._window.accept(counter):
            raise SessionReplay("a message with this counter has come before")

    def _counter_of(self, message: Message) -> int:
        if message.envelope.version != self.version:
            raise BadMac("this session speaks version {}.{}".format(*self.version))
        try:
            return verify_mac(message, self._key)
        except WireError as error:
            raise Unsigned(f"a credential that is none: {error}") from error

    def protect(self, answered: Message, response: Message) -> bytes:
        """The octets of a response: with a MAC when asked for (CERT), encrypted when asked for (ENCR) or needed.

        answered: the request. response: whole, but for its credential. Source: PROTOCOL.md §3.10, §5.7.
        """
        envelope = replace(response.envelope, version=self.version, session_id=self.id)
        response = replace(response, envelope=envelope, signed_octets=None)
        certified = answered.has(OpFlag.CERT)
        encrypted = answered.has(OpFlag.ENCR) or must_be_encrypted(response)
        flags = response.header.op_flags | answered.header.op_flags & OpFlag.CERT
        flags |= OpFlag.ENCR if encrypted else 0
        response = replace(response, header=replace(response.header, op_flags=flags))
        if certified:
            self._sent += 1
            response = mac(response, self._key, self._sent)
        if encrypted:
            return encrypt(response, self._key, os.urandom(BLOCK_OCTETS))
        return response.encode()
