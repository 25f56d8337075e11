"""The table of graders agrees with itself and with the code, and items that cannot be graded."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.config.graders import GRADERS, OWN_KINDS
from tests.support import ROOT

ALL = sorted(GRADERS)
EVALUATE = ROOT / "harness" / "compute" / "evaluate"


@pytest.mark.parametrize("name", ALL)
def test_a_row_of_the_table_is_whole(name: str) -> None:
    row = GRADERS[name]
    assert row.name == name
    assert row.headline in row.metrics
    assert len(set(row.metrics)) == len(row.metrics)
    assert row.scores.keys() <= set(row.metrics)
    assert row.has_answers == ("no_answer" in row.metrics)
    if row.shown is not None and row.aggregation == "correctness":
        assert set(row.scores.values()) <= set(row.shown)


@pytest.mark.parametrize("name", ALL)
def test_a_kind_has_the_file_that_grades_it(name: str) -> None:
    row = GRADERS[name]
    folder, made = ("judge", "JUDGED") if row.judged else ("graders", "GRADER")
    text = (EVALUATE / folder / f"{row.module}.py").read_text(encoding="utf-8")
    assert re.search(rf"^{made}\b", text, re.MULTILINE)


def test_a_benchmark_of_ones_own_needs_neither_sandbox_nor_judge() -> None:
    assert OWN_KINDS == ("math", "multiple_choice", "ifeval")
    for name in OWN_KINDS:
        row = GRADERS[name]
        assert not row.runs_code and not row.judged
        assert row.needs  # what the user's items must hold is told before anything is asked


def test_only_model_written_code_is_executed() -> None:
    assert {name for name in ALL if GRADERS[name].runs_code} == {"code:human-eval", "code:mbpp"}
    assert {name for name in ALL if name.startswith("judge:")} == {
        name for name in ALL if GRADERS[name].judged
    }


def problem(kind: str, **item: Any) -> str:
    return GRADERS[kind].problem(item)


@pytest.mark.parametrize("kind", ["math", "multiple_choice"])
@pytest.mark.parametrize("answer", [None, True, False, "", [], [1], {"a": 1}])
def test_an_answer_that_is_no_text_and_no_number_is_shown(kind: str, answer: Any) -> None:
    told = problem(kind, expected_answer=answer)
    assert told == f"expected_answer is {answer!r}; text or a number is expected"


@pytest.mark.parametrize("answer", [0, 0.0, -1.5, "0", " ", "\\frac12", 'it\'s "x"\n🙂', "A"])
def test_any_text_and_number_can_be_compared_zero_too(answer: Any) -> None:
    assert problem("math", expected_answer=answer) == ""


@pytest.mark.parametrize("letter", ["A", "D", "Z"])
def test_a_choice_is_one_capital_letter(letter: str) -> None:
    assert problem("multiple_choice", expected_answer=letter) == ""


@pytest.mark.parametrize("answer", ["a", "AB", "A ", "(A)", "Ä", "1", 0, 1, "A\n", "@", "["])
def test_another_choice_is_shown(answer: Any) -> None:
    told = problem("multiple_choice", expected_answer=answer)
    assert told == f"expected_answer is {answer!r}; a capital letter is expected"


@pytest.mark.parametrize(
    ("names", "arguments", "good"),
    [
        (["a:b"], [{}], True),
        (["a:b", "c:d"], [{}, {"n": 1}], True),
        (["a:b"], [], False),
        (["a:b"], [{}, {}], False),
        ([], [], False),
        ("ab", ["x", "y"], False),
        (["a:b"], {"a:b": {}}, False),
        (None, None, False),
    ],
)
def test_each_instruction_has_its_arguments(names: Any, arguments: Any, good: bool) -> None:
    told = problem("ifeval", instruction_id_list=names, kwargs=arguments)
    assert told == ("" if good else "instruction_id_list and kwargs are lists of the same length")


def test_kinds_whose_data_are_their_publishers_are_not_checked_again() -> None:
    for name in ALL:
        if name not in OWN_KINDS:
            assert problem(name) == ""
