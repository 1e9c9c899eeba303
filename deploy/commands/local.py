"""`handlegrid up`, `down` and `status`: the deployment on this machine."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from deploy.commands.options import echo_json, home_option, json_option
from deploy.commands.tables import format_places, format_table
from deploy.local import control
from deploy.local.control import Status
from deploy.local.deployment import DAEMONS, Deployment
from protocol.runtime.build import build

RUNNING: Final = "running"


def teller(*, quiet: bool = False) -> Callable[[str], None]:
    """Print progress on standard error, each line with the seconds since the first."""
    began_s = time.monotonic()

    def tell(text: str) -> None:
        if not quiet:
            click.echo(f"[{time.monotonic() - began_s:5.1f} s] {text}", err=True)

    return tell


@click.command(short_help="Start a whole hierarchy on this machine.")
@home_option
@json_option
def up(*, home: Path, as_json: bool) -> int:
    """Start a whole hierarchy on this machine, load a sample and resolve an identifier.

    Root, national top-level node 88, secondary node 88.100, enterprise node 88.100.1 and a recursive node: separate
    processes on loopback with an embedded Postgres. Run again, it finds what runs.
    """
    from deploy.commands.tour import show_tour  # noqa: PLC0415 - `down` and `status` need none of the packages
    from deploy.local.bringup import Bringup  # noqa: PLC0415

    home = home.absolute()
    began_s = time.monotonic()
    tell = teller(quiet=as_json)
    tell(f"a hierarchy on this machine, with its data in {home}")
    bringup = Bringup(home, tell)
    started = asyncio.run(bringup.run())
    tell("everything runs" if started else "everything was running already")
    tell_of_other_build(control.status(home), tell)
    if as_json:
        echo_json(_describe(bringup.deployment, control.status(home)))
        return 0
    click.echo("\n" + format_places(bringup.deployment))
    code = asyncio.run(show_tour(bringup.deployment))
    tell(f"done in {time.monotonic() - began_s:.1f} s; data stay in {home}; stop it with `make down`")
    return code


def tell_of_other_build(status: Status | None, tell: Callable[[str], None]) -> None:
    """Say so when what runs was started from another version or commit than this one, which it does not follow."""
    installed = build()
    if status is not None and status.build not in ("", installed):
        tell(f"it runs {status.build}, and this is {installed}: to change over, `make down` and `make up`")


@click.command(short_help="Stop it; the data stay.")
@home_option
@json_option
def down(*, home: Path, as_json: bool) -> None:
    """Stop everything that `handlegrid up` started; the data stay."""
    home = home.absolute()
    tell = teller(quiet=as_json)
    waiting: set[str] = set()

    def progress(status: Status) -> None:
        alive = {process.name for process in status.processes if process.pid}
        for name in sorted(waiting - alive):
            tell(f"{name} has ended")
        waiting.clear()
        waiting.update(alive)

    stopped = control.stop(home, progress=progress) if home.exists() else False
    if as_json:
        echo_json({"home": str(home), "was_running": stopped})
    else:
        tell("everything has ended; the data stay" if stopped else f"nothing was running in {home}")


@click.command(short_help="Show what runs, and where.")
@home_option
@json_option
def status(*, home: Path, as_json: bool) -> int:
    """Show what runs, where it listens, and whether it is ready.

    Exit code: 0 when everything runs and is ready, else 3.
    """
    deployment = Deployment.load(home.absolute())
    found = control.status(deployment.home) if deployment.home.exists() else None
    described = _describe(deployment, found)
    if as_json:
        echo_json(described)
    elif found is None:
        click.echo(f"nothing runs in {deployment.home}; start it with `handlegrid up`")
    else:
        click.echo(format_status(described, time.time()))
        if deployment.ports:
            click.echo("\n" + format_places(deployment))
    return 0 if described["ready"] else 3


def _describe(deployment: Deployment, found: Status | None) -> dict[str, Any]:
    """The state of the deployment for machines."""
    from deploy.local.bringup import Health, health_of  # noqa: PLC0415 - see up()

    processes = {process.name: process for process in found.processes} if found else {}
    daemons = []
    for name in DAEMONS if deployment.ports else ():
        process = processes.get(name)
        runs = process is not None and process.pid
        health = health_of(deployment, name) if runs else Health(reason="it does not run")
        daemons.append(
            {
                "name": name,
                "address": deployment.address(name),
                "url": deployment.http_url(name),
                "health": deployment.health_url(name),
                "settings": str(deployment.settings_file(name)),
                "ready": not health.reason,
                "reason": health.reason or None,
                "fast_path": health.fast_path or None,
            }
        )
    return {
        "home": str(deployment.home),
        "ready": bool(daemons) and all(daemon["ready"] for daemon in daemons),
        "supervisor": found and found.pid,
        "processes": [asdict(process) for process in processes.values()],
        "daemons": daemons,
    }


def format_status(described: dict[str, Any], now_s: float) -> str:
    """A table of the processes: since when they run, how often they were started again, whether they are ready."""
    reasons = {daemon["name"]: daemon["reason"] for daemon in described["daemons"]}
    paths = {daemon["name"]: daemon["fast_path"] for daemon in described["daemons"]}
    rows = [("NAME", "PROCESS", "STATE", "FOR", "RESTARTS", "PATH", "READY")]
    for process in described["processes"]:
        name = process["name"]
        reason = reasons.get(name)
        rows.append(
            (
                name,
                str(process["pid"] or "-"),
                process["state"],
                format_duration(now_s - process["since_s"]),
                str(process["restarts"]),
                paths.get(name) or "-",
                _readiness(process, reason),
            )
        )
    return format_table(rows)


def _readiness(process: dict[str, Any], reason: str | None) -> str:
    if process["state"] == RUNNING and not reason:
        return "yes"
    cause = process["cause"].partition("\n")[0]  # what follows is the end of the log
    earlier = f"last time it {cause.rstrip(':')}; see {process['log']}" if cause else ""
    return "no: " + "; ".join(part for part in (reason, earlier) if part)


def format_duration(seconds: float) -> str:
    """A duration as people say it: 42 s, 3 min, 2.5 h, 4.1 d."""
    for size_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size_s:
            return f"{seconds / size_s:.1f} {unit}"
    return f"{seconds:.0f} s"
