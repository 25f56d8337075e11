"""Writing down how training goes: train/log.jsonl and train/state.json."""

from __future__ import annotations

import json
import math
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.compute.train.flops import Compute, compute_of
from harness.errors import TrainingSuperseded, UserError
from harness.runs.files import utc_now, write_text
from harness.runs.train_state import carried, read_state, write_state

_STATE_S = 10.0
"""Between two writes of an unchanged word; each is synced to disk, which costs a small step."""


class RunLog(TrainerCallback):  # type: ignore[misc]
    """Rank 0 writes `train/log.jsonl` and `train/state.json`, and prints a line of progress."""

    def __init__(self, log: Path, state: Path, attempt: str) -> None:
        self._log, self._state_file = log, state
        self._state = carried(state, attempt)
        self._started = self._last_time = time.monotonic()
        self._first_step = self._last_step = 0
        self._last_tokens = self._tokens_before = self._written = 0.0
        self._compute: Compute | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.max_steps and state.global_step >= state.max_steps:
            raise UserError(
                f"nothing is left to train: checkpoint-{state.global_step} is at or past the "
                f"{state.max_steps} steps asked for; raise max_steps or num_train_epochs"
            )
        self._started = self._last_time = time.monotonic()
        self._first_step = self._last_step = state.global_step
        if state.is_world_process_zero:
            # TRL counts tokens from zero again after a restart.
            self._tokens_before = _drop_steps_after(self._log, state.global_step)
            self._write("running", state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        # The sign of life that `status` reads: a run that hangs stops writing.
        if not state.is_world_process_zero:
            return
        if time.monotonic() - self._written >= _STATE_S:
            self._write("running", state)
        elif control.should_save:
            check_ours(self._state_file, self._state.attempt)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            self._write("running", state)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **objects: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs:
            return
        if "eval_loss" in logs:
            self._log_validation(state, logs)
        if "loss" not in logs:
            return
        if self._compute is None:
            self._compute = compute_of(args, objects.get("model"), objects.get("train_dataloader"))
        entry = self._entry(state, logs, time.monotonic(), args)
        # Trackers see them too: the trainer calls this one before theirs.
        logs.update({k: v for k in ("tokens_per_second", "mfu", "peak_memory_gb")
                     if (v := entry[k]) is not None})  # fmt: skip
        self._append(entry)
        print(log_line(entry, state.max_steps), flush=True)

    def _log_validation(self, state: TrainerState, logs: dict[str, Any]) -> None:
        """A line of its own; the time that it took is none of the steps'."""
        seconds = float(logs.get("eval_runtime") or 0.0)
        self._last_time += seconds
        loss = _finite(logs["eval_loss"])
        self._append({
            "time": utc_now(), "step": state.global_step, "epoch": state.epoch, "eval_loss": loss,
            "eval_seconds": round(seconds, 3), "attempt": self._state.attempt,
        })  # fmt: skip
        shown = loss if isinstance(loss, str) else f"{loss:.4g}"
        print(f"step {state.global_step}/{state.max_steps}  validation loss {shown}  "
              f"({seconds:.1f} s)", flush=True)  # fmt: skip

    def _append(self, entry: dict[str, Any]) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, allow_nan=False) + "\n")

    def finish(self, state: TrainerState, preempted: bool) -> None:
        """Write the last word: complete, or preempted where a stop came before the end."""
        ended = state.global_step >= state.max_steps
        if not ended and not preempted:
            raise RuntimeError(f"training ended at step {state.global_step} of {state.max_steps}")
        self._write("complete" if ended else "preempted", state)

    def _write(self, word: Any, state: TrainerState) -> None:
        if self._written:
            check_ours(self._state_file, self._state.attempt)
        self._state = replace(
            self._state, state=word, step=state.global_step, max_steps=state.max_steps
        )
        write_state(self._state_file, self._state)
        self._written = time.monotonic()

    def _entry(
        self, state: TrainerState, logs: dict[str, Any], now: float, args: TrainingArguments
    ) -> dict[str, Any]:
        passed = max(now - self._last_time, 1e-9)
        steps = state.global_step - self._last_step
        tokens = logs.get("num_tokens")
        entry: dict[str, Any] = {"time": utc_now(), "step": state.global_step}
        entry["epoch"] = state.epoch
        for name in ("loss", "grad_norm", "learning_rate", "mean_token_accuracy", "entropy"):
            entry[name] = _finite(logs.get(name))
        entry["tokens"] = None if tokens is None else int(tokens + self._tokens_before)
        speed = None if tokens is None else (tokens - self._last_tokens) / passed
        entry["tokens_per_second"] = None if speed is None else round(speed, 1)
        mfu = self._compute.mfu(speed) if self._compute else None
        entry["mfu"] = None if mfu is None else round(mfu, 4)
        entry["steps_per_second"] = round(steps / passed, 4)
        entry["seconds"] = round(now - self._started, 3)
        entry["remaining_seconds"] = _remaining(state, self._first_step, now - self._started)
        entry["peak_memory_gb"] = peak_memory_gb(args.device)
        entry["attempt"] = self._state.attempt
        self._last_time, self._last_step = now, state.global_step
        self._last_tokens = self._last_tokens if tokens is None else float(tokens)
        return entry


def check_ours(state_file: Path, attempt: str) -> None:
    """Raise TrainingSuperseded when another start of this run has taken over.

    Slurm requeues a job whose node it lost; the node may live on and would write on, too.
    """
    known = read_state(state_file)
    if known is not None and known.attempt != attempt:
        raise TrainingSuperseded(
            f"{known.attempt} trains this run now: this start ({attempt}) gives up"
        )


def log_line(entry: dict[str, Any], max_steps: int) -> str:
    """`step 20/100  loss 1.2  lr 2e-05  4.1 steps/s  12,000 tokens/s  41 % MFU  12.3 GB  0:01:20 left`."""
    parts = [f"step {entry['step']}/{max_steps}"]
    for name, label in (("loss", "loss"), ("grad_norm", "grad"), ("learning_rate", "lr")):
        value = entry[name]
        if value is not None:
            parts.append(f"{label} {value if isinstance(value, str) else f'{value:.4g}'}")
    parts.append(f"{entry['steps_per_second']:.3g} steps/s")
    if entry["tokens_per_second"] is not None:
        parts.append(f"{entry['tokens_per_second']:,.0f} tokens/s")
    if entry.get("mfu") is not None:
        parts.append(f"{100 * entry['mfu']:.0f} % MFU")
    if entry["peak_memory_gb"] is not None:
        parts.append(f"{entry['peak_memory_gb']:.2f} GB")
    if entry["remaining_seconds"] is not None:
        minutes, seconds = divmod(entry["remaining_seconds"], 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left")
    return "  ".join(parts)


def peak_memory_gb(device: torch.device) -> float:
    """Peak memory of this process so far, in GB: of its GPU, or resident on CPU."""
    if device.type == "cuda":
        return round(int(torch.cuda.max_memory_allocated(device)) / 1e9, 3)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3)


def _remaining(state: TrainerState, first: int, seconds: float) -> int | None:
    done = state.global_step - first
    return round(seconds / done * (state.max_steps - state.global_step)) if done else None


def _finite(value: Any) -> Any:
    """JSON has no NaN: the word stands for it, so that it is neither lost nor a number."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _drop_steps_after(log: Path, step: int) -> float:
    """Forget lines past the checkpoint that training goes on from; they will be written again.

    Returns the tokens trained on up to there, 0 where no line says.
    """
    if not log.is_file():
        return 0.0
    kept, tokens = [], 0.0
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            if entry["step"] <= step:
                kept.append(line)
                tokens = float(entry.get("tokens") or tokens)
        except (ValueError, KeyError, TypeError):
            continue  # cut off by the interruption
    write_text(log, "".join(f"{line}\n" for line in kept))
    return tokens
