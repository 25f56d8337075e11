"""Follow a run until all its jobs have ended, with a line whenever something changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from harness.config.evaluate import EvalSpec
from harness.errors import SchedulerError
from harness.runs.paths import RunPaths
from harness.scheduling.cells import CellStatus
from harness.scheduling.status import RunStatus, run_status

LOCAL_POLL_S = 2.0
SLURM_POLL_S = 30.0
GIVE_UP_S = 3600.0
_ALIVE_S = 60.0


def follow(
    run: RunPaths,
    report: Callable[[str], None],
    poll_s: float | None = None,
    give_up_s: float = GIVE_UP_S,
) -> RunStatus:
    """Report every change; returns when every job has ended.

    `poll_s`: seconds between looks; default 2 locally and 30 on Slurm, whose controller serves
    others too. Raises SchedulerError when for `give_up_s` seconds the scheduler could not be asked,
    or knew nothing of a job that left no result either.
    """
    shown: dict[str, str] = {}
    last_line = last_known = time.monotonic()
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
        in_doubt = status.problem or _unknown(status)
        if not in_doubt:
            last_known = time.monotonic()
        elif time.monotonic() - last_known > give_up_s:
            raise SchedulerError(f"given up after {give_up_s / 60:.0f} minutes: {in_doubt}")
        if time.monotonic() - last_line > _ALIVE_S:
            report(f"still {_alive(lines)}")
            last_line = time.monotonic()
        local = status.manifest.scheduler == "local"
        time.sleep(poll_s or (LOCAL_POLL_S if local else SLURM_POLL_S))


def _alive(lines: dict[str, str]) -> str:
    """What goes on, or else what is waited for."""
    running = [f"{name}: {text}" for name, text in lines.items() if "running" in text]
    pending = [f"{name}: {text}" for name, text in lines.items() if "pending" in text]
    return ", ".join(running or pending) or "waiting for the scheduler"


def _unknown(status: RunStatus) -> str:
    names = [n for n, states in status.jobs.items() if any(s.phase == "unknown" for s in states)]
    return f"the scheduler knows nothing of {', '.join(names)}" if names else ""


def _lines(status: RunStatus) -> dict[str, str]:
    lines = {"scheduler": status.problem} if status.problem else {}
    for name, states in status.jobs.items():
        job = status.manifest.plan.job(name)
        if job.work == "train":
            lines[name] = states[0].phase + _steps(status)
        elif job.work != "evaluate" and states[0].phase in ("running", "failed", "cancelled"):
            lines[name] = str(states[0])
    for cell in status.cells:
        text: str = cell.state
        if cell.state == "running":
            text += _answers(status, cell)
        elif cell.state not in ("ok", "waiting", "queued") and cell.reason:
            text += f" ({cell.reason})"
        if cell.state not in ("waiting", "queued"):
            lines[f"{cell.cell.checkpoint} x {cell.cell.benchmark}"] = text
    return lines


def _answers(status: RunStatus, cell: CellStatus) -> str:
    """How far a running cell is, in quarters: enough to see that it moves."""
    if cell.record and cell.record.state == "answered":
        return ", being judged"
    facts = cell.record.facts if cell.record else {}
    items, backend = facts.get("items"), facts.get("backend", "builtin")
    if not isinstance(items, int):
        # A program of its own says in its log alone how far it is.
        return f", {backend} is at work" if backend != "builtin" else _starting(status)
    paths = status.run.cell(cell.cell.checkpoint, cell.cell.benchmark)
    total, there = items * cell.cell.repeats, 0
    for repeat in range(cell.cell.repeats):
        with suppress(OSError), paths.partial(repeat).open("rb") as file:
            there += sum(1 for _ in file)
    quarters = 4 * there // total if total else 0
    return f", {total * quarters // 4} of {total} answers"


def _starting(status: RunStatus) -> str:
    spec = status.facts.spec
    theirs = isinstance(spec, EvalSpec) and spec.external is not None
    return ", asking the server" if theirs else ", starting the server"


def _steps(status: RunStatus) -> str:
    step = status.train.get("step")
    return f", step {step} of {status.manifest.plan.total_steps}" if step else ""
