"""Bulk import: files of records in, batches to the registry's operation, rejected rows out.

The command needs three calls: `progress_for(stream)`, `await import_file(...)`, and `report.exit_code`.
"""

from registry.bulk.importer import import_file
from registry.bulk.progress import progress_for
from registry.bulk.report import FileFormat, ImportOptions, ImportReport, ImportStatus, Progress

__all__ = [
    "FileFormat",
    "ImportOptions",
    "ImportReport",
    "ImportStatus",
    "Progress",
    "import_file",
    "progress_for",
]
