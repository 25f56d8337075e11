"""Submit again what is not ok: training from its newest checkpoint, and cells without a result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout

from harness.errors import UserError
from harness.plan.manifest import Manifest, announce, settle
from harness.plan.plan import Cell, PlannedJob
from harness.runs.metrics import CellState
from harness.runs.paths import BASE, RunPaths
from harness.scheduling.cells import CellStatus
from harness.scheduling.interrupted import undone
from harness.scheduling.schedulers.named import scheduler_named
from harness.scheduling.schedulers.scheduler import RunJob
from harness.scheduling.status import RunStatus
from harness.scheduling.submit import Submittal, intents, submit_jobs


@dataclass(frozen=True)
class Again:
    """One job to submit again."""

    job: PlannedJob
    tasks: tuple[int, ...] = ()
    """Which of an array's tasks; empty for a job that is no array."""
    after: tuple[tuple[str, str], ...] = ()
    """Condition and name of jobs submitted again before it."""
    cells: tuple[CellStatus, ...] = ()
    """What it is to make, as it stands."""


@dataclass(frozen=True)
class RetryPlan:
    """Everything that a retry would submit, and what it cannot mend."""

    jobs: tuple[Again, ...]
    ok: int
    """Cells that are ok and stay as they are."""
    hopeless: tuple[CellStatus, ...] = ()
    """Cells whose checkpoint is gone although training is complete."""


def plan_retry(status: RunStatus, checkpoints: Collection[str]) -> RetryPlan:
    """What to submit again, of a run whose jobs have ended. Pure.

    `checkpoints` are the names of those that are whole. Training is submitted when its state is
    not complete; an array waits for it only where its checkpoint is not there yet.
    """
    plan = status.manifest.plan
    train = "train" in status.jobs and status.train.get("state") != "complete"
    jobs: list[Again] = [Again(plan.job("train"))] if train else []
    states: dict[tuple[str, str], CellStatus] = {
        (c.cell.checkpoint, c.cell.benchmark): c for c in status.cells
    }
    hopeless: list[CellStatus] = []
    for job in plan.jobs:
        if job.work not in ("evaluate", "judge"):
            continue
        checkpoint = (job.judges or job.tasks[0])[0].checkpoint
        there = checkpoint in checkpoints or checkpoint == BASE
        if job.work == "judge":
            judged = _judging(job, [states[_key(cell)] for cell in job.judges], jobs)
            hopeless += () if there or not judged else judged.cells
            jobs += [judged] if judged and (there or judged.after) else []
            continue
        todo = [
            (index, [c for c in found if c.state != "ok" and not _only_judging(c)])
            for index, found in enumerate([states[_key(cell)] for cell in t] for t in job.tasks)
        ]
        cells = tuple(cell for _, found in todo for cell in found)
        if not cells:
            continue
        if not there and not train:
            hopeless += cells
            continue
        tasks = tuple(index for index, found in todo if found)
        jobs.append(Again(job, tasks, () if there else (("afterok", "train"),), cells))
    jobs += _control_jobs(plan.jobs, [again.job.name for again in jobs])
    ok = sum(cell.state == "ok" for cell in status.cells)
    return RetryPlan(tuple(jobs), ok, tuple(hopeless))


def _key(cell: Cell) -> tuple[str, str]:
    return cell.checkpoint, cell.benchmark


def _only_judging(cell: CellStatus) -> bool:
    """Whether a cell's answers are all there, so that asking its judge again is enough."""
    return cell.record is not None and cell.state != "stale" and cell.record.is_answered


def _judging(job: PlannedJob, cells: Sequence[CellStatus], again: Sequence[Again]) -> Again | None:
    """A judge's job, where it is to judge something: after the array, if that goes again."""
    after = tuple((e.condition, e.job) for e in job.after if e.job in {a.job.name for a in again})
    bad = [cell for cell in cells if cell.state != "ok"]
    waiting = tuple(cell for cell in bad if _only_judging(cell))
    return Again(job, after=after, cells=waiting) if waiting or (after and bad) else None


def _control_jobs(planned: tuple[PlannedJob, ...], again: list[str]) -> list[Again]:
    """`close` where training goes on, `collect` where anything does; the plan says what they await."""
    found: list[Again] = []
    for job in planned:
        awaited = [edge for edge in job.after if edge.job in again]
        if job.work in ("close", "collect") and awaited:
            found.append(Again(job, after=tuple((e.condition, e.job) for e in awaited)))
            again = [*again, job.name]
    return found


def check_ended(status: RunStatus, forgotten: bool) -> None:
    """Raise UserError while a job of the run may still be running.

    `forgotten`: jobs that the scheduler no longer knows have ended.
    """
    if status.problem:
        raise UserError(f"whether the run's jobs have ended cannot be asked: {status.problem}")
    unended = {
        name: [state for state in states if not state.ended] for name, states in status.jobs.items()
    }
    living = [n for n, s in unended.items() if any(state.phase != "unknown" for state in s)]
    if living:
        raise UserError(
            f"{status.run.name}/{status.run.run_id} is not over: {', '.join(living)} still "
            f"waiting or running\nFollow it with `python -m harness status {status.run.run_id} "
            "--wait`, or end it with `cancel`"
        )
    unknown = [name for name, states in unended.items() if states]
    if unknown and not forgotten:
        raise UserError(
            f"the scheduler no longer knows {', '.join(unknown)}, and they left no result; when "
            "`squeue --me` does not show them either, say --forgotten"
        )


@contextmanager
def retrying(run: RunPaths) -> Iterator[None]:
    """Only one retry of a run at a time. Raises UserError."""
    try:
        with FileLock(run.root / ".retry.lock", timeout=0):
            yield
    except Timeout:
        raise UserError.at(run.root, "another retry of this run is under way") from None


def submit_again(
    status: RunStatus,
    plan: RetryPlan,
    run_job: RunJob,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Submit the jobs of a retry, with the scripts that the run folder holds.

    When one is refused, those before it are cancelled. Raises UserError then.
    """
    if not plan.jobs:
        return
    run, site = status.run, status.facts.site
    scheduler = scheduler_named(status.manifest.scheduler, run)
    jobs = [Submittal(a.job, a.after, a.tasks) for a in plan.jobs]
    settle(run)  # what an interrupted submission announced is not there, or has its id by now
    with undone(run, scheduler, lambda: settle(run)) as ids:
        announce(run, intents(run, jobs))
        submit_jobs(run, site, scheduler, jobs, run_job, ids, report)
        scheduler.start(run, site)


def describe(plan: RetryPlan, manifest: Manifest, train: Mapping[str, object]) -> list[str]:
    """The plan of a retry, line by line."""
    lines = []
    for again in plan.jobs:
        job = again.job
        if job.work == "train":
            step = train.get("step") or 0
            lines.append(f"train: {train.get('state', 'never begun')} at step {step} of "
                         f"{manifest.plan.total_steps}; goes on from its newest complete checkpoint")  # fmt: skip
        elif again.cells:
            cells = ", ".join(f"{c.cell.benchmark} ({_why(c.state)})" for c in again.cells)
            waits = f"; after {again.after[0][1]}" if again.after else ""
            lines.append(f"{job.name}: {cells}{waits}")
        else:
            lines.append(f"{job.name}: after {', '.join(name for _, name in again.after)}")
    lines.append(f"{plan.ok} cells are ok and stay as they are")
    lines += [
        f"cannot be retried: {c.cell.checkpoint} x {c.cell.benchmark}: training is complete, and "
        "its checkpoint is gone" for c in plan.hopeless
    ]  # fmt: skip
    return lines


def _why(state: CellState) -> str:
    return "not begun" if state in ("waiting", "queued") else state
