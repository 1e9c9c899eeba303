"""What a measurement says: medians with their spread, ratios within a round, aims; as a table, as JSON."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of a few figures, and the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> "Spread":
        """Of at least one figure."""
        some = list(figures)
        return cls(statistics.median(some), min(some), max(some))

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.least)} – {number(self.most)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a figure should be: the ratio to its baseline, or without one the value itself."""

    bound: float
    at_least: bool
    offset: bool = False
    """The bound is on the difference to the baseline."""

    def holds(self, measured: float) -> bool:
        """Whether a figure reaches it."""
        return measured >= self.bound if self.at_least else measured <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} baseline + {self.bound:g}" if self.offset else f"{sign} {self.bound:g}"


def at_least(bound: float) -> Aim:
    """A lower bound."""
    return Aim(bound=bound, at_least=True)


def at_most(bound: float) -> Aim:
    """An upper bound."""
    return Aim(bound=bound, at_least=False)


def at_most_above(bound: float) -> Aim:
    """An upper bound on how far a figure is above its baseline."""
    return Aim(bound=bound, at_least=False, offset=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One result."""

    name: str
    value: Spread
    unit: str
    beside: str = ""
    """What the baseline is."""
    baseline: Spread | None = None
    ratio: Spread | None = None
    """To the baseline, of every round."""
    aim: Aim | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the aim is reached; None without one."""
        if self.aim is None:
            return None
        if self.aim.offset and self.baseline is not None:
            return self.aim.holds(self.value.median - self.baseline.median)
        return self.aim.holds((self.ratio or self.value).median)

    def as_json(self) -> dict[str, Any]:
        """The members of results/latest.json."""
        return {
            "name": self.name,
            "value": _short(self.value.median),
            "unit": self.unit,
            "baseline": _short(self.baseline.median) if self.baseline else None,
            "ratio": _short(self.ratio.median) if self.ratio else None,
            "aim": str(self.aim) if self.aim else None,
            "holds": self.holds,
            "beside": self.beside or None,
            "spread": [_short(self.value.least), _short(self.value.most)],
            "ratio_spread": [_short(self.ratio.least), _short(self.ratio.most)] if self.ratio else None,
            "note": self.note or None,
        }


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a plot."""

    name: str
    value: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Bars of one unit."""

    name: str
    """Of its file."""
    title: str
    bars: Sequence[Bar]


@dataclass(slots=True)
class Outcome:
    """Everything that one measurement says."""

    lines: list[Line] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare(
    name: str,
    values: Sequence[float],
    *,
    unit: str,
    beside: str = "",
    baselines: Sequence[float] = (),
    aim: Aim | None = None,
    note: str = "",
) -> Line:
    """A line of the figures of all rounds; baselines: those of what stands beside, round by round."""
    comparable = baselines and not (aim and aim.offset)
    ratios = [value / base for value, base in zip(values, baselines, strict=True)] if comparable else []
    return Line(
        name=name,
        value=Spread.of(values),
        unit=unit,
        beside=beside,
        baseline=Spread.of(baselines) if baselines else None,
        ratio=Spread.of(ratios) if ratios else None,
        aim=aim,
        note=note,
    )


def number(figure: float) -> str:
    """A figure with three or so digits that say something."""
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.2f}" if abs(figure) >= 1 else f"{figure:.3f}"


def _short(figure: float) -> float:
    return float(f"{figure:.5g}")


def markdown(outcomes: Iterable[Outcome]) -> str:
    """The table, and what is to be said of it."""
    lines = [
        "| measurement | value | unit | beside | baseline | ratio | aim | holds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    notes: list[str] = []
    for outcome in outcomes:
        for line in outcome.lines:
            holds = {None: "", True: "yes", False: "**no**"}[line.holds]
            cells = (line.name, line.value, line.unit, line.beside, line.baseline or "", line.ratio or "")
            lines.append("| " + " | ".join(map(str, (*cells, line.aim or "", holds))) + " |")
            if line.note:
                notes.append(f"- {line.name}: {line.note}")
        notes += [f"- {note}" for note in outcome.notes]
    return "\n".join([*lines, "", *dict.fromkeys(notes)]).rstrip() + "\n"


def as_list(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """All results, each with machine and commit."""
    where = {"machine": machine(), "commit": commit()}
    return [{**line.as_json(), **where} for outcome in outcomes for line in outcome.lines]


def to_json(outcomes: Iterable[Outcome]) -> str:
    """All results as JSON."""
    return json.dumps(as_list(outcomes), indent=1, ensure_ascii=False) + "\n"


def machine() -> str:
    """Processor, cores, memory, system and Python."""
    model = UNKNOWN
    for line in _text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores of {model}, {memory_gib:.0f} GiB, {platform.system()} "
        f"{platform.release().partition('-')[0]}, Python {platform.python_version()}"
    )


def commit() -> str:
    """The commit of this checkout, with a + when files differ from it."""
    root = Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    found = git("rev-parse", "--short=12", "HEAD")
    return found + ("+" if git("status", "--porcelain", "--untracked-files=no") else "") if found else UNKNOWN


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
