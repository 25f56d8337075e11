"""What ends training from within: numbers that are none, and another start that has taken over."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed")

from harness.compute.train.run_log import RunLog
from harness.compute.train.stop import DIVERGED_LOGS, StopDiverged
from harness.errors import TrainingError, TrainingSuperseded
from harness.runs.train_state import TrainState, read_state, write_state

NAN, INF = math.nan, math.inf


def logged(*entries: dict[str, Any]) -> None:
    callback = StopDiverged()
    for step, logs in enumerate(entries, 1):
        state: Any = SimpleNamespace(global_step=step)
        none: Any = None
        callback.on_log(none, state, none, logs)


@pytest.mark.parametrize("bad", [{"loss": NAN}, {"loss": INF}, {"loss": 1.0, "grad_norm": -INF}])
def test_numbers_that_are_none_three_times_running_end_training(bad: dict[str, Any]) -> None:
    logged(*[bad] * (DIVERGED_LOGS - 1))
    name = "grad_norm" if "grad_norm" in bad else "loss"
    with pytest.raises(TrainingError, match=f"diverged: {name} is .* at step {DIVERGED_LOGS}"):
        logged(*[bad] * DIVERGED_LOGS)


def test_a_good_step_between_and_logs_without_a_loss(tmp_path: Path) -> None:
    logged({"loss": NAN}, {"loss": NAN}, {"loss": 2.0, "grad_norm": None}, {"loss": NAN})
    logged(*[{"eval_runtime": NAN}] * 9)
    with pytest.raises(TrainingError):
        logged({"loss": NAN}, {"loss": NAN}, {"train_runtime": 1.0}, {"loss": NAN})


def test_a_start_that_is_superseded_gives_up_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    state: Any = SimpleNamespace(global_step=0, max_steps=9, is_world_process_zero=True)
    args: Any = None
    log = RunLog(tmp_path / "log.jsonl", file, "slurm-7-0")
    log.on_train_begin(args, state, args)
    theirs = TrainState("running", attempt="slurm-7-1")
    write_state(file, theirs)
    saving: Any = SimpleNamespace(should_save=True)
    state.global_step = 1
    with pytest.raises(TrainingSuperseded, match="slurm-7-1 trains this run now"):
        log.on_step_end(args, state, saving)
    with pytest.raises(TrainingSuperseded):
        log.finish(state, preempted=True)
    assert read_state(file) == theirs
