"""Arrays start with their checkpoint, are cancelled without it, and none is left pending."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.config.serve import ServeSpec
from harness.errors import ResultError, SchedulerError, UserError
from harness.plan.facts import RunFacts
from harness.runs.checkpoints import mark_complete
from harness.runs.files import write_json, write_text
from harness.runs.metrics import TaskRecord, read_task, write_task
from harness.runs.paths import RunPaths
from harness.scheduling import release
from harness.scheduling.release import cancel_run, close_run, release_checkpoint, remove_key
from harness.scheduling.schedulers.local_queue import Queue, QueuedJob, queue_file, read_queue
from harness.scheduling.schedulers.scheduler import JobState
from tests.plan.test_plan import make_spec
from tests.scheduling.test_cells import planned

JOBS = {"train": "1", "eval-checkpoint-4": "2", "eval-checkpoint-8": "3", "eval-checkpoint-10": "4",
        "close": "5", "collect": "6"}  # fmt: skip


def queue(run: RunPaths, **phases: Any) -> None:
    """The local queue with a runner that lives; jobs are pending, but for those that are named."""
    jobs = []
    for name, job_id in JOBS.items():
        array = name.startswith("eval")
        phase = phases.get(name.replace("-", "_"), "pending")
        jobs.append(
            QueuedJob(id=job_id, name=name, script="s", array=array, minutes=1,
                      tasks=(0, 1) * array, after=(("afterok", "1"),),
                      phases=(phase,) * (1 + array), details=("",) * (1 + array))
        )  # fmt: skip
    started = psutil.Process().create_time()
    found = Queue(jobs=tuple(jobs), runner_pid=os.getpid(), runner_started=started)
    write_json(queue_file(run), found.model_dump(mode="json"))


def phases(run: RunPaths) -> dict[str, str]:
    return {job.id: job.phases[0] for job in read_queue(run).jobs}


def waits(run: RunPaths) -> set[str]:
    return {job.id for job in read_queue(run).jobs if job.after}


def checkpoint(run: RunPaths, step: int) -> None:
    folder = run.checkpoints / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"w")
    mark_complete(folder)


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = planned(tmp_path, make_spec(), JOBS, "local")
    queue(paths, train="running")
    return paths


def test_a_checkpoint_that_is_whole_starts_its_own_array_and_no_other(run: RunPaths) -> None:
    assert release_checkpoint(run, 8)
    assert waits(run) == set(JOBS.values()) - {"3"}
    assert phases(run)["3"] == "pending"
    assert release_checkpoint(run, 8)  # once more is no error


def test_a_checkpoint_that_nobody_evaluates_releases_nothing(run: RunPaths) -> None:
    assert not release_checkpoint(run, 6)
    assert waits(run) == set(JOBS.values())


def test_a_scheduler_that_lost_the_array_is_an_error_and_no_silence(run: RunPaths) -> None:
    queue_file(run).unlink()
    with pytest.raises(SchedulerError, match="3: no such job"):
        release_checkpoint(run, 8)


def test_after_training_arrays_with_a_checkpoint_run_and_the_others_are_cancelled(
    run: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    queue(run, train="failed", eval_checkpoint_4="completed")
    checkpoint(run, 8)
    assert close_run(run) == "released 1, cancelled 1"
    assert waits(run) == set(JOBS.values()) - {"3"}
    assert phases(run) == {"1": "failed", "2": "completed", "3": "pending", "4": "cancelled",
                           "5": "pending", "6": "pending"}  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        "close: released 1, cancelled 1",
        "  released eval-checkpoint-8",
        "  cancelled eval-checkpoint-10: training left no checkpoint",
    ]
    assert close_run(run) == "released 1, cancelled 0"


def test_each_cell_of_a_missing_checkpoint_is_recorded_with_the_log(run: RunPaths) -> None:
    close_run(run)
    for name in ("checkpoint-4", "checkpoint-10"):
        for benchmark in ("gsm8k", "ifeval"):
            record = read_task(run.cell(name, benchmark))
            assert record is not None
            assert (record.state, record.reason, record.log) == (
                "missing", "training ended without this checkpoint", str(run.logs("train")),
            )  # fmt: skip


def test_a_result_that_is_there_is_not_called_missing(run: RunPaths) -> None:
    cell = run.cell("checkpoint-4", "gsm8k")
    write_json(cell.metrics, {"gsm8k": {"pass@1": {"symbolic_correct": 1.0}}})
    write_task(cell, TaskRecord(state="ok"))
    close_run(run)
    assert read_task(cell) == TaskRecord(state="ok")


def test_the_base_models_array_is_none_of_trainings(tmp_path: Path) -> None:
    spec = make_spec(base_model=True, checkpoints="last")
    run = planned(tmp_path, spec, {"eval-base": "2", "eval-checkpoint-10": "4"}, "local")
    queue(run)
    assert close_run(run) == "released 0, cancelled 1"
    assert phases(run)["2"] == "pending"


def test_an_array_that_was_never_submitted_is_an_error(tmp_path: Path) -> None:
    run = planned(tmp_path, make_spec(), {"train": "1", "eval-checkpoint-4": "2"}, "local")
    queue(run)
    with pytest.raises(SchedulerError, match="eval-checkpoint-8 was planned but never submitted"):
        close_run(run)
    assert phases(run) == dict.fromkeys(JOBS.values(), "pending")


class Refusing:
    """A scheduler that releases nothing, of an array that may have started meanwhile."""

    def __init__(self, *looks: str) -> None:
        self.looks = list(looks)

    def states(self, job_ids: Iterable[str]) -> dict[str, JobState]:
        phase: Any = self.looks.pop(0)
        return {f"{job_id}_0": JobState(phase) for job_id in job_ids}

    def release(self, job_id: str) -> None:
        raise SchedulerError("Job is no longer pending")


@pytest.mark.parametrize("later", ["running", "pending"])
def test_an_array_that_started_meanwhile_is_no_error(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    for step in (4, 8, 10):
        checkpoint(run, step)
    looks = Refusing("pending", *[later] * 3)
    monkeypatch.setattr(release, "scheduler_named", lambda name, run: looks)
    if later == "running":
        assert close_run(run) == "released 3, cancelled 0"
    else:
        with pytest.raises(SchedulerError, match="no longer pending"):
            close_run(run)


def test_cancelling_names_what_had_not_ended_and_leaves_the_rest(run: RunPaths) -> None:
    queue(run, train="running", eval_checkpoint_4="failed")
    assert cancel_run(run) == ["train", *[name for name in JOBS if name not in
                                          ("train", "eval-checkpoint-4")]]  # fmt: skip
    assert phases(run) == {**dict.fromkeys(JOBS.values(), "cancelled"), "2": "failed"}
    assert cancel_run(run) == []


def served(folder: Path, key: Path | None) -> RunPaths:
    run = RunPaths(folder / "serve-m" / "20260101-000000-aaaa")
    spec = ServeSpec(
        name="serve-m", model="/m", served_name="m", key_file=str(key) if key else None
    )
    write_text(run.spec, spec.model_dump_json())
    plan = {"name": "serve-m", "total_steps": 0, "checkpoints": [],
            "jobs": [{"name": "serve", "work": "serve", "kind": "evaluate", "role": "evaluate",
                      "options": {}}]}  # fmt: skip
    write_json(
        run.manifest, {"run_id": run.run_id, "created": "", "scheduler": "local", "plan": plan}
    )
    return run


def test_a_cancelled_server_leaves_no_key(tmp_path: Path) -> None:
    key = tmp_path / "keys" / "it's a key"
    write_text(key, "secret")
    run = served(tmp_path, key)
    assert cancel_run(run) == []
    assert not key.exists()
    cancel_run(run)  # once more is no error
    remove_key(RunFacts(served(tmp_path / "2", None)))


def test_a_key_in_a_folder_that_is_none_is_gone_and_one_that_stays_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    write_text(file, "")
    cancel_run(served(tmp_path / "1", file / "keys" / "k"))
    assert file.is_file()
    write_text(tmp_path / "k", "secret")
    run = served(tmp_path / "2", tmp_path / "k")

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(UserError, match=r"k: the server's key cannot be removed: .*denied"):
        remove_key(RunFacts(run))


def test_a_run_without_a_manifest_is_told_by_its_file(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"manifest\.json: no such file"):
        cancel_run(RunPaths(tmp_path))
