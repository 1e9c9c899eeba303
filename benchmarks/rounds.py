"""Rounds: every target in turn, the order changing, so that neighbours and warmth spare none; figures by round."""

import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from benchmarks.load.result import LoadResult
from benchmarks.targets.process import Server

CEILING_SHARE: Final = (
    0.9  # of what the generator reaches against the echo: beyond, it is measured and not the server
)
CPU_LEAST_S: Final = 1e-6


class WrongAnswers(Exception):
    """A server answered wrongly: a figure of it would be worth nothing."""


class Unmeasurable(Exception):
    """A server answered too little, or closed its connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one target did in one round."""

    answers: int
    answers_per_s: float
    cpu_s: Mapping[str, float]
    """Of the server, by part; empty for a server whose processes are not ours to see."""
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    generator_share: float = 0.0
    """CPU seconds of the generator in each second."""

    @property
    def per_cpu_s(self) -> float:
        """Answers per CPU second of all parts of the server; 0 when that is unknown."""
        total_s = sum(self.cpu_s.values())
        return self.answers / max(total_s, CPU_LEAST_S) if self.cpu_s else 0.0

    def per_part_cpu_s(self, part: str) -> float:
        """Answers per CPU second of one part."""
        return self.answers / max(self.cpu_s[part], CPU_LEAST_S)


def measure(server: Server, load: Callable[[], LoadResult]) -> Sample:
    """Run a load on a server and count its CPU time. Raises WrongAnswers or Unmeasurable."""
    before = server.cpu_s()
    result = load()
    after = server.cpu_s()
    if fault := result.fault():
        raise (WrongAnswers if result.wrong else Unmeasurable)(f"{server.name}: {fault}")
    return Sample(
        answers=result.answers,
        answers_per_s=result.answers_per_s,
        cpu_s={part: after[part] - before[part] for part in before},
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
        generator_share=result.generator_cpu_s / result.seconds,
    )


@dataclass(slots=True)
class Rounds:
    """The samples of every target, by round."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def per_cpu_s(self, name: str, part: str = "") -> list[float]:
        """Answers per CPU second of the server, or of one part of it."""
        samples = self.samples[name]
        return [one.per_part_cpu_s(part) for one in samples] if part else [one.per_cpu_s for one in samples]

    def rates(self, name: str) -> list[float]:
        """Answers per second."""
        return [one.answers_per_s for one in self.samples[name]]

    def rate(self, name: str) -> float:
        """Median of answers per second."""
        return statistics.median(self.rates(name))

    def p99_ms(self, name: str) -> list[float]:
        """99th percentiles of latency."""
        return [one.p99_ms for one in self.samples[name]]

    def p50_ms(self, name: str) -> list[float]:
        """Medians of latency."""
        return [one.p50_ms for one in self.samples[name]]

    def ceiling_note(self, name: str, echo: str) -> str:
        """Says so when a target was answered nearly as fast as the generator can ask."""
        share = self.rate(name) / self.rate(echo)
        if share <= CEILING_SHARE:
            return ""
        return f"at {share:.0%} of the generator's ceiling, so that its answers per second say nothing"


def in_turn(targets: Mapping[str, Callable[[], Sample]], rounds: int, what: str) -> Rounds:
    """Measure every target once a round, so many rounds, every other one backwards. Progress goes to stderr."""
    found = Rounds({name: [] for name in targets})
    for number in range(rounds):
        names = list(targets) if number % 2 == 0 else list(targets)[::-1]
        for name in names:
            tell(f"{what}: round {number + 1} of {rounds}: {name}")
            found.samples[name].append(targets[name]())
    return found


def tell(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)
