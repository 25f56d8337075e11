"""The builtin evaluator, part by part: what it asks, whether all is answered, what it leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.prepare import prepare
from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate.evaluators.builtin import BuiltinEvaluator
from harness.compute.evaluate.prepare import prepare_own
from harness.config.evaluation import EvaluationSpec
from harness.errors import EvaluationError, ResultError
from harness.runs.paths import CellPaths

LETTERS = "data: rows.jsonl\ngrader: multiple_choice\nprompt: '{problem}'\n"


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[BuiltinEvaluator]:
    """A benchmark of four questions of our own, whose answers are A, B, C and D."""
    known = dict(BENCHMARKS)
    own = tmp_path / "own"
    own.mkdir()
    rows = [{"problem": f"Which is {letter}?", "expected_answer": letter} for letter in "ABCD"]
    (own / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (own / "letters.yaml").write_text(LETTERS)
    prepare_own(own / "letters.yaml", tmp_path / "data")
    yield evaluator(tmp_path, "letters")
    BENCHMARKS.clear()
    BENCHMARKS.update(known)


def evaluator(folder: Path, name: str, repeats: int = 1, **evaluation: Any) -> BuiltinEvaluator:
    spec = EvaluationSpec.model_validate({"benchmarks": [name], **evaluation})
    cell = CellPaths(folder / "it's a cell ü")
    return BuiltinEvaluator(BENCHMARKS[name], folder / "data", cell, repeats, spec)


def answer(mine: BuiltinEvaluator, *texts: str | None, repeat: int = 0, **fields: Any) -> None:
    """Put answers where generation leaves them; None is a request that failed."""
    mine.paths.root.mkdir(exist_ok=True)
    with mine.paths.partial(repeat).open("a", encoding="utf-8") as file:
        for item, text in zip(mine.items, texts, strict=False):
            row = {"error": "Timeout: late"} if text is None else {"generation": text}
            file.write(json.dumps({"id": item["id"], **row, **fields}) + "\n")


def outputs(mine: BuiltinEvaluator, repeat: int = 0) -> list[dict[str, Any]]:
    lines = mine.paths.output(repeat).read_bytes().split(b"\n")
    return [json.loads(line) for line in lines if line]


def test_what_is_not_prepared_is_told_with_the_command_before_anything_starts(
    tmp_path: Path,
) -> None:
    mine = evaluator(tmp_path, "gsm8k")
    with pytest.raises(
        EvaluationError, match="gsm8k is not prepared: python -m harness prepare gsm8k"
    ):
        mine.prepare()
    with pytest.raises(EvaluationError, match="not prepared"):
        mine.inputs()
    assert not mine.paths.root.exists()


def test_inputs_tell_other_items_prompts_and_repeats_apart(tmp_path: Path) -> None:
    prepare("arithmetic", tmp_path / "data")
    mine = evaluator(tmp_path, "arithmetic")
    mine.prepare()
    base = mine.inputs()
    assert (base["items"], base["items_of_benchmark"], base["repeats"]) == (200, 200, 1)
    assert evaluator(tmp_path, "arithmetic").inputs() == base
    few = evaluator(tmp_path, "arithmetic", max_items=3).inputs()
    assert (few["items"], few["items_of_benchmark"]) == (3, 200)
    assert few["prompts_sha256"] != base["prompts_sha256"]
    assert evaluator(tmp_path, "arithmetic", repeats=2).inputs() == base | {"repeats": 2}
    asked = replace(mine, benchmark=replace(mine.benchmark, prompt="Please: {question}"))
    assert asked.inputs()["prompts_sha256"] != base["prompts_sha256"]


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (("A", "B", "C", "D"), True),
        (("A", "B", "C", ""), True),  # an empty answer is one
        (("A", "B", "C"), False),
        (("A", "B", "C", None), False),  # a request that failed is none
        ((), False),
    ],
)
def test_all_answers_are_there_only_when_every_item_has_one(
    letters: BuiltinEvaluator, texts: tuple[str | None, ...], whole: bool
) -> None:
    answer(letters, *texts)
    assert letters.has_answers() is whole


def test_a_torn_answer_or_a_repeat_without_any_is_not_all(letters: BuiltinEvaluator) -> None:
    answer(letters, *"ABCD")
    assert not replace(letters, repeats=2).has_answers()
    text = letters.paths.partial().read_bytes()
    letters.paths.partial().write_bytes(text[:-3])
    assert not letters.has_answers()


def test_each_output_row_has_item_answer_and_grade_whatever_the_answer_holds(
    letters: BuiltinEvaluator,
) -> None:
    odd = "half a pair \ud83d, a \u2028 line\r\n, a \x00.\nAnswer: B"
    answer(letters, "Answer: A", odd, "Answer: A", "", num_generated_tokens=5)
    letters.run(None)
    found = letters.metrics()
    rows = outputs(letters)
    assert [row["expected_answer"] for row in rows] == list("ABCD")
    assert [row["predicted_answer"] for row in rows] == ["A", "B", "A", None]
    assert [row["symbolic_correct"] for row in rows] == [True, True, False, False]
    assert rows[1]["generation"] == odd
    values = found.metrics["letters"]["pass@1"]
    assert (values["num_entries"], values["avg_tokens"]) == (4, 5)
    assert (values["symbolic_correct"], values["no_answer"]) == (50.0, 25.0)
    assert (found.reason, list(found.warnings)) == ("", [])


def test_repeats_have_files_and_tallies_of_their_own(letters: BuiltinEvaluator) -> None:
    two = replace(letters, repeats=2)
    answer(two, "Answer: A", "Answer: A", "Answer: A", "Answer: A")
    answer(two, "Answer: B", "Answer: B", "", None, repeat=1)
    answer(two, "Answer: B", "Answer: B", "", "Answer: D", repeat=1)  # asked again, all came
    two.run(None)
    found = two.metrics()
    assert [(count.answers, count.empty, count.errors) for count in found.tallies] == [
        (4, 0, 0),
        (4, 1, 0),
    ]
    assert [row["predicted_answer"] for row in outputs(two, 1)] == ["B", "B", None, "D"]
    assert found.metrics["letters"]["pass@1"]["symbolic_correct"] == 37.5
    assert found.metrics["letters"]["pass@2"]["symbolic_correct"] == 75.0


def test_without_an_answer_nothing_is_graded_and_no_output_appears(
    letters: BuiltinEvaluator,
) -> None:
    answer(letters, *"ABCD")
    letters.run(None)
    letters._answers[0]._where.popitem()
    with pytest.raises(ResultError, match="no answer to letters/3"):
        letters.metrics()
    assert [path.name for path in letters.paths.root.iterdir()] == ["partial-rs0.jsonl"]


def test_before_anything_is_asked_no_request_has_failed(letters: BuiltinEvaluator) -> None:
    assert letters.failed_requests == 0
    answer(letters, *"ABCD")
    letters.run(None)
    assert letters.failed_requests == 0
    letters._answers[0].append({"id": "letters/0", "error": "boom"})
    assert letters.failed_requests == 1
    letters.run(None)  # by a server that was started again: counted anew
    assert letters.failed_requests == 0
