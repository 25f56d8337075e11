r"""Grading of answers to mathematical problems (gsm8k): the last `\boxed{…}` against the expected.

Source of the rules: NeMo-Skills (0b012df) `evaluation/evaluator/math.py` and `math_grader.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.compute.evaluate.graders.responses import last_boxed, strip_reasoning
from harness.compute.evaluate.graders.workers import Command, Failure, run_tasks

_WORKER = "harness.compute.evaluate.graders.math_worker"
_ITEM_LIMIT_S = 60.0


class MathGrader:
    """Answers in a box, compared by math-verify in helper processes (any thread may call)."""

    def grade(
        self, items: Sequence[Mapping[str, Any]], responses: Sequence[str], *, workers: int = 2
    ) -> list[dict[str, Any]]:
        """For each row `predicted_answer` (None: no box) and `symbolic_correct`.

        Items need `expected_answer`. A comparison that takes longer than 60 s is wrong.

        Raises:
            EvaluationError: the helper does not start (math-verify is missing, perhaps).
        """
        predicted = [last_boxed(strip_reasoning(response)) for response in responses]
        # Equal questions are asked once; most wrong answers of a run are the same few.
        pairs = {
            (str(item["expected_answer"]), answer): False
            for item, answer in zip(items, predicted, strict=True)
            if answer is not None
        }
        tasks = [{"expected": expected, "predicted": answer} for expected, answer in pairs]
        command = Command([sys.executable, "-m", _WORKER], env=_environment())
        verdicts = run_tasks(command, tasks, [_ITEM_LIMIT_S] * len(tasks), workers)
        for pair, verdict in zip(list(pairs), verdicts, strict=True):
            pairs[pair] = verdict is True and not isinstance(verdict, Failure)
        return [
            {
                "predicted_answer": answer,
                "symbolic_correct": answer is not None
                and pairs[(str(item["expected_answer"]), answer)],
            }
            for item, answer in zip(items, predicted, strict=True)
        ]


def _environment() -> dict[str, str]:
    """This process's environment, with this package importable from any working directory."""
    import harness

    root = str(Path(harness.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


GRADER = MathGrader
