"""The import itself: file -> rows -> batches -> operation -> report."""

from pathlib import Path

from registry.bulk.report import ImportOptions, ImportReport, Progress
from registry.operations import Operations


async def import_file(
    path: Path, *, operations: Operations, options: ImportOptions, progress: Progress
) -> ImportReport:
    """Import a file of records into the node's database.

    path: a CSV or JSON Lines file, or STANDARD_INPUT, whose format must be given.
    Never raises for a bad option, a bad file or a lost database: the report says so. Safe to run again after an
    end at any point: rows that are stored alike are skipped.
    """
    raise NotImplementedError
