"""Creating handles by the Handle protocol over TCP: a challenge each, or one session.

Each client keeps its connection (KPAL), so that what is counted is neither its handshakes nor ours. As deployed clients
do, it checks that a challenge is about its own request, and every answer's request id and code.
"""

import os
import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from benchmarks.record import PREFIX, record
from benchmarks.writers.links import Link
from benchmarks.writers.task import Place
from protocol.admin_bodies import ChallengeAnswerRequest, ValuesRequest
from protocol.challenge import (
    ITERATIONS,
    KEY_BITS,
    Challenge,
    Derivation,
    answer_with_key,
    answer_with_secret,
    deployed_octets,
    derive_key,
    read_challenge,
)
from protocol.client.session import ClientSession
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.handle import Handle
from protocol.message import ANSWER_LIFE_S, OUR_VERSION, Message, decode_message, response_code_of
from protocol.transport.exchanger import new_request_id
from protocol.value import ValueReference
from protocol.valuetypes import PublicKey

FLAGS: Final = DEFAULT_FLAGS | OpFlag.KPAL
SALT_OCTETS: Final = 16
_RECORD: Final = record()

Prove = Callable[[Challenge], ChallengeAnswerRequest]
"""The answer to a challenge."""
SaltedKey = tuple[bytes, bytes]
"""A salt, and the key that PBKDF2 makes of it and the secret."""


class WrongAnswer(Exception):
    """A write that was not done, or an answer to something else."""


def name_of(number: int) -> str:
    """A name that is new."""
    return f"{PREFIX}/WRITTEN-{number:012}"


def body_of(number: int) -> bytes:
    """A request to create a record of 300 octets."""
    return ValuesRequest(handle=Handle.parse(name_of(number)), values=_RECORD).encode()


def check(response: Message, wanted: ResponseCode = ResponseCode.SUCCESS) -> None:
    """Raises WrongAnswer."""
    if response_code_of(response) != wanted:
        raise WrongAnswer(f"code {response_code_of(response)}: {response.body[:80]!r}")


class ChallengedWriter:
    """Answers a challenge for each write."""

    def __init__(self, link: Link, prove: Prove) -> None:
        self._link = link
        self._prove = prove

    async def write(self, number: int) -> None:
        """Create one handle."""
        request = _message(OpCode.CREATE_HANDLE, body_of(number))
        response = await self._ask(request)
        check(response, ResponseCode.AUTHENTICATION_NEEDED)
        proof = self._prove(read_challenge(response, request))
        session_id = response.envelope.session_id
        check(await self._ask(_message(OpCode.CHALLENGE_ANSWER, proof.encode(), session_id)))

    def close(self) -> None:
        """Hang up."""
        self._link.close()

    async def _ask(self, request: Message) -> Message:
        response = decode_message(await self._link.exchange(request.encode()))
        if response.envelope.request_id != request.envelope.request_id:
            raise WrongAnswer("an answer to another request")
        return response


class SessionWriter:
    """Proves itself with the first write of a session."""

    def __init__(self, link: Link, session: ClientSession, prove: Prove) -> None:
        self._link = link
        self._session = session
        self._prove = prove

    async def write(self, number: int) -> None:
        """Create one handle."""
        _, response = await self._session.ask(OpCode.CREATE_HANDLE, body_of(number), flags=FLAGS)
        check(response)

    async def log_in(self, number: int) -> None:
        """The first write."""
        request, response = await self._session.ask(OpCode.CREATE_HANDLE, body_of(number), flags=FLAGS)
        check(response, ResponseCode.AUTHENTICATION_NEEDED)
        proof = self._prove(read_challenge(response, request))
        _, response = await self._session.ask(OpCode.CHALLENGE_ANSWER, proof.encode(), flags=FLAGS)
        check(response)

    def close(self) -> None:
        """Hang up."""
        self._link.close()


async def challenged(place: Place, prove: Prove) -> ChallengedWriter:
    """A client that is challenged each time."""
    return ChallengedWriter(await Link.open(place.host, place.handle_port), prove)


async def in_session(place: Place, number: int) -> SessionWriter:
    """A client whose session is set up and proved, by a first write of this number."""
    setting_up = await Link.open(place.host, place.handle_port)  # closed by the server: no KPAL is asked for
    link = await Link.open(place.host, place.handle_port)
    links = iter([setting_up])
    server_key = PublicKey.decode(bytes.fromhex(place.server_key))
    identity = ValueReference(place.administrator.encode(), place.secret_index)
    session = await ClientSession.set_up(
        lambda octets: next(links, link).exchange(octets), server_key, identity=identity
    )
    setting_up.close()
    writer = SessionWriter(link, session, by_one_salt(place))
    await writer.log_in(number)
    return writer


def salted_key(secret: str) -> SaltedKey:
    """The key of a new salt; milliseconds, without the interpreter's lock."""
    salt = os.urandom(SALT_OCTETS)
    return salt, derive_key(Derivation(salt, ITERATIONS, KEY_BITS), deployed_octets(secret.encode()))


def by_secret(place: Place, next_key: Callable[[], SaltedKey]) -> Prove:
    """Proofs by the secret key, whose derived keys are made beforehand."""
    identity = ValueReference(place.administrator.encode(), place.secret_index)

    def prove(challenge: Challenge) -> ChallengeAnswerRequest:
        salt, key = next_key()
        answer = answer_with_secret(challenge, place.secret.encode(), salt=salt, derive=lambda *_: key)
        return ChallengeAnswerRequest(kind="HS_SECKEY", key=identity, answer=answer)

    return prove


def by_one_salt(place: Place) -> Prove:
    """The same with one salt for all."""
    kept = salted_key(place.secret)
    return by_secret(place, lambda: kept)


def by_private_key(place: Place) -> Prove:
    """Proofs by an RSA key."""
    identity = ValueReference(place.administrator.encode(), place.private_index)
    key = load_pem_private_key(place.private_key.encode(), None)
    assert isinstance(key, RSAPrivateKey)

    def prove(challenge: Challenge) -> ChallengeAnswerRequest:
        answer = answer_with_key(challenge, key, OUR_VERSION)
        return ChallengeAnswerRequest(kind="HS_PUBKEY", key=identity, answer=answer)

    return prove


def _message(operation: OpCode, body: bytes, session_id: int = 0) -> Message:
    return Message.request(
        operation,
        body,
        request_id=new_request_id(),
        expiration=int(time.time()) + ANSWER_LIFE_S,
        flags=FLAGS,
        session_id=session_id,
    )
