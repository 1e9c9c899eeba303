"""Creating handles by the record API: PUT with the secret each time (Basic), or with the id of a session."""

import json
from base64 import b64decode, b64encode
from typing import Any, Final
from urllib.parse import quote

from benchmarks.record import record
from benchmarks.writers.links import Link
from benchmarks.writers.over_handle import WrongAnswer, name_of
from benchmarks.writers.task import Place
from protocol.challenge import Challenge, answer_with_secret
from protocol.jsonform.output import value_to_json
from protocol.wire import Reader

SESSIONS_PATH: Final = "/api/sessions"
CREATED: Final = 201
OK: Final = 200
CNONCE: Final = bytes(range(16))
SALT: Final = bytes(range(16))
_RECORD: Final = json.dumps({"values": [value_to_json(value) for value in record()]}).encode()


class HttpWriter:
    """Puts one record after the other on one connection."""

    def __init__(self, link: Link, authorization: str) -> None:
        self._link = link
        self._authorization = authorization

    async def write(self, number: int) -> None:
        """Create one handle."""
        path = f"/api/handles/{name_of(number)}?overwrite=false"
        status, body = await self._link.request(_request("PUT", path, _RECORD, self._authorization))
        if status != CREATED:
            raise WrongAnswer(f"status {status}: {body[:120]!r}")

    def close(self) -> None:
        """Hang up."""
        self._link.close()


async def with_password(place: Place) -> HttpWriter:
    """A client that names its secret each time."""
    user = quote(f"{place.secret_index}:{place.administrator}", safe="")
    password = b64encode(f"{user}:{place.secret}".encode()).decode()
    return HttpWriter(await Link.open(place.host, place.http_port), f"Basic {password}")


async def with_session(place: Place) -> HttpWriter:
    """A client that has answered a challenge."""
    link = await Link.open(place.host, place.http_port)
    opened = await _json(link, "POST", SESSIONS_PATH, {}, 201)
    challenge = Challenge(b64decode(opened["nonce"]), CNONCE)
    await _json(link, "PUT", f"{SESSIONS_PATH}/this", _proof(place, opened["sessionId"], challenge), OK)
    return HttpWriter(link, f'Handle sessionId="{opened["sessionId"]}"')


def _proof(place: Place, session_id: str, challenge: Challenge) -> dict[str, Any]:
    reader = Reader(answer_with_secret(challenge, place.secret.encode(), salt=SALT)[1:])
    salt, iterations, length, signature = reader.counted(), reader.u32(), reader.u32(), reader.counted()
    return {
        "sessionId": session_id,
        "cnonce": b64encode(CNONCE).decode(),
        "id": f"{place.secret_index}:{place.administrator}",
        "type": "HS_SECKEY",
        "alg": "PBKDF2-HMAC-SHA1",
        "salt": b64encode(salt).decode(),
        "iterations": iterations,
        "length": length,
        "signature": b64encode(signature).decode(),
    }


async def _json(link: Link, method: str, path: str, content: dict[str, Any], wanted: int) -> dict[str, Any]:
    status, body = await link.request(_request(method, path, json.dumps(content).encode()))
    if status != wanted:
        raise WrongAnswer(f"status {status}: {body[:120]!r}")
    answer: dict[str, Any] = json.loads(body)
    return answer


def _request(method: str, path: str, content: bytes, authorization: str = "") -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    ]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    return "\r\n".join([*lines, "", ""]).encode() + content
