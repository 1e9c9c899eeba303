"""Walk: the way from the root to one handle, and how far along it a resolution stands."""

from protocol.client.delegation import Locator
from protocol.errors import InvalidHandle
from protocol.handle import Handle, Prefix


class Walk:
    """The way to one handle: the question's own, or a service handle's.

    path: the prefixes whose records are asked for, shortest first; home: whether the last one's record names the
    service that holds the target (for prefix records it is the service that holds the records).
    base: from which position of the path on which service holds the records, as told by the root or a referral.
    """

    __slots__ = (
        "base",
        "home",
        "indexes",
        "locator",
        "path",
        "position",
        "relied_on",
        "target",
        "types",
    )

    def __init__(
        self,
        target: Handle,
        indexes: tuple[int, ...],
        types: tuple[str, ...],
        *,
        root: Locator,
        labels_max: int,
    ) -> None:
        self.target = target
        self.indexes = indexes
        self.types = types
        self.path, self.home = _path_to(target, labels_max)
        self.base = (0, root)
        self.position = 0
        self.locator = root
        self.relied_on: Prefix | None = None
        """The prefix whose delegation named the locator."""

    @property
    def is_at_target(self) -> bool:
        """Whether the next exchange asks for the target itself."""
        return self.position == len(self.path)

    @property
    def asked(self) -> Handle:
        """The handle that the next exchange asks for."""
        return self.target if self.is_at_target else self.path[self.position].record

    @property
    def asks_for_prefix_record(self) -> bool:
        """Whether that is a prefix record, so that prefix referrals make sense."""
        return not self.is_at_target or self.target.is_prefix_record

    @property
    def owner(self) -> Prefix:
        """The prefix that the next exchange is about: sites that a referral names are asked on its behalf."""
        if not self.is_at_target:
            return self.path[self.position]
        if not self.target.is_prefix_record:
            return self.target.prefix
        try:
            return self.target.subject
        except InvalidHandle:
            return self.target.prefix


def _path_to(target: Handle, labels_max: int) -> tuple[tuple[Prefix, ...], bool]:
    """The prefixes to ask for, shortest first, and whether the last one names the service that holds the target."""
    if target.is_prefix_record:
        return _ancestors_of_record(target, labels_max), False
    if target.is_global:
        return (), False
    prefix = target.prefix
    ancestors = list(prefix.ancestors())[::-1]
    return (*ancestors[:labels_max], prefix), True


def _ancestors_of_record(target: Handle, labels_max: int) -> tuple[Prefix, ...]:
    """The proper ancestors of the prefix that a prefix record speaks of; none for 0.NA/88 and 0.NA/0.NA."""
    try:
        subject = target.subject
    except InvalidHandle:
        return ()  # 0.NA/a/b and the like: only the root can know it
    if subject.octets[:2] == b"0.":
        return ()
    return tuple(list(subject.ancestors())[::-1][:labels_max])
