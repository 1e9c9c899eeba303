"""One worker of a registry node, as its supervisor starts it: python -m registry.worker [--unsafe] DESCRIPTOR."""

import sys

from protocol.runtime.workers.run import run_worker
from registry.daemon import RegistryNode
from registry.metrics import ROLE
from registry.settings import RegistrySettings


def main() -> int:
    """Run until the supervisor ends it. Returns the exit code of the process."""
    *flags, descriptor = sys.argv[1:]
    unsafe = "--unsafe" in flags
    return run_worker(
        int(descriptor),
        RegistrySettings,
        lambda settings, worker: RegistryNode(settings, unsafe=unsafe, worker=worker),
        role=ROLE,
    )


if __name__ == "__main__":
    sys.exit(main())
