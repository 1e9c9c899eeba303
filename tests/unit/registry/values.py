"""Values in wire form for tests of the registry's pure parts."""

from protocol.handle import Handle
from protocol.value import DEFAULT_PERMISSIONS, HandleValue, ValueList, ValueReference
from protocol.valuetypes import ALL_PERMISSIONS, Admin
from registry.outcomes import Identity
from registry.record import Values, parse_stored

ALICE = Identity(index=300, handle=Handle.parse("88.1/alice"))
BOB = Identity(index=300, handle=Handle.parse("88.1/bob"))


def value(
    index: int,
    type_name: str = "URL",
    data: bytes = b"x",
    permissions: int = DEFAULT_PERMISSIONS,
    timestamp: int = 7,
) -> HandleValue:
    """A value."""
    return HandleValue(index=index, type=type_name, data=data, permissions=permissions, timestamp=timestamp)


def admin(identity: Identity, rights: int = ALL_PERMISSIONS, index: int = 100) -> HandleValue:
    """An HS_ADMIN value."""
    return value(
        index, "HS_ADMIN", Admin(ValueReference(identity.handle.octets, identity.index), rights).encode()
    )


def record(*values: HandleValue) -> Values:
    """Values by index, as the registry works on them."""
    return parse_stored(ValueList.of(values))
