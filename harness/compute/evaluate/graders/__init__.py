"""Graders of our own for the common benchmarks; they follow NeMo-Skills 0.7.0 item by item.

responses.py               think blocks and boxes, common to all
math_answers.py            gsm8k (math_worker.py compares, in a process of its own)
multiple_choice.py         mmlu
instructions_following.py  ifeval
code.py                    human-eval, mbpp (code_runner.py runs them, in a sandbox)
ground_truth.py            what the code benchmarks' tests expect, computed once
workers.py                 helper processes under hard time limits
aggregate.py tokens.py     grades of all rows -> metrics.json
evaluator.py               the three parts as one: ask, grade, sum up
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from harness.compute.evaluate.graders.code import CodeGrader
from harness.compute.evaluate.graders.instructions_following import InstructionGrader
from harness.compute.evaluate.graders.math_answers import MathGrader
from harness.compute.evaluate.graders.multiple_choice import MultipleChoiceGrader

__all__ = [
    "GRADERS",
    "CodeGrader",
    "Grader",
    "InstructionGrader",
    "MathGrader",
    "MultipleChoiceGrader",
]


class Grader(Protocol):
    """Grades the responses to a benchmark's items."""

    def grade(
        self, items: Sequence[Mapping[str, Any]], responses: Sequence[str], *, workers: int = 2
    ) -> list[dict[str, Any]]:
        """For each item NeMo-Skills' own grade fields; `workers` helper processes at a time."""
        ...


# Kind of benchmark -> what makes its grader. The code graders take `ground_truth`, the folder
# that ground_truth.prepare_ground_truth wrote, and the arguments of CodeGrader.
GRADERS: dict[str, Callable[..., Grader]] = {
    "math": MathGrader,
    "multiple_choice": MultipleChoiceGrader,
    "code:human-eval": partial(CodeGrader, "humaneval"),
    "code:mbpp": partial(CodeGrader, "mbpp"),
    "ifeval": InstructionGrader,
}
