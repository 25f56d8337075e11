"""The job that has answers judged: what it does where there is nothing, or nothing any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.compute.evaluate import judge_job as judging
from harness.config.site import Site
from harness.errors import EvaluationError
from harness.plan.manifest import Manifest, write_manifest
from harness.plan.plan import build_plan
from harness.runs.files import utc_now, write_text
from harness.runs.metrics import TaskRecord, read_task, write_task
from harness.runs.paths import RunPaths
from tests.plan.test_plan import make_spec


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """A run whose only evaluated checkpoint, of step 10, is not there."""
    paths = RunPaths(tmp_path / "run" / "20260101-000000-aaaa")
    spec = make_spec(benchmarks=["mt-bench"], checkpoints="last", judge={"model": "j"})
    write_text(paths.spec, spec.model_dump_json())
    write_text(paths.site, "{}")
    plan = build_plan(spec, Site())
    write_manifest(
        paths, Manifest(run_id=paths.run_id, created=utc_now(), scheduler="local", plan=plan)
    )
    return paths


def test_a_checkpoint_that_was_never_made_leaves_nothing_to_judge(run: RunPaths) -> None:
    assert "nothing to judge" in judging.run(run, "judge-checkpoint-10")
    assert read_task(run.cell("checkpoint-10", "mt-bench")) is None


def test_answers_of_a_checkpoint_that_is_gone_fail_with_the_reason(run: RunPaths) -> None:
    cell = run.cell("checkpoint-10", "mt-bench")
    write_task(cell, TaskRecord(state="answered"))
    with pytest.raises(EvaluationError, match="checkpoint-10 is gone"):
        judging.run(run, "judge-checkpoint-10")
    record = read_task(cell)
    assert record is not None
    assert (record.state, "is gone" in record.reason) == ("failed", True)
