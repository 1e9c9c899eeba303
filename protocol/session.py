"""The cryptography of sessions: agreeing on a key, encrypting a message, counting messages.

Source: PROTOCOL.md §3.10, §4.13, §5.7. MACs are in credential.py. Randomness comes in as arguments.
"""

import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from protocol.admin_bodies import SessionMode, SessionSetupRequest, SessionSetupResponse
from protocol.codes import OpCode
from protocol.credential import verify_mac
from protocol.diffie_hellman import Half, decode_public
from protocol.errors import HandleError, SessionFailed
from protocol.message import ENVELOPE_OCTETS, HEADER_OCTETS, Message, Version, decode_envelope, decode_message

SESSION_KEY_OCTETS: Final = 32
CIPHER_KEY_OCTETS: Final = 16
BLOCK_OCTETS: Final = 16
SINCE: Final[Version] = (2, 7)  # below, DES (2.3) or MACs that do not cover the request (2.4-2.6)
WINDOW_COUNTERS: Final = 200  # as deployed servers

_U32: Final = struct.Struct(">I")


class CipherCode(IntEnum):
    """The cipher that a server names in front of its key."""

    DES = 1
    DES_EDE = 2
    AES = 3


def session_key(shared: bytes) -> bytes:
    """The key of a session from the shared secret: leading zeros dropped while more than 32 octets would remain.

    Source: PROTOCOL.md §4.13.
    """
    start = 0
    while len(shared) - start > SESSION_KEY_OCTETS and shared[start] == 0:
        start += 1
    return shared[start : start + SESSION_KEY_OCTETS]


def accept_session(
    request: SessionSetupRequest, version: Version, entropy: bytes
) -> tuple[bytes, SessionSetupResponse]:
    """The server's side of an exchange: the session's key, and the body that lets the client have it too.

    version: of the response, and of the session for its whole life. entropy: 64 unpredictable octets. Takes up to
    30 ms, and more the first time for a prime of no standard. Raises SessionFailed for a mode that is not
    Diffie-Hellman, for a version without sound MACs and for numbers that are not to be computed with.
    """
    if request.mode != SessionMode.DIFFIE_HELLMAN:
        raise SessionFailed("sessions are set up with Diffie-Hellman alone")
    if version < SINCE or version[0] >= 5:
        raise SessionFailed("sessions need version 2.7 or later")
    group, y = decode_public(request.key)
    half = Half.of(group, entropy)
    key = session_key(half.shared(y))
    data = _U32.pack(CipherCode.AES) + half.public.encode()
    return key, SessionSetupResponse(mode=request.mode, data=data, stray=request.stray)


def finish_session(half: Half, response: SessionSetupResponse) -> bytes:
    """The client's side: the session's key from its own half and the server's answer. Raises SessionFailed."""
    if response.mode != SessionMode.DIFFIE_HELLMAN or len(response.data) < _U32.size:
        raise SessionFailed("the server answers a key exchange that was not begun")
    if _U32.unpack_from(response.data)[0] != CipherCode.AES:
        raise SessionFailed("the server chose another cipher than AES")
    group, y = decode_public(response.data[_U32.size :])
    if group != half.group:
        raise SessionFailed("the server answers in another group")
    return session_key(half.shared(y))


def _cipher(key: bytes, iv: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES(key[:CIPHER_KEY_OCTETS]), modes.CBC(iv))


def encrypt(message: Message, key: bytes, iv: bytes) -> bytes:
    """The octets of an encrypted message: its envelope clear, all behind it AES-128-CBC with the IV in front.

    iv: 16 unpredictable octets, new for each message. The message has its MAC already. Vector V32.
    """
    clear = message.encode()[ENVELOPE_OCTETS:]
    padder, encryptor = PKCS7(BLOCK_OCTETS * 8).padder(), _cipher(key, iv).encryptor()
    padded = padder.update(clear) + padder.finalize()
    rest = iv + encryptor.update(padded) + encryptor.finalize()
    envelope = replace(message.envelope, encrypted=True, message_octets=len(rest))
    return envelope.encode() + rest


def decrypt(octets: bytes, key: bytes) -> Message:
    """The message that encrypted octets hold; its envelope says encrypted no longer. Raises SessionFailed.

    What is in the padding is not looked at: a message says its own length, and whoever damages one on its way learns
    nothing from how it is refused.
    """
    envelope = decode_envelope(octets)
    rest = octets[ENVELOPE_OCTETS : ENVELOPE_OCTETS + envelope.message_octets]
    if len(rest) % BLOCK_OCTETS or len(rest) < BLOCK_OCTETS + HEADER_OCTETS:
        raise SessionFailed("octets that this session did not encrypt")
    decryptor = _cipher(key, rest[:BLOCK_OCTETS]).decryptor()
    clear = decryptor.update(rest[BLOCK_OCTETS:]) + decryptor.finalize()
    try:
        message = decode_message(
            replace(envelope, encrypted=False, message_octets=len(clear)).encode() + clear
        )
    except HandleError:
        raise SessionFailed("octets that this session did not encrypt") from None
    return replace(message, surplus=b"")


def decrypt_checked(octets: bytes, key: bytes) -> tuple[Message, int | None]:
    """What decrypt() gives, and the counter of its MAC; None for an answer to a challenge, which has no MAC.

    Raises SessionFailed for a wrong MAC, or none, like for anything else: a difference would tell what was decrypted.
    """
    message = decrypt(octets, key)
    if not message.credential and message.header.op_code == OpCode.CHALLENGE_ANSWER:
        return message, None
    try:
        return message, verify_mac(message, key)
    except HandleError:
        raise SessionFailed("octets that this session did not encrypt") from None


@dataclass(slots=True)
class CounterWindow:
    """The counters that a session has seen, so that no message counts twice; they may arrive out of order.

    Both fields are all that there is to hand on.
    """

    highest: int = 0
    seen: int = 0
    """Bit n: whether highest - n was seen."""

    def accept(self, counter: int) -> bool:
        """Whether a counter comes for the first time, and is not further behind than the window is wide."""
        ahead = counter - self.highest
        if ahead > 0:
            self.seen = (self.seen << min(ahead, WINDOW_COUNTERS) | 1) & (1 << WINDOW_COUNTERS) - 1
            self.highest = counter
            return True
        if counter < 1 or -ahead >= WINDOW_COUNTERS or self.seen >> -ahead & 1:
            return False
        self.seen |= 1 << -ahead
        return True
