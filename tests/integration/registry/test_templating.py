"""Names that are not stored, answered from the record of their base: what wins, what is told, what ends an answer."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.value import DEFAULT_PERMISSIONS, DEFAULT_TTL_S, SECRET_PERMISSIONS, HandleValue, TtlType
from registry.outcomes import COMMAND, OPERATOR, Actor, Answer, Created, Denied, Found, Rejected
from registry.prefixes import Prefixes, PrefixStatus
from registry.templating import TOO_COSTLY
from registry.writing import State
from tests.integration.registry.bench import ADMINISTRATOR, Bench, admin, secret, url
from tests.unit.registry.namespaces import V36, template

PUMP = "http://example.org/pump"


def namespace(document: str, *, ttl: int = DEFAULT_TTL_S) -> HandleValue:
    return HandleValue(index=10, type="HS_NAMESPACE", data=document.encode(), ttl=ttl)


async def with_template(bench: Bench, document: str = V36, *, ttl: int = DEFAULT_TTL_S) -> None:
    """A prefix with a template, and a base."""
    await bench.home("88.100", admin(), namespace(document, ttl=ttl))
    await bench.create("88.100/pump", url(PUMP), admin())


async def with_delimiter(bench: Bench, delimiter: str = "@") -> None:
    """A node that parts names, whatever its prefixes say."""
    bench.prefixes = Prefixes(bench.store.prefix_rows, bench.generations, template_delimiter=delimiter)
    bench.operations = bench.make_operations()


async def addresses(bench: Bench, name: str, reader: Actor | None = None) -> list[str]:
    return [value.data.decode() for value in await bench.values(name, reader) if value.type == "URL"]


async def code_of(bench: Bench, name: str) -> int:
    answer = await bench.ask(name)
    assert isinstance(answer, Denied), answer
    return int(answer.code)


async def set_state(bench: Bench, name: str, state: State) -> None:
    async with bench.store.connection() as connection:
        await connection.execute(
            "UPDATE handles SET state = $1 WHERE key = $2", state, Handle.parse(name).key
        )


def is_current(bench: Bench, answer: Answer) -> bool:
    return bench.generations.current(answer.stamp)


async def test_one_record_answers_for_every_serial_number_below_it(bench: Bench) -> None:
    await with_template(bench)
    for number in range(20):
        answer = await bench.ask(f"88.100/PUMP@{number}")
        assert isinstance(answer, Found)
        assert [value.data for value in answer.values][:1] == [f"{PUMP}?{number}".encode()]
        assert (str(answer.handle), str(answer.made_from)) == (f"88.100/PUMP@{number}", "88.100/PUMP")
    assert await addresses(bench, "88.100/pump") == [PUMP]


async def test_the_values_that_are_asked_for_are_chosen_from_those_that_were_made(bench: Bench) -> None:
    document = template('<value index="5" type="A" data="1"/><value index="6" type="B" data="2"/>')
    await with_template(bench, document)

    async def ask(indexes: Sequence[int] = (), types: Sequence[str] = ()) -> list[int]:
        handle = Handle.parse("88.100/pump@7")
        answer = await bench.operations.resolve(handle, indexes=indexes, types=types)
        return [value.index for value in answer.values] if isinstance(answer, Found) else [-answer.code]

    assert await ask() == [5, 6]
    assert await ask([6], ["url"]) == [6]
    assert await ask([], ["a"]) == [5]
    assert await ask([1], ["URL"]) == [-ResponseCode.VALUES_NOT_FOUND]


async def test_a_stored_handle_wins_and_may_be_made_where_a_template_answers(bench: Bench) -> None:
    await with_template(bench)
    before = await bench.ask("88.100/pump@7")
    assert isinstance(await bench.create("88.100/pump@7", url("http://example.org/7"), admin()), Created)

    assert not is_current(bench, before)
    assert await addresses(bench, "88.100/pump@7") == ["http://example.org/7"]
    assert await addresses(bench, "88.100/pump@7", ADMINISTRATOR) == ["http://example.org/7"]
    await bench.operations.delete([Handle.parse("88.100/pump@7")], by=OPERATOR)
    assert await addresses(bench, "88.100/pump@7") == [f"{PUMP}?7"]


async def test_a_name_that_a_template_makes_cannot_be_changed_or_deleted(bench: Bench) -> None:
    await with_template(bench)
    changed = await bench.put("88.100/pump@7", url("http://example.org/7"))
    (deleted,) = await bench.operations.delete([Handle.parse("88.100/pump@7")], by=OPERATOR)
    for result in (changed, deleted):
        assert isinstance(result, Rejected)
        assert result.code is ResponseCode.HANDLE_NOT_FOUND


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.SUSPENDED, ResponseCode.VALUES_NOT_FOUND),
        (State.DRAFT, ResponseCode.VALUES_NOT_FOUND),
        (State.DELETED, ResponseCode.VALUES_NOT_FOUND),
    ],
)
async def test_a_base_that_is_not_in_force_gives_no_values(
    bench: Bench, state: State, code: ResponseCode
) -> None:
    await with_template(bench)
    await set_state(bench, "88.100/pump", state)
    assert await code_of(bench, "88.100/pump@7") == code


async def test_a_suspended_base_says_so_and_a_retired_one_tells_what_it_tells_of_itself(bench: Bench) -> None:
    await with_template(bench)
    await set_state(bench, "88.100/pump", State.SUSPENDED)
    answer = await bench.ask("88.100/pump@7")
    assert isinstance(answer, Denied)
    assert "suspended" in answer.message
    await set_state(bench, "88.100/pump", State.RETIRED)
    assert await addresses(bench, "88.100/pump@7") == [PUMP]


async def test_a_suspended_or_draft_handle_of_that_name_is_what_it_is_elsewhere(bench: Bench) -> None:
    await with_template(bench)
    await bench.create("88.100/pump@7", url("http://example.org/7"))
    await set_state(bench, "88.100/pump@7", State.SUSPENDED)
    assert await code_of(bench, "88.100/pump@7") == ResponseCode.VALUES_NOT_FOUND
    await set_state(bench, "88.100/pump@7", State.DRAFT)
    assert await addresses(bench, "88.100/pump@7") == [f"{PUMP}?7"]


async def test_without_a_base_a_template_works_on_nothing(bench: Bench) -> None:
    await with_template(bench)
    assert await code_of(bench, "88.100/none@7") == ResponseCode.VALUES_NOT_FOUND
    assert await code_of(bench, "88.100/none") == ResponseCode.HANDLE_NOT_FOUND
    assert await code_of(bench, "99.1/pump@7") == ResponseCode.SERVER_NOT_RESPONSIBLE
    await with_template(bench, template('<value type="URL" data="http://example.org/${base}/${extension}"/>'))
    assert await addresses(bench, "88.100/none@7@8") == ["http://example.org/88.100/none/7@8"]
    await with_template(
        bench, template('<if test="matches" expression="[0-9]+" negate="true"><notfound/></if>')
    )
    assert await code_of(bench, "88.100/pump@x") == ResponseCode.HANDLE_NOT_FOUND
    assert await code_of(bench, "88.100/pump@7") == ResponseCode.VALUES_NOT_FOUND


async def test_restricted_values_are_given_to_no_template_whoever_asks(bench: Bench) -> None:
    await with_template(bench, template("<foreach><value/></foreach>"))
    hidden = HandleValue(index=2, type="NOTE", data=b"hidden", permissions=SECRET_PERMISSIONS)
    await bench.put("88.100/pump", hidden, secret("hunter2"))
    for reader in (None, ADMINISTRATOR, OPERATOR):
        values = await bench.values("88.100/pump@7", reader)
        assert [value.index for value in values] == [1, 100]
        assert all(value.permissions == DEFAULT_PERMISSIONS for value in values)


async def test_a_write_to_the_base_ends_what_was_made_from_it(bench: Bench) -> None:
    await with_template(bench)
    made, other = await bench.ask("88.100/pump@7"), await bench.ask("88.100/none@7")
    assert is_current(bench, made)
    await bench.put("88.100/pump", url("http://example.org/new"))
    assert not is_current(bench, made)
    assert is_current(bench, other)
    assert await addresses(bench, "88.100/pump@7") == ["http://example.org/new?7"]
    await bench.create("88.100/none", url(PUMP))
    assert not is_current(bench, other)


async def test_a_new_record_of_the_prefix_ends_what_its_template_made(bench: Bench) -> None:
    await with_template(bench)
    made = await bench.ask("88.100/pump@7")
    await bench.home("88.100", admin(), namespace(template('<value type="T" data="x"/>')))
    assert not is_current(bench, made)
    assert [value.data for value in await bench.values("88.100/pump@7")] == [b"x"]
    await bench.home("88.100", admin())
    assert await code_of(bench, "88.100/pump@7") == ResponseCode.HANDLE_NOT_FOUND


async def test_namespaces_inherit_from_that_of_everything_to_that_of_the_base(root: Bench) -> None:
    await root.home("88")
    await root.create("88/pump", url(PUMP))
    assert await code_of(root, "88/pump@7") == ResponseCode.HANDLE_NOT_FOUND
    for record, value in (
        ("0.NA/0.NA", namespace(template('<value type="T" data="for all"/>'))),
        ("0.NA/88", namespace(template('<value type="T" data="of the prefix"/>'))),
        ("88/pump", namespace(template('<value type="T" data="of the base"/>'))),
    ):
        before = await root.ask("88/pump@7")
        await (root.put if record == "88/pump" else root.create)(record, value)
        assert record == "0.NA/0.NA" or not is_current(
            root, before
        )  # a denial where there was none lives for 30 s
        (made,) = await root.values("88/pump@7")
        assert made.data in value.data
    await root.put("88/pump", namespace("<namespace/>"))
    assert (await root.values("88/pump@7"))[0].data == b"of the prefix"


async def test_a_node_may_part_names_whose_prefix_says_nothing(bench: Bench) -> None:
    await with_delimiter(bench)
    await bench.create("88.100/pump", url(PUMP))
    assert await addresses(bench, "88.100/pump@7") == [PUMP]
    assert await code_of(bench, "88.100/none@7") == ResponseCode.HANDLE_NOT_FOUND
    await bench.put("88.100/pump", namespace(template('<value type="URL" data="${extension}"/>')))
    assert await addresses(bench, "88.100/pump@7") == ["7"]
    await bench.home("88.100", admin(), namespace(V36.replace("@", "~")))
    assert await code_of(bench, "88.100/pump@7") == ResponseCode.HANDLE_NOT_FOUND
    assert await addresses(bench, "88.100/pump~7") == ["7"]


async def test_with_a_slash_between_them_the_base_is_the_record_of_the_prefix(bench: Bench) -> None:
    steps = '<if value="type" test="equals" expression="URL"><value data="${data}${extension}"/></if>'
    document = template(f"<foreach>{steps}</foreach>").replace('"@"', '"/"')
    await bench.home("88.100", admin(), url("http://example.org/"), namespace(document))
    assert await addresses(bench, "88.100/any/7@x") == ["http://example.org/any/7@x"]
    await bench.create("88.100/stored", url(PUMP))
    assert await addresses(bench, "88.100/stored") == [PUMP]


async def test_values_live_no_longer_than_what_they_were_made_from(bench: Bench) -> None:
    document = template('<foreach><value/></foreach><value index="9" type="T" data="x"/>')
    await with_template(bench, document, ttl=600)
    until = HandleValue(index=3, type="D", data=b"", ttl=int(bench.now_s) + 60, ttl_type=TtlType.ABSOLUTE)
    late = replace(until, index=4, ttl=int(bench.now_s) + 6_000)
    await bench.put("88.100/pump", replace(url(PUMP, 2), ttl=5), until, late)
    made = {value.index: (value.ttl, value.ttl_type) for value in await bench.values("88.100/pump@7")}
    assert made == {1: (600, 0), 2: (5, 0), 3: (until.ttl, 1), 4: (600, 0), 9: (600, 0), 100: (600, 0)}


async def test_a_template_elsewhere_is_followed_and_a_write_to_it_noticed(bench: Bench) -> None:
    await bench.home("88.200")
    await with_template(bench, template('<template ref="3:88.200/t"/>'))
    assert await code_of(bench, "88.100/pump@7") == ResponseCode.HANDLE_NOT_FOUND
    for data in ("one", "two"):
        before = await bench.ask("88.100/pump@7")
        shared = HandleValue(
            index=3, type="T", data=f'<template><value type="T" data="{data}"/></template>'.encode()
        )
        await bench.create("88.200/t", replace(shared, ttl=60), replace=True)
        assert not is_current(bench, before)
        assert [(value.data, value.ttl) for value in await bench.values("88.100/pump@7")] == [
            (data.encode(), 60)
        ]
    await bench.create("88.200/t", replace(shared, permissions=SECRET_PERMISSIONS), replace=True)
    assert await code_of(bench, "88.100/pump@7") == ResponseCode.HANDLE_NOT_FOUND


@pytest.mark.parametrize("reference", ["3:88.300/t", "3:99.9/t", "3:0.NA/99.9", "10:0.NA/88.300"])
async def test_a_template_that_is_not_answered_here_is_not_followed(bench: Bench, reference: str) -> None:
    await bench.home("88.300")
    shared = HandleValue(index=3, type="T", data=b'<template><value type="T" data="x"/></template>')
    await bench.create("88.300/t", shared)
    row = await bench.prefixes.row(b"88.300")
    assert row is not None
    async with bench.operations.transaction(COMMAND) as transaction:
        await transaction.save_prefix(replace(row, status=PrefixStatus.SUSPENDED))
    await with_template(bench, template(f'<template ref="{reference}"/>'))
    assert await code_of(bench, "88.100/pump@7") == ResponseCode.HANDLE_NOT_FOUND


async def test_a_template_that_takes_too_much_is_a_denial_that_is_counted(bench: Bench) -> None:
    await with_template(bench, template("<foreach>" * 20 + "</foreach>" * 20))
    await bench.put("88.100/pump", *(url(PUMP, index) for index in range(2, 20)))
    reached: Counter[str] = Counter()
    bench.operations = bench.make_operations(on_limit=lambda limit: reached.update([limit]))
    answer = await bench.ask("88.100/pump@7")
    assert isinstance(answer, Denied)
    assert (answer.code, answer.message) == (ResponseCode.HANDLE_NOT_FOUND, TOO_COSTLY)
    assert reached == {"template_work": 1}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (template(r'<if test="matches" expression="(.)\1"/>'), "is none for RE2: invalid escape sequence"),
        ("<namespace>", "not well-formed"),
        ("<!DOCTYPE n><namespace/>", "document type"),
    ],
)
async def test_a_namespace_that_cannot_be_carried_out_is_not_stored(
    bench: Bench, document: str, words: str
) -> None:
    result = await bench.create("88.100/pump", namespace(document))
    assert isinstance(result, Rejected)
    assert result.code is ResponseCode.INVALID_VALUE
    assert result.message.startswith("value 10: data that are no HS_NAMESPACE: ")
    assert words in result.message


async def test_an_empty_namespace_may_stand_and_says_nothing(bench: Bench) -> None:
    assert isinstance(await bench.create("88.100/pump", namespace("")), Created)


@pytest.mark.parametrize(("case_sensitive", "address"), [(False, "yes"), (True, "no")])
async def test_where_names_heed_case_base_and_tests_do(
    bench: Bench, case_sensitive: bool, address: str
) -> None:
    steps = (
        '<if test="equals" expression="abc"><value type="URL" data="yes"/></if>'
        '<else><value type="URL" data="no"/></else>'
    )
    bench.operations = bench.make_operations(case_sensitive=case_sensitive)
    await with_template(bench, template(steps))
    assert await addresses(bench, "88.100/pump@ABC") == [address]
    await with_template(bench)
    answer = await bench.ask("88.100/PUMP@7")
    assert isinstance(answer, Denied if case_sensitive else Found)
