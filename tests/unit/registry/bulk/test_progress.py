"""What an import says while it runs."""

from io import StringIO

from registry.bulk.progress import (
    ProgressBar,
    ProgressLines,
    SilentProgress,
    describe,
    format_duration,
    progress_for,
)
from registry.bulk.report import ImportCounts, ImportReport, ImportStatus


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def counts(**changes: int) -> ImportCounts:
    """Return counts of a file of a thousand octets."""
    return ImportCounts(file_octets=1_000, **changes)


def report(**changes: int) -> ImportReport:
    """Return the report of a complete import."""
    return ImportReport(status=ImportStatus.COMPLETE, counts=counts(**changes), elapsed_s=2.0, rejects=None)


def test_remaining_time_goes_by_the_octets_of_the_file() -> None:
    text = describe(counts(created=50, read_octets=250), 10.0, bar=False)
    assert text == " 25%  50 rows  5/s  30s left"


def test_the_bar_is_filled_by_the_share() -> None:
    assert describe(counts(created=1, read_octets=500), 1.0, bar=True).startswith(
        "[" + "#" * 14 + "-" * 14 + "]  50%"
    )


def test_of_a_pipe_neither_share_nor_remaining_time_is_claimed() -> None:
    pipe = ImportCounts(created=5, rejected=2, read_octets=99)
    assert describe(pipe, 1.0, bar=True) == "7 rows  7/s  2 rejected"


def test_a_file_that_grows_is_never_more_than_whole() -> None:
    assert "100%" in describe(counts(created=1, read_octets=2_000), 1.0, bar=False)


def test_durations_are_short() -> None:
    assert [format_duration(seconds) for seconds in (0.2, 59.4, 60, 3_599, 7_620, -1)] == [
        "0s",
        "59s",
        "1m00s",
        "59m59s",
        "2h07m",
        "0s",
    ]


def test_a_terminal_gets_a_bar_and_a_log_gets_lines() -> None:
    assert isinstance(progress_for(Terminal()), ProgressBar)
    assert isinstance(progress_for(StringIO()), ProgressLines)


def test_a_bar_is_drawn_over_itself_a_few_times_a_second_and_erased() -> None:
    now = [0.0]
    stream = Terminal()
    bar = ProgressBar(stream, clock=lambda: now[0])
    for _ in range(100):
        bar.advanced(counts(created=1), 1.0)
        now[0] += 0.01
    bar.ended()

    assert stream.getvalue().count("rows") == 5
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_lines_come_every_few_seconds_and_hold_no_control_characters() -> None:
    now = [0.0]
    stream = StringIO()
    lines = ProgressLines(stream, clock=lambda: now[0])
    for _ in range(121):
        lines.advanced(counts(created=1), 1.0)
        now[0] += 0.1
    lines.ended()

    assert stream.getvalue().count("\n") == 2
    assert stream.getvalue().replace("\n", "").isprintable()


def test_silence_is_possible() -> None:
    SilentProgress().advanced(counts(), 1.0)
    SilentProgress().ended()


def test_a_report_counts_every_row_once() -> None:
    done = report(created=3, replaced=2, unchanged=1, rejected=4)
    assert (done.counts.stored, done.counts.rows, done.exit_code, done.rows_per_s) == (6, 10, 0, 5.0)
    assert done.to_text() == "10 rows in 2.0 s (5/s): 3 created, 2 replaced, 1 unchanged, 4 rejected"
    assert done.to_json()["rejects"] is None


def test_an_import_that_never_began_says_why_and_counts_nothing() -> None:
    nothing = ImportReport(
        status=ImportStatus.UNUSABLE,
        counts=counts(),
        elapsed_s=0.0,
        rejects=None,
        failure="cannot read x.csv",
    )
    assert nothing.to_text() == "cannot read x.csv"
