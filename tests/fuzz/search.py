"""A fuzzer of the decoders, one layer at a time, guided by what is reached (libFuzzer, by the package atheris).

    python -m tests.fuzz.search [LAYER ...] [--seconds 900] [--corpus DIR] [--keep]

Each layer runs in a process of its own, from recorded octets on, until its time is over; an input that raises what it
must not, takes longer than a second or lets the process grow beyond its limit ends it and is written down. With --keep
what was found to be interesting joins the corpus of the repository, which the tests replay.

Nothing of the product is imported here: in the child it must be instrumented first.
"""

import argparse
import base64
import hashlib
import importlib
import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

CORPUS: Final = Path(__file__).resolve().parents[1] / "vectors" / "fuzz"
INPUT_OCTETS_MAX: Final = 8_192
INPUT_S_MAX: Final = 5  # of one input; the slowest known takes a tenth of a second on a busy machine
RESIDENT_MB_MAX: Final = 1_024
KEPT_MAX: Final = 150  # inputs of a layer in the repository
KEPT_OCTETS_MAX: Final = 512
CHILD: Final = "--child"


def main() -> int:
    """Fuzz the layers that are named, all when none is; 1 when a fault was found."""
    from tests.fuzz.layers import LAYERS

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("layers", nargs="*", metavar="LAYER", help=", ".join(LAYERS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=None, help="a directory that is kept")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    unknown = set(options.layers) - set(LAYERS)
    if unknown:
        parser.error(f"there is no layer {', '.join(sorted(unknown))}")
    failed = []
    with tempfile.TemporaryDirectory(prefix="handlegrid-fuzz-") as directory:
        for layer in options.layers or LAYERS:
            folder = (options.corpus or Path(directory)) / layer
            if not _search(layer, folder, options.seconds):
                failed.append(layer)
            elif options.keep:
                _keep(layer, folder)
    for layer in failed:
        print(f"FAILED: {layer}")
    return 1 if failed else 0


def _search(layer: str, folder: Path, seconds: int) -> bool:
    from tests.fuzz.layers import LAYERS

    folder.mkdir(parents=True, exist_ok=True)
    for octets in (*LAYERS[layer].seeds(), *kept(layer).values()):
        (folder / hashlib.sha256(octets).hexdigest()[:16]).write_bytes(octets)
    print(f"{layer}: {seconds} s from {len(list(folder.iterdir()))} inputs", flush=True)
    arguments = [
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_S_MAX}",
        f"-rss_limit_mb={RESIDENT_MB_MAX}",
        f"-max_len={INPUT_OCTETS_MAX}",
        f"-artifact_prefix={Path.cwd() / 'fuzz-'}{layer}-",
        "-print_final_stats=1",
        "-verbosity=1",
        "-print_pcs=0",
    ]
    command = [sys.executable, "-m", "tests.fuzz.search", CHILD, layer, *arguments, str(folder)]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True, errors="replace")
    told = [line for line in done.stderr.splitlines() if not line.startswith("INFO: Instrumenting")]
    print("\n".join(told[-8:] if done.returncode == 0 else told[-60:]), flush=True)
    return done.returncode == 0


def child(layer: str, arguments: list[str]) -> None:
    """Fuzz one layer in this process, whose modules are instrumented as they are imported; never returns."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["protocol", "registry", "resolver"]):
        layers = importlib.import_module("tests.fuzz.layers")
    play = layers.LAYERS[layer].play
    atheris.Setup([sys.argv[0], *arguments], play)
    atheris.Fuzz()


@cache
def kept(layer: str) -> dict[str, bytes]:
    """The corpus of a layer in the repository, by digest."""
    try:
        held: list[str] = json.loads((CORPUS / f"{layer}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        held = []
    octets = [base64.b64decode(item) for item in held]
    return {hashlib.sha256(item).hexdigest()[:16]: item for item in octets}


def _keep(layer: str, folder: Path) -> None:
    """Write the newest short inputs that the search found, and those of before, into the repository."""
    found = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    fresh = [path.read_bytes() for path in found if path.stat().st_size <= KEPT_OCTETS_MAX]
    chosen = list(dict.fromkeys([*kept(layer).values(), *fresh]))[:KEPT_MAX]
    CORPUS.mkdir(exist_ok=True)
    lines = sorted(base64.b64encode(octets).decode() for octets in chosen)
    (CORPUS / f"{layer}.json").write_text(json.dumps(lines, indent=0) + "\n", encoding="utf-8")
    print(f"{layer}: {len(lines)} inputs in {CORPUS.name}/")


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        child(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
