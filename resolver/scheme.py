"""What people write in front of a handle."""

from typing import Final

SCHEMES: Final = (b"info:doi/", b"info:hdl/", b"urn:doi:", b"urn:hdl:", b"urn:eidr:", b"doi:", b"hdl:")
"""What people write in front of a handle. Source: PROTOCOL.md §8.5."""


def strip_scheme(name: bytes) -> bytes:
    """The handle without blanks around it and without the scheme that people write in front of it."""
    name = name.strip()
    folded = name[:16].lower()
    return next((name[len(scheme) :] for scheme in SCHEMES if folded.startswith(scheme)), name)
