"""The short way over octets says what the long way over messages says, or nothing at all."""

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from protocol.bodies import ResolutionRequest, ResolutionResponse
from protocol.client.answers import read_answer
from protocol.client.direct import NAME_OCTETS_MAX, Route, read_usual_answer
from protocol.client.resolution import Ask, Purpose
from protocol.client.selection import Target
from protocol.codes import DEFAULT_FLAGS, OpCode, OpFlag, ResponseCode
from protocol.handle import Handle
from protocol.message import Message, decode_message
from protocol.site import InterfaceProtocol, Service, Site
from protocol.usual import OF_AUTHORITY, AnswerTemplates, read_usual_request
from protocol.value import HandleValue, ValueList, ValueReference
from resolver.cache.policy import cache_key

WALL_S = 1_700_000_000.0
NAMES = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.binary(max_size=20).map(lambda suffix: b"88.100.a/" + suffix),
)
U32 = st.integers(0, 2**32 - 1)
FLAG_WORDS = st.one_of(
    st.just(int(DEFAULT_FLAGS)),
    st.just(int(DEFAULT_FLAGS | OpFlag.RRDG)),
    st.lists(st.sampled_from(list(OpFlag))).map(lambda flags: sum(set(flags))),
    U32,
)
VERSIONS = st.one_of(
    st.just((2, 11)),
    st.sampled_from([(2, 0), (2, 1), (2, 4), (2, 7), (2, 10), (5, 1)]),
    st.tuples(*[st.integers(0, 31)] * 2),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    body = ResolutionRequest(
        handle=Handle(draw(NAMES)),
        indexes=tuple(draw(st.lists(U32, max_size=2))),
        types=tuple(draw(st.lists(st.text("UuRrLl.", max_size=5), max_size=2))),
        extension=draw(st.sampled_from([b"", b"\0\0\0\1x"])),
    )
    request = Message.request(
        draw(st.sampled_from([OpCode.RESOLUTION] * 4 + [OpCode.GET_SITE_INFO])),
        body.encode(),
        request_id=draw(U32),
        expiration=draw(U32),
        flags=draw(FLAG_WORDS),
        recursion_count=draw(st.integers(0, 255)),
        session_id=draw(st.sampled_from([0, 7])),
    )
    envelope = replace(request.envelope, version=draw(VERSIONS), suggested=draw(VERSIONS))
    credential = draw(st.sampled_from([b"", None, b"secret"]))
    return replace(request, envelope=envelope, credential=credential).encode()


@st.composite
def altered(draw: st.DrawFn, octets: bytes) -> bytes:
    """The octets as they are, cut, longer, or with some of them changed."""
    changed = bytearray(octets)
    for _ in range(draw(st.integers(0, 3))):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    tail = draw(st.sampled_from([b"", b"", b"\0", b"\0\0\0\0"]))
    return (
        bytes(
            changed[: draw(st.sampled_from([len(changed), len(changed), draw(st.integers(0, len(changed)))]))]
        )
        + tail
    )


@given(st.data())
def test_a_usual_request_reads_and_is_answered_as_its_message_is(data: st.DataObject) -> None:
    octets = data.draw(altered(data.draw(requests())))
    usual = read_usual_request(octets, OF_AUTHORITY)
    of_recursion = read_usual_request(octets)
    assert of_recursion in (usual, None)
    if usual is None:
        return
    request = decode_message(octets)
    query = ResolutionRequest.decode(request.body)
    assert usual == (query.handle.octets, request.header.recursion_count, (query.indexes, query.types))
    assert not request.has(OpFlag.CERT)
    assert not request.credential
    recursion = request.has(OpFlag.RECU) and not request.has(OpFlag.AUTH)
    assert (of_recursion is not None) == recursion

    authoritative = data.draw(st.booleans())
    templates = AnswerTemplates(authoritative=authoritative, site_serial=7)
    for code in (ResponseCode.SUCCESS, ResponseCode.HANDLE_NOT_FOUND, ResponseCode.SERVER_BACKUP):
        body = data.draw(st.binary(max_size=40))
        answer = request.answer(code, body, authoritative=authoritative, site_serial=7, wall_s=WALL_S)
        assert templates.answer(octets, code, body, WALL_S) == answer.encode()


def test_the_usual_request_of_every_kind_of_client_is_usual() -> None:
    for flags in (DEFAULT_FLAGS, DEFAULT_FLAGS | OpFlag.RRDG, OpFlag.RECU):
        for query in ({}, {"indexes": (1,)}, {"types": ("URL", "HS_")}):
            body = ResolutionRequest(handle=Handle(b"88.1/x"), **query).encode()
            request = Message.request(OpCode.RESOLUTION, body, request_id=1, expiration=0, flags=flags)
            for credential in (b"", None):
                assert read_usual_request(replace(request, credential=credential).encode()) is not None


@given(st.binary(max_size=80))
def test_any_octets_are_a_usual_request_or_none(octets: bytes) -> None:
    read_usual_request(octets)


VALUES = st.builds(
    HandleValue,
    index=st.integers(0, 2**32 - 1),
    type=st.sampled_from(["URL", "HS_SITE", ""]),
    data=st.binary(max_size=30),
    ttl=U32,
    ttl_type=st.sampled_from([0, 0, 1, 9]),
    permissions=st.sampled_from([0x0E, 0x0E, 0x02, 0x0C]),
    references=st.sampled_from([(), (), (ValueReference(b"0.NA/1", 300),)]),
)
SITE = Site()
ROUTE_HEAD = Message.request(
    OpCode.RESOLUTION, b"", request_id=1, expiration=0, flags=OpFlag.PUBL | OpFlag.RRDG
).encode()
TARGET = Target(site=SITE, protocol=InterfaceProtocol.UDP, address="192.0.2.1", port=2641)
ASK = Ask(service=Service("0.NA/88.1", (SITE,)), handle=Handle(b"88.1/x"), purpose=Purpose.HANDLE)
ROUTE = Route(ASK, TARGET, ROUTE_HEAD)
SLASHED = st.binary(max_size=40).map(lambda suffix: b"88.1/" + suffix)


@given(SLASHED, st.integers(0, 255), st.integers(1, 2**31 - 1))
@example(b"88.1/" + b"x" * (NAME_OCTETS_MAX - 5), 0, 1)
def test_a_request_from_the_template_is_the_one_that_a_message_would_be(
    name: bytes, count: int, number: int
) -> None:
    request = Message.request(
        OpCode.RESOLUTION,
        ResolutionRequest(handle=Handle(name)).encode(),
        request_id=number,
        expiration=int(WALL_S) + 43_200,
        flags=OpFlag.PUBL | OpFlag.RRDG,
        recursion_count=count,
    )
    octets = ROUTE.request(number.to_bytes(4, "big"), name, count, WALL_S)
    assert octets == request.encode()
    assert len(octets) <= 512


@given(st.data())
def test_an_answer_is_read_as_its_message_is_or_left_to_it(data: st.DataObject) -> None:
    name = data.draw(SLASHED)
    octets = ROUTE.request(b"\1\2\3\4", name, 0, WALL_S)
    request = decode_message(octets)
    values = ValueList.of(data.draw(st.lists(VALUES, max_size=4)))
    spelled = data.draw(st.sampled_from([name, name.lower(), name.upper(), b"88.1/other"]))
    body = ResolutionResponse(handle=Handle(spelled), values=values).encode()
    answer = request.answer(
        ResponseCode.SUCCESS,
        body,
        authoritative=True,
        site_serial=1,
        wall_s=WALL_S + data.draw(st.sampled_from([0, -43_600])),
    )
    whole = answer.encode()
    response = data.draw(altered(whole))

    usual = read_usual_answer(octets, response, WALL_S)

    if usual is None:
        return
    long = read_answer(request, decode_message(response), Handle(name), WALL_S)
    assert long.code == ResponseCode.SUCCESS
    assert usual[0] == long.values == long.values.select(public_only=True)
    assert usual[1] == long.values.smallest_ttl_s(WALL_S)


def test_the_usual_answer_is_usual_and_no_other_octet_of_it_may_differ() -> None:
    octets = ROUTE.request(b"\1\2\3\4", b"88.1/pump-7", 0, WALL_S)
    request = decode_message(octets)
    values = ValueList.of(
        [
            HandleValue(index=1, type="URL", data=b"https://x", ttl=60),
            HandleValue(index=2, type="DESC", data=b"y"),
        ]
    )
    body = ResolutionResponse(handle=Handle(b"88.1/pump-7"), values=values).encode()
    whole = request.answer(
        ResponseCode.SUCCESS, body, authoritative=True, site_serial=1, wall_s=WALL_S
    ).encode()

    assert read_usual_answer(octets, whole, WALL_S) == (values, 60)
    for end in range(len(whole) - 4):
        assert read_usual_answer(octets, whole[:end], WALL_S) is None
    for at in range(44, 44 + 33):  # the request digest
        forged = whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :]
        assert read_usual_answer(octets, forged, WALL_S) is None
    other = ROUTE.request(b"\1\2\3\4", b"88.1/pump-8", 0, WALL_S)
    assert read_usual_answer(other, whole, WALL_S) is None


@given(st.binary(max_size=200))
def test_any_octets_are_a_usual_answer_or_none(octets: bytes) -> None:
    assert read_usual_answer(ROUTE.request(b"\1\2\3\4", b"88.1/x", 0, WALL_S), octets, WALL_S) is None


@given(NAMES)
def test_the_short_way_knows_a_name_by_the_key_of_the_cache(name: bytes) -> None:
    head, slash, tail = name.partition(b"/")
    if slash and not name.startswith((b"0.", b"0/")):
        assert head.upper() + slash + tail == cache_key(Handle(name))
