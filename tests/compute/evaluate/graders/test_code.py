"""human-eval and mbpp: which part of a response is the program."""

from __future__ import annotations

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
