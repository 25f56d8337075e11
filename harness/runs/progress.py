"""How training goes, as the run folder tells it: its state, its last logged step, its sign of life."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from harness.runs.files import read_object
from harness.runs.models.folder import is_number
from harness.runs.paths import RunPaths

SILENT_S = 600.0
"""Without a step for so long, a running training is said to be silent."""
_TAIL_BYTES = 1 << 16
_FROM_LOG = ("loss", "grad_norm", "steps_per_second", "tokens_per_second", "remaining_seconds")


def read_progress(run: RunPaths) -> dict[str, Any]:
    """train/state.json with what the last line of train/log.jsonl adds; empty before training.

    Raises ResultError when the state is unreadable.
    """
    if not run.train_state.is_file():
        return {}
    state = read_object(run.train_state)
    entries = _last_entries(run)
    last = next((entry for entry in entries if "eval_loss" not in entry), {})
    validation = next((entry for entry in entries if "eval_loss" in entry), {})
    # The state is written every few seconds: a crash may leave the log further on.
    step = max(_step(state), _step(last))
    told = {name: last[name] for name in _FROM_LOG if last.get(name) is not None}
    if validation:
        told |= {"eval_loss": validation["eval_loss"], "eval_step": _step(validation)}
    return {**told, **state, "step": step}


def _step(entry: Mapping[str, Any]) -> int:
    step = entry.get("step")
    return step if isinstance(step, int) else 0


def _last_entries(run: RunPaths) -> list[dict[str, Any]]:
    """The whole lines at the log's end, the last first; there may be none."""
    try:
        with run.train_log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return []
    entries = []
    for line in reversed(lines):
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue  # cut off by an interruption
    return [entry for entry in entries if isinstance(entry, dict)]


def seconds_since_update(train: Mapping[str, Any], now: datetime) -> float | None:
    """Seconds since training last wrote its state; None when that is unknown."""
    try:
        written = datetime.strptime(str(train.get("updated")), "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None
    return (now - written.replace(tzinfo=timezone.utc)).total_seconds()


def progress_line(train: Mapping[str, Any], now: datetime) -> str:
    """`running  step 20/100  loss 1.234  4.1 steps/s  0:01:20 left  updated 3 s ago`."""
    step, total = train.get("step") or 0, train.get("max_steps")
    parts = [str(train.get("state")), f"step {step}/{total if total is not None else '?'}"]
    running = train.get("state") == "running"
    loss = train.get("loss")
    if loss is not None:
        parts.append(f"loss {f'{loss:.4g}' if is_number(loss) else loss}")
    validation = train.get("eval_loss")
    if validation is not None:
        shown = f"{validation:.4g}" if is_number(validation) else validation
        parts.append(f"validation loss {shown} at {train.get('eval_step')}")
    if running and is_number(train.get("steps_per_second")):
        parts.append(f"{train['steps_per_second']:.3g} steps/s")
    if running and is_number(train.get("remaining_seconds")):
        parts.append(f"{clock(train['remaining_seconds'])} left")
    if train.get("restarts"):
        parts.append(f"restart {train['restarts']}")
    age = seconds_since_update(train, now)
    if age is not None:
        silent = running and age > SILENT_S
        parts.append(f"no step for {age / 60:.0f} min" if silent else f"updated {ago(age)}")
    if train.get("error"):
        parts.append(str(train["error"]).splitlines()[0])
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """`0:01:20`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def ago(seconds: float) -> str:
    """`3 s ago`, `5 min ago`, `4 h ago`, `2 days ago`."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{max(seconds, 0) / unit:.0f} {name} ago"
    return f"{seconds / 86_400:.0f} days ago"
