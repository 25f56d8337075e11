r"""Grading of answers to mathematical problems (gsm8k): the last `\boxed{…}` against the expected.

Source of the rules: NeMo-Skills (0b012df) `evaluation/evaluator/math.py` and `math_grader.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from harness.compute.evaluate.graders.responses import last_boxed, strip_reasoning
from harness.compute.evaluate.graders.workers import Command, Helpers
from harness.processes.shell import importable

_WORKER = "harness.compute.evaluate.graders.math_worker"
_ITEM_LIMIT_S = 60.0


class MathGrader:
    """Answers in a box, compared by math-verify in helper processes (any thread may call)."""

    def __init__(self) -> None:
        self._helpers = Helpers(Command([sys.executable, "-m", _WORKER], env=importable()))

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
            (str(item["expected_answer"]), answer): None
            for item, answer in zip(items, predicted, strict=True)
            if answer is not None
        }
        same = {pair: pair[0] == pair[1] for pair in pairs if all(map(is_digits, pair))}
        asked = [pair for pair in pairs if pair not in same]
        tasks = [{"expected": expected, "predicted": answer} for expected, answer in asked]
        verdicts = self._helpers.run(tasks, [_ITEM_LIMIT_S] * len(tasks), workers)
        same |= {pair: verdict is True for pair, verdict in zip(asked, verdicts, strict=True)}
        return [
            {
                "predicted_answer": answer,
                "symbolic_correct": answer is not None
                and same[(str(item["expected_answer"]), answer)],
            }
            for item, answer in zip(items, predicted, strict=True)
        ]


def is_digits(text: str) -> bool:
    """Whether the text is a plain number, which compares as text: most answers are, and need no
    helper. Rule: `math_equal`'s literal comparison."""
    return text.isascii() and text.isdigit()


GRADER = MathGrader
