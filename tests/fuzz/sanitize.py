"""The compiled module under AddressSanitizer and UndefinedBehaviorSanitizer, under the tests that feed it anything.

    python -m tests.fuzz.sanitize [--seconds 20] [ARGUMENT OF PYTEST ...]

It copies the packages and the tests into build/sanitize, compiles the module there with both sanitizers, runs the tests
of the data path on the copy, and then the fuzzer. Nothing beside the source is touched. Where the compiler has no
sanitizers, it says so and ends well: there is nothing to find out.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from hashlib import sha256
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
BUILD: Final = ROOT / "build" / "sanitize"
TREE: Final = BUILD / "tree"
COPIED: Final = ("deploy", "protocol", "registry", "resolver", "tests", "pyproject.toml")
MODULE: Final = Path("protocol/transport/_fast.pyx")
SANITIZE: Final = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
TESTS: Final = (
    "tests/unit/protocol/transport/test_answer_cache.py",
    "tests/property/test_fast_path.py",
    "tests/integration/transport/test_intake.py",
    "tests/integration/transport/test_intakes_agree.py",
    "tests/integration/transport/test_udp.py",
    "tests/integration/transport/test_corpus.py",
    "tests/integration/transport/test_guards.py",
    "tests/integration/transport/test_no_answer_is_swapped.py",
)
PYTEST: Final = ("-q", "--capture=sys", "-p", "no:cacheprovider", "-k", "not pure", "-rs")
COMPILED: Final = (
    "from protocol.transport.fast_path import FAST_PATH as path; assert path.name == 'compiled', path"
)


def main() -> int:
    """Build, test, fuzz; the exit code is 0 when nothing was found, or nothing could be looked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to fuzz after the tests")
    options, arguments = parser.parse_known_args()
    compiler = shutil.which(os.environ.get("CC") or "gcc")
    library = compiler and asan_of(compiler)
    if not compiler or not library:
        print("SKIPPED: there is no C compiler with AddressSanitizer (Debian and Ubuntu: apt install gcc)")
        return 0
    copy_tree()
    print(f"{build(compiler)} is compiled with {SANITIZE[0]}", flush=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",  # the interpreter frees little when it ends
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # so that each bytes object has its own guarded block
        "PYTHONPATH": str(TREE),
        "HANDLEGRID_PURE": "",
    }
    for words in (
        ["-c", COMPILED],
        ["-m", "pytest", *PYTEST, *(arguments or TESTS)],
        ["-m", "tests.fuzz.datagrams", "--seconds", str(options.seconds)],
    ):
        ended = subprocess.run([sys.executable, *words], cwd=TREE, env=environment, check=False)
        if ended.returncode:
            print(f"FAILED: {' '.join(words[:2])} ended with {ended.returncode}")
            return 1
    print("no sanitizer found anything")
    return 0


def asan_of(compiler: str) -> str | None:
    """The path of the compiler's AddressSanitizer library; None when it cannot build with it."""
    BUILD.mkdir(parents=True, exist_ok=True)
    probe = BUILD / "probe.c"
    probe.write_text("int probe(int number) { return number + 1; }\n", encoding="ascii")
    command = [compiler, "-shared", "-fPIC", *SANITIZE, str(probe), "-o", str(probe.with_suffix(".so"))]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return None
    asked = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    path = Path(asked.stdout.strip())
    return str(path) if path.is_absolute() else None


def copy_tree() -> None:
    """A fresh copy of what is tested, without anything that is compiled."""
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, TREE)
        else:
            shutil.copytree(ROOT / name, TREE / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))


def build(compiler: str) -> Path:
    """Compiles the copy's module, with the digest of its source inside."""
    source, generated = TREE / MODULE, BUILD / "_fast.c"
    target = source.with_name("_fast" + sysconfig.get_config_var("EXT_SUFFIX"))
    subprocess.run([sys.executable, "-m", "cython", "-3", str(source), "-o", str(generated)], check=True)
    digest = sha256(source.read_bytes()).hexdigest()
    command = [compiler, "-shared", "-fPIC", "-O1", "-g", "-fwrapv", *SANITIZE]
    command += [f'-DHANDLEGRID_SOURCE_DIGEST="{digest}"', f"-I{sysconfig.get_path('include')}"]
    subprocess.run([*command, str(generated), "-o", str(target)], check=True)
    return target.relative_to(ROOT)


if __name__ == "__main__":
    sys.exit(main())
