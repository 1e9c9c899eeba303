"""A stamp is older than everything that an answer was made from, what is known of prefixes included."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from protocol.generations import Generations
from protocol.handle import Handle
from protocol.value import HandleValue, ValueList
from registry.context import Context
from registry.prefixes import Prefixes, PrefixRow, PrefixStatus
from registry.reads import PublicRow
from registry.resolution import Query, Reading
from registry.writing import State

VALUES = ValueList.of([HandleValue(index=1, type="URL", data=b"https://example.com")])


async def test_a_prefix_that_is_suspended_while_it_is_read_leaves_no_answer_that_counts() -> None:
    generations = Generations()
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def read(keys: Any) -> dict[bytes, PrefixRow]:
        row = PrefixRow(
            key=b"10.5",
            name=b"10.5",
            homed=True,
            authorisation=ValueList(b"", 0),
            status=PrefixStatus.ACTIVE,
        )
        asked.set()
        await may_answer.wait()  # what was read is on its way while somebody suspends the prefix
        return {b"10.5": row}

    async def read_public(key: bytes) -> PublicRow:
        return cast(PublicRow, SimpleNamespace(public=VALUES, state=State.STORED, restricted_count=0))

    context = SimpleNamespace(
        prefixes=Prefixes(read, generations),
        generations=generations,
        store=SimpleNamespace(read_public=read_public),
        key_of=lambda handle: handle.key,
    )
    query = Query(handle=Handle(b"10.5/a"), indexes=(), types=(), refer=True, reader=None)
    resolving = asyncio.create_task(Reading(cast(Context, context)).resolve(query))
    await asked.wait()
    generations.bump((), (b"10.5",))  # committed and acknowledged
    may_answer.set()

    assert not generations.current((await resolving).stamp)
