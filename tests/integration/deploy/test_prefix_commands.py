"""`handlegrid prefix` against a secondary node: from the application to the revocation."""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.deploy.commanding import Desk
from tests.integration.deploy.people import operator, registered, signed_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """An approved organisation, its administrator's session, and that of a reviewer."""

    organisation: str
    administrator: Path
    reviewer: Path


@pytest.fixture
async def cast(industry: Desk, files: Path) -> Cast:
    """Give everybody who has a part in the life of a prefix."""
    reviewer = await signed_in(industry, files, "reviewer")
    organisation = await registered(industry, files)
    await industry.run("org", "review", organisation, "--approve", *industry.as_(reviewer))
    administrator = await signed_in(
        industry, files, "enterprise_administrator", "--organisation", organisation
    )
    return Cast(organisation=organisation, administrator=administrator, reviewer=reviewer)


async def applied(industry: Desk, cast: Cast, *more: str) -> str:
    made = await industry.run(
        "prefix", "apply", "--below", "88.100", "--purpose", "pumps", *more, "--json",
        *industry.as_(cast.administrator),
    )  # fmt: skip
    return str(made.json["id"])


async def granted(industry: Desk, cast: Cast, *more: str) -> str:
    """A prefix from its application to its allocation."""
    application = await applied(industry, cast, *more)
    await industry.run("prefix", "review", application, "--approve", *industry.as_(cast.reviewer))
    shown = json.loads(await operator(industry, "prefix", "grant", application, "--json"))
    return str(shown["prefix"])


async def shown(industry: Desk, prefix: str) -> Any:
    return json.loads(await operator(industry, "prefix", "show", prefix, "--json"))


async def test_a_prefix_is_applied_for_approved_and_allocated(industry: Desk, cast: Cast) -> None:
    application = await applied(industry, cast)
    assert application in await operator(industry, "prefix", "applications", "--state", "applied")
    refused = await industry.run(
        "prefix", "review", application, "--approve", *industry.as_(cast.administrator), code=1
    )
    assert "prefix:review" in refused.err

    decided = await industry.run("prefix", "review", application, "--approve", *industry.as_(cast.reviewer))
    assert "approved" in decided.out
    prefix = (await operator(industry, "prefix", "grant", application)).partition(":")[0]

    assert (await shown(industry, prefix))["organisation"] == cast.organisation
    assert prefix in await operator(industry, "prefix", "list", "--below", "88.100")
    me = industry.as_(cast.administrator)
    await industry.run("id", "register", f"{prefix}/pump-7", "URL=https://example.com/7", *me)
    assert (await industry.node.get(f"/api/handles/{prefix}/pump-7")).rc == 1


async def test_a_rejected_application_says_why_and_another_is_taken_back(industry: Desk, cast: Cast) -> None:
    application = await applied(industry, cast, "--label", "77")
    refusing = ("prefix", "review", application, "--reject", *industry.as_(cast.reviewer))
    await industry.run(*refusing, code=2)
    await industry.run(*refusing, "--reason", "taken by another branch")
    assert "reason: taken by another branch" in await operator(industry, "prefix", "application", application)

    other = await applied(industry, cast)
    done = await industry.run(
        "prefix", "withdraw", other, "--reason", "a mistake", *industry.as_(cast.administrator)
    )
    assert "withdrawn" in done.out
    await industry.run("prefix", "review", other, "--approve", *industry.as_(cast.reviewer), code=1)


async def test_a_prefix_is_suspended_resumed_and_revoked_with_its_history(industry: Desk, cast: Cast) -> None:
    prefix = await granted(industry, cast, "--label", "78")
    me = industry.as_(cast.administrator)
    await industry.run("id", "register", f"{prefix}/x", "URL=https://example.com/x", *me)

    await operator(industry, "prefix", "suspend", prefix, "--reason", "arrears")
    assert (await industry.node.get(f"/api/handles/{prefix}/x")).rc == 200
    assert "--reason" in (await industry.run("prefix", "resume", prefix, *industry.where, code=2)).err
    await operator(industry, "prefix", "resume", prefix, "--reason", "paid")
    assert (await industry.node.get(f"/api/handles/{prefix}/x")).rc == 1
    await operator(industry, "prefix", "revoke", prefix, "--reason", "closed down")

    history = json.loads(await operator(industry, "prefix", "history", prefix, "--json"))["items"]
    assert [entry["act"] for entry in history] == ["revoke", "resume", "suspend", "allocate"]
    assert "closed down" in await operator(industry, "prefix", "history", prefix)
    again = await industry.run("prefix", "resume", prefix, "--reason", "x", *industry.where, code=1)
    assert "What to do:" in again.err


async def test_a_prefix_is_given_to_another_organisation(industry: Desk, cast: Cast, files: Path) -> None:
    prefix = await granted(industry, cast, "--label", "79")
    described = json.loads((files / "organisation.json").read_text())
    described["profile"]["certificate_number"] = "X-18"
    (files / "organisation.json").write_text(json.dumps(described))
    other = await registered(industry, files)
    await industry.run("org", "review", other, "--approve", *industry.as_(cast.reviewer))

    await operator(industry, "prefix", "transfer", prefix, other, "--reason", "merger")

    assert (await shown(industry, prefix))["organisation"] == other


async def test_an_administrator_key_is_told_once_and_registers_over_the_record_api(
    industry: Desk, cast: Cast
) -> None:
    prefix = await granted(industry, cast, "--label", "80")
    made = await industry.run("prefix", "key", prefix, "--json", *industry.as_(cast.administrator))
    assert made.json["identity"] == f"300:{prefix}/ADMIN"
    assert len(made.json["key"]) >= 32


async def test_a_prefix_of_the_nodes_own_is_given_to_a_holder(industry: Desk, cast: Cast) -> None:
    assert cast.organisation in await operator(industry, "prefix", "assign", "88.100", cast.organisation)
    key = industry.as_(cast.administrator)
    await industry.run("id", "register", "88.100/x", "URL=https://example.com/x", *key)


async def test_a_delegated_prefix_names_its_node(industry: Desk, cast: Cast, files: Path) -> None:
    words = ("prefix", "apply", "--below", "88.100", "--purpose", "own node", "--delegated")
    me = industry.as_(cast.administrator)
    assert "--address or --site" in (await industry.run(*words, *me, code=2)).err
    (files / "site.json").write_text("[]")
    assert "site record" in (await industry.run(*words, "--site", str(files / "site.json"), *me, code=2)).err
    hosted = ("prefix", "apply", "--below", "88.100", "--purpose", "x", "--address", "127.0.0.1")
    assert "--delegated" in (await industry.run(*hosted, *me, code=2)).err
    host, port = industry.node.node.addresses.udp[0]
    refused = await industry.run(*words, "--address", f"{host}:{port}", *me, code=1)
    assert "127.0.0.1" in refused.err  # asked, and then refused: nothing opens loopback to it


async def test_a_move_without_a_node_to_go_to_is_refused(industry: Desk, cast: Cast) -> None:
    prefix = await granted(industry, cast, "--label", "81")
    moving = ("prefix", "move", prefix, "--reason", "own node", *industry.as_(industry.operator_key))
    await industry.run(*moving, code=2)
    refused = await industry.run(*moving, "--to", "delegated", "--peer", "a" * 64, code=1)
    assert "What to do:" in refused.err
    assert await operator(industry, "prefix", "moves") == "none\n"


async def test_what_is_not_there_is_not_found(industry: Desk, cast: Cast) -> None:
    for words in (("show", "88.100.999"), ("history", "88.100.999"), ("probe", "88.100.999")):
        ended = await industry.run("prefix", *words, *industry.where, code=1)
        assert "HTTP 404" in ended.err


async def test_the_audit_tells_who_did_what_and_why(industry: Desk, cast: Cast) -> None:
    prefix = await granted(industry, cast, "--label", "82")
    await operator(industry, "prefix", "suspend", prefix, "--reason", "arrears")

    listed = await until_numbered(industry, "prefix.suspend")

    (entry,) = [entry for entry in listed if entry["target"] == prefix]
    shown = await operator(industry, "audit", "show", str(entry["number"]))
    assert "arrears" in shown
    assert entry["actor"].startswith("key_")
    assert prefix in await operator(industry, "audit", "list", "--target", prefix, "--since", "2026-01-01")
    every = json.loads(await operator(industry, "audit", "list", "--limit", "0", "--json"))["items"]
    with_changes = [str(one["number"]) for one in every if one["changes"]]
    changed = [await operator(industry, "audit", "changes", number) for number in with_changes]
    assert any(f"0.NA/{prefix}" in text for text in changed)
    head = json.loads(await operator(industry, "audit", "head", "--json"))
    assert head["number"] >= entry["number"]


async def until_numbered(industry: Desk, action: str) -> list[Any]:
    """The entries of an action, as soon as they have numbers: a moment after the act."""
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        found = json.loads(await operator(industry, "audit", "list", "--action", action, "--json"))["items"]
        if found:
            return list(found)
        await asyncio.sleep(0.1)
    raise AssertionError(action)


async def test_neighbours_are_listed(industry: Desk, cast: Cast) -> None:
    for words in (("above",), ("below",), ("enrolments",), ("outbox",), ("filings",)):
        assert await operator(industry, "neighbour", *words) == "none\n"
    missing = await industry.run("neighbour", "show", "a" * 64, *industry.where, code=1)
    assert "HTTP 404" in missing.err
