"""Run an evaluator that is a program of its own, and never wait for it in vain."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.compute.serve.server import RunningServer
from harness.errors import EvaluationError, ServerError, one_line
from harness.processes.supervised import SupervisedProcess
from harness.runs.metrics import Metrics

Row = dict[str, Any]


@dataclass(frozen=True)
class ProgramResult:
    """What an evaluator of its own found."""

    metrics: Metrics
    """Named as the cell is, e.g. `lm-eval.arc_easy`; a group's members beside it."""
    samples: list[list[Row]]
    """For each repeat its rows with `generation` and, where known, `finish_reason`."""
    items: int
    facts: dict[str, Any]
    """For task.json: versions, command."""


_POLL_S = 0.5
_PROGRESS_S = 60.0


def run_program(
    name: str,
    argv: Sequence[str],
    environ: Mapping[str, str],
    log: Path,
    *,
    limit_s: float,
    server: RunningServer | None = None,
    hidden: Sequence[str] = (),
) -> None:
    """Run a program, called `name` in messages, to its end; its output goes to `log`, without the
    texts in `hidden`.

    Whatever it started ends with it, also when this process is killed. Raises EvaluationError,
    with the end of the log, when it cannot be started, fails or takes longer than `limit_s` seconds;
    ServerError as soon as the server that it asks is dead.
    """
    try:
        process = SupervisedProcess(
            argv, environ, log, marker=secrets.token_hex(8), secrets=list(hidden), grace_s=5.0
        )
    except ServerError as error:  # of a program that is no server: starting one again helps nobody
        why = one_line(error).removeprefix("the server cannot be started: ")
        raise EvaluationError(f"{name} cannot be started: {why}; log: {log}") from None
    began = time.monotonic()
    said = began
    try:
        while process.alive():
            if server is not None:
                server.raise_if_dead()
            now = time.monotonic()
            if now - began > limit_s:
                raise _failure(f"{name} was still running after {limit_s:.0f} s", process)
            if now - said > _PROGRESS_S:
                said = now
                print(f"{name}: running for {now - began:.0f} s; {process.tail(1)}", flush=True)
            time.sleep(_POLL_S)
    finally:
        process.stop()
    if process.exit_code != 0:
        raise _failure(f"{name} ended with exit code {process.exit_code}", process)


def _failure(reason: str, process: SupervisedProcess) -> EvaluationError:
    """The first line alone says what is known; what the program wrote last follows."""
    lines = [line.strip() for line in process.tail().splitlines() if line.strip()]
    before = ["its last lines:", *(f"  {line}" for line in lines)] if len(lines) > 1 else []
    first = f"{reason}: {lines[-1]}; log: {process.log_path}"
    return EvaluationError("\n".join([first, *before]))
