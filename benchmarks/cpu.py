"""CPU time and memory of other processes, as the kernel counts them.

CPU time is read from the clock that Linux keeps for each process: all its threads, also those that have ended, in
nanoseconds. /proc/PID/stat would count in steps of a hundredth of a second. Source: clock_getcpuclockid(3).
"""

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_CPUCLOCK_SCHED: Final = 2  # linux/posix-timers_types.h: clock of a process = ~pid << 3 | 2
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(*pids: int) -> float:
    """User and system time of processes, with all their threads; one that has ended counts no more."""
    return sum(_cpu_seconds(pid) for pid in pids)


def _cpu_seconds(pid: int) -> float:
    try:
        if sys.platform == "linux":
            return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    except OSError:
        return 0.0


def family(pid: int) -> list[int]:
    """A process and everything that descends from it: the workers of a daemon, the backends of a Postgres."""
    found = [pid]
    for parent in found:  # grows while it is read
        found += _children(parent)
    return found


def _children(pid: int) -> Iterable[int]:
    children: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += map(int, thread.read_text(encoding="ascii").split())
        except OSError:  # the thread has ended
            continue
    return children


def resident_octets(*pids: int) -> int:
    """Resident memory of processes; what several of them share is divided among them."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1_024 for line in lines if line.startswith("Pss:"))
    return total
