"""`handlegrid id` against a real node: what an enterprise does all day."""

import json
from pathlib import Path

import msgspec
import pytest

from deploy.local.sample import PREFIX
from tests.integration.deploy.commanding import Desk

PUMP = f"{PREFIX}/pump-7"
URL = "URL=https://example.com/pump-7"


async def values(desk: Desk, name: str = PUMP) -> dict[int, tuple[str, str]]:
    found = await desk.json("id", "show", name)
    return {value["index"]: (value["type"], _text(value["data"])) for value in found["values"]}


def _text(data: object) -> str:
    return str(data["value"]) if isinstance(data, dict) else str(data)


async def test_one_is_registered_from_arguments_and_resolves(desk: Desk) -> None:
    shown = await desk.text("id", "register", PUMP, URL, "3:DESC=离心泵")

    assert shown == f"{PUMP}: created, version 1\n"
    found = await values(desk)
    assert found[1] == ("URL", "https://example.com/pump-7")
    assert found[3] == ("DESC", "离心泵")
    answer = await desk.node.get(f"/api/handles/{PUMP}")
    assert answer.rc == 1


async def test_one_is_registered_from_a_file_and_from_standard_input(desk: Desk, tmp_path: Path) -> None:
    form = {"identifier": PUMP, "values": [{"index": 1, "type": "URL", "data": "https://example.com/a"}]}
    path = tmp_path / "one.json"
    path.write_text(json.dumps(form))

    assert (await desk.json("id", "register", "--file", str(path)))["result"] == "created"
    form["identifier"] = f"{PREFIX}/pump-8"
    piped = await desk.run("id", "register", "--file", "-", *desk.where, said=json.dumps(form))
    assert "pump-8: created" in piped.out


async def test_what_exists_is_refused_with_its_remedy(desk: Desk) -> None:
    await desk.text("id", "register", PUMP, URL)

    refused = await desk.run("id", "register", PUMP.upper(), URL, *desk.where, code=1)
    told = await desk.json("id", "register", PUMP.upper(), URL, code=1)

    assert "exists" in refused.err
    assert "What to do:" in refused.err
    assert told["failure"]["problem"]["status"] == 409
    assert told["failure"]["problem"]["request_id"] not in ("", None)


async def test_a_name_is_minted(desk: Desk) -> None:
    mint = ("id", "register", "--prefix", PREFIX, "--mint", "PUMP-{seq:4}", URL)
    first, second = [(await desk.json(*mint))["identifier"] for _ in range(2)]
    assert (first, second) == (f"{PREFIX}/PUMP-0001", f"{PREFIX}/PUMP-0002")


async def test_a_dry_run_changes_nothing(desk: Desk) -> None:
    shown = await desk.text("id", "register", PUMP, URL, "--dry-run")
    assert shown.startswith("[dry run] ")
    await desk.run("id", "show", PUMP, *desk.where, code=1)


async def test_the_same_idempotency_key_registers_once(desk: Desk) -> None:
    words = ("id", "register", "--prefix", PREFIX, "--mint", "random", URL, "--idempotency-key", "run-0001")
    first, again = [(await desk.json(*words))["identifier"] for _ in range(2)]
    assert first == again


async def test_values_are_changed_added_and_removed_while_the_others_stay(desk: Desk) -> None:
    await desk.text("id", "register", PUMP, URL, "DESC=pump", "DESC=泵", "EMAIL=a@example.com")

    await desk.text("id", "update", PUMP, "URL=https://example.com/new", "3:DESC=离心泵", "SERIAL=7")
    await desk.text("id", "update", PUMP, "--remove", "4")

    assert {index: value for index, value in (await values(desk)).items() if index < 100} == {
        1: ("URL", "https://example.com/new"),
        2: ("DESC", "pump"),
        3: ("DESC", "离心泵"),
        5: ("SERIAL", "7"),
    }


async def test_all_values_are_replaced_from_a_file(desk: Desk, tmp_path: Path) -> None:
    await desk.text("id", "register", PUMP, URL, "DESC=pump")
    path = tmp_path / "values.json"
    path.write_text('{"values": [{"index": 9, "type": "URL", "data": "https://example.com/nine"}]}')

    await desk.text("id", "update", PUMP, "--file", str(path))

    assert set(await values(desk)) - {100} == {9}


async def test_a_change_of_another_version_is_refused(desk: Desk) -> None:
    await desk.text("id", "register", PUMP, URL)
    await desk.text("id", "update", PUMP, "URL=https://example.com/new", "--version", "1")
    refused = await desk.run(
        "id", "update", PUMP, "URL=https://example.com/old", "--version", "1", *desk.where, code=1
    )
    assert "present version" in refused.err


async def test_states_versions_and_earlier_contents(desk: Desk) -> None:
    await desk.text("id", "register", PUMP, URL, "--draft")
    assert (await desk.node.get(f"/api/handles/{PUMP}")).rc == 100
    await desk.text("id", "state", PUMP, "active")
    await desk.text("id", "state", PUMP, "suspended", "--reason", "recall")
    await desk.text("id", "state", PUMP, "active")
    await desk.text("id", "register", f"{PREFIX}/pump-8", URL)
    retire = ("--reason", "replaced", "--successor", f"{PREFIX}/pump-8", "--redirect")
    await desk.text("id", "state", PUMP, "retired", *retire)

    listed = (await desk.json("id", "versions", PUMP))["items"]
    assert [entry["state"] for entry in listed] == ["retired", "active", "suspended", "active", "draft"]
    now = await desk.json("id", "show", PUMP)
    assert (now["state"], now["reason"], now["successor"]) == ("retired", "replaced", f"{PREFIX}/pump-8")
    before = await desk.json("id", "show", PUMP, "--version", "2")
    assert _text(before["values"][0]["data"]) == "https://example.com/pump-7"
    assert "retired" in await desk.text("id", "show", PUMP)


async def test_what_is_deleted_may_be_registered_again(desk: Desk) -> None:
    await desk.text("id", "register", PUMP, URL)
    assert await desk.text("id", "delete", PUMP) == f"{PUMP}: deleted\n"
    await desk.run("id", "show", PUMP, *desk.where, code=1)
    await desk.text("id", "register", PUMP, URL)


async def test_a_list_is_cut_where_it_is_wanted(desk: Desk) -> None:
    for number in range(3):
        await desk.text("id", "register", f"{PREFIX}/item-{number}", URL)

    cut = await desk.json("id", "list", PREFIX, "--from", "item-0", "--limit", "2")
    whole = await desk.json("id", "list", PREFIX, "--from", "item-0", "--limit", "0")
    shown = await desk.text("id", "list", PREFIX, "--from", "item-0", "--limit", "2")

    assert (len(cut["items"]), cut["more"]) == (2, True)
    assert [item["identifier"] for item in whole["items"]] == [f"{PREFIX}/item-{n}" for n in range(3)]
    assert "--limit 0 all" in shown
    assert await desk.text("id", "list", PREFIX, "--state", "retired") == "none\n"


async def test_a_range_is_reserved_activated_and_released(desk: Desk) -> None:
    made = await desk.json("id", "range", "reserve", PREFIX, "LINE4-{seq:6}", "1000")
    name = f"{PREFIX}/LINE4-{made['first']:06}"
    assert "reserved" in (await desk.run("id", "register", name, URL, *desk.where, code=1)).err

    await desk.text("id", "register", name, URL, "--range", made["id"])

    assert (await desk.json("id", "range", "show", made["id"]))["last_activated"] == made["first"]
    assert "holds 1 of the 1,000" in await desk.text("id", "range", "release", made["id"])
    assert made["id"] in await desk.text("id", "range", "list", PREFIX)


def lines_of(count: int, spoilt: dict[int, bytes] | None = None) -> bytes:
    made = []
    for number in range(1, count + 1):
        value = {"index": 1, "type": "URL", "data": f"https://example.com/{number}"}
        line = msgspec.json.encode({"identifier": f"{PREFIX}/item-{number:05}", "values": [value]})
        made.append((spoilt or {}).get(number, line))
    return b"\n".join(made) + b"\n"


async def test_a_file_of_lines_is_registered_and_refused_lines_are_kept(desk: Desk, tmp_path: Path) -> None:
    await desk.text("id", "register", f"{PREFIX}/item-00003", URL)
    path, rejects = tmp_path / "items.jsonl", tmp_path / "rejects.jsonl"
    path.write_bytes(lines_of(2_500, {7: b"no JSON", 9: b"", 11: b'{"identifier": "88.100.1/x"}'}))

    ended = await desk.run(
        "id", "register", "--file", str(path), "--rejects", str(rejects), *desk.where, code=1
    )

    assert "2,496 registered" in ended.out
    assert "3 refused" in ended.out
    kept = [json.loads(line) for line in rejects.read_bytes().splitlines()]
    assert sorted(entry["line"] for entry in kept) == [3, 7, 11]
    assert "exists" in next(entry for entry in kept if entry["line"] == 3)["reason"]
    assert rejects.stat().st_mode & 0o077 == 0
    listed = await desk.json("id", "list", PREFIX, "--from", "item-", "--limit", "0")
    assert len(listed["items"]) >= 2_497


async def test_a_run_is_repeated_safely_under_its_key(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes(lines_of(1_200))
    words = ("id", "register", "--file", str(path), "--idempotency-key", "catalogue-1")

    first, again = [await desk.json(*words) for _ in range(2)]
    other = await desk.json("id", "register", "--file", str(path), code=1)

    assert first == again == {"registered": 1_200, "refused": 0, "dry_run": False}
    assert other["refused"] == 1_200


async def test_a_key_of_the_enterprise_registers_nowhere_else(desk: Desk) -> None:
    other = await desk.run("id", "register", "88.100.2/x", URL, *desk.where, code=1)
    assert "HTTP 404" in other.err


@pytest.mark.parametrize(
    "words",
    [
        ("register",),
        ("register", PUMP),
        ("register", PUMP, "no value"),
        ("register", PUMP, "1:URL=a", "1:URL=b"),
        ("register", "--mint", "random", URL),
        ("register", PUMP, URL, "--prefix", PREFIX),
        ("register", PUMP, URL, "--idempotency-key", "short"),
        ("update", PUMP),
        ("state", PUMP, "sleeping"),
        ("range", "reserve", PREFIX, "L-{seq:6}", "0"),
    ],
)
async def test_a_mistake_is_told_before_anything_is_sent(desk: Desk, words: tuple[str, ...]) -> None:
    await desk.run("id", *words, *desk.where, code=2)
