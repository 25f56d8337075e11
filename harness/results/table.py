"""Rows of metrics -> a CSV, a long CSV, a table on the screen."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.runs.files import write_text
from harness.runs.metrics import Metrics, flatten

Value = int | float | str | None
KEYS = ("run", "checkpoint", "step")
ORIGIN = ("backend", "engine", "engine_version", "fingerprint", "template_sha256", "prompts_sha256")
"""Facts of task.json that stand beside each value of the long CSV."""


@dataclass(frozen=True)
class Row:
    """One checkpoint: who it is, and every metric it has."""

    run: str
    checkpoint: str
    step: int | None
    values: dict[str, Value] = field(default_factory=dict)

    @classmethod
    def of(cls, run: str, checkpoint: str, step: int | None, metrics: Metrics) -> Row:
        return cls(run, checkpoint, step, dict(flatten(metrics)))


@dataclass(frozen=True)
class Problem:
    """A cell that is not ok: which, what it is, why, and where to read more."""

    checkpoint: str
    benchmark: str
    state: str
    reason: str
    log: str = ""

    def __str__(self) -> str:
        text = f"{self.checkpoint} x {self.benchmark}: {self.state}"
        text += f": {self.reason}" if self.reason else ""
        return f"{text}\n    log: {self.log}" if self.log else text


@dataclass(frozen=True)
class Table:
    """Rows in order of steps, and all that is not ok."""

    rows: tuple[Row, ...]
    problems: tuple[Problem, ...] = ()
    planned: int = 0
    """Cells there should be; 0 where there is no plan."""
    notes: tuple[str, ...] = ()
    origins: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """(checkpoint, benchmark as metrics.json names it) -> facts of its task.json."""

    @property
    def columns(self) -> list[str]:
        """Every metric of any row, grouped by benchmark, else in order of appearance."""
        seen = list(dict.fromkeys(name for row in self.rows for name in row.values))
        order = {b: i for i, b in enumerate(dict.fromkeys(n.split("/")[0] for n in seen))}
        return sorted(seen, key=lambda name: order[name.split("/")[0]])

    @property
    def is_complete(self) -> bool:
        return bool(self.rows) and not self.problems

    def summary(self) -> str:
        """One line: how many cells are ok, and what the others are."""
        if not self.planned:
            state = "complete" if self.is_complete else f"{len(self.problems)} problems"
            return f"{len(self.rows)} checkpoints, {state}"
        states: dict[str, int] = {"ok": self.planned - len(self.problems)}
        for problem in self.problems:
            states[problem.state] = states.get(problem.state, 0) + 1
        return f"{self.planned} cells: " + ", ".join(f"{n} {s}" for s, n in states.items() if n)


def csv_text(table: Table) -> str:
    """One row per checkpoint; a metric that is not there is empty. Numbers are not rounded."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = table.columns
    writer.writerow([*KEYS, *columns])
    for row in table.rows:
        values = [row.values.get(name) for name in columns]
        writer.writerow(
            ["" if v is None else v for v in (row.run, row.checkpoint, row.step, *values)]
        )
    return out.getvalue()


def long_csv_text(table: Table) -> str:
    """One row per value: its place, the value, the entries it is of, and where it comes from."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*KEYS, "benchmark", "aggregation", "metric", "value", "n", *ORIGIN])
    for row in table.rows:
        for name, value in row.values.items():
            if value is not None:
                parts = name.split("/", 2)
                step = "" if row.step is None else row.step
                entries = row.values.get(f"{parts[0]}/{parts[1]}/num_entries")
                facts = table.origins.get((row.checkpoint, parts[0]), {})
                origin = [facts.get(fact, "") for fact in ORIGIN]
                n = "" if entries is None else entries
                writer.writerow([row.run, row.checkpoint, step, *parts, value, n, *origin])
    return out.getvalue()


def write_csv(path: Path, table: Table) -> None:
    """Write the wide CSV atomically."""
    write_text(path, csv_text(table))


def screen_table(table: Table, headlines: Sequence[str] = ()) -> str:
    """A table to look at: the headline metrics, or all where none of them is there."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = [name for name in table.columns if _metric(name) in headlines] or table.columns
    grid = RichTable(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for key in KEYS[1:]:
        grid.add_column(key, justify="right" if key == "step" else "left")
    for name in shown:
        grid.add_column(name.replace("/", "\n"), justify="right", no_wrap=True)
    for row in table.rows:
        step = "" if row.step is None else str(row.step)
        grid.add_row(row.checkpoint, step, *(_with_interval(row, name) for name in shown))
    out = io.StringIO()
    Console(width=40 + 40 * len(shown), file=out).print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _metric(name: str) -> str:
    benchmark, aggregation, metric = name.split("/", 2)
    return f"{benchmark}/{metric}" if aggregation == "pass@1" else ""


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
    return f"{value:.2f}" if isinstance(value, float) else str(value)
