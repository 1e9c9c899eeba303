"""What the process is told: where everything is, once, and what to write, for each run."""

from dataclasses import dataclass, field
from enum import StrEnum


class Scheme(StrEnum):
    """How writers say who they are."""

    BARE = "bare INSERT"
    """Not at all: one row and a commit, straight into Postgres."""
    SECRET = "secret key"  # noqa: S105 - a name
    """A challenge each, answered by PBKDF2 with a salt that was never used before, as deployed clients do."""
    SECRET_KEPT = "secret key, salt kept"  # noqa: S105
    """The same with one salt for each client."""
    RSA = "RSA-2048"
    """A challenge each."""
    SESSION = "session"
    """One challenge for all, in a session that was agreed on by Diffie-Hellman; then a MAC each."""
    HTTP_BASIC = "HTTP Basic"
    """The secret with each request."""
    HTTP_SESSION = "HTTP session"
    """One challenge for all, then the session's id with each request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A node, its administrator and his keys, and the database of the bare loop."""

    host: str
    handle_port: int
    http_port: int
    administrator: str
    secret: str = field(repr=False)
    secret_index: int
    private_key: str = field(repr=False)
    """PEM."""
    private_index: int
    server_key: str
    """The node's own public key, a blob in hexadecimal."""
    bare_dsn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run."""

    scheme: Scheme
    clients: int
    """Each with a connection of its own, on which one write is under way."""
    seconds: float
    first: int
    """Number of the first name; each run has some millions to itself."""
