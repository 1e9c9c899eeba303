"""Progress of a walk over rows, as a bar and as lines."""

from io import StringIO

from registry.row_progress import RowProgress, describe


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_walk_is_described_by_share_rows_rate_and_what_is_left() -> None:
    text = describe(1_000, 4_000, 2.0, bar=False)
    assert text == " 25%  1,000 of 4,000 rows  500/s  6s left"
    assert describe(2, 4, 1.0, bar=True).startswith("[##############--------------]  50%")
    assert describe(0, 0, 0.0, bar=False) == "100%  0 of 0 rows"
    assert "100%" in describe(7, 4, 1.0, bar=False), "rows may be added meanwhile"


def test_lines_come_every_few_seconds_and_a_bar_is_drawn_over_itself() -> None:
    times = [0.0]
    lines, terminal = StringIO(), Terminal()
    shown = [RowProgress(stream, clock=lambda: times[0]) for stream in (lines, terminal)]
    for at_s in (0.0, 0.1, 1.0, 6.0):
        times[0] = at_s
        for progress in shown:
            progress.advanced(int(at_s), 10)
    for progress in shown:
        progress.ended()

    assert lines.getvalue().count("\n") == 2
    assert terminal.getvalue().count("\r") == 4
    assert "\n" not in terminal.getvalue()
