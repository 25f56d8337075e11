"""A cell: reused only when nothing that its answers depend on has changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.prepare import open_items, prepare
from harness.compute.evaluate.answers.generate import Row
from harness.compute.evaluate.cell import CellWork
from harness.config.evaluation import EvaluationSpec, Sampling
from harness.errors import EvaluationError
from harness.plan.plan import Cell
from harness.runs.metrics import read_metrics, read_task
from harness.runs.paths import CellPaths

pytest.importorskip("math_verify", reason="needs the extra `eval`")
SPEC = EvaluationSpec(benchmarks=("arithmetic",), max_items=4)


@pytest.fixture
def work(tmp_path: Path) -> CellWork:
    prepare("arithmetic", tmp_path / "benchmarks")
    return CellWork(
        cell=Cell(checkpoint="checkpoint-5", benchmark="arithmetic"),
        paths=CellPaths(tmp_path / "cell"),
        evaluation=SPEC,
        benchmarks_dir=tmp_path / "benchmarks",
        fingerprint="abc",
        log="log",
        job_id="7",
    )


def answers(work: CellWork, texts: list[str]) -> list[Row]:
    return [{"id": i["id"], "generation": t} for i, t in zip(work.items(), texts, strict=True)]


def finish(work: CellWork, texts: list[str]) -> str:
    rows = answers(work, texts)
    work.paths.root.mkdir(parents=True, exist_ok=True)
    for repeat in range(work.cell.repeats):
        work.paths.partial(repeat).write_text("".join(json.dumps(row) + "\n" for row in rows))
    work.generate(None)
    return work.grade()


def right(work: CellWork) -> list[str]:
    return [f"So \\boxed{{{item['expected_answer']}}}" for item in work.items()]


def test_a_graded_cell_has_metrics_rows_and_its_origin(work: CellWork) -> None:
    assert finish(work, [*right(work)[:3], "no box"]) == "ok"
    metrics = read_metrics(work.paths.metrics)["arithmetic"]["pass@1"]
    assert metrics["num_entries"] == 4
    assert metrics["symbolic_correct"] == 75.0
    assert metrics["no_answer"] == 25.0
    rows = [json.loads(line) for line in work.paths.output().read_text().splitlines()]
    assert [row["symbolic_correct"] for row in rows] == [True, True, True, False]
    record = read_task(work.paths)
    assert record is not None
    assert record.facts["fingerprint"] == "abc"
    assert record.facts["items"] == 4
    assert record.facts["versions"]["math-verify"]
    assert work.is_done()


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "def"},
        {"evaluation": SPEC.model_copy(update={"sampling": Sampling(temperature=0)})},
        {"evaluation": SPEC.model_copy(update={"max_items": 3})},
        {"cell": Cell(checkpoint="checkpoint-5", benchmark="arithmetic", repeats=2)},
    ],
)
def test_results_of_other_inputs_are_set_aside_and_not_reused(
    work: CellWork, change: dict[str, Any]
) -> None:
    finish(work, right(work))
    other = replace(work, **change, seconds={})
    assert not other.is_done()
    assert not work.paths.metrics.exists()
    (aside,) = work.paths.root.glob("stale-*")
    assert {p.name for p in aside.iterdir()} == {"metrics.json", "task.json", "output-rs0.jsonl"}


@pytest.mark.parametrize(
    "damage",
    [None, b"", b"\0\0", b"[]", b'{"gsm8k": {}}', b'{"arithmetic": {"pass@1": {"a": NaN}}}',
     b'{"arithmetic": {"pass@1": {"symbolic_correct": 99.0, "num_entries": 4}}}'],
)  # fmt: skip
def test_a_result_that_is_not_what_was_written_is_graded_again_from_its_answers(
    work: CellWork, damage: bytes | None
) -> None:
    two = replace(work, cell=work.cell.model_copy(update={"repeats": 2}))
    finish(two, right(two))
    good = two.paths.metrics.read_bytes()
    two.paths.metrics.unlink()
    if damage is not None:
        two.paths.metrics.write_bytes(damage)
    again = replace(two, seconds={})
    assert not again.is_done()
    assert again.has_answers()
    again.generate(None)
    assert again.grade() == "ok"
    found = read_metrics(two.paths.metrics)["arithmetic"]["pass@1"]
    assert found["symbolic_correct"] == json.loads(good)["arithmetic"]["pass@1"]["symbolic_correct"]
    assert replace(two, seconds={}).is_done()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "well"}'])
def test_a_record_that_cannot_be_read_says_nothing_of_the_answers_beside_it(
    work: CellWork, text: str
) -> None:
    finish(work, right(work))
    work.paths.task.write_text(text)
    again = replace(work, seconds={})
    assert not again.is_done()
    assert not again.has_answers()


def test_an_invalid_cell_is_not_done(work: CellWork) -> None:
    assert finish(work, [""] * 4) == "invalid"
    assert not work.is_done()
    record = read_task(work.paths)
    assert record is not None
    assert record.reason == "every answer is empty"


def test_cut_benchmark_data_is_refused(work: CellWork) -> None:
    file = work.benchmarks_dir / "arithmetic.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(EvaluationError, match="was changed or cut"):
        open_items(work.benchmarks_dir, "arithmetic")
    file.unlink()
    with pytest.raises(EvaluationError, match="python -m harness prepare arithmetic"):
        work.items()


def test_what_an_interrupted_task_spent_and_whom_it_asked_is_not_forgotten(work: CellWork) -> None:
    before = replace(work, seconds={"start": 40.0, "generate": 5.0}, restarts=1)
    before.server_facts = {"engine_version": "9.9", "served_as": "m@abc"}
    before.record("failed", "killed while grading")
    after = replace(work, seconds={}, server_facts={})
    assert not after.is_done()
    assert finish(after, right(after)) == "ok"
    after.account(task_seconds=3.0, task_spent=1.0, cells=1)
    record = read_task(work.paths)
    assert record is not None
    assert record.facts["engine_version"] == "9.9"
    assert record.facts["restarts"] == 1
    seconds = record.facts["seconds"]
    assert (seconds["start"], seconds["idle"]) == (40.0, 2.0)
    assert seconds["generate"] >= 5.0 and "grade" in seconds
    assert record.facts["gpu_seconds"]["start"] == 40.0 * record.facts["gpu_seconds"]["gpus"]
    assert record.started == before.started


def test_answers_left_to_a_judge_are_not_graded_and_kept(work: CellWork) -> None:
    apart = replace(work, judged_apart=True)
    apart.paths.root.mkdir(parents=True)
    rows = answers(apart, right(apart))
    apart.paths.partial().write_text("".join(json.dumps(row) + "\n" for row in rows))
    apart.generate(None)
    assert apart.leave_to_judge() == "answered"
    record = read_task(work.paths)
    assert record is not None
    assert (record.state, record.facts["answers_kept"]) == ("answered", True)
    assert not work.paths.metrics.exists()
    assert not replace(work, judged_apart=True).is_done()
    apart.paths.partial().write_text(json.dumps(rows[0]) + "\n")
    apart.record("failed", "why")
    record = read_task(work.paths)
    assert record is not None and record.facts["answers_kept"] is False


def test_answers_of_a_model_that_changed_are_to_be_asked_again(
    work: CellWork, tmp_path: Path
) -> None:
    apart = replace(work, judged_apart=True)
    apart.paths.root.mkdir(parents=True)
    rows = answers(apart, right(apart))
    apart.paths.partial().write_text("".join(json.dumps(row) + "\n" for row in rows))
    apart.model = tmp_path / "gone"
    apart.record("invalid", "the model changed")
    record = read_task(work.paths)
    assert record is not None and record.facts["answers_kept"] is False
