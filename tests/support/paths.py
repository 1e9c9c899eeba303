"""Both implementations of the data path: what holds for one holds for the other."""

import pytest

from protocol.transport.fast_path import FastPath, choose, pure

PURE = pure("a test asks for it")
COMPILED = choose({})


def path_of(name: str) -> FastPath:
    """One of them by name; skips where nothing is compiled."""
    if name == PURE.name:
        return PURE
    if COMPILED.name == PURE.name:
        pytest.skip(f"NOT TESTED: {COMPILED.reason}")
    return COMPILED
