"""`handlegrid org`, `user` and `apikey` against a real node: operator, reviewer and enterprise at their terminals."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from deploy.local.sample import PREFIX
from tests.integration.deploy.commanding import Desk
from tests.integration.deploy.people import PROFILE, operator, registered, signed_in


async def is_barred_within_a_second(desk: Desk, key: Path) -> bool:
    """Whether the node soon tells the holder of a key that it knows him no more."""
    until_s = time.monotonic() + 1.0
    while time.monotonic() < until_s:
        ended = await desk.run("user", "whoami", *desk.as_(key), code=None)
        if ended.code == 1 and "HTTP 401" in ended.err:
            return True
        await asyncio.sleep(0.1)
    return False


async def test_an_organisation_is_taken_in_reviewed_suspended_and_resumed(desk: Desk, files: Path) -> None:
    reviewer = await signed_in(desk, files, "reviewer")
    made = await registered(desk, files)
    assert made in await operator(desk, "org", "list", "--state", "submitted")

    decided = await desk.run("org", "review", made, "--approve", *desk.as_(reviewer))
    assert "approved" in decided.out
    await operator(desk, "org", "suspend", made, "--reason", "arrears")
    assert "suspended_reason: arrears" in await operator(desk, "org", "show", made)
    await operator(desk, "org", "resume", made, "--reason", "paid")

    history = json.loads(await operator(desk, "org", "history", made, "--json"))["items"]
    assert [entry["act"] for entry in history] == ["resume", "suspend", "approve", "create"]
    assert [entry["reason"] for entry in history][:2] == ["paid", "arrears"]


async def test_a_rejection_says_why_and_is_submitted_again(desk: Desk, files: Path) -> None:
    reviewer = await signed_in(desk, files, "reviewer")
    made = await registered(desk, files, "--draft")
    await operator(desk, "org", "submit", made)
    await desk.run("org", "review", made, "--reject", *desk.as_(reviewer), code=2)

    await desk.run("org", "review", made, "--reject", "--reason", "blurred", *desk.as_(reviewer))

    assert "reason: blurred" in await operator(desk, "org", "show", made)
    await operator(desk, "org", "change", made, str(files / "profile.json"))
    assert "submitted" in await operator(desk, "org", "submit", made)
    late = await desk.run("org", "review", made, "--approve", "--version", "1", *desk.as_(reviewer), code=1)
    assert "If-Match" in late.err


async def test_an_operator_decides_on_no_organisation(desk: Desk, files: Path) -> None:
    made = await registered(desk, files)
    refused = await desk.run("org", "review", made, "--approve", *desk.as_(desk.operator_key), code=1)
    assert "organisation:review" in refused.err


async def test_people_are_named_by_id_unless_they_are_asked_for(desk: Desk, files: Path) -> None:
    made = await registered(desk, files)
    shown = json.loads(await operator(desk, "org", "show", made, "--json"))
    assert "王小明" not in json.dumps(shown, ensure_ascii=False)

    administrator = await signed_in(desk, files, "enterprise_administrator", "--organisation", made)
    person = await desk.run("org", "person", made, shown["contact"], *desk.as_(administrator))

    assert "王小明" in person.out
    refused = await desk.run("org", "person", made, shown["contact"], *desk.as_(desk.operator_key), code=1)
    assert "personal:read" in refused.err


async def test_a_contact_is_named_anew(desk: Desk, files: Path) -> None:
    made = await registered(desk, files)
    before = json.loads(await operator(desk, "org", "show", made, "--json"))["contact"]
    await operator(desk, "org", "set-person", made, "contact", str(files / "person.json"))
    after = json.loads(await operator(desk, "org", "show", made, "--json"))["contact"]
    assert after not in (None, before)


async def test_quotas_that_are_not_named_stay(desk: Desk, files: Path) -> None:
    made = await registered(desk, files)
    await operator(desk, "org", "quota", made, "--requests-per-minute", "17")
    quotas = json.loads(await operator(desk, "org", "show", made, "--json"))["quotas"]
    assert (quotas["requests_per_minute"], quotas["identifiers_per_day"]) == (17, 50_000_000)
    await operator(desk, "org", "quota", made, code=2)


async def test_what_is_used_is_shown_per_day(desk: Desk) -> None:
    await desk.text("id", "register", f"{PREFIX}/x", "URL=https://example.com")
    shown = json.loads((await desk.run("org", "usage", "--json", *desk.as_(desk.enterprise_key))).out)
    assert shown["items"][0]["identifiers_created"] == 1


@pytest.mark.parametrize("content", ["", "[]", '{"profile": {"name": 1}}', "\x00", "[" * 100_000])
async def test_a_file_that_describes_nothing_is_told(desk: Desk, files: Path, content: str) -> None:
    path = files / "wrong.json"
    path.write_text(content)
    ended = await desk.run("org", "register", str(path), *desk.as_(desk.operator_key), code=2)
    assert "wrong.json" in ended.err


async def test_a_wrong_field_is_named(desk: Desk, files: Path) -> None:
    path = files / "wrong.json"
    path.write_text(json.dumps({"profile": {**PROFILE, "certificate_type": "uscc"}}))
    ended = await desk.run("org", "register", str(path), *desk.as_(desk.operator_key), code=1)
    assert "/profile/certificate_number" in ended.err


async def test_a_user_gets_another_role_and_leaves(desk: Desk, files: Path) -> None:
    session = await signed_in(desk, files, "auditor")
    me = json.loads((await desk.run("user", "whoami", "--json", *desk.as_(session))).out)
    await operator(desk, "user", "role", me["id"], "reviewer")
    assert "reviewer" in await operator(desk, "user", "list")

    shown = await operator(desk, "user", "suspend", me["id"], "--reason", "left", "--revoke-keys")

    assert "suspended" in shown
    assert await is_barred_within_a_second(desk, session)
    await operator(desk, "user", "resume", me["id"], "--reason", "came back")
    await operator(desk, "user", "password", me["id"], "--password-file", str(files / "password"))
    await operator(desk, "user", "remove", me["id"])
    assert "removed" in await operator(desk, "user", "show", me["id"])


async def test_a_session_is_kept_in_a_private_file_and_ends(desk: Desk, files: Path) -> None:
    session = await signed_in(desk, files, "auditor")
    assert session.stat().st_mode & 0o777 == 0o600
    await desk.run("user", "sign-out", *desk.as_(session))
    assert await is_barred_within_a_second(desk, session)


async def test_a_wrong_password_lets_nobody_in_and_is_not_repeated(desk: Desk, files: Path) -> None:
    await signed_in(desk, files, "auditor")
    (files / "wrong").write_text("not the secret one\n")
    ended = await desk.run(
        "user", "sign-in", "--login", "auditor", "--password-file", str(files / "wrong"),
        "--save", str(files / "none"), "--url", desk.node.base, "--json", code=1,
    )  # fmt: skip
    assert "not the secret" not in ended.out + ended.err
    assert not (files / "none").exists()


async def test_a_key_is_made_used_rotated_and_revoked(desk: Desk, files: Path) -> None:
    session = await signed_in(desk, files, "enterprise_administrator", "--organisation", await holder(desk))
    path = files / "line4.key"
    words = ("--right", "identifier:write", "--right", "identifier:read", "--prefix", PREFIX)
    made = await desk.run("apikey", "create", "line 4", *words, "--save", str(path), *desk.as_(session))
    assert "hg_live_" not in made.out
    assert path.stat().st_mode & 0o777 == 0o600
    await desk.run("id", "register", f"{PREFIX}/x", "URL=https://example.com", *desk.as_(path))
    listed = json.loads((await desk.run("apikey", "list", "--json", *desk.as_(session))).out)["items"]
    key = next(entry["id"] for entry in listed if entry["name"] == "line 4")

    rotated = await desk.run("apikey", "rotate", key, "--overlap-days", "1", "--json", *desk.as_(session))

    fresh = files / "fresh.key"
    fresh.write_text(rotated.json["token"])
    fresh.chmod(0o600)
    for token in (path, fresh):
        await desk.run("id", "show", f"{PREFIX}/x", *desk.as_(token))
    await desk.run("apikey", "suspend", key, "--reason", "lost", *desk.as_(session))
    assert "suspended" in (await desk.run("apikey", "show", key, *desk.as_(session))).out
    await desk.run("apikey", "resume", key, "--reason", "found", *desk.as_(session))
    await desk.run("apikey", "revoke", key, *desk.as_(session))
    assert "revoked" in (await desk.run("apikey", "show", key, *desk.as_(session))).out


async def holder(desk: Desk) -> str:
    """The organisation that holds the sample prefix."""
    me = await desk.run("user", "whoami", "--json", *desk.as_(desk.enterprise_key))
    return str(me.json["organisation"])


async def test_a_test_key_writes_in_dry_runs_only(desk: Desk, files: Path) -> None:
    session = await signed_in(desk, files, "enterprise_administrator", "--organisation", await holder(desk))
    path = files / "test.key"
    words = ("--right", "identifier:write", "--test", "--save", str(path))
    await desk.run("apikey", "create", "trial", *words, *desk.as_(session))
    register = ("id", "register", f"{PREFIX}/x", "URL=https://example.com", *desk.as_(path))
    assert "dry" in (await desk.run(*register, code=1)).err
    await desk.run(*register, "--dry-run")


async def test_a_key_that_cannot_be_kept_is_not_made(desk: Desk, files: Path) -> None:
    kept = files / "kept.key"
    kept.write_text("the only copy")
    words = ("apikey", "create", "lost", "--right", "audit:read", *desk.as_(desk.operator_key))

    assert "is there" in (await desk.run(*words, "--save", str(kept), code=2)).err
    assert "cannot be written" in (await desk.run(*words, "--save", str(kept / "below"), code=2)).err

    assert kept.read_text() == "the only copy"
    assert "lost" not in (await desk.run("apikey", "list", *desk.as_(desk.operator_key))).out


async def test_a_password_is_not_asked_for_where_nobody_can_type(desk: Desk, files: Path) -> None:
    words = ("user", "sign-in", "--login", "auditor", "--save", str(files / "none"), "--url", desk.node.base)
    assert "--password-file" in (await desk.run(*words, code=2)).err


async def test_a_dry_run_makes_no_key_and_no_file(desk: Desk, files: Path) -> None:
    path = files / "none.key"
    words = ("--right", "audit:read", "--save", str(path), "--dry-run")
    tried = await desk.run("apikey", "create", "none", *words, *desk.as_(desk.operator_key))
    assert not path.exists()
    assert str(path) not in tried.out


async def test_a_first_operator_key_is_made_on_the_node_itself(desk: Desk, files: Path) -> None:
    settings = desk.deployment.settings_file(PREFIX)
    settings.write_text(
        f'[registry]\ndata_dir = "{settings.parent}"\nhomes = ["{PREFIX}"]\n'
        f'database = "{desk.node.node.settings.database}"\n'
    )
    path = files / "first.key"

    made = await desk.run("apikey", "operator", "--unsafe", "--config", str(settings), "--save", str(path))
    shown = await desk.run("apikey", "operator", "--unsafe", "--config", str(settings), "--json")

    assert "hg_live_" not in made.out
    assert shown.json["token"].startswith("hg_live_")
    me = (await desk.run("user", "whoami", "--json", *desk.as_(path))).json
    assert (me["organisation"], "node:operate" in me["rights"]) == (None, True)
    await desk.run("apikey", "operator", code=2)


async def test_nobody_asks_without_saying_who_and_where(
    desk: Desk, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--url" in (await desk.run("org", "list", code=2)).err
    assert "--key-file" in (await desk.run("org", "list", "--url", desk.node.base, code=2)).err
    (files / "open.key").write_text(desk.operator_key.read_text())
    (files / "open.key").chmod(0o644)
    opened = ("--url", desk.node.base, "--key-file", str(files / "open.key"))
    assert "chmod 600" in (await desk.run("org", "list", *opened, code=2)).err
    both = ("--url", desk.node.base, "--node", PREFIX, "--home", str(desk.home))
    assert "either" in (await desk.run("org", "list", *both, code=2)).err
    monkeypatch.setenv("HANDLEGRID_URL", desk.node.base)
    monkeypatch.setenv("HANDLEGRID_API_KEY", desk.operator_key.read_text())
    await desk.run("org", "list")
    monkeypatch.setenv("HANDLEGRID_URL", "http://127.0.0.1:1")
    assert "no connection" in (await desk.run("org", "list", code=3)).err
    monkeypatch.setenv("HANDLEGRID_URL", "http://192.0.2.1")
    assert "https://" in (await desk.run("org", "list", code=2)).err


async def test_no_key_shows_in_what_commands_print(desk: Desk, files: Path) -> None:
    key = desk.operator_key.read_text().strip()
    for words in (("org", "list"), ("apikey", "list"), ("org", "show", "org_none"), ("user", "whoami")):
        ended = await desk.run(*words, "--json", *desk.as_(desk.operator_key), code=None)
        assert key not in ended.out + ended.err
        assert key.rpartition("_")[0] not in ended.out + ended.err
