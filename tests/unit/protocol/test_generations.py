"""Generations: stamps end exactly when what they cover was marked, across processes too."""

import multiprocessing
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from protocol.generations import Generations


def test_a_stamp_is_current_until_its_handle_is_marked() -> None:
    generations = Generations()
    stamp = generations.stamp(b"20.500.1/A", b"20.500.1")
    generations.bump([b"20.500.1/B"], [b"20.500.2"])
    assert generations.current(stamp)
    generations.bump([b"20.500.1/A"])
    assert not generations.current(stamp)


def test_a_stamp_ends_with_its_prefix_and_with_everything() -> None:
    generations = Generations()
    first = generations.stamp(b"20.500.1/A", b"20.500.1")
    generations.bump([], [b"20.500.1"])
    second = generations.stamp(b"20.500.1/A", b"20.500.1")
    assert not generations.current(first)
    assert generations.current(second)
    generations.bump_all()
    assert not generations.current(second)


def test_what_is_known_of_prefixes_ends_with_any_of_them() -> None:
    generations = Generations()
    stamp = generations.prefix_stamp([b"20.500.1", b"20.500"])
    generations.bump([b"20.500.1/A"], [b"10"])
    assert generations.current(stamp)
    generations.bump([], [b"20.500"])
    assert not generations.current(stamp)


def test_stamps_join() -> None:
    generations = Generations()
    both = generations.stamp(b"20.500.1/A", b"20.500.1") + generations.stamp(b"20.500.1/BASE", b"20.500.1")
    assert generations.current(both)
    generations.bump([b"20.500.1/BASE"])
    assert not generations.current(both)


@given(st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=20))
def test_a_stamp_never_becomes_current_again(keys: list[bytes]) -> None:
    generations = Generations()
    stamp = generations.stamp(keys[0], b"")
    generations.bump([keys[0]])
    for key in keys:
        generations.bump([key])
        assert not generations.current(stamp)


def _mark(path: Path) -> None:
    generations = Generations(path)
    generations.bump([b"20.500.1/A"])
    generations.close()


def test_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "generations"
    generations = Generations(path)
    stamp = generations.stamp(b"20.500.1/A", b"20.500.1")
    process = multiprocessing.get_context("spawn").Process(target=_mark, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert not generations.current(stamp)
    generations.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_cut_is_made_whole_again(tmp_path: Path) -> None:
    path = tmp_path / "generations"
    path.write_bytes(b"short")
    generations = Generations(path)
    assert generations.current(generations.stamp(b"A", b"B"))
    generations.close()
