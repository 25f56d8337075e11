"""Metric against step, as a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UserError
from harness.package import needs
from harness.results.table import Table


def plot_table(table: Table, headlines: Sequence[str], path: Path) -> None:
    """A PNG with one panel per benchmark's headline metric (pass@1), against the step.

    Raises UserError when matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(f"plots need matplotlib: {needs('report')}") from None
    columns = [c for c in table.columns if _headline(c) in headlines]
    panels = max(len(columns), 1)
    figure = Figure(figsize=(4.2 * panels, 3.4), layout="constrained", dpi=120)
    for position, column in enumerate(columns):
        axes = figure.add_subplot(1, panels, position + 1)
        points = [
            (row.step, value)
            for row in table.rows
            if row.step is not None and isinstance(value := row.values.get(column), int | float)
        ]
        axes.plot([p[0] for p in points], [p[1] for p in points], marker="o", color="#2f6db5")
        for step, value in points if len(points) <= 12 else []:
            axes.annotate(f"{value:.1f}", (step, value), textcoords="offset points", xytext=(0, 6),
                          ha="center", fontsize=8)  # fmt: skip
        axes.set_title(column.split("/")[0], fontsize=11)
        axes.set_ylabel(f"{column.split('/')[2]} (%)", fontsize=9)
        axes.set_xlabel("optimizer step", fontsize=9)
        axes.margins(x=0.08, y=0.18)
        axes.set_ylim(
            bottom=max(axes.get_ylim()[0], 0)
            if min((p[1] for p in points), default=0) >= 0
            else None
        )
        axes.grid(alpha=0.3)
        missing = len(table.rows) - len(points)
        if missing:
            axes.text(0.98, 0.02, f"{missing} without a result", transform=axes.transAxes,
                      ha="right", fontsize=8, color="#b03030")  # fmt: skip
    figure.suptitle(" ".join(dict.fromkeys(row.run for row in table.rows)), fontsize=11)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.png")
    figure.savefig(temporary)
    os.replace(temporary, path)


def _headline(column: str) -> str:
    benchmark, aggregation, metric = column.split("/", 2)
    return f"{benchmark}/{metric}" if aggregation == "pass@1" else ""
