"""Who somebody is: secrets and groups, from records that are given."""

from protocol.handle import Handle
from protocol.value import ValueReference
from protocol.valuetypes import ValueReferences
from registry.authenticate import GROUPS_MAX, check_secret, named_by_group
from registry.outcomes import Identity
from registry.permission import grants_in, names
from registry.record import Values
from tests.unit.registry.values import ALICE, BOB, admin, record, value

SECRET = 0x0C
CREW = Identity(index=200, handle=Handle.parse("88.1/crew"))


def key(index: int, secret: bytes, permissions: int = SECRET) -> Values:
    return record(value(index, "HS_SECKEY", secret, permissions))


def test_the_named_value_must_hold_the_secret() -> None:
    keys = key(300, b"right") | key(301, b"other")

    assert check_secret(ALICE, keys, b"right") == ALICE
    assert check_secret(ALICE, keys, b"other") is None
    assert check_secret(ALICE, keys, b"righ") is None
    assert check_secret(ALICE, None, b"right") is None
    assert check_secret(ALICE, record(value(300, "URL", b"right", SECRET)), b"right") is None


def test_index_zero_stands_for_any_key_and_becomes_the_one_that_matched() -> None:
    anybody = Identity(index=0, handle=ALICE.handle)

    assert check_secret(anybody, key(300, b"a") | key(301, b"b"), b"b") == Identity(
        index=301, handle=ALICE.handle
    )


def test_an_empty_or_public_secret_never_matches() -> None:
    assert check_secret(ALICE, key(300, b""), b"") is None
    assert check_secret(ALICE, None, b"") is None
    assert check_secret(ALICE, key(300, b"open", 0x0E), b"open") is None


async def test_what_anybody_may_write_is_no_secret_and_no_group() -> None:
    assert check_secret(ALICE, key(300, b"theirs", SECRET | 1), b"theirs") is None

    members = ValueReferences((ValueReference(ALICE.handle.octets, ALICE.index),)).encode()

    async def read(_: Handle) -> Values | None:
        return record(value(200, "HS_VLIST", members, 0x0F))

    assert not await named_by_group(names(ALICE), grants_in(record(admin(CREW)).values()), read)


class Directory:
    """Groups by name, counting how often it is read."""

    def __init__(self, **members: tuple[tuple[str, int], ...]) -> None:
        self.members = {f"88.1/{name}".upper(): group for name, group in members.items()}
        self.reads = 0

    async def read(self, handle: Handle) -> Values | None:
        self.reads += 1
        group = self.members.get(str(handle).upper())
        if group is None:
            return None
        references = tuple(ValueReference(name.encode(), index) for name, index in group)
        return record(value(200, "HS_VLIST", ValueReferences(references).encode()))


async def test_a_member_of_a_nested_group_is_found() -> None:
    directory = Directory(crew=(("88.1/inner", 200), ("88.1/crew", 200)), inner=(("88.1/Alice", 300),))
    grants = grants_in(record(admin(CREW)).values())

    assert await named_by_group(names(ALICE), grants, directory.read) == {(b"88.1/crew", 200)}
    assert await named_by_group(names(BOB), grants, directory.read) == frozenset()


async def test_index_zero_names_a_member_but_opens_no_group() -> None:
    directory = Directory(crew=(("88.1/alice", 0), ("88.1/inner", 0)), inner=(("88.1/bob", 300),))
    grants = grants_in(record(admin(CREW)).values())

    assert await named_by_group(names(ALICE), grants, directory.read)
    assert not await named_by_group(names(BOB), grants, directory.read)


async def test_groups_in_a_circle_or_without_end_are_read_a_bounded_number_of_times() -> None:
    chain = {f"g{number}": ((f"88.1/g{number + 1}", 200),) for number in range(2 * GROUPS_MAX)}
    directory = Directory(crew=(("88.1/g0", 200),), **chain)

    assert not await named_by_group(names(BOB), grants_in(record(admin(CREW)).values()), directory.read)
    assert directory.reads == GROUPS_MAX


async def test_however_many_groups_administer_a_bounded_number_of_lists_is_read() -> None:
    crews = [Identity(index=200, handle=Handle.parse(f"88.1/crew{number}")) for number in range(600)]
    grants = grants_in(record(*(admin(crew, index=1 + at) for at, crew in enumerate(crews))).values())
    directory = Directory()

    assert not await named_by_group(names(BOB), grants, directory.read)
    assert directory.reads == GROUPS_MAX


async def test_a_list_that_does_not_decode_has_no_members() -> None:
    async def read(_: Handle) -> Values | None:
        return record(value(200, "HS_VLIST", b"\0\0\0\7"))

    assert not await named_by_group(names(ALICE), grants_in(record(admin(CREW)).values()), read)
