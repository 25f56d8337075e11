"""A foreign evaluator as a cell sees it: its task, its inputs, and what its result is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate.evaluators.program import ProgramEvaluator, _all_zero
from harness.compute.evaluate.evaluators.run_program import ProgramResult
from harness.config.evaluation import EvaluationSpec
from harness.errors import EvaluationError
from harness.runs.paths import CellPaths


def evaluator(folder: Path, name: str = "lm-eval.arc_easy", **evaluation: Any) -> ProgramEvaluator:
    spec = EvaluationSpec.model_validate({"benchmarks": [name], **evaluation})
    return ProgramEvaluator(BENCHMARKS[name], CellPaths(folder), 2, spec, str(folder / "model"))


def result(value: float | None, *, samples: Any = (), items: int = 3) -> ProgramResult:
    metrics = {"lm-eval.arc_easy": {"pass@1": {"num_entries": items, "acc": value}}}
    return ProgramResult(metrics, [list(rows) for rows in samples], items, {"command": "lm-eval"})


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("lm-eval.arc_easy", "arc_easy"),
        ("nemo-skills.aime24", "aime24"),
        ("lm-eval.a.b-c", "a.b-c"),
    ],
)
def test_the_task_is_the_name_in_the_programs_own_words(
    tmp_path: Path, name: str, task: str
) -> None:
    found = evaluator(tmp_path, name)
    assert (found.backend, found.task) == (name.partition(".")[0], task)


def test_results_of_other_options_items_or_repeats_are_not_reused(tmp_path: Path) -> None:
    base = evaluator(tmp_path).inputs()
    assert evaluator(tmp_path / "elsewhere").inputs() == base
    assert evaluator(tmp_path, max_items=3).inputs() != base
    assert evaluator(tmp_path, lm_eval={"num_fewshot": 5}).inputs() != base
    # The options of the other program are nothing to it.
    assert evaluator(tmp_path, nemo_skills={"chunks": 4}).inputs() == base
    assert "items" not in base  # only the program knows, once it has asked


def test_answers_are_never_there_without_the_program_and_it_needs_a_server(tmp_path: Path) -> None:
    mine = evaluator(tmp_path)
    assert mine.has_answers() is False
    with pytest.raises(EvaluationError, match=r"lm-eval\.arc_easy: needs a server"):
        mine.run(None)


def test_what_the_program_found_is_the_outcome(tmp_path: Path) -> None:
    mine = evaluator(tmp_path)
    rows = [{"generation": "a"}, {"generation": "", "finish_reason": "length"}, {"generation": "c"}]
    mine._result = result(50.0, samples=[rows])
    found = mine.metrics()
    assert found.metrics == mine._result.metrics
    assert (found.items, found.reason, found.warnings) == (3, "", [])
    assert found.facts == {"command": "lm-eval", "n": 3}
    (count,) = found.tallies
    assert (count.answers, count.truncated, count.empty) == (3, 1, 1)


def test_a_task_that_scores_choices_has_no_answers_to_look_at(tmp_path: Path) -> None:
    mine = evaluator(tmp_path)
    mine._result = result(50.0, samples=[[]])
    assert mine.metrics().tallies == []


@pytest.mark.parametrize(
    ("gate", "reason", "warnings"),
    [
        ("invalid", "every score is exactly 0", []),
        ("warn", "", ["every score is exactly 0"]),
    ],
)
def test_zero_all_over_is_what_the_gate_makes_of_it(
    tmp_path: Path, gate: str, reason: str, warnings: list[str]
) -> None:
    mine = evaluator(tmp_path, gates={"zero": gate})
    mine._result = result(0.0)
    assert (mine.metrics().reason, mine.metrics().warnings) == (reason, warnings)
    mine._result = result(0.1)
    assert (mine.metrics().reason, mine.metrics().warnings) == ("", [])


@pytest.mark.parametrize(
    ("values", "zero"),
    [
        ({"acc": 0.0, "num_entries": 9, "gen_seconds": 7, "avg_tokens": 4}, True),
        ({"acc": 0.0, "acc_stderr": 0.2, "grading_seconds": 3}, True),
        ({"acc": 0.0, "f1": 1e-9}, False),
        ({"acc": 0.0, "no_answer": 100.0}, True),  # a share of failures is no score
        ({"num_entries": 9}, False),  # nothing was scored, and that is not zero
        ({"acc": None, "alias": "x"}, False),
        ({}, False),
    ],
)
def test_only_scores_count_and_none_of_them_is_not_zero(values: dict[str, Any], zero: bool) -> None:
    assert bool(_all_zero({"b": {"pass@1": values}}, "b")) is zero


def test_a_score_in_any_aggregation_is_enough_and_other_benchmarks_do_not_help() -> None:
    metrics: dict[str, Any] = {
        "b": {"pass@1": {"acc": 0.0}, "pass@1[x]": {"acc": 2.0}},
        "c": {"pass@1": {"acc": 0}},
    }
    assert _all_zero(metrics, "b") == ""
    assert _all_zero(metrics, "c") == "every score is exactly 0"
    assert _all_zero(metrics, "d") == ""
