"""The record that every server answers with, and where its names are."""

from array import array
from ipaddress import ip_address
from typing import Final

from benchmarks.load.requests import Names, shuffled
from protocol.handle import Prefix
from protocol.site import Interface, InterfaceProtocol, Server, Site
from protocol.value import HandleValue, ValueList

PREFIX: Final = "88.100.1"
DIGITS: Final = 9
RECORD_OCTETS: Final = 300  # of the values in wire form; those of a product have about as many
NAMES: Final = 1_000
TTL_S: Final = 3_600
_STAMP: Final = 1_780_000_000
"""Of every value, so that all runs answer the same octets."""


def record(octets: int = RECORD_OCTETS) -> ValueList:
    """A URL and a description of a product, so many octets in wire form."""
    url = HandleValue(
        index=1, type="URL", data=b"https://plant.example/products/pump", ttl=TTL_S, timestamp=_STAMP
    )

    def described(text: bytes) -> ValueList:
        return ValueList.of([url, HandleValue(index=2, type="DESC", data=text, ttl=TTL_S, timestamp=_STAMP)])

    missing = octets - len(described(b"").octets)
    assert missing >= 0, "a record of two values is larger"
    return described((b"Centrifugal pump, stainless steel. " * (missing // 35 + 1))[:missing])


def txt_data() -> bytes:
    """As many octets as the record's as data of a DNS TXT record."""
    text = record().octets[: RECORD_OCTETS - 2]
    halves = text[:150], text[150:]
    return b"".join(bytes([len(half)]) + half for half in halves)


def names(count: int = NAMES, *, first: int = 0) -> Names:
    """So many names in random order."""
    return some_names(shuffled(count, first=first))


def some_names(numbers: "array[int]") -> Names:
    """The names with these numbers."""
    return Names(start=f"{PREFIX}/PUMP-", digits=DIGITS, numbers=numbers)


def udp_site(address: str, port: int) -> Site:
    """The site of one server that speaks UDP alone."""
    interface = Interface(admin=False, query=True, protocol=InterfaceProtocol.UDP, port=port)
    packed = Server.pack_address(ip_address(address))
    return Site(servers=(Server(server_id=1, address=packed, interfaces=(interface,)),))


def prefix_records(site: Site) -> dict[bytes, ValueList]:
    """What a hierarchy of one server says of the prefixes above the names: it serves them all."""
    encoded = site.encode()
    values = ValueList.of(
        HandleValue(index=index, type=name, data=encoded, ttl=TTL_S * 10)
        for index, name in ((1, "HS_SITE"), (2, "HS_SITE.PREFIX"))
    )
    labels = PREFIX.split(".")
    prefixes = ["0.NA", *(".".join(labels[:count]) for count in range(1, len(labels) + 1))]
    return {Prefix.parse(prefix).record.octets: values for prefix in prefixes}
