"""Settings of a node, as far as initialising and opening it takes them."""

from dataclasses import dataclass
from pathlib import Path

from protocol.handle import Prefix
from registry.lookups import LookupTypes


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSettings:
    """Enough for open_node."""

    __test__ = False

    data_dir: Path
    database: str
    homes: tuple[str, ...] = ("88.100",)
    address: str = "192.0.2.7"
    description: str = ""
    handle_port: int = 2641
    http_port: int = 8000
    case_sensitive: bool = False
    template_delimiter: str = ""
    server_admins: tuple[str, ...] = ()
    udp_administration: bool = False
    tls_certificate_file: Path | None = None
    database_connections_min: int = 1
    lookup_types: tuple[str, ...] = ()
    database_connections_max: int = 4

    def dsn(self) -> str:
        return self.database

    def sealing_key_file(self) -> Path:
        return self.data_dir / "node.key"

    def lookups(self) -> LookupTypes:
        return LookupTypes.of(self.lookup_types)

    def published_addresses(self) -> tuple[str, ...]:
        return (self.address,)

    def home_prefixes(self) -> tuple[Prefix, ...]:
        return tuple(Prefix.parse(home) for home in self.homes)
