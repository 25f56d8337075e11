"""Grade saved answers again, without a server: our files, NeMo-Skills' files, or plain rows.

A row holds the answer as `response` or `generation`, and says which item it answers: by `id`
(`gsm8k/15`, `HumanEval/0`, `Mbpp/2`, `ifeval/1000`), by `task_id` or `key` as NeMo-Skills writes
them, or by its question. What the prepared benchmark does not have comes from the row itself:
`question` and `reference`, or the fields that NeMo-Skills leaves in its rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.benchmarks.prepare import (
    ground_truth_link,
    is_prepared,
    nltk_data,
    open_items,
)
from harness.benchmarks.registry import BENCHMARKS, Benchmark, Item
from harness.errors import EvaluationError, UserError
from harness.runs.files import write_json, write_text
from harness.runs.metrics import Metrics

Row = dict[str, Any]
_CHUNK = 200
_FIELDS = {
    "math": ("predicted_answer", "symbolic_correct"),
    "multiple_choice": ("predicted_answer", "symbolic_correct"),
    "ifeval": ("strict_eval", "loose_eval"),
}
_NEEDS = {
    "math": ("expected_answer",),
    "multiple_choice": ("expected_answer",),
    "ifeval": ("instruction_id_list", "kwargs"),
}
"""What an item must have to be graded; code needs the prepared tests."""


@dataclass(frozen=True)
class Graded:
    """What came of it."""

    rows: Path
    metrics_file: Path
    metrics: Metrics
    from_rows: int
    """Answers whose item is not in the prepared data, graded by what their row says."""


def grade_file(
    benchmark: Benchmark, answers: Path, output: Path, benchmarks_dir: Path,
    allow_unsandboxed: bool, report: Callable[[str], None],
) -> Graded:  # fmt: skip
    """Grade every row of a JSONL file, in its order; writes the rows and the metrics.

    Raises UserError for a file or a row that cannot be graded (file:line, why), EvaluationError
    when a grader cannot work.
    """
    rows = read_answers(answers)
    known = Known(benchmark, benchmarks_dir)
    items = [known.item(row, f"{answers}:{line}") for line, row in rows]
    responses = [response_of(row, f"{answers}:{line}") for line, row in rows]
    grades = _grade(benchmark, items, responses, benchmarks_dir, allow_unsandboxed, report)
    graded = [
        {**row, "grade": _shown(benchmark, grade)}
        for (_, row), grade in zip(rows, grades, strict=True)
    ]
    from harness.compute.evaluate.builtin.aggregate import benchmark_metrics

    samples = [{**_timing(row), **grade} for (_, row), grade in zip(rows, grades, strict=True)]
    metrics = benchmark_metrics(benchmark.name, benchmark.grader, items, [samples])
    write_text(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in graded))
    metrics_file = output.with_name(f"{output.name}.metrics.json")
    write_json(metrics_file, metrics)
    return Graded(output, metrics_file, metrics, known.from_rows)


def read_answers(path: Path) -> list[tuple[int, Row]]:
    """(line number, row) of each row. Raises UserError, naming the line."""
    found = []
    try:
        # Not splitlines(): it also splits at U+2028, which an answer may hold.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: an object is expected")
        found.append((number, row))
    if not found:
        raise UserError(f"{path}: no answers in it")
    return found


def response_of(row: Row, where: str) -> str:
    """The answer in a row. Raises UserError."""
    for name in ("response", "generation"):
        if name in row:
            text = row[name]
            if text is None or isinstance(text, str):
                return text or ""
            raise UserError(f"{where}: {name} is {type(text).__name__}; text is expected")
    if "error" in row:  # one of our own rows whose request failed: an empty answer, graded wrong
        return ""
    raise UserError(f"{where}: neither `response` nor `generation` in it")


class Known:
    """The prepared items of a benchmark, found by id or by question."""

    def __init__(self, benchmark: Benchmark, benchmarks_dir: Path) -> None:
        self._benchmark = benchmark
        self.from_rows = 0
        items: Sequence[Item] = ()
        if is_prepared(benchmarks_dir, benchmark.name):
            items = open_items(benchmarks_dir, benchmark.name)
        elif benchmark.generate is not None:
            items = benchmark.generate()
        elif benchmark.runs_code:
            raise UserError(
                f"{benchmark.name} is graded by its tests, which are not prepared in "
                f"{benchmarks_dir}: python -m harness prepare {benchmark.name}"
            )
        self._by_id = {str(item["id"]): item for item in items}
        self._by_question = {_squeezed(item["question"]): item for item in items}

    def item(self, row: Row, where: str) -> Item:
        """The item that a row answers. Raises UserError when it cannot be told."""
        question = row.get("question") or row.get("problem") or row.get("prompt")
        found = None
        for name in _names(row, self._benchmark):
            found = found or self._by_id.get(name)
        if found is None and isinstance(question, str):
            found = self._by_question.get(_squeezed(question))
        if found is not None:
            return found
        if self._benchmark.runs_code:
            raise UserError(f"{where}: {row.get('id', row.get('task_id'))!r} is no task of "
                            f"{self._benchmark.name}")  # fmt: skip
        self.from_rows += 1
        return self._own_item(row, question, where)

    def _own_item(self, row: Row, question: Any, where: str) -> Item:
        reference = row.get("reference")
        if reference is not None and not isinstance(reference, Mapping):
            # A bare reference is the expected answer itself.
            reference = {"expected_answer": reference}
        needed = _NEEDS[self._benchmark.grader]
        fields = {**row, **(reference or {})}
        missing = [name for name in needed if fields.get(name) is None]
        if missing:
            raise UserError(
                f"{where}: {row.get('id', 'the row')!r} is not in the prepared {self._benchmark.name}, "
                f"and the row has no reference with {', '.join(missing)}"
            )
        kept = (*needed, "subset_for_metrics", "key")
        item = {name: fields[name] for name in kept if name in fields}
        return {"id": row.get("id"), "question": question or "", "prompt": question or "", **item}


def _names(row: Row, benchmark: Benchmark) -> Iterator[str]:
    if row.get("id") is not None:
        yield str(row["id"])
    if row.get("task_id") is not None:
        yield str(row["task_id"])
    if row.get("key") is not None:
        yield f"{benchmark.name}/{row['key']}"


def _squeezed(text: str) -> str:
    """A question without the differences in white space that formats make."""
    return " ".join(text.split())


def _grade(
    benchmark: Benchmark, items: Sequence[Item], responses: Sequence[str], benchmarks_dir: Path,
    allow_unsandboxed: bool, report: Callable[[str], None],
) -> list[Row]:  # fmt: skip
    from harness.compute.evaluate.builtin import GRADERS

    options: dict[str, Any] = {}
    if benchmark.runs_code:
        options["ground_truth"] = ground_truth_link(benchmarks_dir, benchmark.name)
        options["allow_unsandboxed"] = allow_unsandboxed
    if nltk_data(benchmarks_dir).is_dir():
        os.environ["NLTK_DATA"] = str(nltk_data(benchmarks_dir))
    grader = GRADERS[benchmark.grader](**options)
    grades: list[Row] = []
    for start in range(0, len(items), _CHUNK):
        part = slice(start, start + _CHUNK)
        try:
            grades += grader.grade(items[part], responses[part], workers=os.cpu_count() or 2)
        except (KeyError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"{benchmark.name}: rows {start + 1} to {start + len(items[part])} cannot be "
                f"graded: {type(error).__name__}: {error}"
            ) from error
        if len(items) > _CHUNK:
            report(f"{len(grades):,} of {len(items):,} graded")
    return grades


def _shown(benchmark: Benchmark, grade: Row) -> Row:
    fields = _FIELDS.get(benchmark.grader)
    return dict(grade) if fields is None else {name: grade[name] for name in fields}


def _timing(row: Row) -> Row:
    names = ("num_generated_tokens", "generation_start_time", "generation_end_time")
    return {name: row[name] for name in names if isinstance(row.get(name), int | float)}


def benchmark_named(name: str) -> Benchmark:
    """A benchmark whose answers can be graded here. Raises UserError with the nearest names."""
    from harness.errors import nearest

    if name not in BENCHMARKS:
        raise UserError(
            f"unknown benchmark {name!r}{nearest(name, BENCHMARKS)}\nknown: {', '.join(BENCHMARKS)}"
        )
    return BENCHMARKS[name]
