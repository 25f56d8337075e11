r"""gsm8k: the last \boxed{…}, compared as NeMo-Skills compares it."""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import pytest

from harness.compute.evaluate.graders.math_answers import MathGrader
from harness.compute.evaluate.graders.math_worker import math_equal
from harness.compute.evaluate.graders.responses import last_boxed, strip_reasoning

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)

RIGHT = [
    ("42", "42"),
    ("42", "$42"),
    ("42", "\\$42.00"),
    ("42", "42.0"),
    ("42", "42."),
    ("1000", "1,000"),
    ("1000", "1{,}000"),
    ("1000", "1,\\!000"),
    ("11232", "11 232"),
    ("42", "42%"),
    ("42", "42\\%"),
    ("42", "x = 42"),
    ("42", "40+2=42"),
    ("42", "\\frac{84}{2}"),
    ("42", "(42)"),
    ("42", "\\{42\\}"),
    ("42", "42\\text{ dollars}"),
    ("2100", "2.1 \\times 10^{3}"),
    ("-3", "\N{MINUS SIGN}3"),
    ("B", "B"),
]
WRONG = [
    ("104", "104 eggs"),
    ("9", "9 miles/hour"),
    ("7425", "7\\,425"),
    ("85000", "85_000"),
    ("9", "€9"),
    ("80", "080"),
    ("50", "50.0000001"),
    ("16", "\\approx 16"),
    ("225", "225, 226"),
    ("42", ""),
    ("42", "43"),
    ("42", "-42"),
    ("3", "\\frac{3}{}"),
    ("B", "C"),
]


@pytest.mark.parametrize(("expected", "predicted"), RIGHT)
def test_equal_answers_in_another_notation_are_right(expected: str, predicted: str) -> None:
    assert math_equal(expected, predicted)


@pytest.mark.parametrize(("expected", "predicted"), WRONG)
def test_other_answers_and_notations_that_nemo_skills_refuses_are_wrong(
    expected: str, predicted: str
) -> None:
    assert not math_equal(expected, predicted)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("so \\boxed{7}", "7"),
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{}", ""),
        ("The answer is 42.", None),
        ("#### 42", None),
        ("\\boxed {42}", None),
        ("\\boxed 42", None),
        ("\\fbox{42}", None),
        ("\\Boxed{42}", None),
        ("\\boxed{4", None),
        ("\\boxed{42} is my \\boxed answer", None),
        ("", None),
    ],
)
def test_only_the_last_balanced_box_is_an_answer(response: str, answer: str | None) -> None:
    assert last_boxed(response) == answer


@pytest.mark.parametrize(
    ("response", "rest"),
    [
        ("<think>a</think>b", "b"),
        ("<thinking>a</thinking>b", "b"),
        ("<think>a</think>\n<think>b</think>c", "\n<think>b</think>c"),
        ("<think>a", "<think>a"),
        (" <think>a</think>b", " <think>a</think>b"),
        ("a</think>b", "a</think>b"),
    ],
)
def test_only_a_leading_closed_think_block_is_taken_off(response: str, rest: str) -> None:
    assert strip_reasoning(response) == rest


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


def test_a_power_tower_is_wrong_and_the_rest_is_graded() -> None:
    rows = _grade("\\boxed{9^{9^{9^{9}}}}", "\\boxed{42.0}")
    assert [row["symbolic_correct"] for row in rows] == [False, True]


def test_no_rows_need_no_helper() -> None:
    assert _grade() == []
