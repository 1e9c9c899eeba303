"""Administrators whose keys, secrets and groups another node holds: found by the certified walk, over real sockets."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest
import pytest_asyncio

from protocol.admin_bodies import VerifyRequest, VerifyResponse
from protocol.challenge import Challenge, answer_with_secret
from protocol.codes import OpCode, OpFlag, ResponseCode
from protocol.handle import Prefix
from protocol.signature import PrivateKey
from protocol.site import Site
from protocol.value import SECRET_PERMISSIONS, HandleValue, ValueReference
from protocol.valuetypes import Admin, PublicKey, ValueReferences
from registry.settings import OpenNetwork
from tests.support.handle_client import HandleClient, Proof, Reply
from tests.support.keys import admin_key
from tests.support.postgres import TestPostgres
from tests.support.scratch import scratch_directory
from tests.support.server_keys import server_key
from tests.support.world import TestNode, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

USER: Final = "88/USER"
CREW: Final = "88/CREW"
SECRET: Final = b"a secret that the other node holds"
KEY_INDEX, SECRET_INDEX, GROUP_INDEX = 301, 302, 200
LOOKING: Final[dict[str, Any]] = {"open_networks": (OpenNetwork(network="127.0.0.0/8", prefixes=("*",)),)}


@dataclass(kw_only=True)
class Chain:
    """Root, 88 which holds the keys, and two nodes below: one that looks for keys elsewhere, and one that does not."""

    world: World
    root: TestNode
    top: TestNode
    looking: TestNode
    lone: TestNode


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(postgres: TestPostgres) -> AsyncIterator[Chain]:
    with scratch_directory() as scratch:
        world = World(postgres, scratch)
        try:
            root, top = await world.chain("88")
            await top.store(
                {
                    USER: [
                        key_value(admin_key()),
                        HandleValue(
                            index=SECRET_INDEX, type="HS_SECKEY", data=SECRET, permissions=SECRET_PERMISSIONS
                        ),
                    ],
                    CREW: [group(f"{KEY_INDEX}:{USER}", f"{SECRET_INDEX}:{USER}")],
                }
            )
            yield Chain(
                world=world,
                root=root,
                top=top,
                looking=await world.registry(
                    prefix="88.1", under=top, root_site_file=world.bundle, **LOOKING
                ),
                lone=await world.registry(prefix="88.2", under=top),
            )
        finally:
            await world.close()


def key_value(key: Any) -> HandleValue:
    blob = PublicKey.of_rsa(key.public_key()).encode()
    return HandleValue(index=KEY_INDEX, type="HS_PUBKEY", data=blob)


def reference(identity: str) -> ValueReference:
    index, _, handle = identity.partition(":")
    return ValueReference(handle.encode(), int(index))


def group(*members: str) -> HandleValue:
    data = ValueReferences(tuple(map(reference, members))).encode()
    return HandleValue(index=GROUP_INDEX, type="HS_VLIST", data=data)


async def administered(node: TestNode, by: str, *, name: str = "thing") -> str:
    """A handle that the identity administers."""
    handle = f"{node.prefix}/{name}-{random.getrandbits(40)}"
    admin = HandleValue(index=100, type="HS_ADMIN", data=Admin(reference(by)).encode())
    await node.store({handle: [admin]})
    return handle


async def delete(
    node: TestNode, handle: str, identity: str, *, key: PrivateKey | None = None, secret: bytes = b""
) -> Reply:
    """Delete a handle as who holds this key or secret, over TCP."""
    index, _, name = identity.partition(":")
    proof = Proof(name, key=key, secret=secret, index=int(index))
    return await HandleClient(node.address, proof=proof).delete(handle)


async def test_an_administrator_proves_himself_by_a_key_that_another_node_holds(chain: Chain) -> None:
    identity = f"{KEY_INDEX}:{USER}"
    handle = await administered(chain.looking, identity)

    wrong = await delete(chain.looking, handle, identity, key=server_key(1))
    assert wrong.rc == ResponseCode.AUTHENTICATION_FAILED
    assert (await delete(chain.looking, handle, identity, key=admin_key())).rc == ResponseCode.SUCCESS


async def test_a_key_is_asked_for_once_and_with_signature_and_digest(chain: Chain) -> None:
    other = f"88/USER-{random.getrandbits(40)}"
    await chain.top.store({other: [key_value(admin_key())]})
    identity = f"{KEY_INDEX}:{other}"
    handles = [await administered(chain.looking, identity) for _ in range(2)]
    chain.world.forget()

    for handle in handles:
        assert (await delete(chain.looking, handle, identity, key=admin_key())).rc == ResponseCode.SUCCESS

    asked = chain.world.exchanges()
    assert len(asked) == 2, "the root for 0.NA/88, and 88 for the record"
    assert all(request.has(OpFlag.CERT) and request.has(OpFlag.RRDG) for request in asked)


async def test_an_answer_by_a_secret_is_shown_to_the_node_that_holds_it(chain: Chain) -> None:
    identity = f"{SECRET_INDEX}:{USER}"
    handle = await administered(chain.looking, identity)
    chain.world.forget()

    wrong = await delete(chain.looking, handle, identity, secret=b"another one")
    assert wrong.rc == ResponseCode.AUTHENTICATION_FAILED
    assert (await delete(chain.looking, handle, identity, secret=SECRET)).rc == ResponseCode.SUCCESS

    seen = b"".join(octets for tap in chain.world.taps for octets in (*tap.received, *tap.sent))
    assert SECRET not in seen


async def test_a_member_of_a_group_that_another_node_holds_has_its_rights(chain: Chain) -> None:
    handle = await administered(chain.looking, f"{GROUP_INDEX}:{CREW}")
    stranger = f"88/STRANGER-{random.getrandbits(40)}"
    await chain.top.store({stranger: [key_value(server_key(1))]})

    refused = await delete(chain.looking, handle, f"{KEY_INDEX}:{stranger}", key=server_key(1))
    assert refused.rc == ResponseCode.INVALID_ADMINISTRATOR
    member = f"{KEY_INDEX}:{USER}"
    assert (await delete(chain.looking, handle, member, key=admin_key())).rc == ResponseCode.SUCCESS


async def test_a_name_that_differs_in_case_alone_is_another_one_where_another_node_holds_the_key(
    chain: Chain,
) -> None:
    """That node may tell ADMIN and admin apart, and give one of them to somebody else."""
    handle = await administered(chain.looking, f"{KEY_INDEX}:{USER}")
    refused = await delete(chain.looking, handle, f"{KEY_INDEX}:{USER.lower()}", key=admin_key())
    assert refused.rc == ResponseCode.INVALID_ADMINISTRATOR


async def test_a_node_without_a_root_bundle_knows_its_own_keys_alone(chain: Chain) -> None:
    identity = f"{KEY_INDEX}:{USER}"
    handle = await administered(chain.lone, identity)
    chain.world.forget()

    refused = await delete(chain.lone, handle, identity, key=admin_key())

    assert refused.rc == ResponseCode.AUTHENTICATION_FAILED
    assert not chain.world.exchanges()


async def test_a_level_without_a_key_is_believed_only_where_it_is_excepted(chain: Chain) -> None:
    record = Prefix.parse("88").record
    site = chain.top.node.site
    bare = replace(site, servers=(replace(site.servers[0], public_key=b""),))
    world = chain.world
    trusting = await world.registry(
        prefix="88.3",
        under=chain.top,
        root_site_file=world.bundle,
        unsigned_prefixes=("88",),
        **LOOKING,
    )
    await chain.root.store({str(record): sites(bare)})
    try:
        identities = [f"{KEY_INDEX}:88/FRESH-{random.getrandbits(40)}" for _ in range(2)]
        for identity in identities:
            await chain.top.store({identity.partition(":")[2]: [key_value(admin_key())]})
        results = []
        for node, identity in zip((chain.looking, trusting), identities, strict=True):
            handle = await administered(node, identity)
            results.append((await delete(node, handle, identity, key=admin_key())).rc)
    finally:
        await chain.root.store({str(record): sites(site)})
    assert results == [ResponseCode.AUTHENTICATION_ERROR, ResponseCode.SUCCESS]


def sites(site: Site) -> list[HandleValue]:
    return [
        HandleValue(index=1, type="HS_SITE", data=site.encode()),
        HandleValue(index=2, type="HS_SITE.PREFIX", data=site.encode()),
    ]


async def test_a_node_is_asked_about_its_own_secrets_alone(chain: Chain) -> None:
    """Else two nodes, each of which takes the other for the holder, would ask each other for ever."""
    challenge = Challenge(bytes(16), bytes(32))
    body = VerifyRequest(
        key=reference(f"{SECRET_INDEX}:{USER}"),
        nonce=challenge.nonce,
        digest=challenge.digest,
        answer=answer_with_secret(challenge, SECRET, salt=bytes(16)),
    )
    chain.world.forget()
    for node, is_valid in ((chain.looking, False), (chain.top, True)):
        reply = await HandleClient(node.address).ask(OpCode.VERIFY_CHALLENGE, body.encode())
        assert VerifyResponse.decode(reply.body).valid is is_valid
    assert not chain.world.exchanges()
