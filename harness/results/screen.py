"""A table on a screen."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import printable
from harness.results.table import Row, Table, Value

_GAP = "   "
_LONGEST = 60
"""Characters of a value; all of them are in the CSV."""


def screen_table(table: Table, headlines: Sequence[str] = ()) -> str:
    """A table to look at: the headline columns, or all where none of them is there.

    Names are shown as they are, whatever they hold; runs are named where there are several.
    """
    shown = [name for name in table.columns if name in headlines] or table.columns
    several = len({row.run for row in table.rows}) > 1
    keys = ["run", "checkpoint"] if several else ["checkpoint"]
    columns = [[key, *(getattr(row, key) for row in table.rows)] for key in keys]
    columns.append(["step", *("" if row.step is None else str(row.step) for row in table.rows)])
    columns += [[name, *(_with_interval(row, name) for row in table.rows)] for name in shown]
    lines = max((name.count("/") for name in shown), default=0) + 1
    ready = [_column(texts, lines, left=at < len(keys)) for at, texts in enumerate(columns)]
    text = [_GAP.join(parts).rstrip() for parts in zip(*ready, strict=True)]
    return "\n".join([*text[:lines], "─" * max(map(_width, text)), *text[lines:]])


def _column(texts: Sequence[str], lines: int, left: bool) -> list[str]:
    """A column's lines, all of one width; its header, cut at each /, ends on the line `lines`."""
    header = texts[0].split("/")
    cells = [*[""] * (lines - len(header)), *header, *texts[1:]]
    cells = [printable(cell, one_line=True) for cell in cells]
    widths = list(map(_width, cells))
    wide = max(widths)
    spaces = [" " * (wide - width) for width in widths]
    pairs = zip(cells, spaces, strict=True)
    return [cell + space if left else space + cell for cell, space in pairs]


def _width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _with_interval(row: Row, name: str) -> str:
    """The value, and beside a judged score its interval: `52.05 (-5.07 +4.99)`."""
    text = _shown(row.values.get(name))
    if not name.endswith("/score"):
        return text
    stem = name.rpartition("/")[0]
    low, high = (row.values.get(f"{stem}/95_CI_{end}") for end in ("low", "high"))
    if not isinstance(low, float) or not isinstance(high, float):
        return text
    return f"{text} ({low:+.2f} {high:+.2f})"


def _shown(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
