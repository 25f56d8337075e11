"""Grade saved answers again, without a server: our files, NeMo-Skills' files, or plain rows.

A row holds the answer as `generation` or `response`. Which item it answers is found by known.py.
Rows are read, graded and written a chunk at a time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.benchmarks.items import Item
from harness.benchmarks.prepare import ground_truth_link, nltk_data
from harness.benchmarks.registry import BENCHMARKS, Benchmark
from harness.compute.evaluate.answers.file import chunks
from harness.compute.evaluate.graders.aggregate import BenchmarkAggregator
from harness.compute.evaluate.regrade.known import Known
from harness.compute.evaluate.regrade.saved import SavedAnswers, response_of
from harness.errors import EvaluationError, UserError, nearest
from harness.runs.files import open_atomic, write_json
from harness.runs.metrics import Metrics
from harness.runs.rows import json_line

Row = dict[str, Any]
_CODE_CHUNK = 64
_TIMING = ("num_generated_tokens", "generation_start_time", "generation_end_time")


@dataclass
class Graded:
    """What came of it."""

    outputs: list[Path]
    """For each file of answers its graded rows."""
    metrics_file: Path
    metrics: Metrics
    notes: list[str] = field(default_factory=list)
    """What a reader of the metrics should know."""


@dataclass(frozen=True)
class Grading:
    """One call of `grade`."""

    benchmark: Benchmark
    answers: Sequence[Path]
    """One file, or one for each repeat: every file then answers the same items."""
    outputs: Sequence[Path]
    benchmarks_dir: Path
    allow_unsandboxed: bool = False
    report: Callable[[str], None] = print

    def run(self) -> Graded:
        """Grade every row, in its order; write the rows and the metrics.

        Nothing is written when a row cannot be graded. Raises UserError for a file or a row that
        is not what it must be (file:line, why), EvaluationError when a grader cannot work.
        """
        known = Known(self.benchmark, self.benchmarks_dir)
        files = [SavedAnswers(path) for path in self.answers]
        found = [self._names(file, known) for file in files]
        notes = known.notes(sum(map(len, files)))
        if len(files) > 1:
            _require_same_items(files, found)
            notes.append(f"{len(files)} answers for each of {len(found[0]):,} items, one a file")
        elif repeated := len(found[0]) - len(set(found[0])):
            notes.append(
                f"{repeated} rows answer an item that another row answers, too; each counts as an "
                "entry of its own. Repeated samples go into one file each: several files are "
                "graded together"
            )
        failed = sum(file.errors for file in files)
        notes += [f"{failed} rows hold an error and no answer: graded as wrong"] if failed else []
        metrics = self._grade(files, known)
        metrics_file = self.outputs[0].with_name(f"{self.outputs[0].name}.metrics.json")
        write_json(metrics_file, metrics)
        return Graded(list(self.outputs), metrics_file, metrics, notes)

    def _names(self, file: SavedAnswers, known: Known) -> list[str]:
        """Which item each row answers; fails here rather than after minutes of grading."""
        names = []
        for where, row in file.rows():
            names.append(known.name(row, where))
            file.errors += response_of(row, where) is None
        return names

    def _grade(self, files: Sequence[SavedAnswers], known: Known) -> Metrics:
        grader = self._grader()
        sums = BenchmarkAggregator(self.benchmark.name, self.benchmark.grader, len(files))
        total, done = sum(map(len, files)), 0
        size = _CODE_CHUNK if self.benchmark.runs_code else 1000
        with ExitStack() as stack:
            outs = [stack.enter_context(open_atomic(path)) for path in self.outputs]
            for parts in zip(*(chunks(file.rows(), size) for file in files), strict=True):
                items = [known.item(row, where) for where, row in parts[0]]
                samples = []
                for part, out in zip(parts, outs, strict=True):
                    grades = self._graded(grader, items, part)
                    for (_, row), grade in zip(part, grades, strict=True):
                        out.write(json_line({**row, "grade": self._shown(grade)}))
                    samples.append(
                        [{**_timing(row), **g} for (_, row), g in zip(part, grades, strict=True)]
                    )
                    done += len(part)
                    if total > size:
                        self.report(f"{done:,} of {total:,} graded")
                for item, rows in zip(items, zip(*samples, strict=True), strict=True):
                    sums.add(item, rows)
            return sums.metrics()

    def _graded(
        self, grader: Any, items: Sequence[Item], part: Sequence[tuple[str, Row]]
    ) -> list[Row]:
        responses = [response_of(row, where) or "" for where, row in part]
        try:
            grades: list[Row] = grader.grade(items, responses, workers=os.cpu_count() or 2)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EvaluationError(
                f"{part[0][0]} to {part[-1][0]}: a row's reference cannot be graded: "
                f"{type(error).__name__}: {error}"
            ) from error
        return grades

    def _grader(self) -> Any:
        from harness.compute.evaluate.graders import grader_of

        options: dict[str, Any] = {}
        if self.benchmark.runs_code:
            options["ground_truth"] = ground_truth_link(self.benchmarks_dir, self.benchmark.name)
            options["allow_unsandboxed"] = self.allow_unsandboxed
        if nltk_data(self.benchmarks_dir).is_dir():
            os.environ["NLTK_DATA"] = str(nltk_data(self.benchmarks_dir))
        return grader_of(self.benchmark.grader, **options)

    def _shown(self, grade: Row) -> Row:
        fields = self.benchmark.kind.shown if self.benchmark.kind else None
        return dict(grade) if fields is None else {name: grade[name] for name in fields}


def _require_same_items(files: Sequence[SavedAnswers], found: Sequence[Sequence[str]]) -> None:
    for file, names in zip(files, found, strict=True):
        if len(set(names)) != len(names):
            twice = Counter(names).most_common(1)[0][0].partition("\n")[0]
            raise UserError.at(file.path, f"{twice} is answered twice")
        if list(names) != list(found[0]):
            both = set(names) & set(found[0])
            parts = "" if both else "\nParts of one benchmark go into one file: cat them together"
            raise UserError(
                f"{file.path} does not answer the same items, in the same order, as "
                f"{files[0].path}: repeats of a benchmark are expected{parts}"
            )


def _timing(row: Row) -> Row:
    return {
        name: row[name]
        for name in _TIMING
        if isinstance(row.get(name), int | float) and not isinstance(row[name], bool)
    }


def graded_path(answers: Path) -> Path:
    """Where the graded rows of a file go unless the user says; another place for each file."""
    name = answers.name.removesuffix(".jsonl")
    return answers.with_name(f"{name}.graded" + (".jsonl" if name != answers.name else ""))


def benchmark_named(name: str) -> Benchmark:
    """A benchmark whose answers can be graded here. Raises UserError with the nearest names."""
    if name not in BENCHMARKS:
        raise UserError(
            f"unknown benchmark {name!r}{nearest(name, BENCHMARKS)}\nknown: {', '.join(BENCHMARKS)}"
        )
    if BENCHMARKS[name].needs_judge:
        raise UserError(f"{name} is graded by a judge, in an evaluation job (evaluation.judge)")
    return BENCHMARKS[name]
