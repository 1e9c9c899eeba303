"""Private-key files of deployed software (admpriv.bin, privkey.bin): read in every form, written clear or with AES.

A scheme of four octets, then the key, clear or encrypted with what is derived from a passphrase. Source: PROTOCOL.md
§2.8. Randomness comes in as an argument.
"""

import hashlib
from enum import IntEnum
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric.dsa import (
    DSAParameterNumbers,
    DSAPrivateKey,
    DSAPrivateNumbers,
    DSAPublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
    rsa_crt_dmp1,
    rsa_crt_dmq1,
    rsa_crt_iqmp,
    rsa_recover_prime_factors,
)
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.padding import PKCS7

from protocol.challenge import deployed_octets
from protocol.errors import UnreadableKey, WireError
from protocol.signature import PrivateKey
from protocol.valuetypes.hs_pubkey import MAX_NUMBER_OCTETS, encode_number
from protocol.wire import Reader, Writer

MAX_FILE_OCTETS: Final = 65_536  # eight numbers of 16384 bits fit three times
MAX_ITERATIONS: Final = 1_000_000  # half a second; deployed software writes 10000
MIN_KEY_BITS: Final = (
    1_024  # deployed software makes 1024 and more; what is shorter is none, or can be computed
)
ITERATIONS: Final = 10_000
ENTROPY_OCTETS: Final = 32

_RSA_CRT: Final = b"RSA_PRIVCRT_KEY"
_RSA: Final = b"RSA_PRIV_KEY"
_DSA: Final = b"DSA_PRIV_KEY"
_NUMBERS: Final = {_RSA_CRT: 8, _RSA: 2, _DSA: 4}
_USUAL_EXPONENTS: Final = (65_537, 3, 17)  # RSA_PRIV_KEY leaves the public exponent out
_MAX_NAME_OCTETS: Final = 64
_MAX_SALT_OCTETS: Final = 1_024
_AES_KEY_BITS: Final = 128
_MD5: Final = hashlib.md5


class Scheme(IntEnum):
    """How a file is encrypted. DES and triple DES are read and never written."""

    DES_ECB = 0
    CLEAR = 1
    DES_CBC = 2
    DERIVED_DES_EDE = 3
    DERIVED_AES = 4


_DERIVED: Final[dict[Scheme, type[TripleDES | AES]]] = {
    Scheme.DERIVED_DES_EDE: TripleDES,
    Scheme.DERIVED_AES: AES,
}
_KEY_BITS: Final = {Scheme.DERIVED_DES_EDE: {192}, Scheme.DERIVED_AES: {128, 192, 256}}


def is_encrypted(octets: bytes) -> bool:
    """Whether a file needs a passphrase."""
    return Reader(octets[:4].rjust(4, b"\0")).u32() != Scheme.CLEAR


def decode_private_key(octets: bytes, passphrase: bytes = b"") -> PrivateKey:
    """The key that a file holds. Raises UnreadableKey, whose text tells no octet of the file.

    passphrase: used when the file is encrypted. Deriving a key of it takes milliseconds, up to half a second.
    """
    if len(octets) > MAX_FILE_OCTETS:
        raise UnreadableKey(f"a private-key file of {len(octets)} octets, {MAX_FILE_OCTETS} allowed")
    try:
        scheme, rest = Scheme(Reader(octets).u32()), octets[4:]
    except (WireError, ValueError):
        raise UnreadableKey("no private-key file: it begins with no known scheme") from None
    if scheme is Scheme.CLEAR:
        return _decode_clear(rest)
    if not passphrase:
        raise UnreadableKey("the private-key file is encrypted, and there is no passphrase")
    for password in dict.fromkeys((deployed_octets(passphrase), passphrase)):
        try:
            return _decode_clear(_decrypt(scheme, rest, password))
        except (UnreadableKey, WireError, ValueError):
            continue
    raise UnreadableKey("the private-key file is damaged, or encrypted with another passphrase")


def encode_private_key(key: PrivateKey, passphrase: bytes = b"", entropy: bytes = b"") -> bytes:
    """A file with this key: clear without a passphrase, otherwise encrypted with AES.

    entropy: 32 unpredictable octets, for a passphrase.
    """
    clear = _encode_clear(key)
    if not passphrase:
        return Writer().u32(Scheme.CLEAR).raw(clear).octets()
    assert len(entropy) == ENTROPY_OCTETS, "salt and IV need 32 octets"
    salt, iv = entropy[:16], entropy[16:]
    secret = _derive(deployed_octets(passphrase), salt, ITERATIONS, _AES_KEY_BITS)
    padder, encryptor = PKCS7(AES.block_size).padder(), Cipher(AES(secret), CBC(iv)).encryptor()
    encrypted = encryptor.update(padder.update(clear) + padder.finalize()) + encryptor.finalize()
    writer = Writer().u32(Scheme.DERIVED_AES).counted(salt).u32(ITERATIONS).u32(_AES_KEY_BITS)
    return writer.counted(iv).counted(encrypted).octets()


def _derive(password: bytes, salt: bytes, iterations: int, key_bits: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha1", password, salt, iterations, key_bits // 8)


def _decrypt(scheme: Scheme, octets: bytes, password: bytes) -> bytes:
    if scheme in _DERIVED:
        return _decrypt_derived(scheme, octets, password)
    des = TripleDES(_MD5(password).digest()[:8] * 3)  # one key three times over is DES
    if scheme is Scheme.DES_CBC:
        return _unpad(des, CBC(octets[:8]), octets[8:])
    return _unpad(des, ECB(), octets)  # noqa: S305 - read alone, as the oldest software wrote it


def _decrypt_derived(scheme: Scheme, octets: bytes, password: bytes) -> bytes:
    reader = Reader(octets)
    salt, iterations, key_bits = reader.counted(_MAX_SALT_OCTETS), reader.u32(), reader.u32()
    iv, encrypted = reader.counted(16), reader.counted(MAX_FILE_OCTETS)
    if not 0 < iterations <= MAX_ITERATIONS or key_bits not in _KEY_BITS[scheme]:
        raise UnreadableKey(f"a private-key file with {iterations} iterations for a key of {key_bits} bits")
    return _unpad(_DERIVED[scheme](_derive(password, salt, iterations, key_bits)), CBC(iv), encrypted)


def _unpad(algorithm: TripleDES | AES, mode: CBC | ECB, octets: bytes) -> bytes:
    cipher: Cipher[CBC | ECB] = Cipher(algorithm, mode)
    decryptor, unpadder = cipher.decryptor(), PKCS7(algorithm.block_size).unpadder()
    return unpadder.update(decryptor.update(octets) + decryptor.finalize()) + unpadder.finalize()


def _decode_clear(octets: bytes) -> PrivateKey:
    try:
        reader = Reader(octets)
        name = reader.counted(_MAX_NAME_OCTETS)
        if name not in _NUMBERS:
            raise UnreadableKey("a private key of an unknown kind")
        numbers = [int.from_bytes(reader.counted(MAX_NUMBER_OCTETS), "big") for _ in range(_NUMBERS[name])]
        if name == _DSA:
            return _dsa(*numbers)
        return _rsa_without_primes(*numbers) if name == _RSA else _rsa(*numbers)
    except WireError:
        raise UnreadableKey("the private-key file is damaged") from None
    except ValueError:
        raise UnreadableKey("the numbers in the private-key file make no key") from None


def _dsa(x: int, p: int, q: int, g: int) -> DSAPrivateKey:
    if p.bit_length() < MIN_KEY_BITS or not 0 < x < q:
        raise ValueError("no DSA key")
    public = DSAPublicNumbers(pow(g, x, p), DSAParameterNumbers(p, q, g))
    return DSAPrivateNumbers(x, public).private_key()


def _rsa(n: int, e: int, d: int, *primes_and_their_exponents: int) -> RSAPrivateKey:
    if n.bit_length() < MIN_KEY_BITS:
        raise ValueError("no RSA key")
    p, q, dmp1, dmq1, iqmp = primes_and_their_exponents
    return RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, RSAPublicNumbers(e, n)).private_key()


def _rsa_without_primes(n: int, d: int) -> RSAPrivateKey:
    for e in _USUAL_EXPONENTS:
        if n > 2 and pow(pow(2, e, n), d, n) == 2:
            p, q = rsa_recover_prime_factors(n, e, d)
            return _rsa(n, e, d, p, q, rsa_crt_dmp1(d, p), rsa_crt_dmq1(d, q), rsa_crt_iqmp(p, q))
    raise ValueError("no RSA key with a usual exponent")


def _encode_clear(key: PrivateKey) -> bytes:
    if isinstance(key, DSAPrivateKey):
        private = key.private_numbers()
        group = private.public_numbers.parameter_numbers
        return _encode_numbers(_DSA, private.x, group.p, group.q, group.g)
    numbers = key.private_numbers()
    public = numbers.public_numbers
    return _encode_numbers(
        _RSA_CRT,
        public.n,
        public.e,
        numbers.d,
        numbers.p,
        numbers.q,
        numbers.dmp1,
        numbers.dmq1,
        numbers.iqmp,
    )


def _encode_numbers(name: bytes, *numbers: int) -> bytes:
    writer = Writer().counted(name)
    for number in numbers:
        writer.counted(encode_number(number))
    return writer.octets()
