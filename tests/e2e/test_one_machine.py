"""The deployment on one machine, as processes: up, register, resolve, up again, kill, down."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.local.deployment import DAEMONS, NODES, Deployment, replace_settings
from deploy.local.ports import replace_taken
from tests.support.machine import Machine, deployment
from tests.support.tree import ROOT

PRODUCT = "88.100.1/pump-0001"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with deployment() as made:
        yield made


@pytest.fixture
def running(machine: Machine) -> Machine:
    machine.run("up")
    return machine


def put(machine: Machine, handle: str, url: str) -> int:
    """Register a handle with the credentials that the deployment made; the HTTP status."""
    daemon = next(one for one in machine.json("status")["daemons"] if one["name"] == "88.100.1")
    secret = (machine.home / "nodes" / "88.100.1" / "admin.secret").read_text().strip()
    credentials = b64encode(f"300%3A88.100.1/ADMIN:{secret}".encode()).decode()
    value = {"index": 1, "type": "URL", "data": {"format": "string", "value": url}}
    request = urllib.request.Request(
        f"{daemon['url']}/api/handles/{handle}",
        data=json.dumps({"values": [value]}).encode(),
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return int(response.status)


async def registrations(machine: Machine, database: str) -> int:
    connection = await asyncpg.connect(
        host=str(machine.home / "postgres"), user="postgres", database=database
    )
    try:
        return int(await connection.fetchval("SELECT sum(registrations) FROM daily_statistics"))
    finally:
        await connection.close()


def recursive(machine: Machine) -> str:
    daemons = machine.json("status")["daemons"]
    return str(next(one["address"] for one in daemons if one["name"] == "recursive"))


def test_every_daemon_is_a_process_of_its_own_and_ready(running: Machine) -> None:
    described = running.json("status")

    assert described["ready"]
    assert {daemon["name"] for daemon in described["daemons"] if daemon["ready"]} == set(DAEMONS)
    assert set(running.processes()) == set(DAEMONS) | {"postgres"}
    assert len(set(running.processes().values())) == 6


def test_the_sample_resolves_through_four_levels_hop_by_hop(running: Machine) -> None:
    found = running.json("resolve", PRODUCT, "--trace")

    assert [hop["asked"] for hop in found["hops"]] == ["0.NA/88", "0.NA/88.100", "0.NA/88.100.1", PRODUCT]
    assert {value["type"] for value in found["values"]} >= {"URL", "DESC", "EMAIL"}
    assert running.json("resolve", PRODUCT, "--certified")["values"] == found["values"]
    shown = running.run("resolve", PRODUCT, "--trace", "--type", "URL").stdout
    assert "0.NA/88.100.1" in shown
    assert "https://machines.example/" in shown


def test_what_was_created_on_the_way_up_is_counted_among_the_days_registrations(running: Machine) -> None:
    counted = {node.name: asyncio.run(registrations(running, node.database)) for node in NODES}

    assert counted["root"] == counted["88"] == 1
    assert counted["88.100"] >= 1
    assert counted["88.100.1"] >= 1_000


def test_a_product_of_ones_own_is_registered_and_resolved(running: Machine) -> None:
    assert put(running, "88.100.1/mine", "https://example.com/mine") in {200, 201}

    found = running.json("resolve", "88.100.1/mine", "--server", recursive(running), "--index", "1")

    assert [value["data"]["value"] for value in found["values"]] == ["https://example.com/mine"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands that are shown call curl")
def test_the_commands_that_are_shown_register_and_resolve(running: Machine) -> None:
    shown = running.run("up").stdout.replace("\\\n", " ")
    commands = [line.strip() for line in shown.splitlines() if line.startswith("  curl ")]
    assert len(commands) == 2

    register, resolve = [
        json.loads(subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout)
        for command in commands
    ]

    assert (register["identifier"], register["result"]) == ("88.100.1/my-product", "created")
    assert (resolve["responseCode"], resolve["handle"]) == (1, "88.100.1/my-product")
    told = running.json(
        "id", "register", "88.100.1/MY-PRODUCT", "URL=https://example.com", "--node", "88.100.1", exit_code=1
    )
    assert "88.100.1/MY-PRODUCT exists as 88.100.1/my-product" in told["failure"]["cause"]


def test_secrets_are_named_by_their_files_and_printed_nowhere(running: Machine) -> None:
    shown = running.run("up")
    nodes = running.home / "nodes"
    keys = [*nodes.glob("*/operator.key"), *nodes.glob("*/enterprise.key")]
    secrets = {path: path.read_text().strip() for path in (*keys, *nodes.glob("*/admin.secret"))}

    assert len(keys) == len(NODES) + 1
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
    assert str(nodes / "88.100.1" / "enterprise.key") in shown.stdout
    said = shown.stdout + shown.stderr
    logs = [path.read_text(errors="replace") for path in (running.home / "logs").iterdir()]
    settings = [path.read_text() for path in running.home.rglob("*.toml")]
    for secret in secrets.values():
        assert not any(secret in text for text in (said, *logs, *settings))


def test_exit_codes_tell_denied_from_unanswered(running: Machine) -> None:
    denied = running.json("resolve", "88.100.1/never-registered", exit_code=1)
    assert denied["responseCode"] == 100

    unanswered = running.json("resolve", PRODUCT, "--server", "127.0.0.1:9", exit_code=3)
    assert "127.0.0.1:9" in unanswered["failure"]["cause"]
    assert unanswered["failure"]["remedy"]

    running.run("resolve", PRODUCT, "--server", "127.0.0.1:port", exit_code=2)


def test_up_again_finds_what_is_running(running: Machine) -> None:
    before = running.processes()

    again = running.run("up")

    assert "everything was running already" in again.stderr
    assert running.processes() == before


def test_the_sample_imported_again_changes_nothing(running: Machine) -> None:
    path = running.home / "sample" / "electronics.csv"

    report = running.json("import", str(path), "--prefix", "88.100.1", "--node", "88.100.1")

    assert (report["unchanged"], report["created"], report["rejected"]) == (333, 0, 0)


def test_a_prefix_is_delegated_and_accepted_by_command(running: Machine) -> None:
    enterprise = next(one for one in running.json("status")["daemons"] if one["name"] == "88.100.1")
    handed = running.home / "88.100.9.json"

    running.run(
        *("prefix", "allocate", "88.100.9", "--node", "88.100"),
        *("--address", enterprise["address"], "--output", str(handed)),
    )
    stranger = running.run("prefix", "accept", str(handed), "--node", "88", exit_code=2)
    assert "is delegated to another node" in stranger.stderr
    refused = ("prefix", "allocate", "88.200.9", "--node", "88.100", "--address", enterprise["address"])
    assert "does not home" in running.run(*refused, exit_code=1).stderr
    running.run("prefix", "accept", str(handed), "--node", "88.100.1")
    rows = running.home / "own.csv"
    rows.write_text("handle,URL\n88.100.9/lamp-1,https://example.com/lamp-1\n")
    running.run("import", str(rows), "--node", "88.100.1")

    found = running.json("resolve", "88.100.9/lamp-1", "--trace")
    assert found["values"][0]["data"]["value"] == "https://example.com/lamp-1"
    assert found["hops"][-1]["server"].startswith(enterprise["address"])


def test_a_daemon_that_dies_is_started_again(running: Machine) -> None:
    before = running.processes()["88.100"]
    os.kill(before, signal.SIGKILL)

    until_s = time.monotonic() + 60
    while True:
        described = running.status()
        process = next(one for one in described["processes"] if one["name"] == "88.100")
        if process["restarts"] and described["ready"]:
            break
        assert time.monotonic() < until_s, described
        time.sleep(0.2)

    assert process["pid"] != before
    running.json("resolve", PRODUCT)


def test_a_used_port_is_told_with_what_to_do(running: Machine) -> None:
    settings = running.home / "nodes" / "88" / "registry.toml"

    refused = running.run("node", str(settings), exit_code=2)

    assert "already in use" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_was_registered_survives_down_and_up_and_a_taken_port(running: Machine) -> None:
    put(running, "88.100.1/kept", "https://example.com/kept")
    taken = next(one for one in running.json("status")["daemons"] if one["name"] == "88.100")["address"]
    running.run("down")
    assert running.alive() == []
    assert not running.json("status", exit_code=3)["ready"]

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", int(taken.rpartition(":")[2])))
        running.run("up")

    moved = next(one for one in running.json("status")["daemons"] if one["name"] == "88.100")["address"]
    assert moved != taken
    found = running.json("resolve", "88.100.1/kept", "--trace")
    assert found["values"][0]["data"]["value"] == "https://example.com/kept"
    assert [hop["siteSerial"] for hop in found["hops"]][2] > 1


def test_everything_ends_with_a_killed_supervisor_and_the_next_up_is_whole(running: Machine) -> None:
    os.kill(running.json("status")["supervisor"], signal.SIGKILL)

    running.run("up")

    assert running.json("status")["ready"]
    assert set(running.alive()) >= set(running.processes().values())
    assert len([pid for pid in running.alive() if b"supervisor" in _command(pid)]) == 1
    running.json("resolve", PRODUCT)


def test_a_recursive_node_runs_beside_a_registry_node(running: Machine) -> None:
    deployment = Deployment.load(running.home)
    fresh = replace_taken(deployment.ports, DAEMONS)
    files = {}
    for name in ("88.100.1", "recursive"):
        ports = {"handle_port": fresh[name].handle, "http_port": fresh[name].http}
        content = deployment.settings_file(name).read_text()
        path = deployment.settings_file(name).with_name("beside.toml")
        path.write_text(replace_settings(content, {**ports, "admin_port": fresh[name].admin}))
        files[name] = str(path)

    words = ["node", files["88.100.1"], "--with-resolver", files["recursive"]]
    pair = subprocess.Popen([sys.executable, "-m", "deploy.cli", *words], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        answer = _resolve_until_found(running, f"127.0.0.1:{fresh['recursive'].handle}")
        assert answer["responseCode"] == 1
    finally:
        pair.terminate()
        assert pair.wait(30) == 0
    assert not [pid for pid in running.alive() if b"beside.toml" in _command(pid)]


def _resolve_until_found(machine: Machine, server: str) -> Any:
    until_s = time.monotonic() + 60
    while True:
        answer = machine.json("resolve", PRODUCT, "--server", server, exit_code=None)
        if answer.get("responseCode") == 1 or time.monotonic() > until_s:
            return answer


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
