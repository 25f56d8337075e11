"""A table on a screen."""

from __future__ import annotations

import io
from collections.abc import Sequence

from harness.errors import printable
from harness.results.table import Row, Table, Value


def screen_table(table: Table, headlines: Sequence[str] = ()) -> str:
    """A table to look at: the headline columns, or all where none of them is there.

    Names are shown as they are, whatever they hold; runs are named where there are several.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    def cell(text: str) -> Text:
        return Text(printable(text, one_line=True))

    shown = [name for name in table.columns if name in headlines] or table.columns
    several = len({row.run for row in table.rows}) > 1
    grid = RichTable(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for key in ("run", "checkpoint", "step") if several else ("checkpoint", "step"):
        grid.add_column(key, justify="right" if key == "step" else "left", no_wrap=True)
    for name in shown:
        header = Text("\n").join(map(cell, name.split("/")))
        grid.add_column(header, justify="right", no_wrap=True)
    for row in table.rows:
        step = "" if row.step is None else str(row.step)
        names = [row.run] if several else []
        texts = [*names, row.checkpoint, step, *(_with_interval(row, name) for name in shown)]
        grid.add_row(*map(cell, texts))
    out = io.StringIO()
    wide = sum(max(map(len, name.split("/"))) + 30 for name in shown) + 600
    console = Console(width=wide, file=out, color_system=None, force_terminal=False)
    console.print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _with_interval(row: Row, name: str) -> str:
    """The value, and beside a judged score its interval: `52.05 (-5.07 +4.99)`."""
    text = _shown(row.values.get(name))
    stem = name.rpartition("/")[0]
    low, high = (row.values.get(f"{stem}/95_CI_{end}") for end in ("low", "high"))
    if not name.endswith("/score") or not isinstance(low, float) or not isinstance(high, float):
        return text
    return f"{text} ({low:+.2f} {high:+.2f})"


def _shown(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.2f}" if isinstance(value, float) else str(value)
