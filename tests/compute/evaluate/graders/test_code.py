"""human-eval and mbpp: which part of a response is the program, and which output is right."""

from __future__ import annotations

from typing import Any

import pytest

from harness.compute.evaluate.graders.code import extract_code


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("  x = 1\n", "x = 1"),
        ("x = 1\r\ny = 2", "x = 1\ny = 2"),
        ("Sure:\n```python\nx = 1\n```\nDone.", "x = 1"),
        ("```\nx = 1\n```", "x = 1"),
        ("```py\nx = 1\n```", "py\nx = 1"),
        ("```python3\nx = 1\n```", "3\nx = 1"),
        ("```Python\nx = 1\n```", "Python\nx = 1"),
        ("```python x = 1```", "x = 1"),
        ("```\nfirst\n```\n```python\nsecond\n```", "second"),
        ("```python\nfirst\n```\n```python\nsecond\n```", "first"),
        ("```python\nx = 1", "x = 1"),
        ("~~~python\nx = 1\n~~~", "~~~python\nx = 1\n~~~"),
        ("<think>```python\nbad\n```</think>```python\ngood\n```", "good"),
        ("<think>a</think>b</think>c", "b</think>c"),
        ("<think>```python\nx = 1\n```", ""),
        ("draft</think>good", "draft</think>good"),
        ("text <think>plan</think> x = 1", "x = 1"),
        ("", ""),
    ],
)
def test_the_program_is_cut_out_as_nemo_skills_does(response: str, program: str) -> None:
    assert extract_code(response) == program


_RIGHT: list[tuple[str, str, Any, Any, Any, float]] = [
    ("humaneval", "f", [1], 2, 2, 0),
    ("humaneval", "f", [1], 2.0000001, 2.0, 1e-6),
    ("humaneval", "f", [1], (2.0, 3.0000001), [2.0, 3.0], 1e-6),
    ("humaneval", "find_zero", [[1, 2]], -0.5, -0.5, 1e-4),
    ("mbpp", "are_equivalent", [1, 2], True, False, 0),
    ("mbpp", "sum_div", [7], 0, 1, 0),
    ("mbpp", "similar_elements", [[1], [1]], [1, 1], (1,), 0),
    ("mbpp", "check_str", ["a"], "match", True, 0),
]
_WRONG: list[tuple[str, str, Any, Any, Any, float]] = [
    ("humaneval", "f", [1], 3, 2, 0),
    ("humaneval", "f", [1], 2.1, 2.0, 1e-6),
    ("humaneval", "find_zero", [[1, 2]], 1.0, -0.5, 1e-4),
    ("mbpp", "sum_div", [7], 2, 1, 0),
    ("mbpp", "similar_elements", [[1], [1]], [2], (1,), 0),
    ("mbpp", "check_str", ["a"], None, True, 0),
    ("mbpp", "check_str", ["a"], False, True, 0),
]


@pytest.mark.parametrize("case", _RIGHT)
def test_outputs_that_the_oracles_accept_are_right(case: Any) -> None:
    pytest.importorskip("evalplus", reason="evalplus is not installed")
    from harness.compute.evaluate.graders.code_runner import is_right

    assert is_right(*case)


@pytest.mark.parametrize("case", _WRONG)
def test_other_outputs_are_wrong(case: Any) -> None:
    pytest.importorskip("evalplus", reason="evalplus is not installed")
    from harness.compute.evaluate.graders.code_runner import is_right

    assert not is_right(*case)
