"""Rows of metrics -> a CSV, and a long CSV with one value a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from harness.results.columns import ordered
from harness.runs.files import open_atomic
from harness.runs.metrics import Metrics, flatten

Value = int | float | str | None
VALIDATION = "validation"
"""In the place of a benchmark's name: the loss of a split that is not trained."""
KEYS = ("run", "checkpoint", "step")
ORIGIN = ("backend", "engine", "engine_version", "fingerprint", "template_sha256", "prompts_sha256")
"""Facts of task.json that stand beside each value of the long CSV."""
Origin = tuple[str, ...]
"""Those facts of one benchmark's numbers."""


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


def origin(facts: Mapping[str, Any]) -> Origin:
    """Where numbers come from, of the facts of a task.json."""
    values = (facts.get(fact) for fact in ORIGIN)
    return _once(tuple("" if value is None else str(value) for value in values))


@lru_cache(maxsize=4096)
def _once(found: Origin) -> Origin:
    """One tuple for the many cells that have the same origin."""
    return found


@dataclass(frozen=True)
class Problem:
    """A cell that is not ok: which, what it is, why, and where to read more."""

    checkpoint: str
    benchmark: str
    state: str
    reason: str
    log: str = ""
    run: str = ""

    def told(self, with_run: bool = False) -> str:
        """As a person reads it; the run is named where there are several."""
        text = f"{self.run} " if with_run and self.run else ""
        text += f"{self.checkpoint} x {self.benchmark}: {self.state}"
        text += f": {self.reason}" if self.reason else ""
        return f"{text}\n    log: {self.log}" if self.log else text

    def __str__(self) -> str:
        return self.told()


@dataclass(frozen=True)
class Table:
    """Rows in order of steps, and all that is not ok."""

    rows: tuple[Row, ...]
    problems: tuple[Problem, ...] = ()
    planned: int = 0
    """Cells there should be; 0 where there is no plan."""
    notes: tuple[str, ...] = ()
    origins: Mapping[tuple[str, str, str], Origin] = field(default_factory=dict)
    """(run, checkpoint, benchmark as metrics.json names it) -> where its numbers come from."""
    benchmarks: tuple[str, ...] = ()
    """The planned ones, in order."""

    @cached_property
    def columns(self) -> list[str]:
        """Every metric of any row, in an order of its own (columns.py)."""
        return ordered(set().union(*(row.values for row in self.rows)), self.benchmarks)

    @property
    def runs(self) -> list[str]:
        """The runs that rows and problems are of."""
        names = [*(row.run for row in self.rows), *(p.run for p in self.problems if p.run)]
        return list(dict.fromkeys(names))

    @property
    def is_complete(self) -> bool:
        return bool(self.rows) and not self.problems

    def summary(self) -> str:
        """One line: how many cells are ok, and what the others are."""
        if not self.planned:
            state = "complete" if self.is_complete else _many(len(self.problems), "problem")
            of = f" of {len(self.runs)} runs" if len(self.runs) > 1 else ""
            return f"{_many(len(self.rows), 'checkpoint')}{of}, {state}"
        states: dict[str, int] = {"ok": self.planned - len(self.problems)}
        for problem in self.problems:
            states[problem.state] = states.get(problem.state, 0) + 1
        return f"{self.planned} cells: " + ", ".join(f"{n} {s}" for s, n in states.items() if n)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def csv_text(table: Table) -> str:
    """One row per checkpoint; a metric that is not there is empty. Numbers are not rounded."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(_wide(table))
    return out.getvalue()


def long_csv_text(table: Table) -> str:
    """One row per value: its place, the value, the entries it is of, and where it comes from."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(_long(table))
    return out.getvalue()


def write_csv(path: Path, table: Table) -> None:
    """Write the wide CSV atomically."""
    _write(path, _wide(table))


def write_long_csv(path: Path, table: Table) -> None:
    """Write the long CSV atomically."""
    _write(path, _long(table))


def _write(path: Path, rows: Iterator[list[object]]) -> None:
    with open_atomic(path) as file:
        # Names of folders may be no UTF-8: halves of surrogate pairs are escaped.
        text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")  # type: ignore[arg-type]
        csv.writer(text, lineterminator="\n").writerows(rows)
        text.flush()
        text.detach()


def _wide(table: Table) -> Iterator[list[object]]:
    columns = table.columns
    yield [*KEYS, *columns]
    for row in table.rows:
        get = row.values.get
        yield [*_key(row), *map(_word, map(get, columns))]


def _long(table: Table) -> Iterator[list[object]]:
    yield [*KEYS, "benchmark", "aggregation", "metric", "value", "n", *ORIGIN]
    split = [(column, *column.split("/", 2)) for column in table.columns]
    nothing = origin({})
    for row in table.rows:
        values, key = row.values, _key(row)
        for column, benchmark, aggregation, metric in split:
            value = values.get(column)
            if value is None:
                continue
            entries = values.get(f"{benchmark}/{aggregation}/num_entries")
            origin_of = table.origins.get((row.run, row.checkpoint, benchmark), nothing)
            yield [*key, benchmark, aggregation, metric, _word(value), entries, *origin_of]


def _key(row: Row) -> list[Value]:
    return [_word(row.run), _word(row.checkpoint), row.step]


def _word(value: Value) -> Value:
    """As JSON has it where Python has another word; csv leaves a carriage return unquoted."""
    if isinstance(value, str):
        return value.replace("\r", "\\r")
    return value if value is not True and value is not False else str(value).lower()
