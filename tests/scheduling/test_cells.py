"""What a cell's state is, by its files and its job: unknown is never done, and never failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.site import Site
from harness.config.spec import Spec
from harness.plan.facts import RunFacts
from harness.plan.manifest import Manifest, Submission, write_manifest
from harness.plan.plan import Cell, build_plan
from harness.runs.checkpoints import mark_complete, read_marker
from harness.runs.files import write_json, write_text
from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import RunPaths
from harness.scheduling.cells import CellStatus, cell_status
from harness.scheduling.schedulers.scheduler import JobState
from tests.plan.test_plan import make_spec

C4, ARRAY = "checkpoint-4", "eval-checkpoint-4"
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def planned(
    folder: Path, spec: Spec, jobs: dict[str, str], scheduler: Any = "slurm", time: str = EARLY
) -> RunPaths:
    """The folder of a run of which these jobs (name -> id) were submitted."""
    run = RunPaths(folder / "it's a run é" / "20260101-000000-aaaa")
    write_text(run.spec, spec.model_dump_json())
    write_manifest(
        run,
        Manifest(
            run_id=run.run_id, created=time, scheduler=scheduler, plan=build_plan(spec, Site()),
            submissions=tuple(Submission(job=j, id=i, time=time) for j, i in jobs.items()),
        ),
    )  # fmt: skip
    return run


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """Checkpoints 4, 8 and 10 x gsm8k and ifeval, one task for each."""
    return planned(tmp_path, make_spec(), {"train": "1", ARRAY: "2"})


def look(run: RunPaths, state: JobState, benchmark: str = "gsm8k", **jobs: JobState) -> CellStatus:
    """The cell of checkpoint 4, whose array's tasks are in that state."""
    facts = RunFacts(run)
    cell = next(c for c in facts.plan.cells_of(C4) if c.benchmark == benchmark)
    states = {ARRAY: [state, state], **{name: [s] for name, s in jobs.items()}}
    return cell_status(facts, cell, states)


def record(run: RunPaths, state: Any, benchmark: str = "gsm8k", **fields: Any) -> None:
    write_task(run.cell(C4, benchmark), TaskRecord(state=state, **fields))


def result(run: RunPaths, fingerprint: str | None = "abc", benchmark: str = "gsm8k") -> None:
    values = {benchmark: {"pass@1": {"num_entries": 3, "symbolic_correct": 0.0}}}
    write_json(run.cell(C4, benchmark).metrics, values)
    record(run, "ok", benchmark, facts={"fingerprint": fingerprint} if fingerprint else {})


@pytest.mark.parametrize(
    ("job", "state", "reason"),
    [
        (JobState("pending", "PENDING (Dependency)"), "waiting", "PENDING (Dependency)"),
        (JobState("pending", "waits for 1"), "waiting", "waits for 1"),
        (JobState("pending", "PENDING (Resources)"), "queued", "PENDING (Resources)"),
        (JobState("running", "RUNNING"), "running", ""),
        (JobState("unknown"), "waiting", "the scheduler does not know its job"),
        (JobState("unknown", "never submitted"), "waiting", "never submitted"),
        (JobState("completed"), "failed", "its task ended without a result (completed)"),
        (JobState("failed", "TIMEOUT"), "failed", "its task ended without a result (TIMEOUT)"),
        (JobState("cancelled", "CANCELLED by 0"), "failed",
         "its task ended without a result (CANCELLED by 0)"),
    ],
)  # fmt: skip
def test_without_a_record_the_job_decides(
    run: RunPaths, job: JobState, state: str, reason: str
) -> None:
    found = look(run, job)
    assert (found.state, found.reason, found.record, found.metrics) == (state, reason, None, None)
    assert found.log == str(run.logs(ARRAY) / "2_0_0_log.err")
    assert look(run, job, "ifeval").log == str(run.logs(ARRAY) / "2_1_0_log.err")


@pytest.mark.parametrize("job", [JobState("unknown"), JobState("failed", "NODE_FAIL")])
def test_a_record_that_says_running_is_believed_until_the_job_has_ended(
    run: RunPaths, job: JobState
) -> None:
    record(run, "running")
    assert look(run, job).state == ("running" if job.phase == "unknown" else "failed")
    assert look(run, JobState("running")).state == "running"


@pytest.mark.parametrize("state", ["failed", "invalid", "missing"])
@pytest.mark.parametrize("phase", ["running", "completed", "failed", "unknown"])
def test_a_record_of_the_end_counts_whatever_the_job_does(
    run: RunPaths, state: str, phase: Any
) -> None:
    record(run, state, reason="why", log="/its/own.log")
    found = look(run, JobState(phase))
    assert (found.state, found.reason, found.log) == (state, "why", "/its/own.log")


def test_a_record_of_an_earlier_submission_does_not_count_once_it_is_tried_again(
    tmp_path: Path,
) -> None:
    run = planned(tmp_path, make_spec(), {ARRAY: "2"}, time=EARLY)
    record(run, "failed", reason="why", ended="2026-01-01T12:00:00Z")
    assert look(run, JobState("running")).state == "failed"
    again = planned(tmp_path, make_spec(), {ARRAY: "2"}, time=EARLY)
    manifest = RunFacts(run).manifest
    retry = Submission(job=ARRAY, id="9", time=LATE, tasks=(0,))
    write_manifest(again, manifest.model_copy(
        update={"submissions": (*manifest.submissions, retry)}))  # fmt: skip
    found = look(again, JobState("running"))
    assert (found.state, found.record) == ("running", None)
    assert found.log == str(run.logs(ARRAY) / "9_0_0_log.err")
    # The other task was not submitted again, so its failure stands.
    record(run, "failed", "ifeval", reason="why", ended="2026-01-01T12:00:00Z")
    assert look(again, JobState("completed"), "ifeval").state == "failed"


def test_a_nodes_clock_that_is_behind_makes_no_earlier_submission(tmp_path: Path) -> None:
    run = planned(tmp_path, make_spec(), {ARRAY: "2"}, time=LATE)
    record(run, "failed", reason="why", ended=EARLY)
    assert look(run, JobState("completed")).reason == "why"


def test_in_a_task_of_several_only_the_one_with_a_record_runs(tmp_path: Path) -> None:
    run = planned(tmp_path, make_spec(tasks="one"), {ARRAY: "2"})
    record(run, "running")
    running = JobState("running")
    assert look(run, running).state == "running"
    found = look(run, running, "ifeval")
    assert (found.state, found.reason) == ("queued", "its turn in the task has not come")


@pytest.mark.parametrize("phase", ["running", "unknown", "failed", "pending"])
def test_a_result_is_ok_whatever_has_become_of_the_job(run: RunPaths, phase: Any) -> None:
    result(run)
    found = look(run, JobState(phase))
    assert found.state == "ok"
    assert found.metrics is not None
    assert found.metrics["gsm8k"]["pass@1"]["symbolic_correct"] == 0.0


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read: No such file"), ("{", "cannot be read as JSON"), ("{}", "no benchmark in it"),
     ('{"mmlu": {"pass@1": {"x": 1}}}', "metrics.json: has no gsm8k")],
)  # fmt: skip
def test_a_result_without_readable_metrics_of_its_benchmark_is_invalid(
    run: RunPaths, content: str | None, words: str
) -> None:
    result(run)
    metrics = run.cell(C4, "gsm8k").metrics
    metrics.unlink() if content is None else metrics.write_text(content)
    found = look(run, JobState("completed"))
    assert (found.state, found.metrics) == ("invalid", None)
    assert words in found.reason


def test_an_unreadable_record_is_invalid_and_named(run: RunPaths) -> None:
    result(run)
    for text in ("{", '{"state": "done"}'):
        run.cell(C4, "gsm8k").task.write_text(text)
        found = look(run, JobState("running"))
        assert found.state == "invalid"
        assert str(run.cell(C4, "gsm8k").task) in found.reason


def test_a_result_of_another_checkpoint_of_the_same_name_is_stale(run: RunPaths) -> None:
    checkpoint = run.checkpoints / C4
    checkpoint.mkdir(parents=True)
    (checkpoint / "config.json").write_text("{}")
    (checkpoint / "model.safetensors").write_bytes(b"w")
    mark_complete(checkpoint)
    now = (read_marker(checkpoint) or {})["fingerprint"]
    result(run, "of another")
    found = look(run, JobState("completed"))
    assert (found.state, found.reason) == (
        "stale",
        f"made by of another, the checkpoint is {now} now",
    )
    result(run, now)
    assert look(run, JobState("completed")).state == "ok"
    (checkpoint / "HARNESS_COMPLETE.json").unlink()  # pruned: its numbers stay
    assert look(run, JobState("completed")).state == "ok"


def test_answers_that_are_there_wait_for_their_judges_job(tmp_path: Path) -> None:
    spec = make_spec(benchmarks=["mt-bench"], judge={"model": "j"})
    run = planned(tmp_path, spec, {ARRAY: "2", "judge-checkpoint-4": "3"})

    def judged(judge: JobState, array: str = "completed") -> CellStatus:
        facts = RunFacts(run)
        cell = Cell(checkpoint=C4, benchmark="mt-bench")
        states = {ARRAY: [JobState(array)], "judge-checkpoint-4": [judge]}  # type: ignore[arg-type]
        return cell_status(facts, cell, states)

    assert judged(JobState("pending", "PENDING (Dependency)"), "running").state == "running"
    record(run, "answered", "mt-bench")
    assert judged(JobState("pending", "PENDING (Dependency)")).state == "waiting"
    assert judged(JobState("running")).state == "running"
    found = judged(JobState("failed", "TIMEOUT"))
    assert (found.state, found.log) == (
        "failed", str(run.logs("judge-checkpoint-4") / "3_0_log.err"),
    )  # fmt: skip
