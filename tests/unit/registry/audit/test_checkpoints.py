"""Checkpoints: appended, read again whatever a crash has left, thinned when they are many."""

from pathlib import Path

import pytest

from registry.audit import checkpoints as module
from registry.audit.checkpoints import Checkpoint, Checkpoints, read_checkpoints, thinned
from registry.audit.head import Head, format_time

T0_MS = 1_795_211_520_000


def head(number: int) -> Head:
    return Head(number=number, chain=bytes([number % 256]) * 32, numbered_ms=T0_MS)


def checkpoint(number: int) -> Checkpoint:
    return Checkpoint(number=number, chain=bytes([number % 256]) * 32, time="2026-11-20T21:52:00Z")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.heads"


def test_what_was_noted_is_read(path: Path) -> None:
    noted = Checkpoints(path)
    noted.note(head(1))
    noted.note(head(7))
    assert read_checkpoints(path) == [checkpoint(1), checkpoint(7)]


def test_only_we_can_read_the_file(path: Path) -> None:
    Checkpoints(path).note(head(1))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_head_is_noted_once(path: Path) -> None:
    noted = Checkpoints(path)
    noted.note(head(1))
    noted.note(head(1))
    again = Checkpoints(path)
    again.open()
    again.note(head(1))
    assert len(read_checkpoints(path)) == 1


def test_a_chain_without_entries_is_not_noted(path: Path) -> None:
    noted = Checkpoints(path)
    assert noted.open() is None
    noted.note(Head())
    assert not path.exists()


def test_opening_gives_the_last_one(path: Path) -> None:
    Checkpoints(path).note(head(1))
    Checkpoints(path).note(head(2))
    assert Checkpoints(path).open() == checkpoint(2)


@pytest.mark.parametrize(
    "line", ["", "1", "x y z", "1 00ff 2026", "-1 " + "00" * 32 + " t", "1 " + "00" * 32, "\udcff"]
)
def test_a_line_of_another_form_is_passed_over(path: Path, line: str) -> None:
    Checkpoints(path).note(head(1))
    with path.open("ab") as file:
        file.write(line.encode("utf-8", "surrogateescape") + b"\n")
    Checkpoints(path).note(head(2))
    assert read_checkpoints(path) == [checkpoint(1), checkpoint(2)]


def test_half_a_line_costs_the_next_one_nothing(path: Path) -> None:
    """Power was lost while a line was written."""
    Checkpoints(path).note(head(1))
    with path.open("ab") as file:
        file.write(b"2 0202")
    noted = Checkpoints(path)
    assert noted.open() == checkpoint(1)
    noted.note(head(3))
    assert read_checkpoints(path) == [checkpoint(1), checkpoint(3)]


def test_too_many_are_thinned_and_the_first_and_the_newer_half_stay(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINTS_MAX", 8)
    noted = Checkpoints(path)
    for number in range(1, 10):
        noted.note(head(number))
    assert [each.number for each in read_checkpoints(path)] == [1, 3, 5, 6, 7, 8, 9]
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["audit.heads"]


def test_thinning_keeps_the_order() -> None:
    many = [checkpoint(number) for number in range(1, 101)]
    kept = thinned(many)
    assert kept[0] == many[0]
    assert kept[-50:] == many[50:]
    assert len(kept) == 75


def test_a_head_is_the_same_after_it_was_stored() -> None:
    stored = Head(number=3, chain=bytes(range(32)), log_number=9, position=1_000, numbered_ms=T0_MS)
    assert Head.decode(stored.encode()) == stored


@pytest.mark.parametrize(
    "octets", [b"", b"{}x", b'{"chain":"AA=="}', b'{"number":-1}', b'{"number":"1"}', b'{"other":1}', b"\xff"]
)
def test_what_is_no_head_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Head.decode(octets)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(T0_MS, "2026-11-20T21:52:00Z"), (0, "1970-01-01T00:00:00Z"), (2**63 - 1, f"{2**63 - 1}ms")],
)
def test_times_are_told_as_people_write_them(ms: int, text: str) -> None:
    assert format_time(ms) == text
