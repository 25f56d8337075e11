"""Which evaluator a benchmark gets.

Tested through tests/compute/evaluate/test_cell.py and tests/compute/evaluate/judge/test_evaluator.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.benchmarks.registry import Benchmark
from harness.compute.evaluate.evaluators.builtin import BuiltinEvaluator
from harness.compute.evaluate.evaluators.evaluator import Evaluator
from harness.compute.evaluate.evaluators.program import ProgramEvaluator
from harness.compute.evaluate.judge import Judge, JudgedEvaluator
from harness.config.evaluation import EvaluationSpec
from harness.runs.paths import CellPaths


def evaluator_of(
    benchmark: Benchmark,
    paths: CellPaths,
    repeats: int,
    evaluation: EvaluationSpec,
    *,
    benchmarks_dir: Path,
    request_body: Mapping[str, Any],
    settled: bool,
    judge: Judge | None,
    tokenizer: str,
    wrap: Callable[[list[str]], list[str]],
) -> Evaluator:
    """By its grader and backend: judged, of another program, or builtin."""
    if benchmark.backend != "builtin":
        return ProgramEvaluator(benchmark, paths, repeats, evaluation, tokenizer, wrap)
    builtin = (benchmark, benchmarks_dir, paths, repeats, evaluation, request_body, settled)
    return JudgedEvaluator(*builtin, judge=judge) if judge else BuiltinEvaluator(*builtin)
