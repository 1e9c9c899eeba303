"""Plots as small SVG files: bars with whiskers from the least to the most."""

from html import escape
from pathlib import Path
from typing import Final

from benchmarks.report import Plot, number

WIDTH: Final = 820
LABELS: Final = 270
FIGURES: Final = 110
ROW: Final = 26
TOP: Final = 38
BAR: Final = 14
STYLE: Final = "font-family:sans-serif;font-size:12px"
OURS: Final = "#2f6f9f"
OTHERS: Final = "#a9b4bd"


def svg(plot: Plot) -> str:
    """The plot as text. Bars of ours are dark: those whose names say registry or recursive node."""
    height = TOP + ROW * len(plot.bars) + 10
    room = WIDTH - LABELS - FIGURES
    scale = room / max([bar.value.most for bar in plot.bars] + [1e-9])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" style="{STYLE}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="20" font-weight="bold">{escape(plot.title)}</text>',
    ]
    for place, bar in enumerate(plot.bars):
        y = TOP + ROW * place
        middle = y + BAR / 2
        length = scale * bar.value.median
        least, most = (LABELS + scale * figure for figure in (bar.value.least, bar.value.most))
        colour = OURS if any(word in bar.name for word in ("registry", "recursive")) else OTHERS
        parts += [
            f'<text x="{LABELS - 8}" y="{y + 11}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<path d="M{least:.1f} {middle}H{most:.1f}" stroke="#222"/>',
            f'<text x="{WIDTH - FIGURES + 12}" y="{y + 11}">{number(bar.value.median)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def write_plots(directory: Path, plots: list[Plot]) -> None:
    """Write each plot to a file of its name."""
    for plot in plots:
        (directory / f"{plot.name}.svg").write_text(svg(plot), encoding="utf-8")
