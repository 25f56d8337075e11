"""`save_only_model`: what planned checkpoints hold, and what an interruption needs to go on."""

from __future__ import annotations

import json
import signal
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="TRL is not installed")

from harness.runs.checkpoints import complete_checkpoints, is_model_only
from tests.compute.train.job_run import (
    finish,
    log_steps,
    make_run,
    signal_everyone,
    start,
    state,
    train,
    wait_for,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
STEPS, SAVE = 24, 4
FIELDS = {"save_only_model": True, "max_steps": STEPS, "save_steps": SAVE, "cpu_processes": 1,
          "bf16": False, "lr_scheduler_type": "linear", "learning_rate": 1e-3}  # fmt: skip


def test_interrupted_it_saves_all_and_goes_on_by_the_same_schedule(
    inputs: Path, tmp_path: Path
) -> None:
    paths = make_run(tmp_path, inputs, **FIELDS)
    job = start(paths)
    wait_for(lambda: paths.train_log.is_file() and len(log_steps(paths)) > SAVE, job)
    signal_everyone(job, signal.SIGUSR2)
    code, output = finish(job)
    assert code == 0, output
    step = state(paths)["step"]
    assert state(paths)["state"] == "preempted" and SAVE < step < STEPS
    made = complete_checkpoints(paths.checkpoints)
    assert {number for number, path in made.items() if not is_model_only(path)} == {step}
    assert [n for n, path in made.items() if (path / "optimizer.pt").is_file()] == [step]
    assert (made[step] / "scheduler.pt").is_file()

    code, output = train(paths)
    assert code == 0 and f"going on from checkpoint-{step}\n" in output
    lines = [json.loads(line) for line in paths.train_log.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    rates = [line["learning_rate"] for line in lines]
    falls = [before - after for before, after in pairwise(rates[1:])]
    assert falls == pytest.approx([1e-3 / (STEPS - 1)] * (STEPS - 2))

    # All that is left is a model without its optimizer: finished, and not to be gone on from.
    assert is_model_only(complete_checkpoints(paths.checkpoints)[STEPS])
    code, output = train(paths)
    assert code == 0 and f"checkpoint-{STEPS} is the last one: nothing is left to train" in output
    assert (state(paths)["state"], state(paths)["step"]) == ("complete", STEPS)
