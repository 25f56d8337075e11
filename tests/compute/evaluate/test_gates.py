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
    assert judged(rows, 10).warnings == ["3 of 10 answers were cut at max_tokens"]
    assert judged(rows, 10, truncated="invalid").reason == "3 of 10 answers were cut at max_tokens"
    assert judged(rows, 10, max_truncated_share=0.3) == gates.Verdict()


def test_many_empty_answers_are_noted() -> None:
    rows = [{"generation": "" if i else "x"} for i in range(4)]
    assert judged(rows, 4).warnings == ["3 of 4 answers are empty"]
    assert judged(rows, 4, empty="invalid").reason == "3 of 4 answers are empty"
    assert judged(rows, 4, max_empty_share=0.8) == gates.Verdict()


def test_thinking_without_an_answer_is_not_an_empty_answer() -> None:
    rows = [{"generation": "", "reasoning_content": f"hm {i}"} for i in range(3)]
    assert judged(rows, 3) == gates.Verdict()


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
