"""Stopping together: a signal to any rank, or a loss that is no number any more."""

from __future__ import annotations

import math
import signal
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from harness.errors import TrainingError

DIVERGED_LOGS = 3
"""Logged steps in a row without a finite loss and gradient norm, after which training fails."""
STOP_SIGNALS = (signal.SIGUSR2, signal.SIGTERM)


class StopRequest:
    """Set by a signal in one process or in several; read by all of them together."""

    def __init__(self) -> None:
        self.received: int | None = None

    def install(self) -> None:
        """Handle USR2 and TERM; a signal that came before, while blocked, is delivered now."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._receive)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.received = number


class StopTogether(TrainerCallback):  # type: ignore[misc]
    """After each step, if any rank was told to stop, all save the same checkpoint and stop.

    A rank that stopped alone would leave the others waiting in a collective for ever.
    """

    def __init__(self, request: StopRequest) -> None:
        self._request = request
        self.stopped = False

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        if not any_rank(self._request.received is not None, args.device):
            return
        self.stopped = True
        control.should_save = True
        control.should_training_stop = True


def any_rank(here: bool, device: torch.device) -> bool:
    """Whether it is true on any rank; every rank must ask."""
    if not torch.distributed.is_initialized():
        return here
    flag = torch.tensor([int(here)], device=device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag.item())


class StopDiverged(TrainerCallback):  # type: ignore[misc]
    """Ends training whose logged loss or gradient norm is NaN or infinite several times running.

    Every rank gets the same averaged numbers, so all of them stop at the same step.
    """

    def __init__(self) -> None:
        self._in_a_row = 0

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return
        numbers = {name: logs[name] for name in ("loss", "grad_norm") if logs.get(name) is not None}
        bad = {name: value for name, value in numbers.items() if not math.isfinite(value)}
        self._in_a_row = self._in_a_row + 1 if bad else 0
        if self._in_a_row >= DIVERGED_LOGS:
            words = ", ".join(f"{name} is {value}" for name, value in bad.items())
            raise TrainingError(
                f"training has diverged: {words} at step {state.global_step}, for "
                f"{self._in_a_row} logged steps running; lower train.learning_rate, or look at "
                "the data around the first of these steps in train/log.jsonl"
            )
