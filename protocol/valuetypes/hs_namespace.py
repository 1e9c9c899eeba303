"""HS_NAMESPACE: the policy of a prefix: contact, state, shared locations. Source: PROTOCOL.md §1.6."""

from dataclasses import dataclass

from protocol.valuetypes.xml import parse_xml


@dataclass(frozen=True, slots=True)
class Namespace:
    """What the document says; the document itself is kept verbatim."""

    document: bytes
    contact: str | None = None
    status: str = "active"
    """"active" or "inactive"; a prefix is active unless the document says otherwise."""
    status_message: str | None = None
    location_handles: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The data of the value."""
        return self.document

    @property
    def active(self) -> bool:
        """Whether identifiers below the prefix are to be served as usual."""
        return self.status.lower() != "inactive"

    @classmethod
    def decode(cls, data: bytes) -> "Namespace":
        """Raises WireError for what is no XML, or has a document type."""
        root = parse_xml(data)
        return cls(
            document=data,
            contact=root.findtext("contact"),
            status=(root.findtext("status") or "active").strip(),
            status_message=root.findtext("statusmsg"),
            location_handles=tuple((element.text or "").strip() for element in root.findall("locs")),
        )
