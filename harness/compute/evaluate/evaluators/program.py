"""Evaluators that are programs of their own, as a cell sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.benchmarks.registry import Benchmark
from harness.compute.evaluate.evaluators import lm_eval, nemo_skills
from harness.compute.evaluate.evaluators.evaluator import Outcome
from harness.compute.evaluate.evaluators.run_program import ProgramResult
from harness.compute.evaluate.gates import tally
from harness.compute.serve.server import RunningServer
from harness.config.evaluation import EvaluationSpec
from harness.errors import EvaluationError
from harness.runs.metrics import Metrics
from harness.runs.paths import CellPaths


@dataclass
class ProgramEvaluator:
    """Satisfies `Evaluator`: NeMo-Skills or lm-eval asks and grades in one go."""

    benchmark: Benchmark
    paths: CellPaths
    repeats: int
    evaluation: EvaluationSpec
    tokenizer: str
    """Folder or id of the model's tokenizer, for scoring by likelihood; empty where there is none."""
    wrap: Callable[[list[str]], list[str]] = list
    _result: ProgramResult | None = field(default=None, repr=False)

    failed_requests = 0

    @property
    def backend(self) -> str:
        """See `Evaluator.backend`."""
        return self.benchmark.backend

    @property
    def task(self) -> str:
        """The benchmark's name in its own program."""
        return self.benchmark.name.partition(".")[2]

    def prepare(self) -> None:
        """See `Evaluator.prepare`; what is missing the program says itself, and fails."""

    def inputs(self) -> Mapping[str, Any]:
        """See `Evaluator.inputs`."""
        own = (
            self.evaluation.nemo_skills
            if self.backend == "nemo-skills"
            else self.evaluation.lm_eval
        )
        return {
            "task": self.task,
            "options": own.model_dump(mode="json"),
            "max_items": self.evaluation.max_items,
            "repeats": self.repeats,
        }

    def has_answers(self) -> bool:
        """See `Evaluator.has_answers`; `ns` itself goes on where it was, with a server."""
        return False

    def run(self, server: RunningServer | None) -> None:
        """See `Evaluator.run`."""
        if server is None:
            raise EvaluationError(f"{self.benchmark.name}: needs a server")
        folder = self.paths.program
        if self.backend == "nemo-skills":
            self._result = nemo_skills.evaluate(
                self.task, self.repeats, folder, server, self.evaluation, self.wrap
            )
        else:
            self._result = lm_eval.evaluate(
                self.task, folder, server, self.evaluation, self.tokenizer, self.wrap
            )

    def metrics(self) -> Outcome:
        """See `Evaluator.metrics`."""
        result = self._result
        assert result is not None, "metrics() comes after run()"
        zero = _all_zero(result.metrics, self.benchmark.name)
        return Outcome(
            metrics=result.metrics,
            # Tasks that score choices have no answers to look at.
            tallies=[tally(rows) for rows in result.samples if rows],
            reason=zero if self.evaluation.gates.zero == "invalid" else "",
            warnings=[zero] if zero and self.evaluation.gates.zero == "warn" else [],
            items=result.items,
            facts=result.facts | {"n": result.items},
        )


def _all_zero(metrics: Metrics, name: str) -> str:
    """Says so where every score of a benchmark is exactly 0."""
    scores = [
        value
        for values in metrics.get(name, {}).values()
        for metric, value in values.items()
        if isinstance(value, int | float) and metric not in _NO_SCORES
        and not metric.endswith(("_stderr", "_seconds"))
    ]  # fmt: skip
    return "every score is exactly 0" if scores and not any(scores) else ""


_NO_SCORES = frozenset(
    {"num_entries", "avg_tokens", "gen_seconds", "no_answer", "num_instructions"}
)
