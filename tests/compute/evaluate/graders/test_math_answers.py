r"""gsm8k: the last \boxed{…}, compared as NeMo-Skills compares it."""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import pytest

from harness.compute.evaluate.graders.math_answers import MathGrader

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)


def _grade(*responses: str) -> list[dict[str, Any]]:
    return MathGrader().grade([{"expected_answer": 42}] * len(responses), responses)


def test_a_box_in_an_unclosed_think_block_counts_and_one_in_a_closed_block_does_not() -> None:
    rows = _grade("<think>\\boxed{42}", "<think>\\boxed{42}</think>It is 42.")
    assert rows == [
        {"predicted_answer": "42", "symbolic_correct": True},
        {"predicted_answer": None, "symbolic_correct": False},
    ]


def test_an_empty_box_is_wrong_but_is_an_answer() -> None:
    assert _grade("\\boxed{}") == [{"predicted_answer": "", "symbolic_correct": False}]


def test_it_grades_from_a_thread() -> None:
    rows: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: rows.extend(_grade("\\boxed{\\frac{84}{2}}")))
    thread.start()
    thread.join()
    assert rows == [{"predicted_answer": "\\frac{84}{2}", "symbolic_correct": True}]


@pytest.mark.long
def test_a_power_tower_is_wrong_and_the_rest_is_graded() -> None:
    rows = _grade("\\boxed{9^{9^{9^{9}}}}", "\\boxed{42.0}")
    assert [row["symbolic_correct"] for row in rows] == [False, True]


def test_no_rows_need_no_helper() -> None:
    assert _grade() == []
