"""The record of a prefix is for whoever allocates it: the holder's own administrator does not write it."""

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.value import HandleValue
from registry.initialise import administrator_of
from registry.outcomes import Created, Identity, Rejected, Result
from tests.integration.registry.allocation.office import SEVEN, Office, a_site
from tests.integration.registry.bench import ADMINISTRATOR, admin, url

RECORD = "0.NA/88.100.7"
HOLDER = administrator_of(SEVEN)
ELSEWHERE = HandleValue(index=1, type="HS_SITE", data=a_site("9.9.9.9").encode())
ACTIVE = HandleValue(index=10, type="HS_NAMESPACE", data=b"<namespace><status>active</status></namespace>")


def refused(result: Result) -> bool:
    return isinstance(result, Rejected) and result.code is ResponseCode.ACCESS_DENIED


async def test_a_holder_does_not_say_where_its_prefix_is_served(office: Office) -> None:
    await office.allocated()
    before = await office.bench.values(RECORD)

    assert refused(await office.bench.put(RECORD, ELSEWHERE, by=HOLDER))
    assert refused(await office.bench.create(RECORD, ELSEWHERE, admin(HOLDER), by=HOLDER, replace=True))
    handle = Handle.parse(RECORD)
    assert refused(await office.bench.operations.remove_values(handle, [1, 2], by=HOLDER))
    (deleted,) = await office.bench.operations.delete([handle], by=HOLDER)
    assert refused(deleted)
    assert await office.bench.values(RECORD) == before


@pytest.mark.parametrize("by", [HOLDER, ADMINISTRATOR], ids=str)
async def test_nobody_but_the_operator_takes_a_suspension_out_of_the_record(
    office: Office, by: Identity
) -> None:
    await office.allocated()
    await office.bench.put(RECORD, admin(ADMINISTRATOR, index=101))
    await office.suspend()
    before = await office.bench.values(RECORD)

    assert refused(await office.bench.put(RECORD, ACTIVE, by=by))
    assert refused(await office.bench.put(RECORD, ELSEWHERE, by=by))
    assert await office.bench.values(RECORD) == before


async def test_a_holder_allocates_nothing_by_writing_records(office: Office) -> None:
    await office.allocated()
    record = await office.bench.create("0.NA/88.100.7.5", ELSEWHERE, admin(HOLDER), by=HOLDER)
    assert refused(record)
    assert isinstance(
        await office.bench.create("88.100.7/pump", url("https://a.example/"), by=HOLDER), Created
    )
