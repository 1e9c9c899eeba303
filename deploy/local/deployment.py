"""The one-machine deployment on disk: which nodes there are, their ports, their settings files.

<home>/
  deployment.json            ports and progress; everything else can be made again from it
  bootstrap_handles          the root bundle (PROTOCOL §7.1), for the recursive node and for other tools
  nodes/<name>/registry.toml one directory a node, with its keys, its administrator's secret and its operator's API key
  recursive/resolver.toml
  sample/*.csv               the sample catalogue
  postgres/                  the embedded database
  logs/ supervisor.lock processes.json control.sock
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy.local.ports import ADDRESS, Ports
from deploy.local.processes import LocalError

FORMAT: Final = 1
RECURSIVE: Final = "recursive"
RESOLVER_DATABASE: Final = "recursive"
DEFAULT_HOME_OF_ROOT: Final = Path("/var/lib/handlegrid")
LOOPBACK: Final = "127.0.0.0/8"
OPERATOR_KEY: Final = "operator"
ENTERPRISE_KEY: Final = "enterprise"
OVERRIDES: Final = ("HANDLEGRID_REGISTRY_", "HANDLEGRID_RESOLVER_")
"""Environment variables that override a setting of one daemon; here each would override it for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """One registry node of the sample hierarchy."""

    name: str
    homes: tuple[str, ...]
    parent: str | None
    """Name of the node that delegates to this one; None for the root."""
    title: str

    @property
    def database(self) -> str:
        """Name of its database."""
        return "node_" + self.name.replace(".", "_")


NODES: Final = (
    NodePlan(name="root", homes=("0.0", "0.NA"), parent=None, title="Root"),
    NodePlan(name="88", homes=("88",), parent="root", title="National top-level node"),
    NodePlan(name="88.100", homes=("88.100",), parent="88", title="Secondary node of an industry"),
    NodePlan(name="88.100.1", homes=("88.100.1",), parent="88.100", title="Node of an enterprise"),
)
DAEMONS: Final = (*(node.name for node in NODES), RECURSIVE)


def default_home() -> Path:
    """Where a deployment keeps everything: HANDLEGRID_HOME, else a place that suits the user."""
    chosen = os.environ.get("HANDLEGRID_HOME")
    return Path(chosen).expanduser().absolute() if chosen else usual_home()


def usual_home() -> Path:
    """The place that suits the user."""
    if os.geteuid() == 0:
        return DEFAULT_HOME_OF_ROOT
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser().absolute() / "handlegrid"


@dataclass(slots=True)
class Deployment:
    """What deployment.json holds, and where the other files are."""

    home: Path
    ports: dict[str, Ports] = field(default_factory=dict)
    sample_loaded: bool = False

    @classmethod
    def load(cls, home: Path) -> "Deployment":
        """Read deployment.json; an empty deployment where there is none yet.

        Raises LocalError when the file cannot be read or is not ours.
        """
        path = home / "deployment.json"
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            return cls(home)
        except (OSError, ValueError) as error:
            raise LocalError(
                f"cannot read {path}: {error}; move it away to choose ports again, the data stay"
            ) from None
        return cls._from_json(home, path, found)

    @classmethod
    def _from_json(cls, home: Path, path: Path, found: Any) -> "Deployment":
        try:
            if found["format"] != FORMAT:
                raise LocalError(
                    f"{path} was written by another version of handlegrid (format {found['format']})"
                )
            ports = {name: Ports(**numbers) for name, numbers in found["ports"].items()}
            return cls(home, ports=ports, sample_loaded=bool(found["sample_loaded"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise LocalError(f"{path} is damaged ({error}); move it away to choose ports again") from None

    def save(self) -> None:
        """Write deployment.json, whole or not at all."""
        content = {
            "format": FORMAT,
            "ports": {name: asdict(ports) for name, ports in self.ports.items()},
            "sample_loaded": self.sample_loaded,
        }
        written = self.home / "deployment.json.new"
        written.write_text(json.dumps(content, indent=2) + "\n")
        written.replace(self.home / "deployment.json")

    def create_directories(self) -> None:
        """Make the directories; private ones are closed to everybody else.

        Raises LocalError when that is not allowed.
        """
        try:
            # As root, Postgres runs as another user, who must be able to pass through.
            self.home.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            for name in ("logs", "nodes", RECURSIVE, "sample"):
                (self.home / name).mkdir(mode=0o700, exist_ok=True)
            for node in NODES:
                self.node_directory(node.name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise LocalError(
                f"cannot write to {self.home}: {error.strerror}; choose another place with HANDLEGRID_HOME"
            ) from None

    def node_directory(self, name: str) -> Path:
        """Where a registry node keeps its own files."""
        return self.home / "nodes" / name

    def settings_file(self, daemon: str) -> Path:
        """The TOML file of a daemon."""
        if daemon == RECURSIVE:
            return self.home / RECURSIVE / "resolver.toml"
        return self.node_directory(daemon) / "registry.toml"

    def secret_file(self, node: str) -> Path:
        """The secret of a node's administrator, for its owner alone."""
        return self.node_directory(node) / "admin.secret"

    def key_file(self, node: str, whose: str = OPERATOR_KEY) -> Path:
        """The API key of a node's operator, or of the enterprise that holds its prefix; for its owner alone."""
        return self.node_directory(node) / f"{whose}.key"

    @property
    def bundle_file(self) -> Path:
        """The root bundle."""
        return self.home / "bootstrap_handles"

    def authorisation_file(self, node: str) -> Path:
        """What a parent hands to the node for the prefix that it allocated."""
        return self.node_directory(node) / "authorisation.json"

    def address(self, daemon: str) -> str:
        """Where a daemon takes Handle requests, over UDP and TCP."""
        return f"{ADDRESS}:{self.ports[daemon].handle}"

    def http_url(self, daemon: str) -> str:
        """Where a daemon takes HTTP requests."""
        return f"http://{ADDRESS}:{self.ports[daemon].http}"

    def health_url(self, daemon: str) -> str:
        """Where a daemon tells whether it can do its work."""
        return f"http://{ADDRESS}:{self.ports[daemon].admin}/health/ready"

    def write_settings(self, databases: Mapping[str, str]) -> None:
        """Write the settings files that are missing, and new ports into the others; edits of the user stay.

        databases: how each daemon connects to its own, by name of the daemon.
        """
        for node in NODES:
            settings = _node_settings(
                node, self.node_directory(node.name), databases[node.name], self.bundle_file
            )
            self._write_settings(node.name, "registry", settings)
        self._write_settings(
            RECURSIVE,
            "resolver",
            _resolver_settings(self.bundle_file, self.home / RECURSIVE / "server.key", databases[RECURSIVE]),
        )

    def _write_settings(self, daemon: str, table: str, settings: dict[str, Any]) -> None:
        path = self.settings_file(daemon)
        chosen = _port_settings(self.ports[daemon])
        if path.exists():
            content = replace_settings(path.read_text(), chosen)
        else:
            content = format_settings(table, {**settings, **chosen})
        written = path.with_name(path.name + ".new")
        written.write_text(content)
        written.replace(path)


def _port_settings(ports: Ports) -> dict[str, Any]:
    return {"handle_port": ports.handle, "http_port": ports.http, "admin_port": ports.admin}


def _node_settings(node: NodePlan, directory: Path, dsn: str, bundle: Path) -> dict[str, Any]:
    return {
        "name": node.name,
        "homes": node.homes,
        "description": f"{node.title} ({node.name}) of a deployment on one machine",
        "data_dir": str(directory),
        "database": dsn,
        "root_site_file": str(bundle),
        "plain_http_credentials": "loopback",
        "open_networks": [{"network": LOOPBACK, "prefixes": ["*"]}],
        **_listen_settings(),
    }


def _resolver_settings(bundle: Path, server_key: Path, dsn: str) -> dict[str, Any]:
    return {
        "name": RECURSIVE,
        "description": "Recursive node of a deployment on one machine",
        "root_site_file": str(bundle),
        "server_key_file": str(server_key),
        "open_networks": [{"network": LOOPBACK, "prefixes": ["88"]}],
        "statistics_database": dsn,
        **_listen_settings(),
    }


def _listen_settings() -> dict[str, Any]:
    return {"listen_addresses": [ADDRESS], "source_unlimited_networks": [LOOPBACK]}


def format_settings(table: str, settings: Mapping[str, Any]) -> str:
    """A settings file in TOML, with one table."""
    lines = [
        "# Written by `handlegrid up`, which from now on changes only the ports in it, and those only when",
        "# another program has taken one. Restart with `handlegrid down` and `handlegrid up` after an edit.",
        f"[{table}]",
        *(f"{key} = {_format_value(value)}" for key, value in settings.items()),
    ]
    return "\n".join(lines) + "\n"


def replace_settings(content: str, settings: Mapping[str, Any]) -> str:
    """The same file with other values for some keys; every other line stays as it is."""
    for key, value in settings.items():
        line = f"{key} = {_format_value(value)}"
        content, found = re.subn(rf"(?m)^{key}\s*=.*$", line.replace("\\", r"\\"), content, count=1)
        if not found:
            content += line + "\n"
    return content


def _format_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_format_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_format_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # strings, integers and booleans look alike in TOML
