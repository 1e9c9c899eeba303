"""A registry node as a process of its own, which a test may kill and start again, and whose log it may read."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from registry.settings import RegistrySettings
from tests.support.registries import LOOPBACK, registry_settings
from tests.support.tree import ROOT

PATIENCE_S: Final = 60.0  # a process starts in a second, on two busy cores in many


class NodeProcess:
    """One node."""

    def __init__(self, dsn: str, directory: Path, *, unsafe: bool = False, **changes: Any) -> None:
        """Prepare; changes: fields of RegistrySettings. unsafe: the database may be a forgetful one."""
        self.settings = registry_settings(dsn, directory, **changes)
        self.log_file = directory / "node.log"
        self._file = directory / "node.toml"
        self._file.write_text(settings_text(self.settings))
        self._options = ["--unsafe"] if unsafe else []
        self.process: asyncio.subprocess.Process | None = None

    @property
    def base(self) -> str:
        """URL of its HTTP listener."""
        return f"http://{LOOPBACK}:{self.settings.http_port}"

    @property
    def admin_base(self) -> str:
        """URL of its admin listener."""
        return f"http://{LOOPBACK}:{self.settings.admin_port}"

    @property
    def settings_file(self) -> Path:
        """What commands take as --config."""
        return self._file

    def log(self) -> bytes:
        """Everything it has written to standard output and error, all starts together."""
        return self.log_file.read_bytes()

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log_file.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "registry", str(self._file), *self._options),
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
            while not await self._is_ready(session):
                assert self.process.returncode is None, self.log()[-4_000:].decode(errors="replace")
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Drain and end it, if it runs."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_S):
                await self.process.wait()

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.admin_base}/health/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


def settings_text(settings: RegistrySettings) -> str:
    """The settings that are not the usual ones, as a settings file."""
    usual = {field.name: field.default for field in msgspec.structs.fields(RegistrySettings)}
    lines = ["[registry]"]
    for name, value in msgspec.structs.asdict(settings).items():
        if value != usual[name]:
            lines.append(f"{name} = {_value(value)}")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """A value in TOML, whose strings, numbers and lists of them look as in JSON."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)
