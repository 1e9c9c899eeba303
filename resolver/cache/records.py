"""The second tier's records: entries and delegations as msgpack, with wall-clock times since hosts share them.

Whatever comes back is checked as if a stranger had sent it: an unknown form or a lie about lengths is a miss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar

import msgpack
import msgspec
from msgspec import Meta

from protocol.client.delegation import MAX_SERVICES, MAX_SITES, Delegation
from protocol.codes import ResponseCode
from protocol.errors import HandleError
from protocol.handle import Handle, Prefix
from protocol.site import Site
from protocol.value import ValueList
from protocol.wire import MAX_VALUES, Reader
from resolver.cache.policy import DENIALS, MAX_MESSAGE_CHARACTERS, Denial, Entry, Record

FORM: Final = 2  # of these records; another number is a miss, so that nodes of two versions may share a tier

T = TypeVar("T")
Wall = Annotated[float, Meta(ge=0, le=2**40)]
Sites = Annotated[list[bytes], Meta(max_length=MAX_SITES)]
Services = Annotated[list[bytes], Meta(max_length=MAX_SERVICES)]


class _RecordForm(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    form: Literal[2]
    stored_wall_s: Wall
    expires_wall_s: Wall
    count: Annotated[int, Meta(ge=1, le=MAX_VALUES)]
    values: bytes


class _DenialForm(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    form: Literal[2]
    stored_wall_s: Wall
    expires_wall_s: Wall
    code: int
    message: Annotated[str, Meta(max_length=MAX_MESSAGE_CHARACTERS)]


class _DelegationForm(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    form: Literal[2]
    expires_wall_s: Wall
    exists: bool
    sites: Sites
    prefix_sites: Sites
    services: Services
    prefix_services: Services
    inactive: Annotated[str, Meta(max_length=MAX_MESSAGE_CHARACTERS)] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """One moment on both clocks: monotonic, which this process counts by, and Unix seconds, which hosts share."""

    now_s: float
    wall_s: float

    def monotonic_of(self, wall_s: float) -> float:
        """The monotonic time of a moment of the shared clock."""
        return self.now_s + (wall_s - self.wall_s)

    def wall_of(self, monotonic_s: float) -> float:
        """The shared time of a moment of the monotonic clock."""
        return self.wall_s + (monotonic_s - self.now_s)


def encode_entry(entry: Entry, clocks: Clocks) -> bytes:
    """A record or denial for the second tier."""
    stored, expires = clocks.wall_of(entry.stored_s), clocks.wall_of(entry.expires_s)
    match entry:
        case Record(values=values):
            return _pack([FORM, stored, expires, values.count, values.octets])
        case Denial(code=code, message=message):
            return _pack([FORM, stored, expires, int(code), message.encode("utf-8", "replace").decode()])


def decode_entry(octets: bytes, clocks: Clocks, *, ttl_max_s: int) -> Entry | None:
    """The entry that octets of the second tier hold; None for anything else, and for an entry that is over.

    ttl_max_s: no entry lives longer from now on, whatever another host's clock says.
    """
    record = _unpack(octets, _RecordForm)
    if record is not None:
        times = _times(record.stored_wall_s, record.expires_wall_s, clocks, ttl_max_s)
        values = _values(record)
        if times is None or values is None:
            return None
        return Record(values=values, stored_s=times[0], expires_s=times[1])
    denial = _unpack(octets, _DenialForm)
    if denial is None or denial.code not in DENIALS:
        return None
    times = _times(denial.stored_wall_s, denial.expires_wall_s, clocks, ttl_max_s)
    if times is None:
        return None
    code = ResponseCode(denial.code)
    return Denial(code=code, message=denial.message, stored_s=times[0], expires_s=times[1])


def encode_delegation(delegation: Delegation, expires_s: float, clocks: Clocks) -> bytes:
    """A delegation for the second tier."""
    return _pack(
        [
            FORM,
            clocks.wall_of(expires_s),
            delegation.exists,
            [site.encode() for site in delegation.sites],
            [site.encode() for site in delegation.prefix_sites],
            [handle.octets for handle in delegation.services],
            [handle.octets for handle in delegation.prefix_services],
            delegation.inactive and delegation.inactive[:MAX_MESSAGE_CHARACTERS],
        ]
    )


def decode_delegation(
    octets: bytes, prefix: Prefix, clocks: Clocks, *, ttl_max_s: int
) -> tuple[Delegation, float] | None:
    """The delegation of a prefix that octets hold, and when it ends (monotonic); None for anything else."""
    form = _unpack(octets, _DelegationForm)
    if form is None:
        return None
    times = _times(clocks.wall_s, form.expires_wall_s, clocks, ttl_max_s)
    if times is None:
        return None
    try:
        delegation = Delegation(
            prefix=prefix,
            exists=form.exists,
            sites=_sites(form.sites),
            prefix_sites=_sites(form.prefix_sites),
            services=tuple(Handle.parse(name) for name in form.services),
            prefix_services=tuple(Handle.parse(name) for name in form.prefix_services),
            inactive=form.inactive,
            ttl_s=int(times[1] - clocks.now_s),
        )
    except HandleError:
        return None
    return delegation, times[1]


def _pack(fields: list[object]) -> bytes:
    packed = msgpack.packb(fields, use_bin_type=True)
    assert isinstance(packed, bytes)
    return packed


def _unpack(octets: bytes, form: type[T]) -> T | None:
    try:
        return msgspec.msgpack.decode(octets, type=form)
    except (msgspec.DecodeError, RecursionError):
        return None


def _values(form: _RecordForm) -> ValueList | None:
    reader = Reader(form.count.to_bytes(4, "big") + form.values)
    try:
        values = ValueList.decode(reader)
        reader.expect_end()
    except HandleError:
        return None
    return values


def _times(
    stored_wall_s: float, expires_wall_s: float, clocks: Clocks, ttl_max_s: int
) -> tuple[float, float] | None:
    """Both moments on the monotonic clock; None when the entry is over."""
    if expires_wall_s <= clocks.wall_s:
        return None
    stored_s = min(clocks.monotonic_of(stored_wall_s), clocks.now_s)
    return stored_s, min(clocks.monotonic_of(expires_wall_s), clocks.now_s + ttl_max_s)


def _sites(encoded: Sequence[bytes]) -> tuple[Site, ...]:
    return tuple(Site.decode(octets) for octets in encoded)
