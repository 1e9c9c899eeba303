"""Who an administrator is to servers: an identity `index:handle`, and what proves it when a server asks."""

import os
from dataclasses import dataclass, field

from protocol.admin_bodies import ChallengeAnswerRequest
from protocol.challenge import SALT_OCTETS, Challenge, answer_with_key, answer_with_secret, secret_code
from protocol.message import Envelope
from protocol.signature import PrivateKey
from protocol.value import ValueReference


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretIdentity:
    """Whoever knows the secret in an HS_SECKEY value."""

    reference: ValueReference
    secret: bytes = field(repr=False)

    def prove(self, challenge: Challenge, envelope: Envelope) -> ChallengeAnswerRequest:
        """The answer to a challenge that came in this envelope; takes milliseconds."""
        answer = answer_with_secret(
            challenge, self.secret, secret_code(envelope), salt=os.urandom(SALT_OCTETS)
        )
        return ChallengeAnswerRequest(kind="HS_SECKEY", key=self.reference, answer=answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyIdentity:
    """Whoever holds the private half of an HS_PUBKEY value; index 0 stands for any key of the handle."""

    reference: ValueReference
    key: PrivateKey = field(repr=False)

    def prove(self, challenge: Challenge, envelope: Envelope) -> ChallengeAnswerRequest:
        """The answer to a challenge that came in this envelope."""
        answer = answer_with_key(challenge, self.key, envelope.version)
        return ChallengeAnswerRequest(kind="HS_PUBKEY", key=self.reference, answer=answer)


Identity = SecretIdentity | KeyIdentity
