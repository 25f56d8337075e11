"""What several files say of one checkpoint -> its metrics, and what of them does not count and why."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.results.sources import ALL, COMBINED, TOOL, Found
from harness.results.table import Origin, Problem, Row, Value, origin
from harness.runs.metrics import Metrics, flatten


@dataclass
class Trouble:
    """What is not ok of a checkpoint's benchmark."""

    benchmark: str
    state: str
    reason: str
    log: str = ""


@dataclass
class Merged:
    """One row to be."""

    metrics: Metrics = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)
    is_row: bool = False
    """Whether there were numbers, or should have been: not so for answers alone."""

    def table_row(
        self, run: str, checkpoint: str, step: int | None
    ) -> tuple[Row, list[Problem], list[str]]:
        """The row under its names, what is not ok of it, and notes."""
        values: dict[str, Value] = {}
        troubles = list(self.troubles)
        for column, value in flatten(self.metrics):
            if column in values:
                reason = (
                    f"{column.partition('/')[2]}: two values have this name; the first is taken"
                )
                troubles.append(Trouble(column.partition("/")[0], "invalid", reason))
            values.setdefault(column, value)
        problems = [Problem(checkpoint, **vars(each), run=run) for each in troubles]
        notes = [f"{checkpoint} x {text}" for text in self.notes]
        return Row(run, checkpoint, step, values), problems, notes


def merge(found: Sequence[Found]) -> Merged:
    """A benchmark's own file counts; a newer results file before an older one; one file for all
    benchmarks fills in. Numbers that do not count are taken from none of them."""
    merged = Merged()
    refused = _not_ok(found, merged)
    ok = [each for each in found if each.state == "ok"]
    ok.sort(key=lambda each: each.date, reverse=True)
    ok.sort(key=lambda each: each.rank)
    taken: dict[str, Found] = {}
    for each in ok:
        merged.is_row = True
        merged.notes += each.notes
        _name_odd(each, merged)
        for benchmark, values in each.metrics.items():
            if benchmark in refused:
                continue
            before = taken.setdefault(benchmark, each)
            if before is each:
                merged.metrics[benchmark] = values
                merged.origins[benchmark] = origin(each.facts)
                if not any(values.values()):
                    reason = f"{each.source}: no metric in it"
                    merged.troubles.append(Trouble(benchmark, "invalid", reason))
            elif merged.metrics[benchmark] != values:
                _contradiction(benchmark, before, each, merged)
    _answers_alone(found, merged, refused)
    return merged


def _not_ok(found: Sequence[Found], merged: Merged) -> set[str]:
    """Names the files whose numbers do not count; returns the benchmarks that these are of."""
    refused = set()
    for each in found:
        if each.state != "ok" and each.source:
            merged.is_row = merged.is_row or each.rank != TOOL
            merged.troubles.append(Trouble(each.benchmark, each.state, each.reason, each.log))
            refused |= {each.benchmark, *each.metrics}
    return refused


def _name_odd(each: Found, merged: Merged) -> None:
    for text in each.odd:
        key = text.partition(": ")[0].partition("/")[0]
        names = (
            name for name in each.metrics if name in (key, f"lm-eval.{key}", f"lighteval.{key}")
        )
        benchmark = next(names, key if each.benchmark == ALL else each.benchmark)
        merged.troubles.append(Trouble(benchmark, "invalid", f"{each.source}: {text}"))


def _contradiction(benchmark: str, before: Found, each: Found, merged: Merged) -> None:
    first, second = before.source, each.source
    if before.rank == each.rank == TOOL and os.path.dirname(first) == os.path.dirname(second):
        merged.notes.append(
            f"{benchmark}: {os.path.basename(first)} is taken, and not the older "
            f"{os.path.basename(second)}, which differs"
        )
        return
    own = "its own metrics.json" if each.rank == COMBINED and before.rank < COMBINED else first
    taken = "its own" if own != first else "the first"
    reason = f"{own} differs from {second}; {taken} is taken"
    merged.troubles.append(Trouble(benchmark, "stale", reason))


def _answers_alone(found: Sequence[Found], merged: Merged, refused: set[str]) -> None:
    """Answers of which no metrics were made, unless another file has them."""
    for each in found:
        if not each.source and each.benchmark not in {*merged.metrics, *refused}:
            merged.troubles.append(Trouble(each.benchmark, each.state, each.reason))
