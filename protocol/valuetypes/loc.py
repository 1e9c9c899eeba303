"""10320/loc: several places to learn more, and how to choose among them. Source: PROTOCOL.md §8.6."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol.errors import Malformed
from protocol.valuetypes.xml import parse_xml

DEFAULT_CHOOSE_BY: Final = ("locatt", "address", "country", "score", "weighted")
MAX_LOCATIONS: Final = 512
_FALSE: Final = ("false", "no", "0")


@dataclass(frozen=True, slots=True)
class Locations:
    """The attributes of each location and the order of the methods that choose; the document is kept verbatim."""

    document: bytes
    choose_by: tuple[str, ...]
    locations: tuple[Mapping[str, str], ...]
    alone: bool = False
    """Whether the lists that the prefix shares are left out (no_nslocs)."""

    def encode(self) -> bytes:
        """The data of the value."""
        return self.document

    @classmethod
    def decode(cls, data: bytes) -> "Locations":
        """Raises WireError for what is no XML, has a document type, or too many locations."""
        root = parse_xml(data)
        elements = root.findall("location")
        if len(elements) > MAX_LOCATIONS:
            raise Malformed(f"{len(elements)} locations, {MAX_LOCATIONS} allowed")
        words = root.get("chooseby") or root.get("choose_by") or ",".join(DEFAULT_CHOOSE_BY)
        methods = tuple(word.strip().lower() for word in words.split(","))
        alone = root.get("no_nslocs", "false").strip().lower() not in _FALSE
        return cls(data, methods, tuple(dict(element.attrib) for element in elements), alone)
