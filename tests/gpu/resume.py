"""USR2 in the middle of a job, and the same job again: what an uninterrupted one has trained."""

from __future__ import annotations

import signal
from pathlib import Path

from harness.runs.checkpoints import complete_checkpoints
from harness.runs.paths import RunPaths
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
from tests.gpu.figures import Figure, Size
from tests.tiny_model import make_tiny_dataset, make_tiny_model


def figures(size: Size) -> list[Figure]:
    """Weights after all steps, of a run that was told to stop and of one that was not."""
    folder, steps = size.folder / "resume", size.pick(600, 24)
    make_tiny_model(folder / "model")
    make_tiny_dataset(folder / "data")
    whole = _run(folder / "whole", folder, steps, size)
    code, output = train(whole)
    assert code == 0, output[-1500:]
    stopped, at = _interrupted(_run(folder / "stopped", folder, steps, size))
    code, output = train(stopped)
    assert code == 0 and f"going on from checkpoint-{at}" in output, output[-1500:]
    known = state(stopped)
    value = f"stopped at {at}, then {known['state']} at {known['step']} of {steps}"
    ok = 0 < at < steps and (known["state"], known["step"]) == ("complete", steps)
    difference = largest_difference(last(whole), last(stopped))
    return [
        Figure("USR2, and the job again", value, f"complete at {steps}", ok),
        Figure("weights, resumed - uninterrupted", f"{difference:g}", "0", difference == 0),
    ]


def _run(folder: Path, inputs: Path, steps: int, size: Size) -> RunPaths:
    # sdpa's backward pass on CUDA may add in any order; eager's matrix products do not.
    return make_run(
        folder, inputs, max_steps=steps, save_steps=steps, attn_implementation="eager",
        **{"use_cpu": False, **size.device_fields},
    )  # fmt: skip


def _interrupted(run: RunPaths) -> tuple[RunPaths, int]:
    """A run that was told to stop as Slurm does, and the step at which it saved."""
    job = start(run)
    wait_for(lambda: run.train_log.is_file() and len(log_steps(run)) >= 3, job, 180)
    signal_everyone(job, signal.SIGUSR2)
    code, output = finish(job)
    assert code == 0 and state(run)["state"] == "preempted", output[-1500:]
    return run, int(state(run)["step"])


def last(run: RunPaths) -> Path:
    checkpoints = complete_checkpoints(run.checkpoints)
    return checkpoints[max(checkpoints)]


def largest_difference(one: Path, other: Path) -> float:
    """Of any weight of two checkpoints."""
    from safetensors.torch import load_file

    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)
