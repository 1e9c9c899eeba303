"""Sessions of the server: which messages are taken, for how long, and how many there may be."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from protocol.admin_bodies import SessionMode, SessionSetupRequest, SessionSetupResponse
from protocol.bodies import ResolutionRequest, ResolutionResponse
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.credential import mac, verify_mac
from protocol.diffie_hellman import ENTROPY_OCTETS, Half, usual_group
from protocol.errors import BadMac, HandleError, SessionFailed, SessionLost, SessionReplay, Unsigned
from protocol.handle import Handle
from protocol.message import Message, Version, decode_envelope, decode_message
from protocol.session import decrypt, encrypt, finish_session
from protocol.transport.base import Peer
from protocol.value import HandleValue, Permission, ValueList, ValueReference
from registry.outcomes import Identity
from registry.wire import sessions as limits
from registry.wire.desk import Desk
from registry.wire.session import Session
from registry.wire.session_ids import SessionIds
from registry.wire.sessions import Binding, Sessions

PEER = Peer("192.0.2.1", 4711, "tcp")
NEIGHBOUR = Peer("192.0.2.2", 4711, "tcp")
STRANGER = Peer("198.51.100.1", 4711, "tcp")
ADMIN = Identity(index=300, handle=Handle.parse("88.1/ADMIN"))
NAMED = ValueReference(b"88.1/ADMIN", 300)
PUMP = Handle.parse("88.1/pump-7")
IV = bytes(range(16))


class Observer:
    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self.setups: Counter[str] = Counter()
        self.limits: Counter[str] = Counter()

    def session_message(self, result: str) -> None:
        self.messages[result] += 1

    def session_setup(self, result: str) -> None:
        self.setups[result] += 1

    def limit_reached(self, name: str) -> None:
        self.limits[name] += 1


class Bench:
    """Sessions with a clock in the test's hand."""

    def __init__(self, *, binding: Binding = "address", idle_max_s: float = limits.IDLE_MAX_S) -> None:
        self.now_s = 1_000.0
        self.observer = Observer()
        self.ids = SessionIds()
        self.desk = Desk(1, on_limit=self.observer.limit_reached)
        self.sessions = Sessions(
            self.ids,
            self.desk,
            observer=self.observer,
            binding=binding,
            idle_max_s=idle_max_s,
            clock=lambda: self.now_s,
        )

    async def set_up(
        self,
        peer: Peer = PEER,
        *,
        identity: ValueReference = NAMED,
        timeout_s: int = 600,
        version: Version = (2, 11),
    ) -> "Client":
        half = Half.of(usual_group(), bytes(ENTROPY_OCTETS))
        body = SessionSetupRequest(
            mode=SessionMode.DIFFIE_HELLMAN, timeout_s=timeout_s, identity=identity, key=half.public.encode()
        )
        request = message(OpCode.SESSION_SETUP, body.encode(), version=version)
        done = await self.sessions.set_up(request, peer)
        key = finish_session(half, SessionSetupResponse.decode(done.body))
        return Client(self, done.session_id, key, peer, version)


class Client:
    """The other side of one session."""

    def __init__(self, bench: Bench, session_id: int, key: bytes, peer: Peer, version: Version) -> None:
        self.bench, self.id, self.key, self.peer, self.version = bench, session_id, key, peer, version
        self.counter = 0

    def request(self, *, flags: int = DEFAULT_FLAGS, operation: OpCode = OpCode.RESOLUTION) -> Message:
        body = ResolutionRequest(handle=PUMP).encode()
        return message(operation, body, session_id=self.id, version=self.version, flags=flags)

    def genuine(self, **how: int) -> Message:
        self.counter += 1
        return arrived(mac(self.request(**how), self.key, self.counter))  # type: ignore[arg-type]

    def enter(self, request: Message | None = None, peer: Peer | None = None) -> Session | None:
        return self.bench.sessions.enter(request or self.genuine(), peer or self.peer)

    def session(self) -> Session:
        session = self.enter()
        assert session is not None
        return session


def message(
    operation: OpCode,
    body: bytes,
    *,
    session_id: int = 0,
    version: Version = (2, 11),
    flags: int = DEFAULT_FLAGS,
) -> Message:
    made = Message.request(
        operation, body, request_id=7, expiration=0, flags=flags, version=version, session_id=session_id
    )
    return replace(made, envelope=replace(made.envelope, suggested=version))


def arrived(sent: Message) -> Message:
    return decode_message(sent.encode())


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.desk.close()


def refused(client: Client, request: Message, error: type[HandleError], result: str) -> None:
    with pytest.raises(error):
        client.enter(request)
    assert client.bench.observer.messages[result] == 1


# Messages


async def test_a_message_with_the_mac_of_its_session_is_taken(bench: Bench) -> None:
    client = await bench.set_up()
    session = client.enter()
    assert session is not None
    assert session.id == client.id
    assert session.identity is None
    assert bench.observer.setups == {"success": 1}
    assert bench.observer.messages == {"success": 1}


async def test_a_message_without_a_mac_is_refused_with_404(bench: Bench) -> None:
    client = await bench.set_up()
    refused(client, arrived(client.request()), Unsigned, "missing")
    assert Unsigned.code == ResponseCode.INVALID_CREDENTIAL


async def test_octets_that_are_no_credential_count_as_none(bench: Bench) -> None:
    client = await bench.set_up()
    refused(client, replace(arrived(client.request()), credential=b"\0\1\2"), Unsigned, "missing")


async def test_a_message_with_another_mac_is_refused_with_502(bench: Bench) -> None:
    client = await bench.set_up()
    refused(client, arrived(mac(client.request(), bytes(32), 1)), BadMac, "failed")
    assert BadMac.code == ResponseCode.INVALID_SESSION_KEY
    client.session()  # its counter is not spent


async def test_a_message_that_was_altered_is_refused(bench: Bench) -> None:
    client = await bench.set_up()
    octets = bytearray(client.genuine().encode())
    octets[60] ^= 1
    refused(client, decode_message(bytes(octets)), BadMac, "failed")


async def test_a_message_that_comes_again_is_refused_with_505(bench: Bench) -> None:
    client = await bench.set_up()
    request = client.genuine()
    assert client.enter(request) is not None
    refused(client, request, SessionReplay, "replayed")
    assert SessionReplay.code == ResponseCode.SESSION_MESSAGE_REJECTED


async def test_messages_may_overtake_each_other_within_the_window(bench: Bench) -> None:
    client = await bench.set_up()
    requests = [client.genuine() for _ in range(250)]
    for request in reversed(requests[50:]):
        assert client.enter(request) is not None
    refused(client, requests[49], SessionReplay, "replayed")


async def test_a_session_speaks_the_version_of_its_set_up_and_no_other(bench: Bench) -> None:
    client = await bench.set_up(version=(2, 8))
    client.session()
    client.version = (2, 4)  # of which the MAC would not cover the request id
    refused(client, client.genuine(), BadMac, "failed")


async def test_the_answer_to_a_challenge_needs_no_mac(bench: Bench) -> None:
    client = await bench.set_up()
    assert client.enter(arrived(client.request(operation=OpCode.CHALLENGE_ANSWER))) is not None


# Whose it is


@pytest.mark.parametrize(
    ("binding", "peers"),
    [("address", {PEER}), ("network", {PEER, NEIGHBOUR}), ("any", {PEER, NEIGHBOUR, STRANGER})],
)
async def test_a_session_belongs_to_where_it_was_set_up(binding: Binding, peers: set[Peer]) -> None:
    bench = Bench(binding=binding)
    client = await bench.set_up()
    for peer in (PEER, NEIGHBOUR, STRANGER):
        hidden = encrypt(client.genuine(), client.key, IV)
        assert (client.enter(peer=peer) is not None) == (peer in peers)
        if peer in peers:
            bench.sessions.decode(hidden, peer)
        else:
            with pytest.raises(SessionLost):
                bench.sessions.decode(hidden, peer)
    assert bench.observer.messages["elsewhere"] == 2 * (3 - len(peers))
    bench.desk.close()


async def test_a_session_is_nobodys_until_its_identity_has_answered_a_challenge(bench: Bench) -> None:
    client = await bench.set_up()
    session = client.session()
    session.prove(Identity(index=301, handle=ADMIN.handle))
    session.prove(Identity(index=300, handle=Handle.parse("88.2/ADMIN")))
    assert client.session().identity is None
    session.prove(Identity(index=300, handle=Handle.parse("88.1/admin")))  # another spelling
    assert str(client.session().identity) == "300:88.1/admin"


async def test_an_anonymous_session_stays_anonymous(bench: Bench) -> None:
    client = await bench.set_up(identity=ValueReference(b"", 0xFFFF_FFFF))
    client.session().prove(ADMIN)
    assert client.session().identity is None


async def test_the_key_of_a_session_is_in_no_representation(bench: Bench) -> None:
    client = await bench.set_up()
    session = client.session()
    assert client.key.hex() not in f"{session!r} {bench.sessions!r}"
    assert repr(client.key) not in f"{session!r} {bench.sessions!r}"


# Encryption


def found(client: Client, request: Message, permissions: int) -> Message:
    value = HandleValue(index=1, type="URL", data=b"https://example.org", permissions=permissions)
    body = ResolutionResponse(handle=PUMP, values=ValueList.of([value])).encode()
    return request.answer(ResponseCode.SUCCESS, body, authoritative=True, site_serial=1, wall_s=0.0)


PUBLIC = int(Permission.PUBLIC_READ | Permission.ADMIN_READ)
RESTRICTED = int(Permission.ADMIN_READ)


async def test_an_encrypted_message_is_read_and_checked(bench: Bench) -> None:
    client = await bench.set_up()
    request = client.genuine()
    read = bench.sessions.decode(encrypt(request, client.key, IV), PEER)
    assert read.header_and_body == request.header_and_body
    assert client.enter(read) is not None


async def test_octets_that_the_session_did_not_encrypt_are_refused_with_501(bench: Bench) -> None:
    client = await bench.set_up()
    with pytest.raises(SessionFailed):
        bench.sessions.decode(encrypt(client.genuine(), bytes(32), IV), PEER)
    assert bench.observer.messages["unreadable"] == 1
    assert SessionFailed.code == ResponseCode.SESSION_FAILED


async def test_what_an_altered_message_looks_like_inside_is_told_to_nobody(bench: Bench) -> None:
    client = await bench.set_up()
    altered = encrypt(mac(client.request(), bytes(32), 1), client.key, IV)
    with pytest.raises(SessionFailed):  # as if it could not be decrypted, and not 502
        client.enter(bench.sessions.decode(altered, PEER))


async def test_what_the_server_itself_encrypted_is_no_request(bench: Bench) -> None:
    client = await bench.set_up()
    request = client.genuine(flags=OpFlag.ENCR)
    answer = client.session().protect(request, found(client, request, PUBLIC))
    assert decode_envelope(answer).encrypted
    with pytest.raises(SessionFailed, match="an answer"):
        bench.sessions.decode(answer, PEER)


async def test_an_encrypted_message_of_no_session_is_refused(bench: Bench) -> None:
    client = await bench.set_up()
    octets = bytearray(encrypt(client.genuine(), client.key, IV))
    octets[4:8] = b"\7\7\7\7"
    with pytest.raises(SessionLost):
        bench.sessions.decode(bytes(octets), PEER)
    octets[4:8] = bytes(4)
    with pytest.raises(SessionFailed):
        bench.sessions.decode(bytes(octets), PEER)


@pytest.mark.parametrize(
    ("version", "flags", "permissions", "encrypted"),
    [
        ((2, 11), 0, PUBLIC, False),
        ((2, 11), 0, RESTRICTED, True),
        ((2, 8), 0, RESTRICTED, True),
        ((2, 7), 0, RESTRICTED, False),
        ((2, 7), OpFlag.ENCR, RESTRICTED, True),
        ((2, 11), OpFlag.ENCR | OpFlag.RRDG, PUBLIC, True),
        ((2, 11), OpFlag.RRDG, RESTRICTED, True),
    ],
)
async def test_an_answer_is_encrypted_when_asked_for_or_when_not_everybody_may_read_it(
    bench: Bench, version: Version, flags: int, permissions: int, encrypted: bool
) -> None:
    client = await bench.set_up(version=version)
    request = client.genuine(flags=flags)
    response = found(client, request, permissions)
    sealed = client.session().protect(request, response)
    assert decode_envelope(sealed).encrypted is encrypted
    told = decrypt(sealed, client.key) if encrypted else decode_message(sealed)
    assert told.body == response.body
    assert told.has(OpFlag.ENCR) is encrypted
    assert not told.credential


async def test_answers_bear_a_mac_with_a_counter_of_their_own_when_asked_for(bench: Bench) -> None:
    client = await bench.set_up()
    for counter in (1, 2, 3):
        request = client.genuine(flags=OpFlag.CERT)
        sealed = decode_message(client.session().protect(request, found(client, request, PUBLIC)))
        assert verify_mac(sealed, client.key) == counter
        assert sealed.has(OpFlag.CERT)
        assert sealed.envelope.session_id == client.id


# Life


async def test_a_session_ends_when_it_is_not_used_for_what_its_client_wished(bench: Bench) -> None:
    client = await bench.set_up(timeout_s=600)
    client.session().prove(ADMIN)
    for _ in range(5):
        client.session()
        bench.now_s += 599
    client.session()
    bench.now_s += 600
    assert client.enter() is None
    assert len(bench.sessions) == len(bench.ids) == 0


@pytest.mark.parametrize(("wished_s", "granted_s"), [(0, 3_600), (1, 10), (900, 900), (4_000_000_000, 3_600)])
async def test_the_wish_of_a_client_is_kept_within_bounds(
    bench: Bench, wished_s: int, granted_s: int
) -> None:
    client = await bench.set_up(timeout_s=wished_s)
    client.session().prove(ADMIN)
    client.session()
    bench.now_s += granted_s - 1
    client.session()
    bench.now_s += granted_s
    assert client.enter() is None


async def test_a_session_in_which_nobody_has_proved_anything_ends_early(bench: Bench) -> None:
    client = await bench.set_up(timeout_s=3_600)
    client.session()
    bench.now_s += limits.UNPROVED_IDLE_S
    assert client.enter() is None


async def test_no_session_outlives_its_day_however_much_it_is_used(bench: Bench) -> None:
    client = await bench.set_up(timeout_s=3_600)
    client.session().prove(ADMIN)
    began_s = bench.now_s
    while bench.now_s < began_s + limits.LIFE_S:
        client.session()
        bench.now_s += 3_500
    assert client.enter() is None


async def test_sessions_that_are_over_are_forgotten_without_being_asked_for(bench: Bench) -> None:
    for _ in range(5):
        await bench.set_up()
    bench.now_s += limits.UNPROVED_IDLE_S
    await bench.set_up()
    assert len(bench.sessions) == len(bench.ids) == 1


async def test_a_session_that_was_ended_is_gone(bench: Bench) -> None:
    client = await bench.set_up()
    session = client.session()
    bench.sessions.terminate(session)
    bench.sessions.terminate(session)
    assert client.enter() is None
    assert len(bench.ids) == 0


# Limits


async def test_only_diffie_hellman_is_spoken(bench: Bench) -> None:
    for mode in (SessionMode.CLIENT_KEY, SessionMode.SERVER_KEY, SessionMode.HANDLE_KEY):
        body = SessionSetupRequest(
            mode=mode,
            timeout_s=1,
            identity=NAMED,
            key=usual_blob(),
            exchange=NAMED if mode is SessionMode.HANDLE_KEY else None,
        )
        with pytest.raises(SessionFailed, match="Diffie-Hellman"):
            await bench.sessions.set_up(message(OpCode.SESSION_SETUP, body.encode()), PEER)
    assert bench.observer.setups == {"failed": 3}
    assert len(bench.ids) == 0


def usual_blob() -> bytes:
    return Half.of(usual_group(), bytes(ENTROPY_OCTETS)).public.encode()


async def test_versions_whose_macs_cover_too_little_are_refused(bench: Bench) -> None:
    with pytest.raises(SessionFailed, match=r"2\.7"):
        await bench.set_up(version=(2, 4))


async def test_a_source_that_has_too_many_unproved_sessions_displaces_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNPROVED_PER_SOURCE_MAX", 3)
    small = Bench()
    other = await small.set_up(STRANGER)
    mine = [await small.set_up() for _ in range(3)]
    mine[0].session()  # used, so that it stays longer than the second
    await small.set_up(NEIGHBOUR)  # of the same network
    assert small.observer.limits == {limits.UNPROVED: 1}
    assert [client.enter() is not None for client in (other, *mine)] == [True, True, False, True]
    assert len(small.sessions) == len(small.ids) == 4
    small.desk.close()


async def test_a_flood_of_unproved_sessions_displaces_itself_and_no_proved_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "UNPROVED_MAX", 3)
    small = Bench()
    proved = await small.set_up()
    proved.session().prove(ADMIN)
    proved.session()
    flood = [await small.set_up(Peer(f"198.51.{network}.1", 1, "udp")) for network in range(5)]
    assert [client.enter() is not None for client in flood] == [False, False, True, True, True]
    assert proved.enter() is not None
    assert small.observer.limits == {limits.UNPROVED: 2}
    small.desk.close()


async def test_a_source_sets_up_so_many_sessions_and_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SETUPS_BURST", 2)
    small = Bench()
    await small.set_up()
    await small.set_up()
    with pytest.raises(HandleError) as refusal:
        await small.set_up(NEIGHBOUR)
    assert refusal.value.code == ResponseCode.SERVER_TOO_BUSY
    await small.set_up(STRANGER)
    small.now_s += 1 / limits.SETUPS_PER_S + 0.001
    await small.set_up()
    assert small.observer.limits == {limits.SETUPS_PER_SOURCE: 1}
    assert small.observer.setups == {"success": 4, "refused": 1}
    small.desk.close()


async def test_all_sources_together_set_up_so_many_sessions_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SETUPS_IN_ALL_BURST", 2)
    small = Bench()
    await asyncio.gather(small.set_up(), small.set_up(STRANGER))
    with pytest.raises(HandleError):
        await small.set_up(Peer("203.0.113.1", 1, "udp"))
    assert small.observer.limits == {limits.SETUPS: 1}
    small.desk.close()
