"""States of jobs and cells out of files and the scheduler's word; unknown is never done."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from harness.config.site import Site
from harness.config.spec import Spec
from harness.errors import SchedulerError
from harness.plan.facts import RunFacts
from harness.plan.manifest import Manifest, Submission, write_manifest
from harness.plan.plan import build_plan
from harness.results.collect import run_table
from harness.runs.checkpoints import mark_complete
from harness.runs.files import utc_now, write_json, write_text
from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import RunPaths
from harness.scheduling import status as status_module
from harness.scheduling.follow import follow
from harness.scheduling.schedulers.scheduler import JobState
from harness.scheduling.status import job_states, run_status
from tests.plan.test_plan import make_spec
from tests.runs.test_files import find_model

JOBS = {"train": "1", "eval-checkpoint-4": "2", "eval-checkpoint-8": "3", "eval-checkpoint-10": "4",
        "close": "5", "collect": "6"}  # fmt: skip


class Slurm:
    """Answers with states that a test sets."""

    def __init__(self) -> None:
        self.known: dict[str, JobState] = {}
        self.down = False

    def states(self, job_ids: Any) -> dict[str, JobState]:
        if self.down:
            raise SchedulerError("controller down")
        known = {key.partition("_")[0] for key in self.known}
        return self.known | {i: JobState("unknown") for i in job_ids if i not in known}


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    scheduler = Slurm()
    monkeypatch.setattr(status_module, "scheduler_named", lambda name, run: scheduler)
    return scheduler


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """Three checkpoints (4, 8, 10) x one benchmark, all submitted."""
    return submitted(tmp_path, make_spec(benchmarks=["gsm8k"]), JOBS)


def submitted(folder: Path, spec: Spec, jobs: dict[str, str]) -> RunPaths:
    paths = RunPaths(folder / "run" / "20260101-000000-aaaa")
    write_text(paths.spec, spec.model_dump_json())
    submissions = tuple(Submission(job=j, id=i, time=utc_now()) for j, i in jobs.items())
    write_manifest(
        paths,
        Manifest(run_id=paths.run_id, created=utc_now(), scheduler="slurm",
                 plan=build_plan(spec, Site()), submissions=submissions),
    )  # fmt: skip
    return paths


def result(run: RunPaths, checkpoint: str, fingerprint: str = "abc", state: Any = "ok") -> None:
    cell = run.cell(checkpoint, "gsm8k")
    write_json(cell.metrics, {"gsm8k": {"pass@1": {"num_entries": 3, "symbolic_correct": 50.0}}})
    write_task(cell, TaskRecord(state=state, reason="why", facts={"fingerprint": fingerprint}))


def states(run: RunPaths) -> dict[str, str]:
    return {c.cell.checkpoint: c.state for c in run_status(run).cells}


def test_what_the_scheduler_says_of_cells_without_a_result(run: RunPaths, slurm: Slurm) -> None:
    slurm.known = {
        "2_0": JobState("running", "RUNNING"),
        "3_0": JobState("pending", "PENDING (Dependency)"),
        "4_0": JobState("pending", "PENDING (Resources)"),
    }
    assert list(states(run).values()) == ["running", "waiting", "queued"]
    slurm.known = {
        "2_0": JobState("failed", "TIMEOUT"),
        "3_0": JobState("completed", "COMPLETED"),
        "4": JobState("cancelled", "CANCELLED by 0"),
    }
    assert list(states(run).values()) == ["failed", "failed", "failed"]
    reasons = [c.reason for c in run_status(run).cells]
    assert reasons[0] == "its task ended without a result (TIMEOUT)"


def test_answers_wait_for_their_judge_and_fail_with_it(tmp_path: Path, slurm: Slurm) -> None:
    spec = make_spec(benchmarks=["mt-bench"], tasks="one", checkpoints="last", judge={"model": "j"})
    jobs = {"train": "1", "eval-checkpoint-10": "2", "judge-checkpoint-10": "3"}
    run = submitted(tmp_path, spec, jobs)
    slurm.known = {"2_0": JobState("running"), "3": JobState("pending", "PENDING (Dependency)")}
    assert states(run) == {"checkpoint-10": "running"}
    cell = run.cell("checkpoint-10", "mt-bench")
    write_task(cell, TaskRecord(state="answered", ended=utc_now(), facts={"answers_kept": True}))
    slurm.known["2_0"] = JobState("completed")
    (found,) = run_status(run).cells
    assert (found.state, found.reason) == ("waiting", "PENDING (Dependency)")
    assert found.log.endswith("logs/judge-checkpoint-10/3_0_log.err")
    slurm.known["3"] = JobState("running")
    assert states(run) == {"checkpoint-10": "running"}
    slurm.known["3"] = JobState("failed", "TIMEOUT")
    (found,) = run_status(run).cells
    assert (found.state, "TIMEOUT" in found.reason) == ("failed", True)
    write_task(cell, TaskRecord(state="failed", reason="HTTP 500", facts={"answers_kept": True}))
    (found,) = run_status(run).cells
    assert (found.state, found.reason) == ("failed", "HTTP 500")


def test_a_result_is_ok_only_with_readable_metrics_of_this_checkpoint(
    run: RunPaths, slurm: Slurm
) -> None:
    for step in (4, 8, 10):
        mark_complete(find_model(run.checkpoints / f"checkpoint-{step}"))
    from harness.runs.checkpoints import fingerprint

    now = fingerprint(run.checkpoints / "checkpoint-4")
    result(run, "checkpoint-4", now)
    result(run, "checkpoint-8", "of another checkpoint")
    result(run, "checkpoint-10", now)
    run.cell("checkpoint-10", "gsm8k").metrics.write_text("{")
    assert list(states(run).values()) == ["ok", "stale", "invalid"]


def test_a_table_has_every_planned_cell(run: RunPaths, slurm: Slurm) -> None:
    result(run, "checkpoint-4")
    result(run, "checkpoint-8", state="missing")
    table = run_table(run_status(run))
    assert [row.checkpoint for row in table.rows] == [
        "checkpoint-4", "checkpoint-8", "checkpoint-10",
    ]  # fmt: skip
    assert [row.values.get("gsm8k/pass@1/symbolic_correct") for row in table.rows] == [
        50.0, None, None,
    ]  # fmt: skip
    assert [(p.checkpoint, p.state) for p in table.problems] == [
        ("checkpoint-8", "missing"), ("checkpoint-10", "waiting"),
    ]  # fmt: skip
    assert not table.is_complete
    assert table.summary() == "3 cells: 1 ok, 1 missing, 1 waiting"


def test_a_job_that_slurm_forgot_is_known_by_its_result(run: RunPaths, slurm: Slurm) -> None:
    for job, job_id, outcome in (("train", "1", "success"), ("close", "5", "error")):
        run.logs(job).mkdir(parents=True)
        (run.logs(job) / f"{job_id}_0_result.pkl").write_bytes(pickle.dumps((outcome, "x")))
    jobs = run_status(run).jobs
    assert jobs["train"][0].phase == "completed"
    assert jobs["close"][0].phase == "failed"
    assert jobs["collect"][0].phase == "unknown"
    assert not run_status(run).ended


def test_a_scheduler_that_cannot_be_asked_is_said_and_nothing_has_ended(
    run: RunPaths, slurm: Slurm
) -> None:
    slurm.down = True
    found = run_status(run)
    assert found.problem == "controller down"
    assert not found.ended
    assert "controller down" in run_table(found).notes[0]


@pytest.mark.parametrize("down", [True, False])
def test_following_gives_up_on_silence(run: RunPaths, slurm: Slurm, down: bool) -> None:
    slurm.down = down
    lines: list[str] = []
    with pytest.raises(
        SchedulerError, match="controller down" if down else "knows nothing of train"
    ):
        follow(run, lines.append, poll_s=0.01, give_up_s=0.05)


def test_following_ends_with_the_last_job(run: RunPaths, slurm: Slurm) -> None:
    slurm.known = {i: JobState("completed", "COMPLETED") for i in ("1", "5", "6")}
    slurm.known |= {f"{i}_0": JobState("completed", "COMPLETED") for i in ("2", "3", "4")}
    lines: list[str] = []
    assert follow(run, lines.append, poll_s=0.01).ended
    assert "train: completed" in lines


def test_the_jobs_of_several_runs_are_asked_for_together_and_never_too_many_at_once(
    tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    states = slurm.states
    monkeypatch.setattr(slurm, "states", lambda ids: asked.append(list(ids)) or states(ids))
    first = submitted(tmp_path / "a", make_spec(benchmarks=["gsm8k"]), {"train": "1", "close": "5"})
    second = submitted(tmp_path / "b", make_spec(benchmarks=["gsm8k"]), {"train": "11"})
    slurm.known = {"1": JobState("completed"), "11": JobState("running")}
    runs = [RunFacts(first), RunFacts(second)]
    assert [of.jobs["train"][0].phase for of in job_states(runs)] == ["completed", "running"]
    assert asked == [["1", "5", "11"]]
    asked.clear()
    monkeypatch.setattr(status_module, "_IDS_A_CALL", 2)
    assert [of.jobs["train"][0].phase for of in job_states(runs)] == ["completed", "running"]
    assert asked == [["1", "5"], ["11"]]
    slurm.down = True
    assert [of.problem for of in job_states(runs)] == ["controller down"] * 2
