"""Node keys: one of them seals what the public may not read, and each of them opens what it has sealed.

The file of a node that was never rotated is 32 random octets: key 1. From the first rotation on it is a small text with
every key by its number. The key of digests, by which sealed logins are found again, is derived from the first key once
and kept when that goes: were it to change, nothing would be found any more.
"""

import secrets
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final, Protocol, Self

import msgspec
import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.errors import SettingsError
from registry.secret_files import read_private_file, write_secret_file

KEY_OCTETS: Final = 32  # AES-256
FIRST_NUMBER: Final = 1
NUMBER_MAX: Final = 255  # sealed data begin with the number of their key, one octet
FILE_OCTETS_MAX: Final = 65_536  # every possible key takes a third of it
LOOK_EVERY_S: Final = 1.0
"""How soon a process notices a new key file; looking costs one stat()."""
SETTING: Final = "node_key_file"

_DIGEST_KEY: Final = b"handlegrid digest key"  # what HKDF derives from the first key under this name
_HEADER: Final = "# Keys of this node. Whoever has this file can open what is sealed in its database.\n"

log = structlog.get_logger(__name__)

_Hex = Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * KEY_OCTETS}}}$")]


class _KeyText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text of a key file, in TOML."""

    seals: Annotated[int, msgspec.Meta(ge=FIRST_NUMBER, le=NUMBER_MAX)]
    digest: _Hex
    keys: dict[str, _Hex]


class Keys(Protocol):
    """Where a sealer has its keys from."""

    def current(self) -> "NodeKeys":
        """The keys, known to be right not long ago."""

    def look(self) -> "NodeKeys":
        """The keys as they are right now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """The keys of one node at one time."""

    keys: Mapping[int, bytes] = field(repr=False)
    """By number."""
    seals: int
    """Number of the key that seals."""
    digest_key: bytes = field(repr=False)

    @classmethod
    def first(cls, node_key: bytes) -> Self:
        """Those of a node that was never rotated. node_key: 32 octets."""
        assert len(node_key) == KEY_OCTETS
        derivation = HKDF(algorithm=SHA256(), length=KEY_OCTETS, salt=None, info=_DIGEST_KEY)
        return cls(keys={FIRST_NUMBER: node_key}, seals=FIRST_NUMBER, digest_key=derivation.derive(node_key))

    def current(self) -> "NodeKeys":
        """Themselves."""
        return self

    def look(self) -> "NodeKeys":
        """Themselves."""
        return self

    @property
    def prepared(self) -> int | None:
        """Number of the newest key, when it does not seal yet."""
        newest = max(self.keys)
        return newest if newest > self.seals else None

    @property
    def retiring(self) -> tuple[int, ...]:
        """Numbers of the keys that only open, in ascending order."""
        return tuple(sorted(number for number in self.keys if number < self.seals))

    def with_new_key(self) -> "NodeKeys":
        """With one more key, which does not seal yet. Raises SettingsError when the numbers are used up."""
        number = max(self.keys) + 1
        if number > NUMBER_MAX:
            raise SettingsError([f"{SETTING}: the numbers of keys end at {NUMBER_MAX}"])
        return replace(self, keys={**self.keys, number: secrets.token_bytes(KEY_OCTETS)})

    def sealing_with(self, number: int) -> "NodeKeys":
        """The same keys, of which this one seals."""
        assert number in self.keys
        return replace(self, seals=number)

    def retired(self) -> "NodeKeys":
        """Without the keys that only open."""
        return replace(self, keys={n: key for n, key in self.keys.items() if n >= self.seals})

    def encode(self) -> bytes:
        """What load_node_keys reads."""
        lines = [f'{number} = "{key.hex()}"\n' for number, key in sorted(self.keys.items())]
        head = f'{_HEADER}seals = {self.seals}\ndigest = "{self.digest_key.hex()}"\n\n[keys]\n'
        return (head + "".join(lines)).encode()

    @classmethod
    def decode(cls, octets: bytes) -> "NodeKeys":
        """Read the contents of a key file of either form. Raises ValueError, which repeats nothing of them."""
        if len(octets) == KEY_OCTETS:
            return cls.first(octets)
        if len(octets) > FILE_OCTETS_MAX:
            raise ValueError(f"holds more than {FILE_OCTETS_MAX} octets")
        try:
            text = msgspec.convert(tomllib.loads(octets.decode("ascii")), _KeyText)
            keys = {int(number): bytes.fromhex(key) for number, key in text.keys.items()}
        except ValueError:
            form = f"holds {len(octets)} octets; a node key has {KEY_OCTETS}, or is a file that was rotated"
            raise ValueError(form) from None
        if text.seals not in keys or not all(FIRST_NUMBER <= number <= NUMBER_MAX for number in keys):
            raise ValueError("lacks the key that seals, or holds one whose number cannot be")
        return cls(keys=keys, seals=text.seals, digest_key=bytes.fromhex(text.digest))


class KeyFile:
    """The keys in a file, which is looked at again now and then: a rotation needs no restart and no signal."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file. clock: in seconds, never going back. Raises SettingsError."""
        self._path = path
        self._clock = clock
        self._seen = _identity(path)
        self._keys = load_node_keys(path)
        self._due_s = clock() + LOOK_EVERY_S

    def current(self) -> NodeKeys:
        """The keys, as they were at most LOOK_EVERY_S ago."""
        return self._keys if self._clock() < self._due_s else self.look()

    def look(self) -> NodeKeys:
        """The keys as the file has them now; the ones before, while it cannot be read."""
        self._due_s = self._clock() + LOOK_EVERY_S
        identity = _identity(self._path)
        if identity == self._seen:
            return self._keys
        self._seen = identity
        try:
            self._keys = load_node_keys(self._path)
        except SettingsError as error:
            log.error("node_keys_unreadable", faults=error.faults)
        else:
            log.info("node_keys_read", seals=self._keys.seals, known=sorted(self._keys.keys))
        return self._keys


def make_node_keys(path: Path) -> NodeKeys:
    """Load the node keys, or make the first one (mode 0600) when the file does not exist. Raises SettingsError."""
    if not path.exists():
        write_secret_file(path, secrets.token_bytes(KEY_OCTETS))
    return load_node_keys(path)


def load_node_keys(path: Path) -> NodeKeys:
    """Load the node keys. Raises SettingsError when the file is missing, no key file, or open to other users."""
    octets = read_private_file(path, SETTING)
    try:
        return NodeKeys.decode(octets)
    except ValueError as error:
        raise SettingsError([f"{SETTING}: {path} {error}"]) from None


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What tells one version of a file from the next, which replaces it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_mode
