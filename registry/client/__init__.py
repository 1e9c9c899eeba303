"""A typed client of the registry's API, for programs that register: the command line is one of them."""

from registry.client.client import RegistryClient
from registry.client.connection import ONCE, Answer, Connection, Write
from registry.client.credential import KEY_VARIABLE, Credential, read_key_file
from registry.client.errors import ClientError, NoAnswer, Refused, UnexpectedAnswer
from registry.client.retrying import NO_RETRIES, Retries

__all__ = [
    "KEY_VARIABLE",
    "NO_RETRIES",
    "ONCE",
    "Answer",
    "ClientError",
    "Connection",
    "Credential",
    "NoAnswer",
    "Refused",
    "RegistryClient",
    "Retries",
    "UnexpectedAnswer",
    "Write",
    "read_key_file",
]
