"""A share of a processor for a process, by Linux control groups: how a small machine leaves the generator its room.

Works as root with either version of the hierarchy; elsewhere nothing is limited.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PERIOD_US: Final = 10_000
ROOT_V2: Final = Path("/sys/fs/cgroup")
ROOT_V1: Final = Path("/sys/fs/cgroup/cpu")


def is_available() -> bool:
    """Whether processes can be limited here."""
    try:
        with _group(f"handlegrid-probe-{os.getpid()}", 0.5):
            return True
    except OSError:
        return False


@contextmanager
def limited(pids: Sequence[int], share: float) -> Iterator[None]:
    """Each of the processes gets at most this share of one processor while the block runs."""
    with contextlib.ExitStack() as stack:
        for pid in pids:
            group = stack.enter_context(_group(f"handlegrid-bench-{pid}", share))
            (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
        yield


@contextmanager
def _group(name: str, share: float) -> Iterator[Path]:
    """Make a control group with a quota; its processes go back to the root group. Raises OSError."""
    v2 = (ROOT_V2 / "cgroup.controllers").exists()
    root = ROOT_V2 if v2 else ROOT_V1
    group = root / name
    quota_us = int(share * PERIOD_US)
    group.mkdir()
    try:
        if v2:
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}", encoding="ascii")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US), encoding="ascii")
            (group / "cpu.cfs_quota_us").write_text(str(quota_us), encoding="ascii")
        yield group
    finally:
        with contextlib.suppress(OSError):
            for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
                (root / "cgroup.procs").write_text(pid, encoding="ascii")
        group.rmdir()
