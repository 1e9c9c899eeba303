"""One worker of a recursive node, as its supervisor starts it: python -m resolver.worker DESCRIPTOR."""

import sys

from protocol.runtime.workers.run import run_worker
from resolver.daemon import RecursiveNode
from resolver.metrics import ROLE
from resolver.settings import ResolverSettings


def main() -> int:
    """Run until the supervisor ends it. Returns the exit code of the process."""
    return run_worker(
        int(sys.argv[1]),
        ResolverSettings,
        lambda settings, worker: RecursiveNode(settings, worker=worker),
        role=ROLE,
    )


if __name__ == "__main__":
    sys.exit(main())
