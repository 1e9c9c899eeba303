"""Names and addresses that may be registered: what people see is what is stored, and a target is a web address.

Pure. Registration asks both questions once per item, so that plain ASCII is settled by one look.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from protocol.errors import WireError
from protocol.handle import fold
from protocol.valuetypes.loc import Locations
from protocol.wire import MAX_HANDLE_OCTETS
from registry.text import refused_character

URL_CHARACTERS_MAX: Final = 4_096
"""No browser and no scanner follows a longer address reliably."""
TYPE_CHARACTERS_MAX: Final = 200
"""Real types are names of a few words, or handles."""

_PLAIN_URL: Final = re.compile(
    r"https?://(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?#][!-~]*)?", re.IGNORECASE
)
_ANY_URL: Final = re.compile(
    r"https?://(?:[^\s/?#@:\\\[\]<>\"]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?:[/?#]\S*)?", re.IGNORECASE
)
_BLANKS: Final = "has a blank at one of its ends"


class NotAllowed(ValueError):
    """A name, a type or an address that may not be registered; the text says why, as in `the name <text>`."""


def check_name(name: str) -> bytes:
    """The octets of an identifier as somebody wrote it, `<prefix>/<suffix>`.

    Raises NotAllowed, with the reason, for what is no such name or would look like another one: control, invisible,
    direction-changing, unassigned and private characters, blanks at the ends, text that is not in normal form C.
    """
    slash = name.find("/")
    if slash < 1 or slash == len(name) - 1:
        raise NotAllowed("is written <prefix>/<suffix>, such as 88.100.1/PUMP-7")
    if name.isascii():
        if not name.isprintable():
            raise NotAllowed(refused_character(name))
    else:
        _check_characters(name)
    if name[0] == " " or name[-1] == " " or name[slash + 1] == " ":
        raise NotAllowed(_BLANKS)
    octets = name.encode()
    if len(octets) > MAX_HANDLE_OCTETS:
        raise NotAllowed(f"has {len(octets)} octets; {MAX_HANDLE_OCTETS} are allowed")
    return octets


def _check_characters(name: str) -> None:
    fault = refused_character(name)
    if fault is not None:
        raise NotAllowed(fault)
    for place, character in enumerate(name):
        if unicodedata.category(character) == "Zs" and character != " ":
            raise NotAllowed(
                f"holds a blank that is no space (U+{ord(character):04X}) at position {place + 1}"
            )
    if not unicodedata.is_normalized("NFC", name):
        raise NotAllowed("is not in Unicode normal form C: it would look like another name")


def check_type(name: str) -> None:
    """Raises NotAllowed, with the reason, for a value's type that hides characters or is too long."""
    if not 0 < len(name) <= TYPE_CHARACTERS_MAX:
        raise NotAllowed(f"has {len(name)} characters; 1 to {TYPE_CHARACTERS_MAX} are allowed")
    fault = refused_character(name)
    if fault is not None:
        raise NotAllowed(fault)


def check_url(url: str) -> None:
    """Raises NotAllowed, with the reason, for what is no absolute http or https address, or holds a password."""
    if len(url) <= URL_CHARACTERS_MAX and _PLAIN_URL.fullmatch(url) is not None:
        return
    fault = _fault_of_url(url)
    if fault is not None:
        raise NotAllowed(fault)


def _fault_of_url(url: str) -> str | None:
    if len(url) > URL_CHARACTERS_MAX:
        return f"has {len(url)} characters; at most {URL_CHARACTERS_MAX} are allowed"
    fault = refused_character(url)
    if fault is not None:
        return fault
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        return "is no absolute http or https address, such as https://www.example.com/pump-7"
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if "@" in authority:
        return "holds a user name or password before its host; an address that everybody may read must not"
    if _ANY_URL.fullmatch(url) is None:
        return "holds a blank, or a host that cannot be read"
    return None


def check_locations(document: str) -> None:
    """Raises NotAllowed when a 10320/loc document cannot be read, or lists an address that may not be registered."""
    _check_locations(document.encode())


def check_target(type_octets: bytes, data: bytes) -> None:
    """Raises NotAllowed when the data of a value are an address, or a list of them, that may not be registered."""
    check = CHECKS.get(fold(type_octets))
    if check is not None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise NotAllowed("is no UTF-8") from None
        check(text)


@lru_cache(maxsize=64)  # the products of a catalogue often share their list of places
def _check_locations(document: bytes) -> None:
    try:
        locations = Locations.decode(document).locations
    except WireError as error:
        raise NotAllowed(str(error)) from None
    for location in locations:
        if "href" in location:
            check_url(location["href"])


CHECKS: Final[dict[bytes, Callable[[str], None]]] = {b"URL": check_url, b"10320/LOC": check_locations}
"""Types, folded, whose data are addresses that people are sent to, and what is asked of them."""
