"""Which item a saved answer is of: by id, by question, by its own reference; never by a guess."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.registry import BENCHMARKS, Benchmark
from harness.compute.evaluate.prepare import prepare_own
from harness.compute.evaluate.regrade.known import Known
from harness.errors import UserError

PLACE = "a.jsonl:3"
QUESTIONS = ("What is 1 + 1?", "What is\n  2 + 2?", "Wie groß ist 3 + 3?")


@pytest.fixture
def sums(tmp_path: Path) -> Iterator[Benchmark]:
    """A benchmark of three questions, prepared in `data`."""
    known = dict(BENCHMARKS)
    rows = [
        {"problem": text, "expected_answer": 2 * n, "id": f"sums/{n}"}
        for n, text in enumerate(QUESTIONS, 1)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text("data: rows.jsonl\ngrader: math\nprompt: '{problem}'\n")
    prepare_own(tmp_path / "sums.yaml", tmp_path / "data")
    yield BENCHMARKS["sums"]
    BENCHMARKS.clear()
    BENCHMARKS.update(known)


@pytest.fixture
def known(sums: Benchmark, tmp_path: Path) -> Known:
    return Known(sums, tmp_path / "data")


def number(known: Known, **row: Any) -> str:
    return str(known.item(row, PLACE)["id"])


@pytest.mark.parametrize(
    "row",
    [
        {"id": "sums/2"},
        {"task_id": "sums/2"},
        {"key": 2},  # NeMo-Skills' own name of an item, without the benchmark's
        {"reference": {"id": "sums/2"}},
        {"id": "x/9", "reference": {"key": "2"}},
        {"question": QUESTIONS[1]},
        {"problem": " What is 2  + 2?\n"},  # formats differ in white space
        {"prompt": QUESTIONS[1], "id": "sums/2"},
        {"question": 7, "id": "sums/2"},  # no text: not a question
    ],
)
def test_an_item_is_found_by_any_of_its_names_and_by_its_question(
    known: Known, row: dict[str, Any]
) -> None:
    assert number(known, **row) == "sums/2"
    assert known.item(row, PLACE)["expected_answer"] == 4
    assert known.notes(1) == ["1 of the benchmark's 3 items are answered: 33.3 % of the whole"]


def test_an_id_and_a_question_of_two_items_are_told_and_not_chosen_between(known: Known) -> None:
    with pytest.raises(UserError) as caught:
        known.item({"id": "sums/1", "question": QUESTIONS[2]}, PLACE)
    assert str(caught.value) == f"{PLACE}: its id is sums/1's and its question sums/3's"


def test_an_id_with_an_unknown_question_is_ours_only_without_a_reference_of_its_own(
    known: Known,
) -> None:
    other = {"id": "sums/1", "question": "What is 9 + 9?"}
    assert known.item(other, PLACE)["expected_answer"] == 2
    found = known.item(other | {"reference": 18}, PLACE)
    assert (found["id"], found["expected_answer"]) == ("sums/1", 18)
    assert found["question"] == found["prompt"] == "What is 9 + 9?"


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"id": "x/1", "reference": 0}, 0),  # zero is an answer
        ({"id": "x/1", "reference": {"expected_answer": "7"}}, "7"),
        ({"id": "x/1", "expected_answer": 7}, 7),
        ({"id": "x/1", "expected_answer": 7, "reference": {"expected_answer": 8}}, 8),
    ],
)
def test_what_is_not_prepared_is_graded_by_the_rows_own_reference_and_that_is_noted(
    known: Known, row: dict[str, Any], answer: Any
) -> None:
    assert known.item(row, PLACE)["expected_answer"] == answer
    assert known.notes(4) == [
        "1 of 4 answers are of items that are not in the prepared data: graded by their own "
        "reference",
        "0 of the benchmark's 3 items are answered: 0.0 % of the whole",
    ]


def test_a_row_without_a_name_is_known_by_its_question_or_its_line(known: Known) -> None:
    first = known.item({"question": "New  one?", "reference": 1}, "a.jsonl:1")
    again = known.item({"question": "New one?", "reference": 1}, "b.jsonl:9")
    assert first["id"] == again["id"]
    assert known.item({"reference": 1}, "a.jsonl:2")["id"] == "a.jsonl:2"
    assert known.item({"question": "half \ud83d", "reference": 1}, PLACE)["question"]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"id": "x/1"}, "'x/1'"),
        ({"question": "New?", "reference": {"other": 1}}, "'the row'"),
        ({"id": "it's\nx", "reference": {"expected_answer": None}}, '"it\'s\\nx"'),
    ],
)
def test_an_unknown_item_without_a_reference_is_told_with_the_cure(
    known: Known, row: dict[str, Any], name: str
) -> None:
    with pytest.raises(UserError) as caught:
        known.item(row, PLACE)
    assert str(caught.value) == (
        f"{PLACE}: {name} is not in the prepared sums, and the row has no reference with "
        "expected_answer\npython -m harness prepare sums has the items on disk"
    )


def test_items_count_and_not_rows(known: Known) -> None:
    half = ["2 of the benchmark's 3 items are answered: 66.7 % of the whole"]
    for where in ("a.jsonl:1", "b.jsonl:1"):  # two files, of the same half
        for number in (1, 2):
            known.item({"id": f"sums/{number}"}, f"{where}{number}")
    assert known.notes(4) == half
    foreign = {"id": "sums/3", "question": "Of another split?", "reference": 1}
    assert known.name(foreign, PLACE) != known.name({"id": "sums/3"}, "a.jsonl:9")
    assert len(known.notes(6)) == 1, "all three are answered; one answer is of another split"


def test_where_nothing_is_prepared_different_items_are_counted(tmp_path: Path) -> None:
    known = Known(BENCHMARKS["gsm8k"], tmp_path / "none")
    for line, text in enumerate(("one?", "one ?", "one?", "two?"), 1):
        known.item({"question": text, "reference": 1}, f"a.jsonl:{line}")
    assert known.notes(4)[1:] == ["3 different items; the whole benchmark has 1,319"]


def test_letters_are_matched_by_question_first_for_numbers_differ_between_files(
    sums: Benchmark, tmp_path: Path
) -> None:
    known = Known(replace(sums, grader="multiple_choice"), tmp_path / "data")
    assert number(known, id="sums/1", question=QUESTIONS[2]) == "sums/3"
    other = known.item({"id": "sums/1", "question": "New?", "reference": "B"}, PLACE)
    assert (other["question"], other["expected_answer"]) == ("New?", "B")
    assert number(known, id="sums/1") == "sums/1"  # without a question its id has to do


def test_code_without_its_tests_is_refused_at_once_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        Known(BENCHMARKS["human-eval"], tmp_path / "no data")
    assert str(caught.value) == (
        f"human-eval is graded by its tests, which are not prepared in {tmp_path / 'no data'}\n"
        "Prepare them once: python -m harness prepare human-eval [--from FOLDER with "
        f"{BENCHMARKS['human-eval'].file}]"
    )


def test_code_is_never_graded_by_a_reference_of_its_own(sums: Benchmark, tmp_path: Path) -> None:
    known = Known(replace(sums, grader="code:mbpp"), tmp_path / "data")
    with pytest.raises(UserError, match=r"^a\.jsonl:3: 'Mbpp/9' is no task of sums$"):
        known.item({"task_id": "Mbpp/9", "reference": {"expected_answer": 1}}, PLACE)
    # The id is the task's; the question is worded in many ways.
    assert number(known, id="sums/1", question="New?") == "sums/1"


def test_a_generated_benchmark_needs_no_data(tmp_path: Path) -> None:
    known = Known(BENCHMARKS["arithmetic"], tmp_path / "none")
    first = next(iter(known._items))
    assert known.item({"id": first["id"]}, PLACE) == first
    assert not (tmp_path / "none").exists()
