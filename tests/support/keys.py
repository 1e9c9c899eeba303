"""Keys for tests: the toy key of the vectors, and one of each kind that deployed peers use."""

import math
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from protocol.valuetypes import PublicKey
from tests.support.vectors import keys, spec

ADMIN: Final = "admin_rsa"


def rsa_key(p: int, q: int, e: int) -> rsa.RSAPrivateKey:
    """Return the RSA key of two primes and an exponent."""
    d = pow(e, -1, math.lcm(p - 1, q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    return rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public
    ).private_key()


@cache
def toy_key() -> rsa.RSAPrivateKey:
    """Return the key of 512 bits that signs the vectors."""
    numbers = spec()["rsa_toy"]
    return rsa_key(int(numbers["p"], 16), int(numbers["q"], 16), numbers["e"])


@cache
def admin_key() -> rsa.RSAPrivateKey:
    """Return the throw-away key of 2048 bits with which the recorded administrator signed."""
    numbers = keys()[ADMIN]
    return rsa_key(int(numbers["p"], 16), int(numbers["q"], 16), int(numbers["e"], 16))


@cache
def dsa_key() -> dsa.DSAPrivateKey:
    """Return a key of 1024 bits with the parameters of the recorded server, which are those of the JDK."""
    blob = bytes.fromhex(keys()["server_dsa_public_key_hex"])
    q, p, g, _ = PublicKey.decode(blob).numbers
    x = 0x1234_5678_9ABC_DEF0_1234_5678
    parameters = dsa.DSAParameterNumbers(p, q, g)
    return dsa.DSAPrivateNumbers(x, dsa.DSAPublicNumbers(pow(g, x, p), parameters)).private_key()
