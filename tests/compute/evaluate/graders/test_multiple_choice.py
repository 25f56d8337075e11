"""mmlu: which letter a response chooses."""

from __future__ import annotations

import pytest

from harness.compute.evaluate.graders.multiple_choice import MultipleChoiceGrader, extract_letter


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("\\boxed{C}", "C"),
        ("\\boxed{c}", "c"),
        ("\\boxed{c} Answer: B", "c"),
        ("\\boxed{\\text{(C)}}", "C"),
        ("\\boxed{A and C}", "C"),
        ("\\boxed{none} Answer: B", "B"),
        ("\\boxed{} Answer: B", "B"),
        ("The final answer is D", "D"),
        ("The final answer is D.\nBye", None),
        ("The final answer is (D)", "D"),
        ("**Answer:** B", "B"),
        ("**Answer**: B", "B"),
        ("Answer: b", "B"),
        ("Answer: A\nAnswer: B", "B"),
        ("Answer: **B**", None),
        ("Answer: (B)", None),
        ("The answer is B.", None),
        ("B", None),
        ("Answer: Because", None),
        ("", None),
    ],
)
def test_the_letter_is_found_where_nemo_skills_finds_it(response: str, letter: str | None) -> None:
    assert extract_letter(response) == letter


def test_a_lower_case_letter_in_the_box_is_wrong_and_after_answer_is_right() -> None:
    rows = MultipleChoiceGrader().grade([{"expected_answer": "C"}] * 2, ["\\boxed{c}", "answer: c"])
    assert [row["symbolic_correct"] for row in rows] == [False, True]
