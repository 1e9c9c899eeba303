"""Who may appoint administrators: a principal that only registers cannot make itself, or anybody, one."""

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle
from protocol.value import SECRET_PERMISSIONS, HandleValue
from protocol.valuetypes import AdminPermission
from registry.changes import Plan
from registry.outcomes import COMMAND, Created, Deleted, Principal, Rejected, Replaced
from registry.record import Values
from registry.writing import State
from tests.integration.registry.bench import STRANGER, Bench, admin, secret, url

ENTERPRISE = "88.100.7"
WRITING = (
    AdminPermission.ADD_HANDLE
    | AdminPermission.ADD_VALUE
    | AdminPermission.MODIFY_VALUE
    | AdminPermission.REMOVE_VALUE
    | AdminPermission.READ_VALUE
    | AdminPermission.DELETE_HANDLE
)
APPOINTING = WRITING | AdminPermission.ADD_ADMIN | AdminPermission.MODIFY_ADMIN | AdminPermission.REMOVE_ADMIN
EDITOR = Principal(id="key_editor", organisation="org_one", rights=WRITING)
OWNER = Principal(id="usr_owner", organisation="org_one", rights=APPOINTING)
GROUP = HandleValue(index=200, type="HS_VLIST", data=bytes(4))
PUBLIC_KEY = HandleValue(
    index=301, type="HS_PUBKEY", data=b"\x00\x00\x00\x03key", permissions=SECRET_PERMISSIONS
)


@pytest.fixture
async def hosted(bench: Bench) -> Bench:
    await bench.home(ENTERPRISE, admin(), organisation="org_one")
    await bench.create(f"{ENTERPRISE}/ADMIN", admin(), secret("the owner's"))
    await bench.create(f"{ENTERPRISE}/pump", url("x"), admin())
    return bench


@pytest.mark.parametrize(
    "value", [secret("mine"), GROUP, PUBLIC_KEY], ids=["HS_SECKEY", "HS_VLIST", "HS_PUBKEY"]
)
async def test_who_only_writes_puts_no_key_anywhere(hosted: Bench, value: HandleValue) -> None:
    put = await hosted.put(f"{ENTERPRISE}/ADMIN", value, by=EDITOR)
    made = await hosted.create(f"{ENTERPRISE}/mine", url("x"), value, by=EDITOR, inherit_admin=True)
    replaced = await hosted.create(f"{ENTERPRISE}/ADMIN", admin(), value, by=EDITOR, replace=True)

    for result in (put, made, replaced):
        assert isinstance(result, Rejected)
        assert result.code == ResponseCode.INVALID_ADMINISTRATOR


async def test_who_only_writes_names_no_administrator(hosted: Bench) -> None:
    made = await hosted.create(f"{ENTERPRISE}/mine", url("x"), admin(STRANGER), by=EDITOR)
    put = await hosted.put(f"{ENTERPRISE}/pump", admin(STRANGER, index=101), by=EDITOR)
    assert isinstance(made, Rejected)
    assert isinstance(put, Rejected)


async def test_who_only_writes_removes_no_key(hosted: Bench) -> None:
    handle = Handle.parse(f"{ENTERPRISE}/ADMIN")
    removed = await hosted.operations.remove_values(handle, [300], by=EDITOR)
    (deleted,) = await hosted.operations.delete([handle], by=EDITOR)
    assert isinstance(removed, Rejected)
    assert isinstance(deleted, Rejected)


async def test_who_only_writes_suspends_no_key(hosted: Bench) -> None:
    def suspend(old: Values) -> Plan:
        return Plan(old, AdminPermission.MODIFY_VALUE, state=State.SUSPENDED)

    async with hosted.operations.transaction(COMMAND) as transaction:
        names = [Handle.parse(f"{ENTERPRISE}/{suffix}") for suffix in ("ADMIN", "pump")]
        key, product = await transaction.edit(names, suspend, by=EDITOR)

    assert isinstance(key, Rejected)
    assert isinstance(product, Replaced)


async def test_products_are_registered_changed_and_deleted_without_that_right(hosted: Bench) -> None:
    made = await hosted.create(f"{ENTERPRISE}/new", url("x"), by=EDITOR, inherit_admin=True)
    put = await hosted.put(f"{ENTERPRISE}/new", url("y"), by=EDITOR)
    (deleted,) = await hosted.operations.delete([Handle.parse(f"{ENTERPRISE}/new")], by=EDITOR)
    assert isinstance(made, Created)
    assert isinstance(put, Replaced)
    assert isinstance(deleted, Deleted)


async def test_who_appoints_gives_out_keys(hosted: Bench) -> None:
    assert isinstance(await hosted.put(f"{ENTERPRISE}/ADMIN", secret("new"), by=OWNER), Replaced)
    made = await hosted.create(f"{ENTERPRISE}/line", url("x"), admin(STRANGER), secret("line"), by=OWNER)
    assert isinstance(made, Created)


async def test_nobody_writes_below_the_prefix_of_another_organisation(hosted: Bench) -> None:
    foreign = Principal(id="key_foreign", organisation="org_two", rights=APPOINTING)
    limited = Principal(
        id="key_limited", organisation="org_one", rights=WRITING, prefixes=frozenset({b"88.100.8"})
    )
    for by in (foreign, limited):
        assert isinstance(
            await hosted.create(f"{ENTERPRISE}/a", url("x"), by=by, inherit_admin=True), Rejected
        )
        assert isinstance(await hosted.put(f"{ENTERPRISE}/pump", url("z"), by=by), Rejected)
