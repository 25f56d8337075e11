"""Graders of our own for the common benchmarks; they follow NeMo-Skills item by item.

"NeMo-Skills" is its commit 0b012df of November 2025, here and in every file that names it as a source.
Its version is 0.7.0, and so is that of a snapshot of October (8b18f39) which grades `Answer: d` and
`The final answer is A` otherwise (multiple choice). EvalPlus is pinned by both to c91370f.

Which kinds there are, and what each needs, is a row of config/graders.py.

responses.py               think blocks and boxes, common to all
math_answers.py            gsm8k (math_worker.py compares, in a process of its own)
multiple_choice.py         mmlu
instructions_following.py  ifeval (instructions_worker.py checks responses of unusual length)
code.py                    human-eval, mbpp: code_runner.py compares, in a sandbox, what
                           code_program.py gets out of a program and code_values.py brings over
ground_truth.py            what the code benchmarks' tests expect, computed once
workers.py                 helper processes under hard time limits
aggregate.py tokens.py     grades of all rows -> metrics.json
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

from harness.config.graders import GRADERS


class Grader(Protocol):
    """Grades the responses to a benchmark's items."""

    def grade(
        self, items: Sequence[Mapping[str, Any]], responses: Sequence[str], *, workers: int = 2
    ) -> list[dict[str, Any]]:
        """For each item NeMo-Skills' own grade fields; `workers` helper processes at a time."""
        ...


def grader_of(kind: str, **options: Any) -> Grader:
    """The grader of a kind, with its own options and these.

    Those that run code take `ground_truth`, the folder that ground_truth.prepare_ground_truth
    wrote, and the arguments of CodeGrader.
    """
    row = GRADERS[kind]
    module = import_module(f"{__name__}.{row.module}")
    grader: Grader = module.GRADER(**row.options, **options)
    return grader
