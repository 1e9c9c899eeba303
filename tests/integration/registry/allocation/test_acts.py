"""Acts on prefixes: suspension, resumption, revocation, change of route, switches; what everybody is told then."""

from dataclasses import replace
from datetime import timedelta

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle, Prefix
from protocol.site import Site
from protocol.statuses import Status, parse_status
from protocol.value import HandleValue
from protocol.valuetypes.hs_namespace import Namespace
from registry.allocation.lifecycle import Hosting, PrefixAct, PrefixState
from registry.changes import put_values
from registry.outcomes import COMMAND, OPERATOR, Created, Denied, Found, Referred, Rejected, Replaced
from registry.problem_types import ApiProblem
from tests.integration.registry.allocation.office import (
    ACME,
    OTHER_KEY,
    RIVAL,
    SEVEN,
    Office,
    a_site,
    principal,
)
from tests.integration.registry.bench import url

RECORD = "0.NA/88.100.7"
PUMP = "88.100.7/pump"


async def with_pump(office: Office) -> None:
    await office.allocated()
    await office.bench.create(PUMP, url("https://a.example/"), by=principal(), inherit_admin=True)


async def record_of(office: Office) -> dict[int, HandleValue]:
    return {value.index: replace(value, timestamp=0) for value in await office.bench.values(RECORD, OPERATOR)}


async def denial(office: Office, name: str) -> Denied:
    answer = await office.bench.ask(name)
    assert isinstance(answer, Denied), answer
    return answer


# Suspension.


async def test_below_a_suspended_prefix_everything_says_so(office: Office) -> None:
    await with_pump(office)
    await office.suspend(reason="unpaid & overdue")

    for name in (PUMP, "88.100.7/unknown", "88.100.7/ADMIN"):
        answer = await denial(office, name)
        assert answer.code is ResponseCode.VALUES_NOT_FOUND
        told = parse_status(answer.message)
        assert told is not None
        assert (told.status, told.reason) == (Status.SUSPENDED, "unpaid & overdue")
        assert told.by == "the operator of node 88.100"


async def test_its_record_says_so_and_withholds_who_serves_it(office: Office) -> None:
    await with_pump(office)
    await office.suspend(reason="unpaid & overdue")

    values = await office.bench.values(RECORD)
    assert [value.type for value in values] == ["HS_NAMESPACE", "HS_ADMIN", "HS_VLIST"]
    namespace = Namespace.decode(values[0].data)
    assert not namespace.active
    assert "unpaid & overdue" in (namespace.status_message or "")
    assert values[0].ttl <= 30


async def test_nobody_but_the_operator_writes_below_it(office: Office) -> None:
    await with_pump(office)
    await office.suspend()

    refused = await office.bench.create("88.100.7/new", url("https://a.example/"), by=principal())
    assert isinstance(refused, Rejected)
    assert "suspended" in refused.message
    assert isinstance(await office.bench.put(PUMP, url("https://b.example/"), by=principal()), Rejected)


async def test_resumption_brings_everything_back_as_it_was(office: Office) -> None:
    await with_pump(office)
    before = await record_of(office)
    await office.suspend()
    resumed = await office.resume()

    assert resumed.state is PrefixState.ACTIVE
    assert (resumed.withheld, resumed.namespace) == ((), None)
    assert await record_of(office) == before
    assert isinstance(await office.bench.ask(PUMP), Found)
    assert isinstance(await office.bench.put(PUMP, url("https://b.example/"), by=principal()), Replaced)


async def test_a_namespace_of_the_holder_survives_a_suspension(office: Office) -> None:
    await office.allocated()
    document = b"<namespace><contact>plant@example.org</contact><status>active</status></namespace>"
    await office.bench.put(RECORD, HandleValue(index=50, type="HS_NAMESPACE", data=document))
    hidden = HandleValue(index=51, type="HS_SITE", data=a_site("9.9.9.9").encode(), permissions=0x0C)
    await office.bench.put(RECORD, hidden)
    before = await record_of(office)

    await office.suspend()
    (told,) = [value for value in await office.bench.values(RECORD) if value.type == "HS_NAMESPACE"]
    assert told.index == 50
    assert Namespace.decode(told.data).contact == "plant@example.org"
    assert not Namespace.decode(told.data).active

    await office.resume()
    assert await record_of(office) == before


async def test_a_suspended_delegated_prefix_is_not_referred_to(office: Office) -> None:
    await office.allocated(site=a_site(), proved=True)
    await office.suspend()

    answer = await denial(office, PUMP)
    assert answer.code is ResponseCode.VALUES_NOT_FOUND
    assert answer.message.startswith("suspended by the operator of node 88.100 since ")
    await office.resume()
    assert isinstance(await office.bench.ask(PUMP), Referred)


@pytest.mark.parametrize("act", ["suspend", "transfer"])
async def test_what_is_suspended_allows_little(office: Office, act: str) -> None:
    await office.allocated()
    await office.suspend()
    with pytest.raises(ApiProblem, match=rf"{act} is not possible; possible: resume, revoke") as caught:
        await getattr(office, act)()
    assert caught.value.type.slug == "prefix-state"


async def test_acts_on_unknown_prefixes_are_unknown(office: Office) -> None:
    for act in (office.suspend, office.resume, office.revoke):
        with pytest.raises(ApiProblem) as caught:
            await act()
        assert caught.value.type.slug == "not-found"


async def test_each_act_is_in_the_history_with_reason_and_actor(office: Office) -> None:
    await office.allocated()
    await office.suspend(reason="unpaid")
    await office.resume(reason="paid")

    entries = (await office.allocation.history(SEVEN, limit=10)).items
    assert [(entry.version, entry.act, entry.reason) for entry in entries] == [
        (3, PrefixAct.RESUME, "paid"),
        (2, PrefixAct.SUSPEND, "unpaid"),
        (1, PrefixAct.ALLOCATE, ""),
    ]
    assert {entry.actor for entry in entries} == {"usr_operator"}
    acts = [act for act in await office.acts() if act[0].startswith("prefix.")]
    assert acts[-2:] == [("prefix.suspend", "88.100.7", ACME), ("prefix.resume", "88.100.7", ACME)]


# Revocation.


async def test_a_revoked_prefix_exists_no_more(office: Office) -> None:
    await with_pump(office)
    async with office.writing() as tx:
        administrator, secret = await office.allocation.make_administrator_key(tx, SEVEN)
    revoked = await office.revoke(reason="closed")

    assert revoked.state is PrefixState.REVOKED
    for name in (PUMP, RECORD):
        answer = await denial(office, name)
        assert answer.code is ResponseCode.HANDLE_NOT_FOUND
        told = parse_status(answer.message)
        assert told is not None
        assert (told.status, told.reason) == (Status.REVOKED, "closed")
    assert await office.bench.operations.authenticate(administrator, secret.encode()) is None
    assert isinstance(
        await office.bench.create("88.100.7/x", url("https://a.example/"), by=principal()), Rejected
    )


async def test_a_revoked_delegated_prefix_exists_no_more(office: Office) -> None:
    await office.allocated(site=a_site(), proved=True)
    await office.revoke()
    assert (await denial(office, PUMP)).code is ResponseCode.HANDLE_NOT_FOUND
    assert (await denial(office, PUMP)).message.startswith("revoked by")
    assert (await denial(office, RECORD)).message.startswith("revoked by")


async def test_a_suspended_prefix_is_revoked_too(office: Office) -> None:
    await office.allocated()
    await office.suspend()
    assert (await office.revoke()).state is PrefixState.REVOKED


async def test_a_prefix_with_prefixes_below_is_not_revoked(office: Office) -> None:
    await office.allocated()
    await office.allocated("1", parent="88.100.7")
    with pytest.raises(ApiProblem, match=r"88\.100\.7\.1") as caught:
        await office.revoke()
    assert caught.value.type.slug == "prefix-not-empty"
    await office.revoke(Prefix.parse("88.100.7.1"))
    await office.revoke()


async def test_a_revoked_prefix_rests(office: Office) -> None:
    await office.allocated()
    await office.revoke()
    again = await office.approved()
    with pytest.raises(ApiProblem, match="rests until 2028-01-15") as caught:
        await office.allocate(again)
    assert caught.value.type.slug == "prefix-quarantined"


async def test_after_its_rest_its_former_holder_may_have_it_again_as_it_was(office: Office) -> None:
    await with_pump(office)
    await office.revoke()
    office.bench.now_s += timedelta(days=366).total_seconds()

    again = await office.allocated()

    assert again.version == 3
    assert isinstance(await office.bench.ask(PUMP), Found)
    assert len((await office.allocation.history(SEVEN, limit=10)).items) == 3


async def test_somebody_else_gets_it_empty_alone(office: Office) -> None:
    await with_pump(office)
    await office.revoke()
    with pytest.raises(ApiProblem) as caught:
        async with office.writing() as tx:
            await office.allocation.purge(tx, SEVEN, reason="end of rest")
    assert caught.value.type.slug == "prefix-quarantined"
    office.bench.now_s += timedelta(days=366).total_seconds()
    application = await office.approved(organisation=RIVAL)
    with pytest.raises(ApiProblem) as caught:
        await office.allocate(application)
    assert caught.value.type.slug == "prefix-not-empty"

    async with office.writing() as tx:
        await office.allocation.purge(tx, SEVEN, reason="end of rest")
    await office.allocation.run_jobs()
    await office.allocate(application)

    assert (await denial(office, PUMP)).code is ResponseCode.HANDLE_NOT_FOUND
    assert not await office.fetch("SELECT FROM handle_versions WHERE key = $1", b"88.100.7/PUMP")
    created = await office.bench.create(
        PUMP, url("https://r.example/"), by=principal(RIVAL), inherit_admin=True
    )
    assert isinstance(created, Created)


# Routes.


async def test_a_route_changes_with_a_higher_serial(office: Office) -> None:
    await office.allocated(site=a_site(), proved=True)
    async with office.writing() as tx:
        changed = await office.allocation.change_route(tx, SEVEN, a_site("9.9.9.9"), reason="new line")

    assert changed.site == a_site("9.9.9.9", serial=2)
    values = await record_of(office)
    assert Site.decode(values[1].data) == Site.decode(values[2].data) == changed.site


async def test_the_same_route_again_changes_nothing(office: Office) -> None:
    allocated = await office.allocated(site=a_site(), proved=True)
    async with office.writing() as tx:
        assert await office.allocation.change_route(tx, SEVEN, a_site(), reason="again") == allocated


async def test_a_route_with_another_key_takes_a_proof(office: Office) -> None:
    await office.allocated(site=a_site(), proved=True)
    moved = a_site(key=OTHER_KEY)
    with pytest.raises(ApiProblem) as caught:
        async with office.writing() as tx:
            await office.allocation.change_route(tx, SEVEN, moved, reason="new key")
    assert caught.value.type.slug == "node-not-proved"
    async with office.writing() as tx:
        changed = await office.allocation.change_route(tx, SEVEN, moved, reason="new key", proved=True)
    assert changed.site.servers[0].public_key == OTHER_KEY


async def test_a_route_into_a_private_network_is_refused(office: Office) -> None:
    await office.allocated(site=a_site(), proved=True)
    with pytest.raises(ApiProblem) as caught:
        async with office.writing() as tx:
            await office.allocation.change_route(tx, SEVEN, a_site("169.254.169.254"), reason="sly")
    assert caught.value.type.slug == "route-refused"


async def test_a_hosted_prefix_has_no_route_of_its_own(office: Office) -> None:
    await office.allocated()
    with pytest.raises(ApiProblem) as caught:
        async with office.writing() as tx:
            await office.allocation.change_route(tx, SEVEN, a_site(), reason="x")
    assert caught.value.type.slug == "prefix-hosting"


async def test_after_our_site_has_changed_hosted_records_name_the_new_one(office: Office) -> None:
    for label in ("7", "8", "9"):
        await office.allocated(label)
    await office.allocated("d", site=a_site(), proved=True)
    await office.suspend(Prefix.parse("88.100.8"))
    await office.revoke(Prefix.parse("88.100.9"))
    there = a_site("1.0.0.1", serial=2)
    office.allocation.terms = replace(office.allocation.terms, site=there)

    await office.allocation.renew_routes()

    assert Site.decode((await record_of(office))[1].data) == there
    hidden = await office.bench.values("0.NA/88.100.8", OPERATOR)
    assert Site.decode(hidden[0].data) == there
    assert [value.type for value in await office.bench.values("0.NA/88.100.8")] == [
        "HS_NAMESPACE",
        "HS_ADMIN",
        "HS_VLIST",
    ]
    assert Site.decode((await office.bench.values("0.NA/88.100.d"))[0].data) == a_site()
    await office.resume(Prefix.parse("88.100.8"))
    assert Site.decode((await office.bench.values("0.NA/88.100.8"))[0].data) == there


# Switches.


async def test_a_prefix_that_moved_away_is_referred_to_where_it_is(office: Office) -> None:
    await with_pump(office)
    async with office.writing() as tx:
        switched = await office.allocation.switch_to_delegated(tx, SEVEN, a_site(), reason="own node")

    assert switched.hosting is Hosting.DELEGATED
    answer = await office.bench.ask(PUMP)
    assert isinstance(answer, Referred)
    assert answer.code is ResponseCode.SERVICE_REFERRAL
    assert [Site.decode(value.data) for value in answer.values] == [a_site()]
    refused = await office.bench.put(PUMP, url("https://b.example/"), by=principal())
    assert isinstance(refused, Rejected)
    assert "8.8.8.8" in refused.message
    assert Site.decode((await record_of(office))[2].data) == a_site()


async def test_a_prefix_that_came_back_is_answered_here(office: Office) -> None:
    await with_pump(office)
    async with office.writing() as tx:
        await office.allocation.switch_to_delegated(tx, SEVEN, a_site(), reason="own node")
    async with office.writing() as tx:
        back = await office.allocation.switch_to_hosted(tx, SEVEN, reason="node closed")

    assert (back.hosting, back.site) == (Hosting.HOSTED, office.allocation.terms.site)
    assert isinstance(await office.bench.ask(PUMP), Found)
    assert isinstance(await office.bench.put(PUMP, url("https://b.example/"), by=principal()), Replaced)
    acts = [entry.act for entry in (await office.allocation.history(SEVEN, limit=10)).items]
    assert acts == [PrefixAct.MOVE, PrefixAct.MOVE, PrefixAct.ALLOCATE]


async def test_a_switch_to_where_it_is_already_is_refused(office: Office) -> None:
    await office.allocated()
    with pytest.raises(ApiProblem) as caught:
        async with office.writing() as tx:
            await office.allocation.switch_to_hosted(tx, SEVEN, reason="x")
    assert caught.value.type.slug == "prefix-hosting"


async def test_a_moved_prefix_is_suspended_like_any_other(office: Office) -> None:
    await with_pump(office)
    async with office.writing() as tx:
        await office.allocation.switch_to_delegated(tx, SEVEN, a_site(), reason="own node")
    await office.suspend()
    assert (await denial(office, PUMP)).message.startswith("suspended")


async def test_a_probe_is_shown(office: Office) -> None:
    await office.allocated(site=a_site(), proved=True)
    async with office.writing() as tx:
        await office.allocation.note_probe(tx, SEVEN, fault="no answer")
    shown = await office.allocation.prefix(SEVEN)
    assert shown.probe_fault == "no answer"
    assert shown.probed is not None


async def test_a_namespace_that_is_no_document_is_replaced_and_restored(office: Office) -> None:
    await office.allocated()
    broken = HandleValue(
        index=10, type="HS_NAMESPACE", data=b"<broken"
    ).encode()  # stored before it was checked
    async with office.bench.operations.transaction(COMMAND) as transaction:
        await transaction.edit([Handle.parse(RECORD)], put_values({10: broken}, overwrite=True), by=OPERATOR)
    before = await record_of(office)
    await office.suspend()
    assert not Namespace.decode((await record_of(office))[10].data).active
    await office.resume()
    assert await record_of(office) == before


async def test_an_administrators_key_belongs_to_hosted_active_prefixes(office: Office) -> None:
    await office.allocated("d", site=a_site(), proved=True)
    await office.allocated()
    await office.suspend()
    for prefix, problem in ((Prefix.parse("88.100.d"), "prefix-hosting"), (SEVEN, "prefix-state")):
        with pytest.raises(ApiProblem) as caught:
            async with office.writing() as tx:
                await office.allocation.make_administrator_key(tx, prefix)
        assert caught.value.type.slug == problem
