"""Signed messages: what was signed is believed, whatever is changed on the way is not, and clocks are named."""

from base64 import b64decode
from dataclasses import replace
from functools import cache
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from protocol.site import Site, single_server_site
from protocol.valuetypes import PublicKey
from registry.peers.node_key import KeyUnusable, NodeKey, SealUnreadable, key_id_of, key_of_site, seal_for
from registry.peers.signatures import (
    LIFE_S,
    SKEW_MAX_S,
    ClocksDiffer,
    SignatureRefused,
    SignedRequest,
    check_key,
    read_claim,
    read_response_claim,
    sign_request,
    sign_response,
    signature_of,
)

NOW_S = 1_790_000_000
NONCE = "a-nonce-of-some-length"
RECIPIENT = "ab" * 32


@cache
def node_key(number: int = 0) -> NodeKey:
    return NodeKey.of(rsa.generate_private_key(public_exponent=65_537, key_size=2_048))


def signed(
    *,
    key: NodeKey | None = None,
    method: str = "POST",
    target: str = "/api/v1/node/reports?day=1",
    body: bytes = b'{"a":1}',
    now_s: int = NOW_S,
    nonce: str = NONCE,
) -> SignedRequest:
    headers = sign_request(
        key or node_key(),
        method=method,
        target=target,
        body=body,
        recipient=RECIPIENT,
        now_s=now_s,
        nonce=nonce,
    )
    return SignedRequest(method=method, target=target, headers=headers, body=body)


def site_of(key: bytes) -> Site:
    return single_server_site(
        addresses=["192.0.2.1"],
        tcp_port=2_641,
        udp_port=0,
        http_port=0,
        https=False,
        primary=True,
        public_key=key,
    )


def verify(request: SignedRequest, *, now_s: float = NOW_S, key: NodeKey | None = None) -> None:
    check_key(read_claim(request, recipient=RECIPIENT, now_s=now_s), (key or node_key()).public)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    target=st.from_regex(r"\A/[A-Za-z0-9%/._~\-]{0,60}(\?[A-Za-z0-9=&%]{0,30})?\Z"),
    body=st.binary(max_size=200),
    nonce=st.from_regex(r"\A[A-Za-z0-9_\-]{16,64}\Z"),
    late_s=st.integers(-SKEW_MAX_S, LIFE_S + SKEW_MAX_S),
)
def test_what_was_signed_is_believed(method: str, target: str, body: bytes, nonce: str, late_s: int) -> None:
    request = signed(method=method, target=target, body=body, nonce=nonce)

    claim = read_claim(request, recipient=RECIPIENT, now_s=NOW_S + late_s)

    check_key(claim, node_key().public)
    assert (claim.key_id, claim.nonce, claim.created_s) == (node_key().id, nonce, NOW_S)


def test_the_signature_is_that_of_the_standard() -> None:
    """The signature base is written out by hand after RFC 9421 §2.5, and checked without our code."""
    request = signed()
    digest = request.headers["Content-Digest"]
    assert b64decode(digest.removeprefix("sha-256=:").removesuffix(":")) == sha256(request.body).digest()
    base = (
        '"@method": POST\n'
        '"@path": /api/v1/node/reports\n'
        '"@query": ?day=1\n'
        f'"content-digest": {digest}\n'
        f'"node-to": {RECIPIENT}\n'
        '"@signature-params": ("@method" "@path" "@query" "content-digest" "node-to")'
        f';created={NOW_S};expires={NOW_S + LIFE_S};nonce="{NONCE}";keyid="{node_key().id}"'
        ';alg="rsa-v1_5-sha256";tag="handlegrid-node"'
    )
    octets = b64decode(request.headers["Signature"].removeprefix("node=:").removesuffix(":"))

    node_key().private.public_key().verify(octets, base.encode(), padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"target": "/api/v1/node/reports?day=2"},
        {"target": "/api/v1/node/reports"},
        {"target": "/api/v1/node/Reports?day=1"},
        {"body": b'{"a":2}'},
        {"body": b""},
        {"target": '/api/v1/node/reports\n"@query": ?day=1'},
    ],
    ids=str,
)
def test_whatever_is_changed_on_the_way_is_noticed(change: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        verify(replace(signed(), **change))  # type: ignore[arg-type]


@given(st.sampled_from(["Signature-Input", "Signature", "Content-Digest", "Node-To"]), st.data())
def test_any_header_that_is_not_as_it_was_is_refused(name: str, data: st.DataObject) -> None:
    request = signed()
    field = request.headers[name]
    at = data.draw(st.integers(0, len(field) - 1))
    spoilt = data.draw(
        st.sampled_from(["", field[:at], field[:at] + "x" + field[at + 1 :], field[:at] + field[at + 1 :]])
        | st.text(max_size=100)
    )
    if spoilt.strip(" ") == field or (name == "Signature" and _same_octets(spoilt, field)):
        return

    with pytest.raises(SignatureRefused):
        verify(replace(request, headers={**request.headers, name: spoilt}))


def _same_octets(one: str, other: str) -> bool:
    try:
        return signature_of({"Signature": one}) == signature_of({"Signature": other})
    except SignatureRefused:
        return False


@pytest.mark.parametrize("name", ["Signature-Input", "Signature", "Content-Digest", "Node-To"])
def test_a_missing_header_is_told(name: str) -> None:
    request = signed()
    headers = {key: value for key, value in request.headers.items() if key != name}

    with pytest.raises(SignatureRefused, match=name if name != "Node-To" else "Node-To names another"):
        verify(replace(request, headers=headers))


def test_a_request_to_another_node_is_refused() -> None:
    with pytest.raises(SignatureRefused, match="another node"):
        read_claim(signed(), recipient="cd" * 32, now_s=NOW_S)


def test_the_key_of_another_node_proves_nothing() -> None:
    other = NodeKey.of(rsa.generate_private_key(public_exponent=65_537, key_size=2_048))

    with pytest.raises(SignatureRefused, match="not made with the key"):
        verify(signed(), key=other)


@pytest.mark.parametrize("late_s", [-SKEW_MAX_S - 1, LIFE_S + SKEW_MAX_S + 1])
def test_clocks_that_differ_are_both_named(late_s: int) -> None:
    with pytest.raises(ClocksDiffer) as refused:
        read_claim(signed(), recipient=RECIPIENT, now_s=NOW_S + late_s)

    assert "2026-09-21T14:13:20Z" in str(refused.value)
    assert ("2026-09-21T14:08:19Z" if late_s < 0 else "2026-09-21T14:23:21Z") in str(refused.value)


def test_a_signature_that_would_live_for_ever_is_refused() -> None:
    request = signed()
    spoilt = request.headers["Signature-Input"].replace(
        f"expires={NOW_S + LIFE_S}", f"expires={NOW_S + 9_999}"
    )

    with pytest.raises(SignatureRefused, match="valid for"):
        verify(replace(request, headers={**request.headers, "Signature-Input": spoilt}))


@given(st.integers(100, 599), st.binary(max_size=100))
def test_a_response_belongs_to_its_request(status: int, body: bytes) -> None:
    asked = signature_of(signed().headers)
    headers = sign_response(node_key(), status=status, body=body, request_signature=asked, now_s=NOW_S)

    def read(**changes: object) -> None:
        given = {"status": status, "headers": headers, "body": body, "request_signature": asked} | changes
        check_key(read_response_claim(now_s=NOW_S, **given), node_key().public)  # type: ignore[arg-type]

    read()
    for change in ({"status": status + 1}, {"body": body + b"x"}, {"request_signature": b"another"}):
        with pytest.raises(SignatureRefused):
            read(**change)


def test_a_request_is_no_response() -> None:
    request = signed()

    with pytest.raises(SignatureRefused, match="must cover exactly"):
        read_response_claim(
            status=200, headers=request.headers, body=request.body, request_signature=b"", now_s=NOW_S
        )


def test_a_site_is_known_by_the_one_key_of_its_servers() -> None:
    site = site_of(node_key().public)
    (server,) = site.servers

    assert key_id_of(key_of_site(site)) == node_key().id
    for servers in ((), (replace(server, public_key=b""),), (server, replace(server, public_key=b"x"))):
        with pytest.raises(KeyUnusable):
            key_of_site(replace(site, servers=servers))


@pytest.mark.parametrize("numbers", [(65_537, 3 * 5), (65_537, (1 << 1_023) + 1), (4, 1 << 2_047)])
def test_a_key_that_proves_nothing_is_refused(numbers: tuple[int, int]) -> None:
    blob = PublicKey(b"RSA_PUB_KEY", numbers).encode()

    with pytest.raises(KeyUnusable):
        key_of_site(site_of(blob))


def test_what_is_sealed_for_a_node_opens_there_alone_and_for_its_purpose_alone() -> None:
    other = NodeKey.of(rsa.generate_private_key(public_exponent=65_537, key_size=2_048))
    sealed = seal_for(node_key().public, b"page 1", b"a secret key")

    assert node_key().open(b"page 1", sealed) == b"a secret key"
    for key, purpose, spoilt in (
        (other, b"page 1", sealed),
        (node_key(), b"page 2", sealed),
        (node_key(), b"page 1", replace(sealed, octets=sealed.octets[:-1])),
        (node_key(), b"page 1", replace(sealed, key=b"short")),
        (node_key(), b"page 1", replace(sealed, nonce=b"")),
    ):
        with pytest.raises(SealUnreadable):
            key.open(purpose, spoilt)
