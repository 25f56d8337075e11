"""The validity gates: each one hit and not hit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate import gates
from harness.compute.evaluate.cell import CellWork
from harness.config.evaluation import EvaluationSpec
from harness.config.gates import GatesSpec
from harness.runs.checkpoints import fingerprint
from harness.runs.metrics import read_task

from .test_cell import finish, right, work

__all__ = ["work"]
LIMITS = GatesSpec()


def judged(rows: list[dict[str, Any]], expected: int, **limits: Any) -> gates.Verdict:
    return gates.answers_verdict(gates.tally(rows), expected, GatesSpec(**limits))


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["a", "b", "c"], ""),
        (["a", "b"], "2 answers for 3 items"),
        (["", "", ""], "every answer is empty"),
        (["a", "a", "a"], "every answer is the same text"),
        (["a", "a", "b"], ""),
    ],
)
def test_number_and_sameness(answers: list[str], reason: str) -> None:
    assert judged([{"generation": text} for text in answers], 3).reason == reason


def test_the_same_answer_to_one_or_two_items_is_no_sign_of_anything() -> None:
    assert judged([{"generation": "a"}] * 2, 2).reason == ""


def test_the_same_answer_may_be_a_warning() -> None:
    found = judged([{"generation": "a"}] * 3, 3, identical="warn")
    assert (found.reason, found.warnings) == ("", ["every answer is the same text"])


def test_errors_above_the_share_are_invalid_and_below_it_noted() -> None:
    rows: list[dict[str, Any]] = [{"generation": str(i)} for i in range(199)]
    rows.append({"error": "BadRequestError: too long"})
    found = judged(rows, 200)
    assert found.reasons == []
    assert found.warnings == ["1 of 200 requests failed, e.g. BadRequestError: too long"]
    assert "1 of 200 requests failed" in judged(rows, 200, max_error_share=0).reason
    assert judged(rows[:199], 199) == gates.Verdict()


def test_truncated_answers_are_noted_or_invalid_above_the_share() -> None:
    rows = [
        {"generation": str(i), "finish_reason": "length" if i < 3 else "stop"} for i in range(10)
    ]
    told = "3 of 10 answers were cut at max_tokens"
    assert judged(rows, 10).warnings == [told]
    assert judged(rows, 10, truncated="invalid").reason == told
    below = judged(rows, 10, max_truncated_share=0.3, truncated="invalid")
    assert (below.reasons, below.warnings) == ([], [told])  # never without a word


def test_many_empty_answers_are_noted() -> None:
    rows = [{"generation": "" if i else "x"} for i in range(4)]
    assert judged(rows, 4).warnings == ["3 of 4 answers are empty"]
    assert judged(rows, 4, empty="invalid").reason == "3 of 4 answers are empty"
    below = judged(rows, 4, max_empty_share=0.8, empty="invalid")
    assert (below.reasons, below.warnings) == ([], ["3 of 4 answers are empty"])
    blank = judged([{"generation": " \n"}, {"generation": "x"}, {"generation": "y"}], 3)
    assert blank.warnings == ["1 of 3 answers are empty"]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thinking_without_an_answer_is_told_apart_from_an_empty_one(name: str) -> None:
    rows = [{"generation": "", name: f"hm {i}", "finish_reason": "stop"} for i in range(3)]
    told = "answers have no content: a reasoning parser kept their text"
    some = judged([*rows[:2], *({"generation": str(i)} for i in range(3))], 5)
    assert (some.reasons, some.warnings) == ([], [f"2 of 5 {told}"])
    many = judged([*rows, {"generation": "x"}], 4)
    assert many.reason == f"3 of 4 {told}"
    assert judged([*rows, {"generation": "x"}], 4, thought="warn").warnings == [f"3 of 4 {told}"]
    assert judged(rows, 3).reason == "every answer is empty: a reasoning parser kept their text"


def test_an_answer_cut_while_thinking_is_a_cut_one() -> None:
    rows = [{"generation": "", "reasoning": f"hm {i}", "finish_reason": "length"} for i in range(3)]
    found = judged([*rows, {"generation": "x"}], 4)
    assert (found.reasons, found.warnings) == ([], ["3 of 4 answers were cut at max_tokens"])


def test_aborted_answers_are_told_with_the_word_they_ended_by() -> None:
    rows = [{"generation": str(i), "finish_reason": "stop"} for i in range(99)]
    one = [*rows, {"generation": "half", "finish_reason": "abort"}]
    told = "1 of 100 answers were aborted (finish_reason abort)"
    assert (judged(one, 100).reasons, judged(one, 100).warnings) == ([], [told])
    assert judged(one, 100, max_aborted_share=0).reason == told
    assert judged(one, 100, max_aborted_share=0, aborted="warn").warnings == [told]


def test_a_turn_without_an_answer_counts_and_only_all_turns_make_it_empty() -> None:
    half = [{"generation": "b", "generations": ["", f"b{i}"]} for i in range(3)]
    assert judged(half, 3, identical="warn").reasons == []
    assert "3 of 3 answers are empty" in judged(half, 3, identical="warn").warnings
    none = [{"generation": "", "generations": ["", ""]} for _ in range(3)]
    assert judged(none, 3).reason == "every answer is empty"


def test_where_all_that_were_answered_are_empty_failed_requests_hide_nothing() -> None:
    rows = [{"error": "HTTP 400"}, *({"generation": ""} for _ in range(3))]
    assert judged(rows, 4, max_error_share=0.5).reason == "every answer is empty"
    failed = [{"error": "HTTP 400"}] * 4
    assert judged(failed, 4).reason == "4 of 4 requests failed, e.g. HTTP 400"
    assert judged(failed, 4, max_error_share=1.0).reason == "every answer is empty"


def test_answers_with_less_room_than_asked_are_noted() -> None:
    rows = [{"generation": "a", "max_tokens_lowered_to": 9}, {"generation": "b"}]
    assert judged(rows, 2).warnings == [
        "1 of 2 answers had less room than max_tokens: the context has no more beside their prompts"
    ]


def test_exactly_zero_is_noted_or_invalid_and_a_little_is_fine() -> None:
    gsm8k = BENCHMARKS["gsm8k"]
    zero = {"pass@1": {"symbolic_correct": 0.0, "num_entries": 3}}
    assert gates.metrics_verdict(gsm8k, zero, 3, LIMITS).warnings == [
        "symbolic_correct is exactly 0"
    ]
    strict = GatesSpec(zero="invalid")
    assert gates.metrics_verdict(gsm8k, zero, 3, strict).reason == "symbolic_correct is exactly 0"
    some = {"pass@1": {"symbolic_correct": 0.1, "num_entries": 3}}
    assert gates.metrics_verdict(gsm8k, some, 3, strict) == gates.Verdict()


def test_metrics_of_another_number_of_entries_are_invalid() -> None:
    metrics = {"pass@1": {"symbolic_correct": 50.0, "num_entries": 2}}
    found = gates.metrics_verdict(BENCHMARKS["gsm8k"], metrics, 3, LIMITS)
    assert found.reason == "pass@1 counts 2 entries for 3 items"


def test_a_server_that_tells_another_fingerprint_served_another_model() -> None:
    mine, other = "0123456789ab", "ba9876543210"
    assert gates.foreign_name(f"run/checkpoint-5@{mine}", mine) == ""
    assert gates.foreign_name("/models/a@b/checkpoint-5", mine) == ""
    assert f"served {other}" in gates.foreign_name(f"run/checkpoint-5@{other}", mine)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint-5"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "chat_template.jinja").write_text("{{ messages }}\n")
    return folder


def of(work: CellWork, checkpoint: Path, **fields: Any) -> CellWork:
    return replace(work, model=checkpoint, fingerprint=fingerprint(checkpoint), **fields)


def test_a_checkpoint_that_stays_what_it_was_is_ok(work: CellWork, checkpoint: Path) -> None:
    mine = of(work, checkpoint, template="{{ messages }}")
    assert finish(mine, right(mine)) == "ok"


def test_a_checkpoint_that_changes_meanwhile_is_invalid(work: CellWork, checkpoint: Path) -> None:
    mine = of(work, checkpoint)
    (checkpoint / "model.safetensors").write_bytes(b"others")
    assert finish(mine, right(mine)) == "invalid"
    record = read_task(mine.paths)
    assert record and "the model changed while it was evaluated" in record.reason


def test_a_checkpoint_that_is_gone_meanwhile_is_invalid(work: CellWork, checkpoint: Path) -> None:
    mine = of(work, checkpoint)
    (checkpoint / "config.json").unlink()
    assert finish(mine, right(mine)) == "invalid"


def test_a_template_that_was_not_trained_with_is_invalid(work: CellWork, checkpoint: Path) -> None:
    mine = of(work, checkpoint, template="{{ other }}")
    assert finish(mine, right(mine)) == "invalid"
    record = read_task(mine.paths)
    assert record and "not the one that the run trained with" in record.reason
    (checkpoint / "chat_template.jinja").unlink()
    assert "has no chat_template.jinja" in gates.other_template(checkpoint, "x")
    assert gates.other_template(checkpoint, None) == ""


def test_thresholds_stand_in_the_spec() -> None:
    spec = EvaluationSpec.model_validate(
        {"benchmarks": ["gsm8k"], "gates": {"max_error_share": 0.5, "zero": "invalid"}}
    )
    assert (spec.gates.max_error_share, spec.gates.zero) == (0.5, "invalid")


def test_failed_requests_of_an_invalid_cell_are_asked_again_and_no_others(work: CellWork) -> None:
    rows = [{"id": i["id"], "generation": str(n)} for n, i in enumerate(work.items())]
    work.paths.root.mkdir(parents=True)
    work.paths.partial().write_text("".join(json.dumps(row) + "\n" for row in rows))
    work.generate(None)
    work.evaluator._answers[0].append({"id": rows[0]["id"], "error": "boom"})  # type: ignore[attr-defined]
    assert work.grade() == "invalid"
    assert work.paths.partial().is_file()
