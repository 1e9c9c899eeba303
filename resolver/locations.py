"""10320/loc: which of several places a visitor is sent to. Pure: client, country and chance are passed in.

Each method of a list narrows the candidates and is undone where it would leave none (PROTOCOL.md §8.6). A candidate is
only what may be redirected to. What a choice depended on beside record and request line is told with it, the same for
every visitor: such a choice is not the next visitor's.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import IntFlag
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Final

from protocol.errors import WireError
from protocol.handle import Handle
from protocol.value import ValueList
from protocol.valuetypes.loc import DEFAULT_CHOOSE_BY, Locations
from resolver.http_headers import qualities
from resolver.targets import Templates, redirect_target, safe_location

PLACES_MAX: Final = (
    64  # of one record that are looked at; real lists have two to ten, and each may take 0.1 ms
)
DOCUMENTS_KEPT: Final = (
    64  # read before; the largest takes 15 ms to read, and a quarter of a megabyte to keep
)
NETWORKS_MAX: Final = 256  # of all candidates of one choice; each takes some three microseconds to read
STATUSES: Final = frozenset({301, 302, 303, 307, 308})
DEFAULT_STATUS: Final = 302
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,9}(?:\.[0-9]{1,9})?")
_STATUS: Final = re.compile(r"[0-9]{3}")
LOC_TYPE: Final = "10320/loc"
_ROLES: Final = frozenset({"conneg", "no_conneg", "browser"})
_BROWSER_TYPES: Final = ("text/html", "application/xhtml+xml")
_MEDIA_TYPE: Final = ("ctype", "media-type")


class Dependence(IntFlag):
    """What a choice depended on, beside the record and the request line."""

    NONE = 0
    ACCEPT = 1
    """The Accept header."""
    VISITOR = 2
    """The visitor's address or country, or chance."""


@dataclass(frozen=True, slots=True)
class Location:
    """One place: an address that may be redirected to, and what its owner says of it."""

    target: str
    attributes: Mapping[str, str]

    @property
    def status(self) -> int:
        """The HTTP status that leads there."""
        told = self.attributes.get("http_sc", "").strip()
        status = int(told) if _STATUS.fullmatch(told) else DEFAULT_STATUS
        return status if status in STATUSES else DEFAULT_STATUS

    @property
    def weight(self) -> float:
        """How likely chance picks it, beside the others; never below 0."""
        return max(0.0, _number(self.attributes.get("weight", "1")))

    @property
    def score(self) -> float:
        """How it ranks."""
        return _number(self.attributes.get("score", "0"))

    @property
    def country(self) -> str:
        """The code of the country that it is for, in upper case; empty for none."""
        return self.attributes.get("country", "").strip().upper()

    @property
    def role(self) -> str:
        """Its part in content negotiation; empty for none."""
        role = self.attributes.get("http_role", "").strip().lower()
        return role if role in _ROLES else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who asks, as far as a choice may depend on it."""

    address: str
    accept: str
    """The Accept fields, joined."""
    selectors: Sequence[tuple[str, str]] = ()
    country: str | None = None
    """Two letters in upper case; None where it is not known."""
    country_told: bool = True
    """Whether the country stands in the request line, or could not stand anywhere else."""
    draw: Callable[[], float]
    """A number from 0 to 1, without 1, another one each time."""


@dataclass(frozen=True, slots=True)
class LocationLists:
    """The lists of a record, as far as they can be read, and those that it takes from its prefix."""

    choose_by: tuple[str, ...] = DEFAULT_CHOOSE_BY
    lists: tuple[Locations, ...] = ()

    @property
    def alone(self) -> bool:
        """Whether the record wants no lists of its prefix."""
        return any(each.alone for each in self.lists)

    def joined(self, others: Iterable[Locations]) -> "LocationLists":
        """The same with further lists; the first one of all says how to choose."""
        lists = (*self.lists, *others)
        return LocationLists(lists[0].choose_by if lists else self.choose_by, lists)


def read_lists(values: ValueList) -> LocationLists:
    """The lists among the values of a record; the first one that can be read says how to choose."""
    read = (_read_list(value.data) for value in values.select(types=(LOC_TYPE,)))
    return LocationLists().joined(each for each in read if each is not None)


def candidates(
    found: LocationLists, values: ValueList, handle: Handle, schemes: Set[str]
) -> tuple[Location, ...]:
    """Every place that the record may redirect to: those of the lists, then its URL values; PLACES_MAX are looked at.

    Without a place of a list, the first URL value decides alone. Beside lists of the record's own, chance picks no URL
    value; beside those of its prefix, the first one alone.
    """
    listed = islice((location for each in found.lists for location in each.locations), PLACES_MAX)
    templates = Templates(handle)
    places = [
        Location(target, attributes)
        for attributes in listed
        if (target := _target(attributes, templates, schemes)) is not None
    ]
    if not places:
        first = redirect_target(values, schemes)
        return () if first is None else (Location(first, {}),)
    weight = "0" if values.select(types=(LOC_TYPE,)).count else "1"
    urls = sorted(values.select(types=("URL.",)), key=lambda value: value.type.upper() != "URL")
    for value in urls[: PLACES_MAX - len(places)]:
        target = safe_location(value.data, schemes)
        if target is not None:
            places.append(Location(target, {"weight": weight}))
        weight = "0"
    return tuple(places)


@dataclass(slots=True)
class Choice:
    """A choice in the making: who is left, and what that depended on."""

    visitor: Visitor
    left: Sequence[Location]
    depends: Dependence = Dependence.NONE
    _networks_left: int = field(default=NETWORKS_MAX)

    @property
    def location(self) -> Location:
        """The place that was chosen."""
        return self.left[0]

    @property
    def is_cut_short(self) -> bool:
        """Whether places name more networks than are compared."""
        return self._networks_left < 0

    def keep(self, kept: Sequence[Location]) -> None:
        """Narrow down to these, unless there are none."""
        self.left = kept or self.left

    def by_selectors(self) -> None:
        """Those that have an attribute that the visitor asked for."""
        for name, content in self.visitor.selectors:
            wanted = content.casefold()
            self.keep([each for each in self.left if each.attributes.get(name, "").casefold() == wanted])

    def by_role(self) -> None:
        """Content negotiation: what fits the Accept header best; without such, what is for people."""
        if len(self.left) == 1 or not any(each.role for each in self.left):
            return
        self.depends |= Dependence.ACCEPT
        accept = qualities(self.visitor.accept)
        fits = [(_accepted(accept, each), each) for each in self.left if each.role == "conneg"]
        best = max((weight for weight, _ in fits), default=0.0)
        if best > 0:
            self.keep([each for weight, each in fits if weight == best])
            return
        browses = any(accept.get(kind, 0) > 0 for kind in _BROWSER_TYPES)
        excluded = {"conneg"} if browses else {"conneg", "browser"}
        self.keep([each for each in self.left if each.role not in excluded])

    def by_address(self) -> None:
        """Those that name a network of the visitor's."""
        if not any("addresses" in each.attributes for each in self.left):
            return
        self.depends |= Dependence.VISITOR
        address = _address(self.visitor.address)
        self.keep([each for each in self.left if address is not None and self._is_near(each, address)])

    def by_country(self) -> None:
        """Those of the visitor's country, else those of none."""
        if not any(each.country for each in self.left):
            return
        if not self.visitor.country_told:
            self.depends |= Dependence.VISITOR
        country = self.visitor.country
        near = [each for each in self.left if country is not None and each.country == country]
        self.keep(near or [each for each in self.left if not each.country])

    def by_score(self) -> None:
        """Those that rank highest."""
        best = max(each.score for each in self.left)
        self.keep([each for each in self.left if each.score == best])

    def by_weight(self) -> None:
        """One of them by chance, as likely as its weight says; any of them when no weight is above 0."""
        likely = [each for each in self.left if each.weight > 0]
        self.keep(likely)
        if len(self.left) == 1:
            return
        self.depends |= Dependence.VISITOR
        drawn = self.visitor.draw()
        if not likely:
            self.keep([self.left[int(drawn * len(self.left))]])
            return
        rest = drawn * sum(each.weight for each in likely)
        for each in likely:
            rest -= each.weight
            if rest < 0:
                break
        self.keep([each])

    def _is_near(self, location: Location, address: IPv4Address | IPv6Address) -> bool:
        for text in re.split(r"[,\s]+", location.attributes.get("addresses", "").strip()):
            self._networks_left -= 1
            if self._networks_left < 0:
                return False
            network = _network(text)
            if network is not None and network.version == address.version and address in network:
                return True
        return False


_METHODS: Final[Mapping[str, Callable[[Choice], None]]] = {
    "locatt": Choice.by_selectors,
    "address": Choice.by_address,
    "country": Choice.by_country,
    "score": Choice.by_score,
    "weighted": Choice.by_weight,
}


def choose(places: Sequence[Location], choose_by: Sequence[str], visitor: Visitor) -> Choice:
    """The place for a visitor, one of these, by the methods of a list in their order, chance last.

    What the visitor asks for by name goes before content negotiation, and that before all other methods; words that
    name no method are passed over.
    """
    assert places, "there is nothing to choose from"
    choice = Choice(visitor, places)
    if choose_by[:1] == ("locatt",):
        choice.by_selectors()
    choice.by_role()
    for method in dict.fromkeys((*choose_by, "weighted")):
        if len(choice.left) == 1:
            break
        if method in _METHODS:
            _METHODS[method](choice)
    return choice


@lru_cache(maxsize=DOCUMENTS_KEPT)
def _read_list(document: bytes) -> Locations | None:
    """The list that a document holds; None for one that cannot be read, which the page of the record still shows."""
    try:
        return Locations.decode(document)
    except WireError:
        return None


def _target(attributes: Mapping[str, str], templates: Templates, schemes: Set[str]) -> str | None:
    template = attributes.get("href_template")
    target = None if template is None else templates.expand(template, schemes)
    return target or safe_location(attributes.get("href", "").encode("utf-8", "surrogatepass"), schemes)


def _number(text: str) -> float:
    """A number of at most nine digits before its point and behind; 0 for anything else."""
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else 0.0


def _accepted(accept: Mapping[str, float], location: Location) -> float:
    """The weight that a client gives to a location's media type, by name or by its family, never by */*."""
    kind = next((location.attributes[name] for name in _MEDIA_TYPE if name in location.attributes), "")
    kind = kind.partition(";")[0].strip().lower()
    family, slash, _ = kind.partition("/")
    if not slash or not family or "*" in kind:
        return 0.0
    return accept.get(kind, accept.get(f"{family}/*", 0.0))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
