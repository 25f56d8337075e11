"""The kinds of graders: one row each, which everything reads that asks what a kind is or needs.

A new kind is a row here and a file in `compute/evaluate/graders/` (for one that a model judges: in
`compute/evaluate/judge/`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

Item = Mapping[str, Any]


@dataclass(frozen=True)
class GraderKind:
    """One kind of grader."""

    name: str
    """What a benchmark calls it."""
    module: str
    """File in `compute/evaluate/graders/` whose `GRADER` makes the grader, or, for a judged kind, in
    `compute/evaluate/judge/` whose `JUDGED` says how it is judged."""
    headline: str
    """Metric that plots and short tables show, where a benchmark names no other."""
    metrics: tuple[str, ...]
    """Its own metrics under pass@1, beside numbers of entries and tokens."""
    needs: tuple[str, ...] = ()
    """Fields that an item must have beside those of the prompt."""
    problem: Callable[[Item], str] = lambda item: ""
    """Why an item's own fields cannot be graded by; empty when they can."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Given to `GRADER`."""
    aggregation: Literal["correctness", "instructions"] = "correctness"
    """How rows become metrics (graders/aggregate.py)."""
    scores: Mapping[str, str] = field(default_factory=dict)
    """Metric -> field of a graded row, 0 or 1, that it is the share of."""
    has_answers: bool = False
    """Graded rows have `predicted_answer`: there are no_answer and majority@k."""
    shown: tuple[str, ...] | None = None
    """Fields that `grade` writes beside each row; None: all of them."""
    packages: tuple[str, ...] = ()
    """Distributions whose versions decide grades."""
    runs_code: bool = False
    """Model-written code is executed to grade it: a sandbox, and expected outputs, are needed."""
    needs_punkt: bool = False
    """Some of its checkers count sentences, with NLTK's punkt_tab."""
    judged: bool = False
    """A model grades, in two calls an item."""
    by_question: bool = False
    """Saved answers are matched by question before id: there are no ids of the publisher's."""
    for_own: bool = False
    """May grade a benchmark of the user's own."""


def _answer_problem(item: Item) -> str:
    answer = item["expected_answer"]
    known = isinstance(answer, str | int | float) and not isinstance(answer, bool)
    if not known or str(answer) == "" or (isinstance(answer, float) and not isfinite(answer)):
        return f"expected_answer is {answer!r}; text or a number is expected"
    return ""


def _letter_problem(item: Item) -> str:
    answer = item["expected_answer"]
    if problem := _answer_problem(item):
        return problem
    if not (isinstance(answer, str) and len(answer) == 1 and "A" <= answer <= "Z"):
        return f"expected_answer is {answer!r}; a capital letter is expected"
    return ""


def _instructions_problem(item: Item) -> str:
    names, arguments = item["instruction_id_list"], item["kwargs"]
    whole = isinstance(names, list) and isinstance(arguments, list)
    if not whole or len(names) != len(arguments) or not names:
        return "instruction_id_list and kwargs are lists of the same length"
    return ""


_CODE: dict[str, Any] = {
    "module": "code",
    "headline": "passing_plus_tests",
    "metrics": ("passing_base_tests", "passing_plus_tests"),
    "scores": {"passing_base_tests": "is_correct", "passing_plus_tests": "is_correct-plus"},
    "packages": ("evalplus", "numpy"),
    "runs_code": True,
}

GRADERS: dict[str, GraderKind] = {
    kind.name: kind
    for kind in (
        GraderKind(
            name="math",
            module="math_answers",
            headline="symbolic_correct",
            metrics=("symbolic_correct", "no_answer"),
            needs=("expected_answer",),
            problem=_answer_problem,
            scores={"symbolic_correct": "symbolic_correct"},
            has_answers=True,
            shown=("predicted_answer", "symbolic_correct"),
            packages=("math-verify", "latex2sympy2_extended", "antlr4-python3-runtime", "sympy"),
            for_own=True,
        ),
        GraderKind(
            name="multiple_choice",
            module="multiple_choice",
            headline="symbolic_correct",
            metrics=("symbolic_correct", "no_answer"),
            needs=("expected_answer",),
            problem=_letter_problem,
            scores={"symbolic_correct": "symbolic_correct"},
            has_answers=True,
            shown=("predicted_answer", "symbolic_correct"),
            by_question=True,
            for_own=True,
        ),
        GraderKind(
            name="ifeval",
            module="instructions_following",
            headline="prompt_strict_accuracy",
            metrics=(
                "average_score",
                *(f"{a}_{b}_accuracy" for a in ("prompt", "instruction") for b in ("strict", "loose")),
            ),
            needs=("instruction_id_list", "kwargs"),
            problem=_instructions_problem,
            aggregation="instructions",
            shown=("strict_eval", "loose_eval"),
            packages=("lm-eval", "langdetect", "nltk"),
            needs_punkt=True,
            for_own=True,
        ),
        GraderKind(name="code:human-eval", options={"dataset": "humaneval"}, **_CODE),
        GraderKind(name="code:mbpp", options={"dataset": "mbpp"}, **_CODE),
        GraderKind(
            name="judge:mt-bench",
            module="mt_bench",
            headline="average",
            metrics=("average",),
            judged=True,
        ),
        GraderKind(
            name="judge:arena",
            module="arena",
            headline="score",
            metrics=("score",),
            judged=True,
        ),
    )
}  # fmt: skip

OWN_KINDS = tuple(name for name, kind in GRADERS.items() if kind.for_own)
"""Those that a benchmark of the user's own may take."""
