"""Small XML documents inside values, read without document types, entities or depth bombs."""

import re
import xml.etree.ElementTree as ET
from typing import Final

from protocol.errors import Malformed, TooLarge

MAX_XML_OCTETS: Final = 65_536  # real namespace and location documents have a few hundred
_FORBIDDEN: Final = (b"<!DOCTYPE", b"<!ENTITY")
_ENCODING: Final = re.compile(rb"\s*<\?xml[^>]*?\sencoding\s*=\s*[\"']([^\"'>]*)")
_READ: Final = frozenset({b"UTF-8", b"US-ASCII"})


def parse_xml(data: bytes) -> ET.Element:
    """The root element. Raises TooLarge, or Malformed for a document type (entities could expand without end)."""
    if len(data) > MAX_XML_OCTETS:
        raise TooLarge(f"an XML document of {len(data)} octets, {MAX_XML_OCTETS} allowed")
    declared = _ENCODING.match(data)
    foreign = b"\0" in data or (declared is not None and declared[1].upper() not in _READ)
    if foreign or any(word in data.upper() for word in _FORBIDDEN):
        raise Malformed("an XML document with a document type or in another encoding than UTF-8")
    try:
        parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - document types, the way of every known attack, are refused
        return ET.fromstring(data, parser=parser)  # noqa: S314 - another encoding could hide them
    except (ET.ParseError, ValueError, LookupError) as error:
        raise Malformed(f"not well-formed XML: {error}") from None
