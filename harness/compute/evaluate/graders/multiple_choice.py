r"""Grading of multiple choice (mmlu): find the letter.

Source of the rules: NeMo-Skills (0b012df) `evaluation/evaluator/mcq.py` with its default `relaxed`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.compute.evaluate.graders.responses import last_boxed, strip_reasoning

_FINAL_ANSWER = re.compile(r"The final answer is (.+)$")
_LAST_CAPITAL = re.compile(r"\b[A-Z]\b(?!.*\b[A-Z]\b)", re.DOTALL)
_ANSWER_COLON = re.compile(
    r"[\*\_]{0,2}Answer[\*\_]{0,2}\s*:[\s\*\_]{0,2}\s*([A-Z])(?![a-zA-Z0-9])", re.IGNORECASE
)


class MultipleChoiceGrader:
    """Letters, compared exactly."""

    def grade(
        self, items: Sequence[Mapping[str, Any]], responses: Sequence[str], *, workers: int = 2
    ) -> list[dict[str, Any]]:
        """For each row `predicted_answer` (None: no letter found) and `symbolic_correct`.

        Items need `expected_answer`, a capital letter. `workers` is not used: this is fast.
        """
        rows = []
        for item, response in zip(items, responses, strict=True):
            letter = extract_letter(strip_reasoning(response))
            correct = letter == item["expected_answer"]
            rows.append({"predicted_answer": letter, "symbolic_correct": correct})
        return rows


def extract_letter(text: str) -> str | None:
    r"""The chosen letter, or None.

    From the last `\boxed{…}`, else from a last line `The final answer is …`: one character is
    taken as it is; of several, the last capital that stands alone. Where that finds none, the
    last `Answer: X` anywhere in the text, in either case.
    """
    # An empty box counts as no box.
    answer = last_boxed(text) or _last(_FINAL_ANSWER, text)
    if answer and len(answer) == 1:
        return answer
    letter = _last(_LAST_CAPITAL, answer) if answer else None
    if letter is None:
        letter = _last(_ANSWER_COLON, text)
        letter = letter.upper() if letter else None
    return letter


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found: list[str] = pattern.findall(text)
    return found[-1].strip() if found else None


GRADER = MultipleChoiceGrader
