"""Import from a running server of the Handle System, by its dump operation: how a node takes over from it.

The command needs `find_server()`, a `Proof`, `DumpSource`, and `DumpImport(...).run()`.
"""

from registry.dump_import.asking import Proof
from registry.dump_import.report import DumpOptions, DumpReport, DumpStatus
from registry.dump_import.run import DumpImport
from registry.dump_import.server import HandleServer, SourceRefused, find_server
from registry.dump_import.source import DumpSource

__all__ = [
    "DumpImport",
    "DumpOptions",
    "DumpReport",
    "DumpSource",
    "DumpStatus",
    "HandleServer",
    "Proof",
    "SourceRefused",
    "find_server",
]
