"""The recordings of a live CNRI server and the vectors of the protocol digest, as typed data."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from protocol.message import ENVELOPE_OCTETS, Message, decode_message
from protocol.session import decrypt

VECTORS: Final = Path(__file__).resolve().parents[1] / "vectors"
RECORDINGS: Final = VECTORS / "cnri"
_NO_RECORDINGS: Final = frozenset({"index", "_keys", "http_api"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One recorded message, packet or stream."""

    name: str
    """File and position, such as udp_resolve_found#1."""
    recording: str
    transport: str
    connection: int
    to_server: bool
    octets: bytes
    part: str
    """"whole", or what the recording calls it: fragment, reassembled, incomplete, stream."""
    decoded: dict[str, Any]

    @property
    def is_message(self) -> bool:
        """Whether the octets are meant as one whole message."""
        return self.part in {"whole", "reassembled"}


@cache
def spec() -> dict[str, Any]:
    """Return the machine-readable vectors by name; octets are hexadecimal."""
    data: dict[str, Any] = json.loads((VECTORS / "spec.json").read_text(encoding="utf-8"))
    return data


def spec_octets(name: str) -> bytes:
    """Return one vector's octets."""
    return bytes.fromhex(spec()[name])


@cache
def recordings() -> dict[str, dict[str, Any]]:
    """Return every recording of the binary protocol by name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RECORDINGS.glob("*.json"))
        if path.stem not in _NO_RECORDINGS
    }


@cache
def keys() -> dict[str, Any]:
    """Return the throw-away keys of the recorded server."""
    data: dict[str, Any] = json.loads((RECORDINGS / "_keys.json").read_text(encoding="utf-8"))
    return data


@cache
def http_recordings() -> list[dict[str, Any]]:
    """Return the recorded pairs of HTTP requests and responses."""
    data: list[dict[str, Any]] = json.loads((RECORDINGS / "http_api.json").read_text(encoding="utf-8"))
    return data


def recorded() -> Iterator[Recorded]:
    """Yield every entry of every recording."""
    for recording, data in recordings().items():
        for entry in data["messages"]:
            decoded = entry.get("decoded")
            yield Recorded(
                name=entry["name"],
                recording=recording,
                transport=entry["transport"],
                connection=entry["conn"],
                to_server=entry["direction"] == "client->server",
                octets=bytes.fromhex(entry["hex"]),
                part=entry.get("part") or "whole",
                decoded=decoded if isinstance(decoded, dict) else {},
            )


def recorded_messages() -> list[Recorded]:
    """Return the entries that are whole messages."""
    return [entry for entry in recorded() if entry.is_message]


def message_of(entry: Recorded) -> Message:
    """Decode a recorded message."""
    return decode_message(entry.octets)


def is_encrypted(entry: Recorded) -> bool:
    """Whether only the envelope of the message can be read without its session."""
    return len(entry.octets) >= ENVELOPE_OCTETS and bool(entry.octets[2] & 0x40)


def session_key_of(recording: str) -> bytes | None:
    """Return the key of the session that was recorded; None for recordings without one."""
    key = recordings()[recording].get("session", {}).get("session_key")
    return bytes.fromhex(key) if key else None


def clear_message_of(entry: Recorded) -> Message | None:
    """Decode a recorded message, decrypted when its session was recorded; None when it was not."""
    if not is_encrypted(entry):
        return message_of(entry)
    key = session_key_of(entry.recording)
    return decrypt(entry.octets, key) if key else None
