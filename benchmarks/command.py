"""What the commands of all measurements have in common: options, the table or JSON, the exit code."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.load.build import is_compiled
from benchmarks.load.run import Address, is_loopback, parse_address
from benchmarks.report import Outcome, markdown, to_json
from benchmarks.rounds import Unmeasurable, WrongAnswers, tell
from benchmarks.targets.process import NotReady

ROUNDS: Final = 3
ROUNDS_FULL: Final = 7
SECONDS: Final = 1.0
SECONDS_FULL: Final = 3.0
INTERRUPTED: Final = 130  # as a shell says of a command that Ctrl-C ended


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleServer:
    """A Handle server of somebody's, and the names that it is asked for."""

    address: Address
    names: str
    pid: int
    """Of its process, for its CPU time; 0: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much is measured."""

    full: bool = False
    rounds: int = ROUNDS
    seconds: float = SECONDS
    """Of load on one target in one round."""
    handle_server: HandleServer | None = None

    def size(self, reduced: int, full: int) -> int:
        """A size, by whether all of it was asked for."""
        return full if self.full else reduced


Measurement = Callable[[Options], Outcome]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every measurement."""
    parser.add_argument("--full", action="store_true", help="at full size instead of a reduced one")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, of full size {ROUNDS_FULL}")
    parser.add_argument("--seconds", type=float, help="of load on each target in each round")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument(
        "--handle-server", type=parse_address, help="address:port of a Handle server to set beside"
    )
    parser.add_argument("--handle-names", default="", help='its names: "20.500.1/x-####" ends in four digits')
    parser.add_argument("--handle-pid", type=int, default=0, help="its process, when it runs here")
    parser.add_argument("--anywhere", action="store_true", help="allow a server that is not on loopback")


def options_of(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Options:
    """What was asked for."""
    server = None
    if given.handle_server is not None:
        if not given.handle_names:
            parser.error("--handle-server needs --handle-names")
        if not given.anywhere and not is_loopback(given.handle_server):
            parser.error("the server is not on loopback; --anywhere allows it, if you own it")
        server = HandleServer(address=given.handle_server, names=given.handle_names, pid=given.handle_pid)
    return Options(
        full=given.full,
        rounds=given.rounds or (ROUNDS_FULL if given.full else ROUNDS),
        seconds=given.seconds or (SECONDS_FULL if given.full else SECONDS),
        handle_server=server,
    )


def attempt(name: str, measurement: Measurement, options: Options) -> tuple[Outcome, bool]:
    """Run a measurement. Returns what it says, and whether it came to an end with right answers."""
    try:
        return measurement(options), True
    except (WrongAnswers, Unmeasurable, NotReady) as error:
        tell(f"{name} FAILED: {error}")
        return Outcome(notes=[f"{name} failed: {error}"]), False
    except KeyboardInterrupt:
        tell(f"{name} was interrupted; everything that it started has ended")
        sys.exit(INTERRUPTED)


def run(measurement: Measurement, description: str | None) -> None:
    """The command of one measurement. It fails when an answer was wrong, not when an aim was missed."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    given = parser.parse_args()
    options = options_of(parser, given)
    if not is_compiled():
        tell("the load generator is the one in Python: figures are of the generator rather than of servers")
    outcome, good = attempt(Path(sys.argv[0]).stem, measurement, options)
    if given.json:
        for note in outcome.notes:
            tell(note)
    print(to_json([outcome]) if given.json else markdown([outcome]), end="")
    sys.exit(not good)
