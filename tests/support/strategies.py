"""What hypothesis makes: names, values, sites, bodies and messages, legal and nearly so."""

from hypothesis import strategies as st

from protocol.bodies import (
    ErrorBody,
    ReferralBody,
    ResolutionRequest,
    ResolutionResponse,
    SiteInfoRequest,
    SiteInfoResponse,
)
from protocol.handle import Handle
from protocol.message import Envelope, Header, Message
from protocol.site import Interface, Server, Site
from protocol.value import HandleValue, ValueList, ValueReference
from protocol.valuetypes import Admin, Typed, ValueReferences
from protocol.valuetypes.hs_pubkey import DSA, RSA, PublicKey
from protocol.wire import text

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
octets = st.binary(max_size=64)

names = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.from_regex(r"\A[0-9]{1,3}(\.[0-9a-zA-Z]{1,4}){0,3}/[ -~]{0,12}\Z").map(str.encode),
    st.text(min_size=1, max_size=12).map(lambda name: name.encode("utf-8", "surrogatepass")),
)
handles = names.map(Handle.parse)

type_names = st.one_of(
    st.sampled_from(["URL", "EMAIL", "HS_ADMIN", "HS_SITE", "HS_VLIST", "HS_PUBKEY", "10320/loc", "URL.X"]),
    st.binary(max_size=12).map(text),
)
references = st.builds(ValueReference, octets, u32)
named_references = st.builds(ValueReference, names, u32)

values = st.builds(
    HandleValue,
    index=u32,
    type=type_names,
    data=octets,
    ttl=u32,
    ttl_type=u8,
    permissions=u8,
    timestamp=u32,
    references=st.lists(references, max_size=3).map(tuple),
)
value_lists = st.lists(values, max_size=5).map(ValueList.of)

interfaces = st.builds(
    Interface,
    admin=st.booleans(),
    query=st.booleans(),
    protocol=u8,
    port=u32,
    other_bits=u8.map(lambda bits: bits & 0xFC),
)
servers = st.builds(
    Server,
    server_id=u32,
    address=st.binary(min_size=16, max_size=16),
    public_key=octets,
    interfaces=st.lists(interfaces, max_size=4).map(tuple),
)
sites = st.builds(
    Site,
    protocol_major=u8,
    protocol_minor=u8,
    serial=u16,
    primary=st.booleans(),
    multi_primary=st.booleans(),
    other_flags=u8.map(lambda bits: bits & 0x3F),
    hash_option=u8,
    hash_filter=octets,
    attributes=st.lists(st.tuples(octets, octets), max_size=3).map(tuple),
    servers=st.lists(servers, max_size=3).map(tuple),
)

_number = st.integers(0, 2**2048)
typed: st.SearchStrategy[Typed] = st.one_of(
    st.builds(Admin, st.builds(ValueReference, octets, u32), u16, st.sampled_from([b"", b"\0\0", b"\1\2"])),
    st.builds(ValueReferences, st.lists(references, max_size=5).map(tuple)),
    st.builds(PublicKey, st.just(RSA), st.tuples(_number, _number), u16),
    st.builds(PublicKey, st.just(DSA), st.tuples(_number, _number, _number, _number), u16),
    sites,
)

bodies = st.one_of(
    st.builds(
        ResolutionRequest,
        handle=handles,
        indexes=st.lists(u32, max_size=4).map(tuple),
        types=st.lists(type_names, max_size=4).map(tuple),
        extension=octets,
    ),
    st.builds(ResolutionResponse, handle=handles, values=value_lists),
    st.builds(SiteInfoRequest, handle=handles),
    st.builds(SiteInfoResponse, site=sites),
    st.builds(
        ErrorBody,
        message=octets.map(text),
        indexes=st.none() | st.lists(u32, max_size=4).map(tuple),
    ),
    st.just(ErrorBody(absent=True)),
    st.builds(ReferralBody, handle=st.none() | handles, values=st.none() | value_lists),
)

versions = st.tuples(u8, u8)
suggestions = st.tuples(st.integers(0, 31), u8)
messages = st.builds(
    Message,
    envelope=st.builds(
        Envelope,
        version=versions,
        suggested=suggestions,
        compressed=st.booleans(),
        truncated=st.booleans(),
        session_id=u32,
        request_id=u32,
        sequence=u32,
    ),
    header=st.builds(
        Header,
        op_code=u32,
        response_code=u32,
        op_flags=u32,
        site_serial=u16,
        recursion_count=u8,
        reserved=u8,
        expiration=u32,
    ),
    body=st.binary(max_size=1200),
    credential=octets,
    surplus=st.just(b"") | octets,
) | st.builds(
    Message,
    envelope=st.builds(Envelope, request_id=u32),
    header=st.builds(Header, op_code=u32),
    body=octets,
    credential=st.none(),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
