"""A load on any server, with every answer checked; on loopback unless told otherwise.

    python -m benchmarks.load udp 127.0.0.1:2641 "88.100.1/PUMP-####" --numbers 1000 --seconds 5
    python -m benchmarks.load http 127.0.0.1:8000 "88.100.1/PUMP-####" --connections 16

A name that ends in # stands for names that end in so many digits. It is bounded in time and sends nowhere but to
loopback unless --anywhere is given. `python -m benchmarks.cached_udp` tells what the generator itself can reach.
"""

import argparse
import json
import sys

from benchmarks.load.build import is_compiled
from benchmarks.load.requests import handle_requests, http_requests, parse_names, shuffled
from benchmarks.load.result import LoadResult
from benchmarks.load.run import SECONDS_MAX, WINDOW, is_loopback, parse_address, run_streams, run_udp


def run(given: argparse.Namespace) -> LoadResult:
    """Run what was asked for."""
    names = parse_names(given.names, shuffled(given.numbers))
    how = {"seconds": given.seconds, "rate_per_s": given.rate, "sent_max": given.requests}
    if given.protocol == "udp":
        return run_udp(given.target, handle_requests(names), window=given.window, **how)
    requests = (
        http_requests(given.path, names)
        if given.protocol == "http"
        else handle_requests(names, keep_alive=True)
    )
    return run_streams(given.target, requests, connections=given.connections, depth=given.depth, **how)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("protocol", choices=["udp", "tcp", "http"])
    parser.add_argument("target", type=parse_address, help="address:port of the server")
    parser.add_argument("names", help='a handle, or a pattern such as "88.100.1/PUMP-####"')
    parser.add_argument(
        "--numbers", type=int, default=1, help="how many names the pattern stands for, from 0 on"
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--requests", type=int, default=0, help="end after so many; 0: after --seconds")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="requests a second; 0: as many as are answered"
    )
    parser.add_argument("--window", type=int, default=WINDOW, help="requests in flight, of UDP")
    parser.add_argument("--connections", type=int, default=16, help="of TCP and HTTP")
    parser.add_argument("--depth", type=int, default=1, help="requests on their way on one connection")
    parser.add_argument("--path", default="/api/handles/", help="of HTTP, before the name")
    parser.add_argument("--anywhere", action="store_true", help="allow a target that is not on loopback")
    given = parser.parse_args()
    if not given.anywhere and not is_loopback(given.target):
        parser.error("the target is not on loopback; --anywhere allows it, if you own that server")
    if not 0 < given.seconds <= SECONDS_MAX:
        parser.error(f"--seconds must be at most {SECONDS_MAX:.0f}")
    result = run(given)
    facts = {
        "sent": result.sent,
        "answers": result.answers,
        "lost": result.lost,
        "wrong": result.wrong,
        "stray": result.stray,
        "closed": result.closed,
        "seconds": round(result.seconds, 3),
        "answers_per_s": round(result.answers_per_s, 1),
        "latency_ms_p50": round(result.p50_ms, 3),
        "latency_ms_p99": round(result.p99_ms, 3),
        "generator_cpu_s": round(result.generator_cpu_s, 3),
        "generator": "compiled" if is_compiled() else "Python",
    }
    print(json.dumps(facts, indent=2))
    if fault := result.fault():
        print(fault, file=sys.stderr)
    sys.exit(bool(result.wrong))


if __name__ == "__main__":
    main()
