"""The certified walk: what is believed, what is not, and what its operator is told."""

from dataclasses import replace

import pytest

from protocol.client.answers import Denied, Found, Question
from protocol.client.client import HandleClient
from protocol.client.resolution import Ask, Purpose
from protocol.client.selection import Target, site_targets
from protocol.client.trust import check_certified
from protocol.codes import OpFlag, ResponseCode
from protocol.credential import sign
from protocol.errors import NotCertified, Unreachable
from protocol.handle import Handle, Prefix
from protocol.message import Message, decode_message
from protocol.site import Service
from protocol.valuetypes import PublicKey
from tests.support import scripted_world
from tests.support.keys import admin_key
from tests.support.scripted_world import (
    ENTERPRISE,
    PUMP,
    ROOT,
    SECOND,
    TOP,
    WALL_S,
    question,
    referring,
    url_of,
    value,
)
from tests.support.signed_world import (
    LEVELS,
    SignedWorld,
    delegation,
    key_of,
    public_key_of,
    root_service,
    site,
)
from tests.support.vectors import keys, recordings


async def resolve(world: SignedWorld, name: str = PUMP, *, unsigned: tuple[str, ...] = ()) -> Found | Denied:
    client = HandleClient(
        root_service(),
        world,
        unsigned_prefixes=[Prefix.parse(prefix) for prefix in unsigned],
        wall=lambda: WALL_S,
    )
    return await client.resolve(question(name), certified=True)


async def test_every_answer_is_asked_for_with_signature_and_digest() -> None:
    world = SignedWorld()

    assert url_of(await resolve(world)) == "https://plant.example/pump-7"
    asked = [decode_message(octets) for node in world.nodes.values() for octets in node.octets]
    assert len(asked) == 4
    assert all(request.has(OpFlag.CERT) and request.has(OpFlag.RRDG) for request in asked)


async def test_a_denial_is_certified_as_values_are() -> None:
    denied = await resolve(SignedWorld(), "88.100.1/none")
    assert isinstance(denied, Denied)
    assert denied.code == ResponseCode.HANDLE_NOT_FOUND

    world = SignedWorld()
    world.signs[ENTERPRISE] = None
    with pytest.raises(NotCertified):
        await resolve(world, "88.100.1/none")


@pytest.mark.parametrize("address", [ROOT, *LEVELS])
async def test_a_stripped_signature_is_refused_and_its_level_is_named(address: str) -> None:
    world = SignedWorld()
    world.spoils[address] = lambda message: replace(message, credential=b"")

    with pytest.raises(NotCertified, match="not signed") as refused:
        await resolve(world)

    assert ("the root service" if address == ROOT else f"0.NA/{LEVELS[address]}") in refused.value.node
    assert f"except {'0.NA' if address == ROOT else LEVELS[address]} in" in refused.value.remedy


@pytest.mark.parametrize("address", [ROOT, *LEVELS])
async def test_an_answer_that_was_altered_after_it_was_signed_is_refused(address: str) -> None:
    world = SignedWorld()
    world.spoils[address] = lambda message: replace(
        message,
        signed_octets=None,
        header=replace(message.header, site_serial=message.header.site_serial + 1),
    )

    with pytest.raises(NotCertified, match="not signed by the key that"):
        await resolve(world)


@pytest.mark.parametrize(
    ("address", "signer"), [(SECOND, TOP), (SECOND, ENTERPRISE), (TOP, ROOT), (ROOT, TOP)]
)
async def test_the_key_of_another_level_is_refused(address: str, signer: str) -> None:
    world = SignedWorld()
    world.signs[address] = key_of(signer)

    with pytest.raises(NotCertified, match="not signed by the key that"):
        await resolve(world)


async def test_an_answer_to_another_question_is_refused_though_its_signature_is_good() -> None:
    world = SignedWorld()
    world.node(ENTERPRISE).hold("88.100.1/pump-8", value(1, "URL", "https://evil.example/"))
    recorded: list[Message] = []
    world.spoils[ENTERPRISE] = lambda message: recorded.append(message) or message  # type: ignore[func-returns-value]
    await resolve(world, "88.100.1/pump-8")

    world.spoils[ENTERPRISE] = lambda message: recorded[0]
    with pytest.raises(Unreachable, match="another request id"):
        await resolve(world)
    world.spoils[ENTERPRISE] = lambda message: replace(
        recorded[0], envelope=replace(recorded[0].envelope, request_id=message.envelope.request_id)
    )
    with pytest.raises(Unreachable, match="digest of another request"):
        await resolve(world)


async def test_a_level_without_a_key_ends_the_walk_with_what_to_do() -> None:
    world = SignedWorld()
    world.node(TOP).hold("0.NA/88.100", *delegation(SECOND, b""))

    with pytest.raises(NotCertified, match=r"0\.NA/88\.100 names no server key") as refused:
        await resolve(world)
    assert "published in 0.NA/88.100" in refused.value.remedy


async def test_an_unsigned_level_is_believed_where_the_operator_excepts_it_and_no_other() -> None:
    world = SignedWorld()
    world.signs[SECOND] = None
    world.node(TOP).hold("0.NA/88.100", *delegation(SECOND, b""))

    assert url_of(await resolve(world, unsigned=("88.100",))) == "https://plant.example/pump-7"
    for others in (("88",), ("88.100.1",), ("0.NA",)):
        with pytest.raises(NotCertified):
            await resolve(world, unsigned=others)


async def test_an_excepted_level_does_not_except_those_below_it() -> None:
    world = SignedWorld()
    world.signs[SECOND] = world.signs[ENTERPRISE] = None
    with pytest.raises(NotCertified, match="not signed") as refused:
        await resolve(world, unsigned=("88.100",))
    assert refused.value.node == "service of 0.NA/88.100.1"


async def test_a_bad_signature_of_an_excepted_level_is_still_refused() -> None:
    world = SignedWorld()
    world.signs[SECOND] = key_of(TOP)
    with pytest.raises(NotCertified):
        await resolve(world, unsigned=("88.100",))


async def test_an_unsigned_root_is_believed_where_the_operator_excepts_it() -> None:
    world = SignedWorld()
    world.signs[ROOT] = None
    assert isinstance(await resolve(world, unsigned=("0.NA",)), Found)


async def test_nothing_that_was_remembered_is_relied_on() -> None:
    world = SignedWorld()
    client = HandleClient(root_service(), world, wall=lambda: WALL_S)
    memory = scripted_world.DelegationMemory()
    await client.resolve(question(PUMP), learn=memory.learn)
    world.node(ROOT).hold("0.NA/88", *delegation(TOP, public_key_of(ROOT)))

    with pytest.raises(NotCertified):
        await client.resolve(question(PUMP), known=memory.known, certified=True)


async def test_a_referral_is_followed_with_the_key_that_it_names() -> None:
    world = SignedWorld()
    moved = site("20.0.0.9")
    world.node(ENTERPRISE).always = referring(ResponseCode.SERVICE_REFERRAL, value(1, "HS_SITE", moved))
    world.node("20.0.0.9").hold(PUMP, value(1, "URL", "https://moved.example/"))
    world.signs["20.0.0.9"] = key_of("20.0.0.9")
    assert url_of(await resolve(world)) == "https://moved.example/"

    world.signs["20.0.0.9"] = key_of(ENTERPRISE)
    with pytest.raises(NotCertified):
        await resolve(world)


async def test_a_mirror_that_signs_is_asked_when_the_primary_does_not() -> None:
    world, mirror = SignedWorld(), "20.0.0.8"
    world.node(SECOND).hold(
        "0.NA/88.100.1",
        value(1, "HS_SITE", site(ENTERPRISE)),
        value(2, "HS_SITE", replace(site(mirror), primary=False)),
    )
    world.node(mirror).records = world.node(ENTERPRISE).records
    world.signs |= {mirror: key_of(mirror), ENTERPRISE: None}

    assert isinstance(await resolve(world), Found)


@pytest.mark.parametrize(
    ("recording", "public_key", "is_believed"),
    [
        ("udp_resolve_certify", "server_rsa_public_key_hex", True),
        ("udp_resolve_certify_digest", "server_rsa_public_key_hex", True),
        ("udp_resolve_certify_notfound", "server_rsa_public_key_hex", True),
        ("udp_certify_v27", "server_rsa_public_key_hex", True),
        ("udp_certify_v210", "server_rsa_public_key_hex", True),
        ("udp_certify_v26", "server_rsa_public_key_hex", False),
        ("udp_certify_v25", "server_rsa_public_key_hex", False),
        ("dsa_udp_resolve_certify", "server_dsa_public_key_hex", True),
        ("dsa_udp_certify_v210", "server_dsa_public_key_hex", True),
        ("dsa_udp_certify_v26", "server_dsa_public_key_hex", False),
        ("udp_resolve_certify", "server_dsa_public_key_hex", False),
        ("dsa_udp_resolve_certify", "server_rsa_public_key_hex", False),
    ],
)
def test_the_answers_of_the_recorded_server_are_believed_from_version_2_7_on(
    recording: str, public_key: str, is_believed: bool
) -> None:
    response = decode_message(bytes.fromhex(recordings()[recording]["messages"][-1]["hex"]))
    ask, target = ask_of(bytes.fromhex(keys()[public_key]))
    if is_believed:
        check_certified(ask, target, response, frozenset())
        return
    with pytest.raises(NotCertified):
        check_certified(ask, target, response, frozenset())


def test_a_key_that_is_none_certifies_nothing() -> None:
    response = decode_message(bytes.fromhex(recordings()["udp_resolve_certify"]["messages"][-1]["hex"]))
    for blob in (b"\0", public_key_of(ROOT)[:-40], bytes(300)):
        with pytest.raises(NotCertified):
            check_certified(*ask_of(blob), response, frozenset())


def test_a_signature_over_sha_1_is_no_proof_in_a_version_that_has_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protocol.credential.hash_name", lambda key, version: "SHA1")
    request = Message.request(1, b"", request_id=1, expiration=0)  # type: ignore[arg-type]
    response = request.answer(ResponseCode.SUCCESS, b"", authoritative=True, site_serial=1, wall_s=WALL_S)
    blob = PublicKey.of_rsa(admin_key().public_key()).encode()
    with pytest.raises(NotCertified, match="SHA-1"):
        check_certified(*ask_of(blob), sign(response, admin_key()), frozenset())


async def test_what_a_service_would_be_asked_is_told_without_asking_it() -> None:
    world = SignedWorld()
    client = HandleClient(root_service(), world, wall=lambda: WALL_S)

    ask = await client.locate(Question(handle=Handle.parse(PUMP)), certified=True)

    assert isinstance(ask, Ask)
    assert (ask.level, ask.service.sites) == (Prefix(b"88.100.1"), (site(ENTERPRISE),))
    assert not world.node(ENTERPRISE).asked


def ask_of(public_key: bytes) -> tuple[Ask, Target]:
    """Asking a server with such a key for a handle."""
    where, handle = site(ENTERPRISE, public_key), Handle.parse(PUMP)
    ask = Ask(service=Service("0.NA/88.100.1", (where,)), handle=handle, purpose=Purpose.HANDLE)
    return ask, site_targets(where, handle)[0]
