r"""What is cut out of a response before it is graded: its thoughts, and the last \\boxed{…}."""

from __future__ import annotations

import pytest

from harness.compute.evaluate.graders.responses import last_boxed, strip_reasoning


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


@pytest.mark.parametrize(
    ("response", "rest"),
    [
        ("", ""),
        ("<think></think>", ""),
        ("<think>two\nlines\n</think>\n\nb", "\n\nb"),
        # Closed by another name: as the client library does it, whose pattern names no pairs.
        ("<think>a</thinking>b", "b"),
        ("<budget:thinking>a</budget:thinking>b", "b"),
        ("<THINK>a</THINK>b", "<THINK>a</THINK>b"),
        # The first end counts, so what follows it is the answer.
        ("<think>a</think>b</think>c", "b</think>c"),
    ],
)
def test_the_block_ends_at_its_first_end(response: str, rest: str) -> None:
    assert strip_reasoning(response) == rest


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{a}}", "a"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),  # escaped braces are counted as any
        ("\\boxed{\\{}", None),
        ("\\boxed{two\nlines}", "two\nlines"),
        ("\\boxed}", None),
        ("\\boxed", None),
        ("\\boxed x {7}", None),
        ("\\boxed{\\boxed{7}}", "7"),
    ],
)
def test_braces_are_counted_from_the_last_box_on(text: str, answer: str | None) -> None:
    assert last_boxed(text) == answer
