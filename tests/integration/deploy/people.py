"""People at a terminal: an operator with his key, and others who sign in; and the files that they prepare."""

import json
from pathlib import Path

from tests.integration.deploy.commanding import Desk

PASSWORD = "correct horse battery staple"
PROFILE = {
    "name": "又一家机械有限公司",
    "kind": "privately_controlled",
    "certificate_type": "other",
    "certificate_number": "X-17",
    "region": {"province": "320000"},
    "industry": {"section": "C", "division": "34"},
}
CONTACT = {"name": "王小明", "mobile": "+86 139 0000 0000"}


def prepare(directory: Path) -> Path:
    """Write the files that people prepare into a new directory."""
    directory.mkdir()
    (directory / "organisation.json").write_text(json.dumps({"profile": PROFILE, "contact": CONTACT}))
    (directory / "profile.json").write_text(json.dumps({**PROFILE, "introduction": "Pumps."}))
    (directory / "person.json").write_text(json.dumps(CONTACT))
    (directory / "password").write_text(PASSWORD + "\n")
    return directory


async def operator(desk: Desk, *words: str, code: int = 0) -> str:
    return (await desk.run(*words, *desk.as_(desk.operator_key), code=code)).out


async def signed_in(desk: Desk, files: Path, role: str, *more: str) -> Path:
    """Make a user and sign in; the file with the session."""
    password = ("--password-file", str(files / "password"))
    await operator(desk, "user", "add", "--role", role, "--login", role, "--name", "某人", *password, *more)
    session = files / f"{role}.session"
    save = ("--save", str(session))
    url = ("--url", desk.node.base)
    await desk.run("user", "sign-in", "--login", role, *password, *save, *more, *url)
    return session


async def registered(desk: Desk, files: Path, *more: str) -> str:
    path = str(files / "organisation.json")
    return str(json.loads(await operator(desk, "org", "register", path, *more, "--json"))["id"])
