"""What one task per benchmark and one for all cost, by an earlier run, and which is recommended."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.config.evaluation import EvaluationSpec
from harness.config.site import Site
from harness.config.spec import Spec
from harness.preflight.evaluation.cost import check_tasks, estimate
from harness.runs.files import write_json
from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import RunPaths

NAMES = ("gsm8k", "ifeval")


def evaluation(**changes: object) -> EvaluationSpec:
    return EvaluationSpec.model_validate({"benchmarks": NAMES, **changes})


def earlier(
    tmp_path: Path, spec: EvaluationSpec, seconds: dict[str, dict[str, float]], state: str = "ok"
) -> Site:
    """A run folder whose cells took so long, and its site."""
    run = RunPaths(tmp_path / "sft" / "20260101-000000-abcd")
    write_json(run.manifest, {})
    train = {"model_name": "m", "dataset_name": "d", "max_steps": 4}
    whole = Spec.model_validate({"name": "sft", "train": train, "evaluation": spec.model_dump()})
    run.spec.write_text(yaml.safe_dump(whole.model_dump(mode="json", exclude={"train": {"sft"}})))
    for name, spent in seconds.items():
        facts = {"seconds": spent}
        write_task(run.cell("checkpoint-2", name), TaskRecord(state=state, facts=facts))  # type: ignore[arg-type]
    return Site(runs_dir=str(tmp_path))


LONG_START = {
    "gsm8k": {"start": 60.0, "generate": 30.0, "grade": 5.0, "idle": 10.0},
    "ifeval": {"start": 60.0, "generate": 20.0, "grade": 5.0, "idle": 10.0},
}


def test_the_arithmetic() -> None:
    found = estimate(70.0, [35.0, 25.0])
    assert (found.separate, found.slowest, found.together) == (200.0, 105.0, 130.0)
    assert found.saved == pytest.approx(0.35)


def test_a_long_start_recommends_one_task_for_all(tmp_path: Path) -> None:
    site = earlier(tmp_path, evaluation(), LONG_START)
    (found,) = check_tasks("sft", evaluation(), site)
    # vLLM's own default: 8 GPUs of 200 and of 130 seconds.
    assert "about 1,600 GPU seconds and 105 s with one task for each benchmark" in found.message
    assert "1,040 and 130 s with one for all (a start takes 70 s; run 2026" in found.message
    assert "Recommended: one (it saves 35%); the spec says per-benchmark" in found.message


def test_a_run_with_one_task_tells_the_same(tmp_path: Path) -> None:
    shared = {
        "gsm8k": {"start": 60.0, "generate": 30.0, "grade": 5.0, "idle": 5.0},
        "ifeval": {"generate": 20.0, "grade": 5.0, "idle": 5.0},
    }
    site = earlier(tmp_path, evaluation(tasks="one"), shared)
    (found,) = check_tasks("sft", evaluation(tasks="one"), site)
    assert "about 1,600 GPU seconds" in found.message
    assert "Recommended: one (it saves 35%), as set" in found.message


def test_a_short_start_recommends_tasks_of_their_own(tmp_path: Path) -> None:
    seconds = {name: {"start": 5.0, "generate": 600.0, "grade": 1.0, "idle": 1.0} for name in NAMES}
    (found,) = check_tasks("sft", evaluation(), earlier(tmp_path, evaluation(), seconds))
    assert "Recommended: per-benchmark (one for all would save only 0%" in found.message


def test_what_does_not_fit_the_time_limit_is_not_recommended(tmp_path: Path) -> None:
    site = earlier(tmp_path, evaluation(time_limit="0:02:00"), LONG_START)
    (found,) = check_tasks("sft", evaluation(time_limit="0:02:00"), site)
    assert "one for all would not fit the time limit of 0:02:00" in found.message


@pytest.mark.parametrize(
    "other",
    [{"max_items": 3}, {"concurrency": 5}, {"server": {"tensor_parallel": 2}},
     {"sampling": {"max_tokens": 9}}, {"benchmarks": ("gsm8k", "mmlu")}],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_another_evaluation_tells_nothing(tmp_path: Path, other: dict[str, object]) -> None:
    (found,) = check_tasks("sft", evaluation(**other), earlier(tmp_path, evaluation(), LONG_START))
    assert "unknown: no earlier run of sft like this" in found.message


def test_cells_that_are_not_ok_tell_nothing(tmp_path: Path) -> None:
    site = earlier(tmp_path, evaluation(), LONG_START, state="invalid")
    (found,) = check_tasks("sft", evaluation(), site)
    assert "unknown" in found.message


def test_one_benchmark_leaves_no_choice(tmp_path: Path) -> None:
    assert check_tasks("sft", evaluation(benchmarks=("gsm8k",)), Site(runs_dir=str(tmp_path))) == []
