"""The bare database loop as something to measure: the floor of a registry without its answer cache."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.import_rate import Laboratory
from benchmarks.rounds import Sample
from benchmarks.targets.process import ENDS_WITHIN_S, NotReady, Server, child


@dataclass(frozen=True, slots=True)
class KeysLoop:
    """The running loop; it is client and server in one, so that its own CPU time counts."""

    server: Server
    process: "subprocess.Popen[str]"

    def sample(self, loops: int, seconds: float) -> Sample:
        """So many loops at once, for so many seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        before = self.server.cpu_s()
        self.process.stdin.write(f"{loops} {seconds}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        after = self.server.cpu_s()
        if not line:
            raise NotReady("the bare database loop ended")
        facts: dict[str, Any] = json.loads(line)
        return Sample(
            answers=facts["reads"],
            answers_per_s=facts["reads"] / facts["seconds"],
            cpu_s={part: after[part] - before[part] for part in before},
            p50_ms=facts["p50_ms"],
            p99_ms=facts["p99_ms"],
        )


@contextmanager
def keys_loop(made: Laboratory, dsn: str, *, rows: int, connections: int) -> Iterator[KeysLoop]:
    """Start it on a filled database, with a pool of so many connections."""
    command = [sys.executable, "-m", "benchmarks.floor.keys", dsn, str(rows), str(connections)]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise NotReady("the bare database loop ended at once")
            assert made.server.process is not None
            parts = {"loop": process.pid, "postgres": made.server.process.pid}
            yield KeysLoop(Server(name="bare loop", address=("", 0), parts=parts), process)
        finally:
            process.stdin.close()
            process.wait(ENDS_WITHIN_S)
