"""Writes over UDP, TCP and the tunnel: what each operation does, whom it asks for a proof, and what it says then."""

import pytest

from protocol.admin_bodies import CreateResponse
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag
from protocol.handle import Handle
from protocol.value import DEFAULT_PERMISSIONS, HandleValue
from protocol.valuetypes import PublicKey
from registry.outcomes import Identity
from tests.integration.registry.bench import admin, url
from tests.integration.registry.wire.conftest import KEY
from tests.support.handle_client import Proof, Transport
from tests.support.wired import ADMIN, STRANGER, Wired, fresh, open_to_all

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDRESS = "https://plant.example/7"
OVERWRITE = DEFAULT_FLAGS | OpFlag.OVRW
OWNER = Identity(index=300, handle=Handle.parse(ADMIN))
TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp", "http")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_record_lives_from_its_creation_to_its_deletion(node: Wired, transport: Transport) -> None:
    client, name = node.writer(transport), fresh()

    created = await client.create(name, url(ADDRESS), admin(OWNER))
    added = await client.add(name, url("https://plant.example/8", 2))
    modified = await client.modify(name, url("https://plant.example/9", 2))
    removed = await client.remove(name, 1)
    left = await client.resolve(name, types=["URL"])
    deleted = await client.delete(name)
    gone = await client.resolve(name)

    codes = [reply.rc for reply in (created, added, modified, removed, left, deleted, gone)]
    assert codes == [1, 1, 1, 1, 1, 1, 100]
    assert CreateResponse.decode(created.body).handle == Handle.parse(name)
    assert [value.data for value in left.values] == [b"https://plant.example/9"]
    assert [reply.body for reply in (added, modified, removed, deleted)] == [b""] * 4


async def test_the_reply_has_the_first_operation_the_answers_id_and_no_session(node: Wired) -> None:
    client = node.writer()
    reply = await client.create(fresh(), url(ADDRESS))

    request, answer = client.sent
    assert answer.header.op_code == OpCode.CHALLENGE_ANSWER
    assert reply.last.header.op_code == OpCode.CREATE_HANDLE
    assert reply.last.envelope.request_id == answer.envelope.request_id != request.envelope.request_id
    assert reply.last.envelope.session_id == 0
    assert reply.last.has(OpFlag.AUTH)


async def test_a_challenge_has_a_digest_and_an_id_of_its_own_whatever_was_asked(node: Wired) -> None:
    reply = await node.client().create(fresh(), url(ADDRESS), flags=OVERWRITE)

    assert reply.rc == 402
    assert reply.last.has(OpFlag.RRDG)
    assert not reply.last.has(OpFlag.OVRW)
    assert 0 < reply.last.envelope.session_id <= 0x7FFF_FFFF


async def test_a_request_with_a_digest_succeeds_for_a_client_that_compares_it_with_what_it_sent_last(
    node: Wired,
) -> None:
    reply = await node.writer().create(fresh(), url(ADDRESS), flags=DEFAULT_FLAGS | OpFlag.RRDG)

    assert reply.rc == 1
    assert reply.last.has(OpFlag.RRDG)  # and exchange() has compared it


async def test_a_public_key_proves_as_a_secret_does(node: Wired) -> None:
    name = fresh()
    client = node.client(proof=Proof(ADMIN, key=KEY, index=301))

    refused = await client.create(name, url(ADDRESS))
    await node.writer().create(name, url(ADDRESS), admin(Identity(index=301, handle=OWNER.handle)))
    deleted = await client.delete(name)

    assert (refused.rc, deleted.rc) == (400, 1)  # the prefix names 300 alone
    assert node.metric("handlegrid_auth_total", scheme="rsa", result="success") >= 2


async def test_index_0_stands_for_any_key_of_the_handle(node: Wired) -> None:
    name = await node.created(url(ADDRESS), admin(Identity(index=0, handle=OWNER.handle)))

    assert (await node.client(proof=Proof(ADMIN, key=KEY, index=0)).modify(name, url("x"))).rc == 1
    assert (await node.client(proof=Proof(ADMIN, secret=node.secret, index=0)).delete(name)).rc == 1


async def test_who_is_no_administrator_is_told_so_whether_his_proof_is_right_or_wrong(node: Wired) -> None:
    name = await node.created()

    right = await node.client(proof=Proof(STRANGER, secret=b"of a stranger")).modify(name, url("x"))
    wrong = await node.client(proof=Proof(STRANGER, secret=b"guessed")).modify(name, url("x"))
    unknown = await node.client(proof=Proof("88.1/NOBODY", secret=b"guessed")).delete(name)

    assert [reply.rc for reply in (right, wrong, unknown)] == [400, 400, 400]


async def test_an_administrator_with_a_wrong_proof_is_refused_and_changes_nothing(node: Wired) -> None:
    name = await node.created()
    client = node.client(proof=Proof(ADMIN, secret=b"guessed"))

    replies = [
        await client.create(fresh(), url(ADDRESS)),
        await client.modify(name, url("x")),
        await client.add(name, url("x", 5)),
        await client.remove(name, 1),
        await client.remove(name, 77),
        await client.delete(name),
        await client.delete(fresh()),
    ]

    assert {reply.rc for reply in replies} <= {400, 403}
    assert [reply.rc for reply in replies[1:4]] == [403, 403, 403]
    assert (await client.resolve(name, indexes=[1])).values[0].data == ADDRESS.encode()


@pytest.mark.parametrize("exists", [True, False])
async def test_who_has_proved_nothing_is_not_told_what_exists(node: Wired, exists: bool) -> None:
    name = await node.created() if exists else fresh()
    client = node.client()

    replies = [
        await client.create(name, url(ADDRESS)),
        await client.modify(name, url("x", 77)),
        await client.add(name, url("x")),
        await client.remove(name, 77),
        await client.delete(name),
    ]

    assert [reply.rc for reply in replies] == [402] * 5


async def test_creating_what_exists_takes_the_flag_and_says_that_it_overwrote(node: Wired) -> None:
    client, name = node.writer(), fresh()
    first = await client.create(name, url(ADDRESS), flags=OVERWRITE)
    again = await client.create(name, url(ADDRESS))
    same = await client.create(name, url(ADDRESS), flags=OVERWRITE)
    replaced = await client.create(name, url("https://plant.example/new"), flags=OVERWRITE)

    assert [first.rc, again.rc, same.rc, replaced.rc] == [1, 101, 1, 1]
    assert not first.last.has(OpFlag.OVRW)
    assert same.last.has(OpFlag.OVRW)
    assert replaced.last.has(OpFlag.OVRW)


async def test_a_minted_name_begins_as_asked_and_is_told(node: Wired) -> None:
    client = node.writer()
    names = set()
    for _ in range(2):
        reply = await client.create("88.1/serial-", url(ADDRESS), flags=DEFAULT_FLAGS | OpFlag.MINT)
        handle = CreateResponse.decode(reply.body).handle
        assert handle is not None
        names.add(str(handle))

    assert len(names) == 2
    assert all(name.startswith("88.1/serial-") and len(name) == 12 + 36 for name in names)
    assert (await client.resolve(names.pop())).rc == 1
    assert (await client.create("serial", url(ADDRESS), flags=DEFAULT_FLAGS | OpFlag.MINT)).rc == 102


async def test_what_is_wrong_with_a_request_itself_is_told_at_once(node: Wired) -> None:
    client = node.client()

    assert (await client.create(fresh(), url("x"), url("y"))).rc == 201
    assert (await client.create(fresh(), HandleValue(index=0, type="URL", data=b"x"))).rc == 202
    assert (await client.create(fresh())).rc == 202
    assert (await client.add(fresh())).rc == 202
    assert (await client.create("99.9/elsewhere", url("x"))).rc == 301
    assert (await client.delete("99.9/elsewhere")).rc == 301


async def test_what_is_wrong_with_the_record_is_told_to_its_administrator(node: Wired) -> None:
    client, name = node.writer(), await node.created()

    assert (await client.add(name, url("x"))).rc == 201
    assert (await client.add(name, url("x"), flags=OVERWRITE)).rc == 1
    assert (await client.modify(name, url("x", 77))).rc == 200
    assert (await client.remove(name, 77)).rc == 200
    assert (await client.modify(fresh(), url("x"))).rc == 100
    assert (await client.add(fresh(), url("x"))).rc == 100
    assert (await client.delete(fresh())).rc == 100


async def test_a_value_without_admin_write_is_modified_by_nobody_and_removed_all_the_same(
    node: Wired,
) -> None:
    read_only = url(ADDRESS, 5, permissions=0x0A)
    client, name = node.writer(), await node.created(url(ADDRESS), read_only)

    assert (await client.modify(name, url("x", 5))).rc == 401
    assert (await client.remove(name, 5)).rc == 1


async def test_anybody_modifies_a_value_with_public_write_and_is_not_asked_for_a_proof(node: Wired) -> None:
    client, name = node.client(), await node.created(open_to_all("before"), url(ADDRESS, 2))

    assert (await client.modify(name, open_to_all("after"))).rc == 1
    assert [value.data for value in (await client.resolve(name, indexes=[1])).values] == [b"after"]
    assert (await client.modify(name, open_to_all("after"), url("x", 2))).rc == 402
    assert (await client.modify(name, open_to_all("after", 3))).rc == 402
    assert (await client.add(name, open_to_all("x"), flags=OVERWRITE)).rc == 402
    assert (await client.remove(name, 1)).rc == 402


@pytest.mark.parametrize("permissions", [DEFAULT_PERMISSIONS & ~4 | 1, DEFAULT_PERMISSIONS])
async def test_public_write_counts_together_with_admin_write_alone(node: Wired, permissions: int) -> None:
    value = HandleValue(index=1, type="DESC", data=b"before", permissions=permissions)
    name = await node.created(value)

    assert (await node.client().modify(name, open_to_all("after"))).rc == 402


async def test_nobody_makes_an_administrator_of_a_value_with_public_write(node: Wired) -> None:
    name = await node.created(open_to_all("before"))

    assert (await node.client().modify(name, admin(OWNER, index=1))).rc == 402


async def test_nobody_makes_a_key_of_a_value_with_public_write(node: Wired) -> None:
    name = await node.created(open_to_all("before"))
    key = HandleValue(index=1, type="HS_PUBKEY", data=PublicKey.of_rsa(KEY.public_key()).encode())

    assert (await node.client().modify(name, key)).rc == 402
    assert (await node.client(proof=Proof(name, key=KEY, index=1)).delete(name)).rc == 400


async def test_what_was_written_is_in_the_audit_and_counted(node: Wired) -> None:
    counted = {"via": "handle", "result": "created"}
    before = node.metric("handlegrid_registrations_total", **counted)
    name = await node.created()
    await node.client().modify(await node.created(open_to_all("x")), open_to_all("y"))

    async with node.node.operations.context.store.connection() as connection:
        query = "SELECT actor, via FROM audit_log WHERE target = $1 AND action = 'identifier.create'"
        created = await connection.fetchrow(query, name)
        last = await connection.fetchval("SELECT actor FROM audit_log ORDER BY id DESC LIMIT 1")

    assert (*(created or ()), last) == ("300:88.1/ADMIN", "handle", "anybody")
    assert node.metric("handlegrid_registrations_total", **counted) == before + 2
