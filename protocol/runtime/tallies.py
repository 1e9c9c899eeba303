"""Counters and histograms for what happens a hundred thousand times a second, counted on one event loop's thread.

A cell is a plain object: one addition, no lock, no look-up of labels. Measured, that takes 0.05 microseconds, against
0.6 for a counter of prometheus_client and 1.8 for a histogram. Whoever collects must run on the same thread.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Cell:
    """One number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class DurationCell:
    """One distribution of durations."""

    __slots__ = ("_bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        """Durations up to each bound and above the one before; the last for those above all bounds."""
        self.sum_s = 0.0

    def observe(self, seconds: float, count: int = 1) -> None:
        """Counts so many durations of this length."""
        self.counts[bisect_left(self._bounds_s, seconds)] += count
        self.sum_s += seconds * count


class TallyCounter(Collector):
    """A counter with labels; cell() gives what is counted with, and the same for the same labels."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], *, registry: CollectorRegistry
    ) -> None:
        """name: with its unit and without _total, which is added."""
        self._name, self._documentation, self._labels = name, documentation, labels
        self._cells: dict[tuple[str, ...], Cell] = {}
        registry.register(self)

    def cell(self, *labels: str) -> Cell:
        """The cell of these label values, which come from closed sets."""
        assert len(labels) == len(self._labels)
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = Cell()
        return cell

    def total(self) -> int:
        """The sum over all labels."""
        return sum(cell.value for cell in self._cells.values())

    def collect(self) -> Iterator[CounterMetricFamily]:
        """See Collector."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, cell in self._cells.items():
            family.add_metric(labels, cell.value)
        yield family


class TallyHistogram(Collector):
    """A histogram of durations with labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        """buckets: upper bounds in seconds, ascending, without the infinite one."""
        self._name, self._documentation, self._labels = name, documentation, labels
        self._bounds_s = tuple(buckets)
        self._cells: dict[tuple[str, ...], DurationCell] = {}
        registry.register(self)

    def cell(self, *labels: str) -> DurationCell:
        """The cell of these label values, which come from closed sets."""
        assert len(labels) == len(self._labels)
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = DurationCell(self._bounds_s)
        return cell

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """See Collector."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        names = [*map(floatToGoString, self._bounds_s), "+Inf"]
        for labels, cell in self._cells.items():
            total, buckets = 0, []
            for name, count in zip(names, cell.counts, strict=True):
                total += count
                buckets.append((name, float(total)))
            family.add_metric(labels, buckets, cell.sum_s)
        yield family
