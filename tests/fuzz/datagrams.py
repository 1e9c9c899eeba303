"""A fuzzer of the data path: damaged recordings and noise, against both paths, until the time is over.

    python -m tests.fuzz.datagrams [--seconds 60] [--seed 1] [--write-corpus]

Each round has a seed of its own, which is printed when the round fails; with --seed it is played again. A round feeds
both intakes the same datagrams and compares all that they do, then floods a whole front end of each path and asks it
something afterwards. --write-corpus makes the file of datagrams that the tests replay.
"""

import argparse
import asyncio
import random
import sys
import time
from typing import Final

from protocol.transport.source import SourceCheck
from tests.support.corpus import FILE, made
from tests.support.datagrams import traffic
from tests.support.flood import flood_udp
from tests.support.intakes import Bench, fed, fill
from tests.support.paths import COMPILED, PURE

ROUND: Final = 800
HOSTS: Final = ["127.0.0.1", "127.0.1.1", "127.0.2.1"]


def main() -> int:
    """Fuzz until the time is over or a round fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--write-corpus", action="store_true")
    options = parser.parse_args()
    if options.write_corpus:
        print(f"{FILE.write_text(made(), encoding='utf-8')} characters")
        return 0
    if COMPILED.name == PURE.name:
        print(f"NOT COMPARED: {COMPILED.reason}")
    first = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {first}", flush=True)
    end_s = time.monotonic() + options.seconds
    rounds = 0
    while rounds == 0 or time.monotonic() < end_s:
        try:
            play(first + rounds)
        except BaseException:
            print(f"FAILED in round {rounds}: play it again with --seed {first + rounds} --seconds 0")
            raise
        rounds += 1
    print(f"{rounds} rounds of {ROUND} datagrams, seeds {first} to {first + rounds - 1}: nothing found")
    return 0


def play(seed: int) -> None:
    """One round. AssertionError when the paths differ, or a front end does not answer afterwards."""
    datagrams = traffic(seed, ROUND)
    seen = []
    for path in dict.fromkeys((PURE, COMPILED)):
        with Bench(path, source=SourceCheck(rate_per_s=1e-6, burst=200)) as bench:
            fill(bench)
            received = fed(bench, datagrams, HOSTS, 40)
            owner = bench.owner
            assert owner.seen == len(datagrams)
            seen.append(
                (received, owner.misses, owner.told, owner.limits, owner.codes, bench.intake.take_sources())
            )
        asyncio.run(flood_udp(path, datagrams))
    assert all(one == seen[0] for one in seen)


if __name__ == "__main__":
    sys.exit(main())
