"""Building the compiled module: optional, marked with the digest of its source, skipped with HANDLEGRID_PURE=1.

setuptools finds this class by pyproject.toml. It runs while handlegrid is installed, so it imports nothing of ours.
"""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from setuptools.command.build_ext import build_ext

PURE_VARIABLE = "HANDLEGRID_PURE"


class BuildExtension(build_ext):  # type: ignore[misc]  # setuptools has no types
    """build_ext that can be told to do nothing; an extension that cannot be built is passed over (optional = true)."""

    cython_c_in_temp = True  # no generated file beside the source

    def initialize_options(self) -> None:
        """As build_ext; the C file goes to the build directory."""
        super().initialize_options()
        self.cython_c_in_temp = True

    def run(self) -> None:
        """Build, unless nobody wants it."""
        if os.environ.get(PURE_VARIABLE, "") not in {"", "0"}:
            self.announce(f"{PURE_VARIABLE} is set: nothing is compiled", level=2)
            return
        super().run()

    def build_extension(self, ext: Any) -> None:
        """Build one extension with the digest of its source inside, so that a stale one is known."""
        digest = sha256(Path(ext.sources[0]).read_bytes()).hexdigest()
        ext.define_macros.append(("HANDLEGRID_SOURCE_DIGEST", f'"{digest}"'))
        super().build_extension(ext)
