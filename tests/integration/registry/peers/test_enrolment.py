"""A node applies to the one above, through outages of either side, and is given what people have decided."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from protocol.codes import ResponseCode
from protocol.handle import Handle, Prefix
from registry.accounts.organisation import FilingState
from registry.accounts.organisation_rows import read_organisation
from registry.allocation.lifecycle import ApplicationState, Hosting
from registry.outcomes import COMMAND, Denied, Found, Referred
from registry.peers import applicants, messages
from registry.problem_types import ApiProblem
from tests.support.faults import lost_answers
from tests.support.neighbours import (
    REVIEWER,
    Neighbours,
    approved_organisation,
    register,
    until,
)
from tests.support.world import World, url_value


async def review_organisation(pair: Neighbours, *, approve: bool = True) -> str:
    """Decide about the organisation that a node below has described; its id above."""
    services = pair.upper

    async def is_there() -> bool:
        return await submitted(pair) is not None

    await until(is_there, "the organisation")
    id_ = await submitted(pair)
    assert id_ is not None
    async with services.operations.transaction(REVIEWER) as tx:
        organisation = await read_organisation(tx.connection, id_, lock=True)
        assert organisation is not None
        await services.accounts.organisations.review(tx, organisation, approve=approve, reason="as certified")
    return id_


async def submitted(pair: Neighbours) -> str | None:
    async with pair.upper.store.connection() as connection:
        found: str | None = await connection.fetchval(
            "SELECT id FROM organisations WHERE review = 'submitted' AND submitted_by = $1",
            f"node:{pair.key}",
        )
    return found


async def review_application(pair: Neighbours, *, approve: bool = True) -> None:
    """Decide about the application that follows."""
    services = pair.upper

    async def is_there() -> bool:
        page = await services.allocation.applications(state=ApplicationState.APPLIED, limit=10)
        return bool(page.items)

    await until(is_there, "the application")
    (application,) = (await services.allocation.applications(state=ApplicationState.APPLIED, limit=10)).items
    async with services.operations.transaction(REVIEWER) as tx:
        await services.allocation.review(tx, application.id, approve=approve, reason="as wished")


async def test_a_node_is_given_the_prefix_that_it_applied_for(world: World, rooted: Neighbours) -> None:
    pair = rooted
    own = await approved_organisation(pair.lower, 5)
    made = await pair.enrol(organisation=own, label="42")
    holder = await review_organisation(pair)
    await review_application(pair)

    done = await pair.enrolled(made.id, "allocated")

    assert done.prefix == b"88.100.42"
    allocated = await pair.upper.allocation.prefix(Prefix.parse("88.100.42"))
    assert (allocated.organisation, allocated.hosting) == (holder, Hosting.DELEGATED)
    assert allocated.probed is not None
    assert allocated.probe_fault is None
    row = await pair.lower.operations.context.prefixes.row(b"88.100.42")
    assert row is not None
    assert (row.homed, row.organisation) == (True, own)
    await register(pair.lower, "88.100.42/pump", url_value("https://pump.example/pump"))
    resolver = await world.resolver()
    assert (await resolver.ask("88.100.42/pump")).url == "https://pump.example/pump"


async def test_the_prefix_is_not_live_before_its_node_answers_for_it(
    pair: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = await approved_organisation(pair.lower, 5)
    made = await pair.enrol(organisation=own, label="42")
    await review_organisation(pair)
    monkeypatch.setattr(pair.lower.peers.enrolments, "_accept", _pretend)
    await review_application(pair)
    await pair.enrolled(made.id, "homed")

    async def was_probed() -> bool:
        async with pair.upper.store.connection() as connection:
            reason = await connection.fetchval("SELECT reason FROM node_applications WHERE id = $1", made.id)
        return "301" in reason

    await until(was_probed, "the probe")
    answer = await pair.upper.operations.resolve(Handle.parse("0.NA/88.100.42"), refer=False)
    assert isinstance(answer, Denied)
    assert answer.code == ResponseCode.HANDLE_NOT_FOUND


async def _pretend(*_: Any) -> Prefix:
    """Say that the prefix is served, without serving it."""
    return Prefix.parse("88.100.42")


async def test_the_node_above_is_down_during_the_application(pair: Neighbours) -> None:
    own = await approved_organisation(pair.lower, 5)
    made = await pair.enrol(organisation=own, label="42")
    await pair.above.stop()

    async def has_failed() -> bool:
        return (await pair.lower.peers.enrolments.get(made.id)).attempts > 0

    await until(has_failed, "a failed attempt")
    await pair.above.start()
    await review_organisation(pair)
    await pair.above.stop()
    await asyncio.sleep(0.5)
    await pair.above.start()
    await review_application(pair)

    assert (await pair.enrolled(made.id, "allocated")).prefix == b"88.100.42"


async def test_the_node_below_ends_at_every_stage(pair: Neighbours) -> None:
    own = await approved_organisation(pair.lower, 5)
    made = await pair.enrol(organisation=own, label="42")
    for stage in (review_organisation, review_application):
        await pair.below.stop()
        await pair.below.start()
        await stage(pair)
    await pair.below.stop()
    await pair.below.start()

    assert (await pair.enrolled(made.id, "allocated")).prefix == b"88.100.42"
    async with pair.upper.store.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM node_applications") == 1
        assert await connection.fetchval("SELECT count(*) FROM applications WHERE hosting = 'delegated'") == 1


async def test_every_other_answer_is_lost(pair: Neighbours) -> None:
    own = await approved_organisation(pair.lower, 5)
    with lost_answers(lambda number: number % 2 == 0):
        made = await pair.enrol(organisation=own)
        await review_organisation(pair)
        await review_application(pair)
        done = await pair.enrolled(made.id, "allocated")

    assert done.prefix is not None
    async with pair.upper.store.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM node_applications") == 1
        assert await connection.fetchval("SELECT count(*) FROM applications WHERE hosting = 'delegated'") == 1
        nodes = "SELECT count(*) FROM organisations WHERE submitted_by LIKE 'node:%'"
        assert await connection.fetchval(nodes) == 1


@pytest.mark.parametrize("stage", ["organisation", "application"])
async def test_a_rejection_reaches_the_node_with_its_reason(pair: Neighbours, stage: str) -> None:
    own = await approved_organisation(pair.lower, 5)
    made = await pair.enrol(organisation=own, label="42")
    await review_organisation(pair, approve=stage != "organisation")
    if stage == "application":
        await review_application(pair, approve=False)

    done = await pair.enrolled(made.id, "rejected")

    assert done.reason == ("as certified" if stage == "organisation" else "as wished")


async def test_a_label_that_nobody_is_given_is_told(pair: Neighbours) -> None:
    own = await approved_organisation(pair.lower, 5)
    made = await pair.enrol(organisation=own, label="admin")
    await review_organisation(pair)

    done = await pair.enrolled(made.id, "rejected")

    assert "reserved" in done.reason


async def test_who_names_an_organisation_above_waits_until_it_confirms(pair: Neighbours) -> None:
    made = await pair.enrol(claim=pair.organisation, label="42")

    async def is_known() -> bool:
        return bool(await pair.upper.peers.nodes(organisation=None, after=0, limit=10))

    await until(is_known, "the node")
    assert (await pair.lower.peers.enrolments.get(made.id)).state in {"sending", "applied"}
    async with pair.upper.operations.transaction(COMMAND) as tx:
        await pair.upper.peers.confirm(tx, pair.key, pair.organisation)
    await review_application(pair)

    await pair.enrolled(made.id, "allocated")
    assert (await pair.upper.allocation.prefix(Prefix.parse("88.100.42"))).organisation == pair.organisation


async def test_a_barred_node_is_not_listened_to(pair: Neighbours) -> None:
    await pair.join()
    async with pair.upper.operations.transaction(COMMAND) as tx:
        await pair.upper.peers.bar(tx, pair.key, barred=True, reason="misbehaved")

    made = await pair.enrol(claim=pair.organisation, joins=True)

    async def has_failed() -> bool:
        return "No node with the key" in (await pair.lower.peers.enrolments.get(made.id)).reason

    await until(has_failed, "a refusal")
    async with pair.upper.operations.transaction(COMMAND) as tx:
        await pair.upper.peers.bar(tx, pair.key, barred=False, reason="made up for it")
    await pair.enrolled(made.id, "joined")


async def test_a_node_with_another_key_at_the_same_address_is_not_believed(pair: Neighbours) -> None:
    await pair.join()
    async with pair.lower.operations.transaction(COMMAND) as tx:
        await tx.connection.execute("UPDATE upstream_nodes SET node = $1", "ab" * 32)

    with pytest.raises(ApiProblem, match="had the key"):
        await pair.lower.peers.enrolments.pin(pair.above.http, None)
    with pytest.raises(ApiProblem, match="has the key"):
        await pair.lower.peers.enrolments.pin(pair.above.http, "cd" * 32)
    with pytest.raises(ApiProblem, match="this node itself"):
        await pair.lower.peers.enrolments.pin(pair.below.http, None)


async def test_a_url_that_is_none_of_a_node_is_refused(pair: Neighbours) -> None:
    for url in (
        "http://192.0.2.1/",
        "http://0x7f.0.0.1:1/",
        "https://user:password@node.example/",
        "ftp://127.0.0.1/",
        "https://node.invalid/",
        "http://127.0.0.1:9/",
        "nonsense",
    ):
        with pytest.raises(ApiProblem) as refused:
            await pair.lower.peers.enrolments.pin(url, None)
        assert refused.value.type.status == 422, url


async def test_organisations_are_filed_above_and_reports_arrive(pair: Neighbours) -> None:
    own = await approved_organisation(pair.lower, 5)
    await pair.join()

    async def is_filed() -> bool:
        return (await filing_of(pair, own)) is FilingState.FILED

    await until(is_filed, "the filing")
    (filing,) = await pair.upper.peers.hearing.filings(node=pair.key, before=None, limit=10)
    assert (filing.organisation, filing.state) == (own, "filed")

    async with pair.upper.operations.transaction(COMMAND) as tx:
        await pair.upper.peers.hearing.decide(
            tx, pair.key, own, state=messages.FilingState.REFUSED, reason="the certificate has ended"
        )

    async def is_refused() -> bool:
        return (await filing_of(pair, own)) is FilingState.REFUSED

    await until(is_refused, "the decision")
    async with pair.lower.store.connection() as connection:
        organisation = await read_organisation(connection, own)
    assert organisation is not None
    assert organisation.filing.reason == "the certificate has ended"


async def filing_of(pair: Neighbours, organisation: str) -> FilingState:
    async with pair.lower.store.connection() as connection:
        found = await read_organisation(connection, organisation)
    assert found is not None
    return found.filing.state


async def test_letters_wait_while_the_node_above_is_down(pair: Neighbours) -> None:
    await pair.join()
    await pair.above.stop()
    own = await approved_organisation(pair.lower, 5)
    async with pair.lower.store.connection() as connection:
        await connection.execute(
            "INSERT INTO daily_statistics (day, resolutions, successes, registrations, latency_sum_s)"
            " VALUES (current_date - 1, 10, 8, 3, 0.5), (current_date - 2, 1, 1, 1, 0.1)"
        )

    async def have_failed() -> bool:
        letters = await pair.lower.peers.outbox.page(limit=10)
        return len(letters) >= 3 and all(letter.attempts > 0 for letter in letters)

    await until(have_failed, "failed attempts")
    await pair.above.start()
    async with pair.lower.store.connection() as connection:  # the back-off is over
        await connection.execute("UPDATE outbox SET next_at = now() WHERE sent IS NULL")

    async def have_arrived() -> bool:
        reports = await pair.upper.peers.hearing.reports(pair.key, before=None, limit=10)
        return len(reports) == 2 and await filing_of(pair, own) is FilingState.FILED

    await until(have_arrived, "reports and filing")
    latest, _ = await pair.upper.peers.hearing.reports(pair.key, before=None, limit=10)
    assert '"resolutions":10' in latest.contents
    assert (await pair.upper.peers.node(pair.key)).version != ""


async def test_a_node_that_moves_to_another_address_is_found_there(world: World, pair: Neighbours) -> None:
    own = await approved_organisation(pair.lower, 5)
    made = await pair.enrol(organisation=own, label="42")
    await review_organisation(pair)
    await review_application(pair)
    await pair.enrolled(made.id, "allocated")
    before = (await pair.upper.allocation.prefix(Prefix.parse("88.100.42"))).site

    await pair.below.stop()
    settings = pair.below.settings
    fresh = type(settings)(
        **{name: getattr(settings, name) for name in settings.__struct_fields__}
        | {"listen_addresses": (world.new_address()[0],)}
    )
    pair.below.settings = fresh
    pair.below.node = type(pair.below.node)(fresh, unsafe=True)
    await pair.below.start()

    async def is_known() -> bool:
        site = (await pair.upper.allocation.prefix(Prefix.parse("88.100.42"))).site
        return str(site.servers[0].ip) == fresh.listen_addresses[0]

    await until(is_known, "the new route")
    after = (await pair.upper.allocation.prefix(Prefix.parse("88.100.42"))).site
    assert after.serial > before.serial
    answer = await pair.upper.operations.resolve(Handle.parse("0.NA/88.100.42"), types=("HS_SITE",))
    assert isinstance(answer, Found | Referred)

    await pair.lower.peers.watch.check_routes()
    (above,) = await pair.lower.peers.upstreams()
    assert above.route_fault is None


async def test_a_record_that_names_another_site_is_noticed(pair: Neighbours) -> None:
    own = await approved_organisation(pair.lower, 5)
    made = await pair.enrol(organisation=own, label="42")
    await review_organisation(pair)
    await review_application(pair)
    await pair.enrolled(made.id, "allocated")
    told: list[bool] = []
    watch = pair.lower.peers.watch
    watch._on_route = told.append
    for site, fits in ((pair.lower.peers.site, True), (pair.upper.peers.site, False)):
        async with pair.upper.operations.transaction(COMMAND) as tx:
            await pair.upper.allocation.change_route(
                tx, Prefix.parse("88.100.42"), site, reason="a test", proved=True
            )
        async with pair.lower.store.connection() as connection:
            await connection.execute("UPDATE upstream_nodes SET route_checked = NULL")
        await watch.check_routes()
        (above,) = await pair.lower.peers.upstreams()
        assert (above.route_fault is None) is fits
        assert told[-1] is fits


async def test_delegated_prefixes_are_probed_once_a_day(pair: Neighbours) -> None:
    own = await approved_organisation(pair.lower, 5)
    made = await pair.enrol(organisation=own, label="42")
    await review_organisation(pair)
    await review_application(pair)
    await pair.enrolled(made.id, "allocated")
    prefix, watch = Prefix.parse("88.100.42"), pair.upper.peers.watch
    first = (await pair.upper.allocation.prefix(prefix)).probed

    await watch.probe_delegated()
    assert (await pair.upper.allocation.prefix(prefix)).probed == first

    await pair.below.stop()
    async with pair.upper.store.connection() as connection:
        await connection.execute("UPDATE allocations SET probed = now() - interval '25 h'")
    await watch.probe_delegated()
    fault = (await pair.upper.allocation.prefix(prefix)).probe_fault
    assert fault is not None
    assert pair.below.settings.listen_addresses[0] in fault
    assert (await pair.upper.peers.node(pair.key)).probe_fault == fault


async def test_a_node_above_that_moves_is_still_asked_for_its_records(pair: Neighbours) -> None:
    await pair.join()
    async with pair.lower.store.connection() as connection:
        await connection.execute("UPDATE upstream_nodes SET site = $1", pair.lower.peers.site.encode())

    async def is_known() -> bool:
        (above,) = await pair.lower.peers.upstreams()
        return above.site == pair.upper.peers.site.encode()

    await until(is_known, "the site of the node above")


async def test_a_stranger_fills_no_disk(pair: Neighbours) -> None:
    """A key of one's own is no reason to keep what its holder sends."""
    await pair.join(confirm=False)
    report = messages.ReportMessage(
        day=datetime.now(UTC).date(),
        registrations=1,
        resolutions=1,
        successes=1,
        denials=0,
        failures=0,
        peak_per_s=1,
    )
    async with pair.upper.operations.transaction(COMMAND) as tx:
        with pytest.raises(ApiProblem) as refused:
            await pair.upper.peers.hearing.report(tx, pair.key, report)
    assert refused.value.type.slug == "node-unconfirmed"


async def test_nodes_that_nobody_confirms_are_forgotten(pair: Neighbours) -> None:
    await pair.join(confirm=False)
    async with pair.upper.store.connection() as connection:
        for name in ("one", "two"):
            await connection.execute(
                "INSERT INTO downstream_nodes (node, public_key, site, state, first_seen, last_seen)"
                " VALUES ($1, '', '', 'known', now(), now() - interval '31 days')",
                name,
            )
        await pair.upper.peers.applicants.forget_strangers()
        kept = await connection.fetchval("SELECT count(*) FROM downstream_nodes")
    assert kept == 1


async def test_nodes_that_nobody_confirms_are_bounded(
    pair: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applicants, "STRANGERS_MAX", 0)
    made = await pair.enrol(claim=pair.organisation, joins=True)

    async def is_told() -> bool:
        found = await pair.lower.peers.enrolments.page(after="", limit=10)
        return any(one.id == made.id and "Too many nodes" in one.reason for one in found)

    await until(is_told, "the refusal")
