"""What ends training from within: numbers that are none."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed")

from harness.compute.train.stop import DIVERGED_LOGS, StopDiverged
from harness.errors import TrainingError

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
