"""Metric against step, as a picture."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import UserError, printable
from harness.package import needs
from harness.results.table import VALIDATION, Table

_PANEL = (4.2, 3.4)
"""Inches."""
_PANELS_A_ROW = 6
_MARGIN = {"left": 0.75, "right": 0.15, "bottom": 0.55, "top": 0.35, "title": 0.35}
"""Inches around a panel's axes: for its numbers and names; above all panels for the runs' names."""
_MARKED_UP_TO, _NUMBERED_UP_TO = 200, 12
"""Points that are each marked, and each numbered."""


def plot_table(table: Table, headlines: Sequence[str], path: Path) -> None:
    """A PNG with one panel for each of these columns, against the step.

    Raises UserError when matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(f"plots need matplotlib: {needs('report')}") from None
    columns = [column for column in table.columns if column in headlines]
    across = min(max(len(columns), 1), _PANELS_A_ROW)
    down = -(-max(len(columns), 1) // across)
    figure = Figure(
        figsize=(_PANEL[0] * across, _PANEL[1] * down + _MARGIN["title"]), dpi=120
    )  # fmt: skip
    for position, column in enumerate(columns):
        row, place = divmod(position, across)
        _draw(figure.add_axes(_box(place, down - 1 - row, across, down)), table, column)
    names = " ".join(dict.fromkeys(row.run for row in table.rows))
    # A name is no formula, whatever it holds.
    figure.suptitle(
        printable(names, one_line=True), fontsize=11, parse_math=False, y=0.995, va="top"
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.png")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(temporary)
    os.replace(temporary, path)


def _box(column: int, row: int, across: int, down: int) -> tuple[float, float, float, float]:
    """Place and size of a panel's axes, as shares of the figure. Fixed: matplotlib's own layout
    draws everything several times to measure it."""
    wide, high = _PANEL[0] * across, _PANEL[1] * down + _MARGIN["title"]
    return (
        (_PANEL[0] * column + _MARGIN["left"]) / wide,
        (_PANEL[1] * row + _MARGIN["bottom"]) / high,
        (_PANEL[0] - _MARGIN["left"] - _MARGIN["right"]) / wide,
        (_PANEL[1] - _MARGIN["bottom"] - _MARGIN["top"]) / high,
    )


def _draw(axes: Any, table: Table, column: str) -> None:
    points = [
        (row.step, float(value))
        for row in table.rows
        if row.step is not None
        and isinstance(value := row.values.get(column), int | float)
        and not isinstance(value, bool)
    ]
    steps, values = [p[0] for p in points], [p[1] for p in points]
    benchmark, aggregation, metric = column.split("/", 2)
    digits = 3 if benchmark == VALIDATION else 1
    marker = "o" if len(points) <= _MARKED_UP_TO else None
    axes.plot(steps, values, marker=marker, color="#2f6db5")
    for step, value in points if len(points) <= _NUMBERED_UP_TO else []:
        axes.annotate(f"{value:.{digits}f}", (step, value), textcoords="offset points", xytext=(0, 6),
                      ha="center", fontsize=8)  # fmt: skip
    title = benchmark if aggregation == "pass@1" else f"{benchmark} {aggregation}"
    axes.set_title(printable(title, one_line=True), fontsize=11, parse_math=False)
    unit = "" if benchmark == VALIDATION else " (%)"
    axes.set_ylabel(f"{printable(metric, one_line=True)}{unit}", fontsize=9, parse_math=False)
    axes.set_xlabel("optimizer step", fontsize=9)
    axes.margins(x=0.08, y=0.18)
    if min(values, default=0) >= 0:
        axes.set_ylim(bottom=max(axes.get_ylim()[0], 0))
    axes.grid(alpha=0.3)
    missing = len(table.rows) - len(points)
    if missing:
        axes.text(0.98, 0.02, f"{missing} without a result", transform=axes.transAxes,
                  ha="right", fontsize=8, color="#b03030")  # fmt: skip
