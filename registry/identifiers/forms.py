"""What is asked for, as it comes in JSON: new identifiers, new contents, new states, and batches of all of them.

The front end decodes bodies straight into these; nothing is copied on the way to the database.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from protocol.wire import MAX_HANDLE_OCTETS, MAX_VALUES
from registry.identifiers.patterns import PATTERN_CHARACTERS_MAX
from registry.identifiers.values import ValueForm
from registry.outcomes import BATCH_ITEMS_MAX
from registry.text import Paragraph

RANGE_NUMBERS_MAX: Final = 1_000_000
"""Suffixes of one range: what a line that is off the network uses up in a year."""

Name = Annotated[str, Meta(min_length=3, max_length=MAX_HANDLE_OCTETS, description="Such as 88.100.1/PUMP-7")]
PrefixName = Annotated[str, Meta(min_length=1, max_length=MAX_HANDLE_OCTETS, description="Such as 88.100.1")]
Version = Annotated[int, Meta(ge=1, description="The version that was read; another one refuses the item")]
Values = Annotated[list[ValueForm], Meta(min_length=1, max_length=MAX_VALUES)]


class NewIdentifier(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """An identifier to be registered: named as a whole, by prefix and suffix, or by prefix and a pattern to mint by."""

    values: Values
    identifier: Name | UnsetType = UNSET
    prefix: PrefixName | UnsetType = UNSET
    suffix: Annotated[str, Meta(min_length=1, max_length=MAX_HANDLE_OCTETS)] | UnsetType = UNSET
    mint: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=PATTERN_CHARACTERS_MAX,
                description="`random`, or a pattern such as PUMP-{yyyy}-{seq:6}; fields: {yyyy} {yy} {mm} {dd} "
                "{seq:n} {random:n} {check:mod37}",
            ),
        ]
        | UnsetType
    ) = UNSET
    range: (
        Annotated[
            str,
            Meta(max_length=64, description="Id of the range that the suffix was reserved in: activates it"),
        ]
        | UnsetType
    ) = UNSET
    state: Annotated[
        Literal["active", "draft"], Meta(description="A draft is known to nobody but its owner")
    ] = "active"


class NewValues(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """What an identifier shall hold. Values that are not public stay unless one of the same index is given, and so do
    administrators unless others are given.
    """

    values: Values


class StateChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The state that an identifier shall have."""

    state: Literal["active", "suspended", "retired"]
    reason: (
        Annotated[Paragraph, Meta(description="Why; everybody is told. Needed to suspend and to retire")]
        | None
    ) = None
    successor: Annotated[Name, Meta(description="What replaces a retired identifier")] | None = None
    redirect: Annotated[
        bool, Meta(description="Whether who resolves a retired identifier is sent on to its successor")
    ] = False
    since: (
        Annotated[datetime, Meta(tz=True, description="Since when it is so; now unless it was earlier")]
        | None
    ) = None


class CreateItem(NewIdentifier, tag_field="action", tag="create", kw_only=True, gc=False):
    """Register an identifier."""


class UpdateItem(NewValues, tag_field="action", tag="update", kw_only=True, gc=False):
    """Give an identifier new values."""

    identifier: Name
    version: Version


class DeleteItem(
    msgspec.Struct, tag_field="action", tag="delete", forbid_unknown_fields=True, kw_only=True, gc=False
):
    """Delete an identifier."""

    identifier: Name
    version: Version | UnsetType = UNSET


class StateItem(StateChange, tag_field="action", tag="state", kw_only=True):
    """Change the state of an identifier."""

    identifier: Name
    version: Version | UnsetType = UNSET


ChangeItem = UpdateItem | DeleteItem | StateItem
BatchItem = CreateItem | UpdateItem | DeleteItem | StateItem


class BatchForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Several acts at once."""

    mode: Annotated[
        Literal["transactional", "best_effort"],
        Meta(description="All or nothing, or whatever can be done with a result for each item"),
    ] = "transactional"
    items: Annotated[
        list[BatchItem],
        Meta(min_length=1, max_length=BATCH_ITEMS_MAX, description="Each identifier once; in any order"),
    ]


class NewRange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Suffixes to be reserved."""

    prefix: PrefixName
    pattern: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=PATTERN_CHARACTERS_MAX,
            description="Literal text and dates around one {seq:n}, such as LINE4-{yyyy}-{seq:8}",
        ),
    ]
    count: Annotated[int, Meta(ge=1, le=RANGE_NUMBERS_MAX, description="How many suffixes")]
    first: (
        Annotated[int, Meta(ge=0, description="The first number; else the next one that is free")] | UnsetType
    ) = UNSET


class Release(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which rest of a range is released."""

    first: (
        Annotated[
            int,
            Meta(
                ge=0,
                description="The first number to be released; else the one behind the last that was activated",
            ),
        ]
        | UnsetType
    ) = UNSET
