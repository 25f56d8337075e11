"""How a start of training is judged by what it left behind, and when another may follow."""

from __future__ import annotations

import signal
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.compute.train import job
from harness.compute.train.launch import Node
from harness.config.load import load_spec
from harness.errors import TrainingCrashed, TrainingError, TrainingSuperseded
from harness.runs.checkpoints import mark_complete
from harness.runs.paths import RunPaths, checkpoint_name
from harness.runs.train_state import TrainState, read_state, write_state
from tests.runs.test_files import find_model

ME = "slurm-7-1"


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "tiny" / "20260101-000000-abcd")
    paths.train.mkdir(parents=True)
    train = {"model_name": "m", "dataset_name": "d", "max_restarts": 2}
    paths.spec.write_text(yaml.safe_dump({"name": "tiny", "train": train}))
    return paths


def judged(
    run: RunPaths, state: TrainState | None, code: int = 1, first: int = 0, told: int | None = None
) -> str:
    """What is made of a start that left this state; a checkpoint of step 20 is there."""
    if state is not None:
        write_state(run.train_state, state)
    if not (run.checkpoints / checkpoint_name(20)).exists():
        mark_complete(find_model(run.checkpoints / checkpoint_name(20)))
    launcher: Any = SimpleNamespace(
        tail=deque(["the last words"]), stop_signal=told, stop_requested=told is not None
    )
    return job.outcome(run, load_spec(run.spec).train, Node(), ME, launcher, code, first)


@pytest.mark.parametrize(
    ("word", "told", "expected"),
    [
        ("complete", None, "complete"),
        ("complete", signal.SIGTERM, "complete"),
        ("preempted", signal.SIGUSR2, "preempted"),
        ("preempted", None, "preempted"),  # a rank was told, not the job
        ("preempted", signal.SIGTERM, "stopped"),
    ],
)
def test_the_state_counts_and_not_the_code(
    run: RunPaths, word: Any, told: int | None, expected: str
) -> None:
    state = TrainState(word, 30, 60, ME)
    assert judged(run, state, code=1, told=told) == expected
    assert read_state(run.train_state) == state


def test_a_crash_with_a_new_checkpoint_may_be_started_again_up_to_the_limit(run: RunPaths) -> None:
    with pytest.raises(TrainingCrashed, match=r"(?s)while it was running at step 24.*last words"):
        judged(run, TrainState("running", 24, 60, ME))
    error = TrainingCrashed("lost", run.logs("train"))
    for restarts in (1, 2):
        assert job.restart_after_crash(run, error)
        state = read_state(run.train_state)
        assert state is not None
        assert (state.state, state.restarts) == ("preempted", restarts)
        job.begin(run, f"slurm-7-{restarts + 1}")  # the same job, requeued
    assert not job.restart_after_crash(run, error)
    job.begin(run, "slurm-8-0")  # another job, by `retry`
    assert job.restart_after_crash(run, error)


@pytest.mark.parametrize(
    ("state", "first", "told"),
    [
        (TrainState("running", 24, 60, ME), 20, None),  # nothing new since it began
        (TrainState("failed", 24, 60, ME, error="wrong input", final=True), 0, None),
        (TrainState("running", 24, 60, ME), 0, signal.SIGTERM),  # cancelled: not ours to undo
    ],
)
def test_these_are_not_started_again(
    run: RunPaths, state: TrainState, first: int, told: int | None
) -> None:
    with pytest.raises(TrainingError) as raised:
        judged(run, state, first=first, told=told)
    assert not isinstance(raised.value, TrainingCrashed)
    left = read_state(run.train_state)
    assert left is not None
    assert (left.state, left.step) == ("failed", 24)


def test_no_state_is_a_failure(run: RunPaths) -> None:
    with pytest.raises(TrainingError, match="left no state"):
        judged(run, None, code=0)


def test_running_with_code_0_is_a_failure(run: RunPaths) -> None:
    with pytest.raises(TrainingError, match=r"the launcher exited 0"):
        judged(run, TrainState("running", 24, 60, ME), code=0)


def test_orphans_that_saved_are_no_request_to_requeue(run: RunPaths) -> None:
    with pytest.raises(TrainingCrashed, match="killed by signal 9; its workers saved step 24"):
        judged(run, TrainState("preempted", 24, 60, ME), code=-9)


def test_a_start_that_was_superseded_leaves_the_others_state_alone(run: RunPaths) -> None:
    theirs = TrainState("running", 3, 60, "slurm-7-2")
    with pytest.raises(TrainingSuperseded, match=f"slurm-7-2 trains this run now: {ME} has ended"):
        judged(run, theirs)
    assert read_state(run.train_state) == theirs


def test_an_attempt_is_named_by_its_run_too(run: RunPaths) -> None:
    """Two users of the local scheduler, each with a job 1, would else end each other's workers."""
    env = {"SLURM_JOB_ID": "1"}
    first = job.this_attempt(env, "20260101-000000-abcd")
    assert first != job.this_attempt(env, "20260101-000000-efgh")
    job.begin(run, first)
    again = job.this_attempt({**env, "SLURM_RESTART_COUNT": "1"}, "20260101-000000-abcd")
    assert again != first and again.rpartition("-")[0] == first.rpartition("-")[0]
