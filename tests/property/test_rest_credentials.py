"""Whatever an Authorization header or a JSON object says of a session is read or refused."""

from base64 import b64encode
from contextlib import suppress
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from protocol.admin_bodies import ChallengeAnswerRequest
from registry.rest.authentication import parse_authorization
from registry.rest.proof import CredentialsUnreadable, read_session_claim

NAMES: Final = (
    "sessionId",
    "id",
    "type",
    "cnonce",
    "alg",
    "signature",
    "salt",
    "iterations",
    "length",
    "clientCert",
)
USUAL: Final = ("300:88.1/ADMIN", "HS_SECKEY", "HS_PUBKEY", "SHA1", "PBKDF2-HMAC-SHA1", "AAAA", "10000", "x")
TEXTS: Final = st.sampled_from(USUAL) | st.text(max_size=40)
MEMBERS: Final = st.dictionaries(
    st.sampled_from(NAMES) | st.text(max_size=8),
    TEXTS | st.integers() | st.booleans() | st.none() | st.lists(TEXTS, max_size=2),
    max_size=12,
)


@given(st.text(max_size=200), st.sampled_from(("", "Basic ", "Handle ")))
def test_any_header_is_read_or_refused(text: str, scheme: str) -> None:
    with suppress(CredentialsUnreadable):
        parse_authorization(scheme + text)


@given(st.binary(max_size=100))
def test_any_user_name_and_password_is_read_or_refused(octets: bytes) -> None:
    with suppress(CredentialsUnreadable):
        parse_authorization("Basic " + b64encode(octets).decode())


@given(MEMBERS, st.booleans())
def test_any_object_is_a_claim_whose_proof_has_the_form_of_the_wire(
    members: dict[str, Any], is_header: bool
) -> None:
    try:
        claim = read_session_claim(members, is_header=is_header)
    except CredentialsUnreadable:
        return
    if claim.proof is not None:
        assert ChallengeAnswerRequest.decode(claim.proof.encode()) == claim.proof


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(USUAL), max_size=10))
def test_a_header_says_what_an_object_of_its_parameters_says(members: dict[str, str]) -> None:
    def read_header() -> object:
        text = ", ".join(f'{name}="{value}"' for name, value in members.items())
        return parse_authorization(f"Handle {text}")

    try:
        expected = read_session_claim(members, is_header=True)
    except CredentialsUnreadable:
        try:
            read_header()
        except CredentialsUnreadable:
            return
        raise AssertionError("a header was read that is no claim") from None
    assert read_header() == expected
