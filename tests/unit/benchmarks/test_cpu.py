"""CPU time of other processes."""

import os
import subprocess
import sys

from benchmarks.cpu import cpu_seconds, family, resident_octets

WORKING = """
import subprocess, sys, time
while time.process_time() < 0.2: pass
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print("ready", flush=True)
input()
child.communicate(b"\\n")
"""


def test_the_kernel_counts_what_a_process_and_its_children_took() -> None:
    command = [sys.executable, "-c", WORKING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()

        assert cpu_seconds(process.pid) >= 0.2
        assert len(family(process.pid)) == 2
        assert resident_octets(*family(process.pid)) > 2**20
        process.stdin.write(b"\n")


def test_a_process_that_is_gone_counts_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass

    assert cpu_seconds(process.pid) == 0
    assert resident_octets(process.pid) == 0
    assert cpu_seconds(os.getpid()) > 0
