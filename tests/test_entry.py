"""What a job does: by its name in the plan, and an interruption never counts as done."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from harness import entry
from harness.compute.train import job as train_job
from harness.entry import run_job
from harness.errors import HarnessError, ResultError, TrainingCrashed, TrainingError
from harness.runs.files import write_json, write_text
from harness.runs.metrics import read_task
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.local_queue import Queue, QueuedJob, queue_file
from tests.plan.test_plan import make_spec
from tests.scheduling.test_cells import planned
from tests.support import ROOT


def made(folder: Path, scheduler: str = "local") -> RunPaths:
    """A run of one checkpoint on gsm8k whose array is queued, with a runner that lives."""
    spec = make_spec(benchmarks=["gsm8k"], checkpoints="last")
    run = planned(folder, spec, {"train": "1", "eval-checkpoint-10": "2"}, scheduler)
    site = {"benchmarks_dir": str(folder / "b"), "runs_dir": str(folder)}
    write_text(run.site, yaml.safe_dump(site))
    array = QueuedJob(
        id="2", name="eval-checkpoint-10", script="s", array=True, minutes=1, tasks=(0,)
    )
    started = psutil.Process().create_time()
    queue = Queue(jobs=(array,), runner_pid=os.getpid(), runner_started=started)
    write_json(queue_file(run), queue.model_dump(mode="json"))
    return run


def test_the_job_that_closes_a_run_closes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path)
    assert run_job(str(run.root), "close") == "released 0, cancelled 1"
    assert "cancelled eval-checkpoint-10" in capsys.readouterr().out
    record = read_task(run.cell("checkpoint-10", "gsm8k"))
    assert record is not None and record.state == "missing"


def test_the_job_that_collects_writes_the_table(tmp_path: Path) -> None:
    run = made(tmp_path)
    assert run_job(str(run.root), "collect") == "1 cells: 1 queued"
    assert run.results_csv.read_text().splitlines()[1] == "it's a run é,checkpoint-10,10"


def test_by_hand_it_is_a_program_that_prints_how_it_ended(tmp_path: Path) -> None:
    run = made(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "harness.entry", str(run.root), "collect"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1 cells: 1 queued\n"), done.stderr


def test_a_job_that_the_plan_does_not_have_is_an_error_and_nothing_is_done(tmp_path: Path) -> None:
    run = made(tmp_path)
    with pytest.raises(KeyError, match="eval-checkpoint-99"):
        run_job(str(run.root), "eval-checkpoint-99")
    run.manifest.unlink()
    with pytest.raises(ResultError, match=r"manifest\.json: no such file"):
        run_job(str(run.root), "close")


def test_whatever_is_evaluated_pruning_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.compute.evaluate import job as evaluate_job
    from harness.scheduling import prune

    seen: list[Any] = []

    def evaluated(run: RunPaths, job: str, task: int) -> str:
        seen.append((run.root, job, task))
        return "1 cell: ok"

    monkeypatch.setattr(evaluate_job, "run", evaluated)
    monkeypatch.setattr(prune, "prune_reported", lambda run: seen.append("pruned"))
    run = made(tmp_path)
    assert run_job(str(run.root), "eval-checkpoint-10", 3) == "1 cell: ok"
    assert seen == [(run.root, "eval-checkpoint-10", 3), "pruned"]


def trained(monkeypatch: pytest.MonkeyPatch, outcome: Any) -> None:
    """Training ends so, without any training."""

    def run(run: RunPaths) -> str:
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    monkeypatch.setattr(train_job, "run", run)


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """USR2 to this process, as submitit's handler would get it."""
    found: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: found.append(number))
    yield found
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize("scheduler", ["local", "slurm"])
@pytest.mark.parametrize("outcome", ["complete", train_job.ELSEWHERE])
def test_training_that_is_done_is_done(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signals: list[int],
    scheduler: str,
    outcome: str,
) -> None:
    trained(monkeypatch, outcome)
    assert run_job(str(made(tmp_path, scheduler).root), "train") == outcome
    assert signals == []


@pytest.mark.parametrize(
    ("scheduler", "outcome"), [("local", "preempted"), ("local", "stopped"), ("slurm", "stopped")]
)
def test_training_that_was_told_to_stop_has_failed_and_says_where_to_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signals: list[int],
    scheduler: str,
    outcome: str,
) -> None:
    trained(monkeypatch, outcome)
    run = made(tmp_path, scheduler)
    with pytest.raises(TrainingError) as caught:
        run_job(str(run.root), "train")
    assert str(caught.value) == (
        f"training was told to stop; what it saved is kept\nlog: {run.logs('train')}"
    )
    assert signals == []


def test_near_the_time_limit_slurm_is_asked_to_go_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: list[int]
) -> None:
    trained(monkeypatch, "preempted")
    run = made(tmp_path, "slurm")
    run_job(str(run.root), "train")
    assert signals == [signal.SIGUSR2]


@pytest.mark.parametrize(
    ("scheduler", "may", "requeued"),
    [("slurm", True, True), ("slurm", False, False), ("local", True, False)],
)
def test_a_crash_is_requeued_only_on_slurm_and_only_where_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: list[int], scheduler: str, may: bool,
    requeued: bool,
) -> None:  # fmt: skip
    trained(monkeypatch, TrainingCrashed("a worker died"))
    monkeypatch.setattr(train_job, "restart_after_crash", lambda run, error: may)
    root = str(made(tmp_path, scheduler).root)
    if requeued:
        assert run_job(root, "train") == "preempted"
    else:
        with pytest.raises(TrainingCrashed, match="a worker died"):
            run_job(root, "train")
    assert signals == [signal.SIGUSR2] * requeued


def test_a_requeued_job_is_the_same_call() -> None:
    delayed = run_job.checkpoint("/run's é", "train", 2)  # type: ignore[attr-defined]
    assert (delayed.function, delayed.args, delayed.kwargs) == (
        run_job,
        ("/run's é", "train", 2),
        {},
    )
    assert pickle.loads(pickle.dumps(delayed.function)) is entry.run_job


def test_a_job_whose_package_is_not_here_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path)

    def without_trl(*_: Any) -> str:
        raise ModuleNotFoundError("No module named 'trl'", name="trl")

    monkeypatch.setattr(train_job, "run", without_trl)
    with pytest.raises(HarnessError, match=r"pip install 'posttrain-harness\[train\]'$"):
        run_job(str(run.root), "train")

    def without_ours(*_: Any) -> str:
        raise ModuleNotFoundError("No module named 'harness.gone'", name="harness.gone")

    monkeypatch.setattr(train_job, "run", without_ours)
    with pytest.raises(ModuleNotFoundError):
        run_job(str(run.root), "train")
