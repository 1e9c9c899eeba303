"""Every measurement of resolution, and authenticated writes, one after the other; results in benchmarks/results.

    python -m benchmarks.all
    python -m benchmarks.all --full

At reduced size it takes less than ten minutes on two cores. It writes results/latest.json, results/latest.md and a plot
for each measurement, and prints the table. It fails when an answer was wrong, not when an aim was missed.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks import (
    authenticated_writes,
    cache_growth,
    cache_memory,
    cached_streams,
    cached_udp,
    cold_recursive,
    cold_registry,
    workers,
)
from benchmarks.command import Measurement, Options, add_options, attempt, options_of
from benchmarks.load.build import is_compiled
from benchmarks.plot import write_plots
from benchmarks.report import Outcome, commit, machine, markdown, to_json
from benchmarks.rounds import tell

RESULTS: Final = Path(__file__).parent / "results"
MEASUREMENTS: Final[dict[str, Measurement]] = {
    module.__name__.rpartition(".")[2]: module.measurement
    for module in (
        cold_recursive,
        cold_registry,
        cached_udp,
        cached_streams,
        cache_growth,
        cache_memory,
        workers,
        authenticated_writes,
    )
}


def measure_all(options: Options) -> tuple[list[Outcome], bool]:
    """Run every measurement. Returns what they say, and whether all came to an end with right answers."""
    outcomes, good = [], True
    for name, measurement in MEASUREMENTS.items():
        started_s = time.monotonic()
        outcome, ended_well = attempt(name, measurement, options)
        outcomes.append(outcome)
        good = good and ended_well
        tell(f"{name}: {time.monotonic() - started_s:.0f} s")
    return outcomes, good


def heading(load: float, options: Options) -> str:
    """Where and how the table was made."""
    return (
        f"Machine: {machine()}; load average {load:.1f} at the start. Commit {commit()}. "
        f"{'Full' if options.full else 'Reduced'} size, {options.rounds} rounds of {options.seconds:g} s, in turn. "
        f"Load generator: {'compiled' if is_compiled() else 'PYTHON, too slow for these servers'}. "
        "Medians, in brackets the least and the most; ratios are taken within a round.\n\n"
    )


def write(outcomes: list[Outcome], text: str) -> None:
    """Write the results where they belong."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(to_json(outcomes), encoding="utf-8")
    (RESULTS / "latest.md").write_text(text, encoding="utf-8")
    write_plots(RESULTS, [plot for outcome in outcomes for plot in outcome.plots])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    given = parser.parse_args()
    options = options_of(parser, given)
    load = os.getloadavg()[0]
    outcomes, good = measure_all(options)
    text = heading(load, options) + markdown(outcomes)
    write(outcomes, text)
    print(to_json(outcomes) if given.json else text, end="")
    sys.exit(not good)


if __name__ == "__main__":
    main()
