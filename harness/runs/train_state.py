"""`train/state.json`: how training stands, for whoever waits for it.

The return code of `accelerate launch` says 1 after a clean save and 0 after some failures, so
what training itself wrote last is what counts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness.errors import HarnessError, ResultError, TrainingSuperseded
from harness.runs.checkpoints import read_marker
from harness.runs.files import read_json, utc_now, write_json
from harness.runs.paths import checkpoint_step

State = Literal["running", "preempted", "complete", "failed"]
_STATES = ("running", "preempted", "complete", "failed")


@dataclass(frozen=True)
class TrainState:
    """One moment of a training run."""

    state: State
    step: int = 0
    """Optimizer steps done."""
    max_steps: int | None = None
    """Optimizer steps planned; None before they are known."""
    attempt: str = ""
    """Which start of the job wrote this; a restart has another."""
    error: str | None = None
    """Why it failed, or what it was restarted after."""
    final: bool = False
    """Failed in a way that trying again cannot cure: a wrong input, a diverged loss."""
    restarts: int = 0
    """Automatic restarts of this job after a crash; preemptions and time limits do not count."""


def carried(path: Path, attempt: str) -> TrainState:
    """What is known of this attempt already, from whoever wrote it before; else a fresh state."""
    known = read_state(path)
    return known if known and known.attempt == attempt else TrainState("running", attempt=attempt)


def write_state(path: Path, state: TrainState) -> None:
    """Write the state atomically, with the time."""
    write_json(path, {**asdict(state), "updated": utc_now()})


def write_finished(path: Path, checkpoint: Path, attempt: str) -> None:
    """Of a run that had nothing left to do after `checkpoint`."""
    planned = (read_marker(checkpoint) or {}).get("max_steps")
    step = checkpoint_step(checkpoint.name) or 0
    write_state(
        path, replace(carried(path, attempt), state="complete", step=step, max_steps=planned)
    )


def write_stopped(path: Path, checkpoint: Path | None, attempt: str) -> None:
    """Of a run that was told to stop before its first step."""
    step = checkpoint_step(checkpoint.name) if checkpoint else 0
    known = carried(path, attempt)
    write_state(path, replace(known, state="preempted", step=step or 0, max_steps=None))


def write_failed(path: Path, error: Exception, attempt: str) -> None:
    """Why it failed, where the job looks for it."""
    if isinstance(error, TrainingSuperseded):
        return  # the state is another's now
    final = isinstance(error, HarnessError)
    text = str(error) if final else f"{type(error).__name__}: {error}"
    write_state(path, replace(carried(path, attempt), state="failed", error=text, final=final))


def read_state(path: Path) -> TrainState | None:
    """The state, or None when none was written. Raises ResultError when it is unreadable."""
    if not path.is_file():
        return None
    value: Any = read_json(path)
    if not isinstance(value, dict) or value.get("state") not in _STATES:
        raise ResultError(f"{path}: is not a training state: {str(value)[:200]}")
    value.pop("updated", None)
    try:
        return TrainState(**value)
    except TypeError as error:
        raise ResultError(f"{path}: is not a training state: {error}") from None
