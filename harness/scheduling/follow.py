"""Follow a run until all its jobs have ended, with a line whenever something changes."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.runs.paths import RunPaths
from harness.scheduling.status import RunStatus, run_status

LOCAL_POLL_S = 2.0
SLURM_POLL_S = 30.0
_ALIVE_S = 60.0


def follow(run: RunPaths, report: Callable[[str], None], poll_s: float | None = None) -> RunStatus:
    """Report every change; returns when every job has ended.

    `poll_s`: seconds between looks; default 2 locally and 30 on Slurm, whose controller serves
    others too. Raises SchedulerError after an hour in which the scheduler could not be asked.
    """
    shown: dict[str, str] = {}
    last_line = time.monotonic()
    while True:
        status = run_status(run)
        lines = _lines(status)
        for name, text in lines.items():
            if shown.get(name) != text:
                report(f"{name}: {text}")
                last_line = time.monotonic()
        shown = lines
        if status.ended:
            return status
        if time.monotonic() - last_line > _ALIVE_S:
            report("still " + ", ".join(f"{n}: {t}" for n, t in lines.items() if "running" in t))
            last_line = time.monotonic()
        local = status.manifest.scheduler == "local"
        time.sleep(poll_s or (LOCAL_POLL_S if local else SLURM_POLL_S))


def _lines(status: RunStatus) -> dict[str, str]:
    lines = {"scheduler": status.problem} if status.problem else {}
    for name, states in status.jobs.items():
        job = status.manifest.plan.job(name)
        if job.work == "train":
            lines[name] = states[0].phase + _steps(status)
        elif job.work != "evaluate" and states[0].phase in ("running", "failed", "cancelled"):
            lines[name] = f"{states[0].phase} {states[0].detail}".strip()
    for cell in status.cells:
        text: str = cell.state
        if cell.state not in ("ok", "waiting", "queued", "running") and cell.reason:
            text += f" ({cell.reason})"
        if cell.state not in ("waiting", "queued"):
            lines[f"{cell.cell.checkpoint} x {cell.cell.benchmark}"] = text
    return lines


def _steps(status: RunStatus) -> str:
    step, total = status.train.get("step"), status.train.get("max_steps")
    return f", step {step} of {total}" if step is not None else ""
