"""How the Handle scheme is read, from a header and from JSON."""

from base64 import b64decode, b64encode
from typing import Any, Final

import pytest

from protocol.challenge import Challenge, SecretCode, check_secret_answer
from registry.rest.authentication import parse_authorization
from registry.rest.proof import CredentialsUnreadable, SessionClaim, read_session_claim

NONCE: Final = b64encode(bytes(16)).decode()
PROOF: Final = {
    "sessionId": "abc",
    "id": "300:88.1/ADMIN",
    "type": "HS_SECKEY",
    "cnonce": NONCE,
    "alg": "SHA1",
    "signature": b64encode(b"m" * 20).decode(),
}


def header(**changes: str) -> str:
    members = {**PROOF, **changes}
    return "Handle " + ", ".join(f'{name}="{value}"' for name, value in members.items() if value != "-")


def claim(text: str) -> SessionClaim:
    said = parse_authorization(text)
    assert isinstance(said, SessionClaim)
    return said


def test_a_session_is_named_by_its_id_alone() -> None:
    for text in ('Handle sessionId="abc"', "handle sessionId=abc", 'HANDLE  sessionId="abc",'):
        said = claim(text)
        assert (said.session_id, said.cnonce, said.proof) == ("abc", b"", None)


def test_a_cnonce_alone_asks_for_a_signature_of_the_server() -> None:
    said = claim(f'Handle cnonce="{NONCE}"')

    assert (said.session_id, said.cnonce) == ("", bytes(16))


def test_a_proof_becomes_the_answer_that_the_wire_has() -> None:
    proof = claim(header()).proof

    assert proof is not None
    assert (proof.kind, proof.key.index, proof.key.handle) == ("HS_SECKEY", 300, b"88.1/ADMIN")
    assert proof.answer == bytes((SecretCode.SHA1,)) + b"m" * 20


def test_the_parameters_of_pbkdf2_become_part_of_the_answer() -> None:
    """Recorded at a deployed server, with a secret that is known."""
    answer = claim(
        header(
            alg="PBKDF2-HMAC-SHA1",
            salt="KCkqKywtLi8wMTIzNDU2Nw==",
            iterations="10000",
            length="160",
            cnonce="EBESExQVFhcYGRobHB0eHw==",
            signature="MvN30OUO/X57WSnpH5L48ctTL3E=",
        )
    ).proof
    assert answer is not None
    challenge = Challenge(b64decode("uH+P433lchZ2bXxUpB6S0g=="), bytes(range(16, 32)))

    assert check_secret_answer(challenge, answer.answer, b"lab-secret-1")
    assert not check_secret_answer(challenge, answer.answer, b"lab-secret-2")


def test_an_identity_is_percent_encoded_in_a_header_and_not_in_json() -> None:
    by_header = claim(header(id="300:88.1/%C3%84%2522")).proof
    by_json = read_session_claim({**PROOF, "id": "300:88.1/Ä%22"}, is_header=False).proof

    assert by_header is not None
    assert by_json is not None
    assert by_header.key.handle == by_json.key.handle == "88.1/Ä%22".encode()


def test_a_public_key_proof_names_its_hash_as_the_wire_does() -> None:
    for name in ("SHA256", "SHA-256", "sha-256"):
        proof = claim(header(type="HS_PUBKEY", alg=name)).proof
        assert proof is not None
        assert proof.answer == b"\0\0\0\x07SHA-256" + b"\0\0\0\x14" + b"m" * 20


UNREADABLE: Final = (
    "Handle sessionId",
    'Handle sessionId="abc',
    'Handle sessionId="a"b"',
    'Handle sessionId="a" sessionId="b"',
    'Handle sessionId="a", sessionId="b"',
    'Handle sessionId="' + "a" * 200 + '"',
    "Handle " + ", ".join(f'x{"y" * n}="1"' for n in range(17)),
    "Handle " + ", " * 8_000 + "!",
    'Handle cnonce="!!!!"',
    f'Handle cnonce="{b64encode(bytes(65)).decode()}"',
    header(sessionId="-"),
    header(cnonce="-"),
    header(id="88.1/ADMIN"),
    header(id="300:"),
    header(id="300:88.1/%zz"),
    header(id="99999999999:88.1/ADMIN"),
    header(type="HS_ADMIN"),
    header(alg="-"),
    header(alg="MD4"),
    header(type="HS_PUBKEY", alg="MD5"),
    header(alg="PBKDF2-HMAC-SHA1"),
    header(alg="PBKDF2-HMAC-SHA1", salt=NONCE, iterations="99999999999", length="160"),
    header(alg="PBKDF2-HMAC-SHA1", salt=NONCE, iterations="-1", length="160"),
    header(alg="PBKDF2-HMAC-SHA1", salt=NONCE, iterations="١", length="160"),
    header(signature=b64encode(bytes(4_000)).decode()),
)


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_is_no_proof_is_unreadable_and_never_repeated(text: str) -> None:
    with pytest.raises(CredentialsUnreadable) as caught:
        parse_authorization(text)

    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    "members",
    [
        {"sessionId": 7},
        {"cnonce": ["x"]},
        {**PROOF, "id": None},
        {**PROOF, "signature": {}},
        {**PROOF, "id": "1:\ud800"},
    ],
)
def test_members_of_another_kind_are_unreadable(members: dict[str, Any]) -> None:
    with pytest.raises(CredentialsUnreadable):
        read_session_claim(members, is_header=False)


def test_what_is_secret_is_not_shown() -> None:
    said = claim(header(sessionId="hunter2"))

    assert "hunter2" not in repr(said)
    assert "mmm" not in repr(said)
