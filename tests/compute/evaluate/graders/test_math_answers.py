r"""gsm8k: the last \boxed{…}, compared as NeMo-Skills compares it."""

from __future__ import annotations

import importlib.util
import threading
from typing import Any

import pytest

from harness.compute.evaluate.graders import workers
from harness.compute.evaluate.graders.math_answers import MathGrader, is_digits
from harness.compute.evaluate.graders.math_worker import math_equal

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


def test_no_rows_and_plain_numbers_need_no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_start", lambda command: pytest.fail("a helper was started"))
    assert _grade() == []
    rows = _grade("\\boxed{42}", "\\boxed{7}", "\\boxed{042}", "no box")
    assert [row["symbolic_correct"] for row in rows] == [True, False, False, False]


@pytest.mark.parametrize("other", ["42", "042", "0042", "420", "4", "0", "99999999999999999999"])
def test_plain_numbers_compare_as_math_verify_compares_them(other: str) -> None:
    assert is_digits(other)
    assert math_equal("42", other) == (other == "42")
    assert math_equal(other, other)


@pytest.mark.parametrize("text", ["", "4.0", "-4", "4 2", "\u0664\u0662", "\u00b2", "4%", "A"])
def test_other_answers_are_left_to_it(text: str) -> None:
    assert not is_digits(text)


@pytest.mark.long
def test_helpers_are_kept_from_one_chunk_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = workers._start
    monkeypatch.setattr(workers, "_start", lambda command: started.append(1) or start(command))
    grader = MathGrader()
    for _ in range(3):
        (row,) = grader.grade([{"expected_answer": 42}], ["\\boxed{42.0}"])
        assert row["symbolic_correct"]
    assert len(started) == 1
