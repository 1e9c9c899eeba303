"""The garbage collector of a daemon looks at what has survived once, and now and then at everything."""

import gc
from collections.abc import Iterator

import pytest

from protocol.runtime.lifecycle import LOOK_AT_ALL_EVERY, relieve_collector


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:
    threshold, callbacks = gc.get_threshold(), list(gc.callbacks)
    yield
    gc.callbacks[:] = callbacks
    gc.set_threshold(*threshold)
    gc.unfreeze()


def test_what_has_survived_a_full_look_is_spared_the_next() -> None:
    relieve_collector()
    before = gc.get_freeze_count()
    kept = [[number] for number in range(1_000)]
    gc.collect()
    assert gc.get_freeze_count() >= before + len(kept)


def test_now_and_then_everything_is_looked_at_again() -> None:
    relieve_collector()
    for _ in range(LOOK_AT_ALL_EVERY):
        gc.collect()
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert gc.get_freeze_count() > 0
