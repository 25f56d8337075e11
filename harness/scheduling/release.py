"""Start an array as soon as its checkpoint is whole; leave none pending for ever."""

from __future__ import annotations

from pathlib import Path

from harness.config.evaluate import EvalSpec
from harness.config.load import load_evaluated, load_serve
from harness.errors import SchedulerError
from harness.plan.plan import PlannedJob, eval_job_name
from harness.runs.checkpoints import complete_checkpoints
from harness.runs.files import utc_now
from harness.runs.metrics import TaskRecord, read_task, write_task
from harness.runs.paths import RunPaths, checkpoint_name
from harness.scheduling.local import LocalScheduler
from harness.plan.manifest import Manifest, read_manifest
from harness.scheduling.scheduler import Scheduler
from harness.scheduling.slurm import SlurmScheduler


def scheduler_of(run: RunPaths, manifest: Manifest) -> Scheduler:
    """The scheduler that a run was submitted to."""
    return SlurmScheduler() if manifest.scheduler == "slurm" else LocalScheduler(run)


def checkpoints_dir(run: RunPaths) -> Path:
    """Where the run's training writes checkpoints."""
    spec = load_evaluated(run.spec)
    if isinstance(spec, EvalSpec):
        return spec.checkpoints
    output_dir = spec.train.output_dir
    return Path(output_dir) if output_dir else run.checkpoints


def release_checkpoint(run_dir: str | Path, step: int) -> bool:
    """Start the evaluation of a checkpoint while training goes on.

    Returns whether there was an array to release. Raises SchedulerError when the scheduler cannot
    be asked from here; nothing is lost then, the dependency resolves when training ends.
    """
    run = RunPaths(Path(run_dir))
    manifest = read_manifest(run)
    job_id = manifest.job_id(eval_job_name(checkpoint_name(step)))
    if job_id is None:
        return False
    scheduler_of(run, manifest).release(job_id)
    return True


def close_run(run: RunPaths) -> str:
    """After training has ended, however it ended: release arrays with a checkpoint, cancel others.

    Cells whose checkpoint was never written are recorded as missing. Returns what was done.
    Raises SchedulerError when the scheduler cannot be asked.
    """
    manifest = read_manifest(run)
    scheduler = scheduler_of(run, manifest)
    waiting = [job for job in manifest.plan.jobs if any(e.job == "train" for e in job.after)]
    arrays = {job.name: job for job in waiting if job.work == "evaluate"}
    ids = {name: _submitted_id(manifest, name) for name in arrays}
    complete = {checkpoint_name(step) for step in complete_checkpoints(checkpoints_dir(run))}
    released, cancelled = [], []
    for name in _pending(scheduler, ids):
        if arrays[name].tasks[0][0].checkpoint in complete:
            _release_if_pending(scheduler, name, ids[name])
            released.append(name)
        else:
            _record_missing(run, arrays[name])
            scheduler.cancel([ids[name]])
            cancelled.append(name)
    summary = f"released {len(released)}, cancelled {len(cancelled)}"
    print(f"close: {summary}", *(f"  released {n}" for n in released),
          *(f"  cancelled {n}: training left no checkpoint" for n in cancelled), sep="\n")  # fmt: skip
    return summary


def cancel_run(run: RunPaths) -> list[str]:
    """Cancel every job of a run that has not ended; returns their names.

    Raises SchedulerError when the scheduler cannot be asked.
    """
    manifest = read_manifest(run)
    scheduler = scheduler_of(run, manifest)
    states = scheduler.states(s.id for s in manifest.submissions)
    living = {key.partition("_")[0] for key, state in states.items() if not state.ended}
    chosen = [s for s in manifest.submissions if s.id in living]
    scheduler.cancel(s.id for s in chosen)
    if manifest.plan.serves:
        remove_key(run)
    return [s.job for s in chosen]


def remove_key(run: RunPaths) -> None:
    """The key file of a server that is no more."""
    key_file = load_serve(run.spec).key_file
    if key_file:
        Path(key_file).unlink(missing_ok=True)


def _submitted_id(manifest: Manifest, job: str) -> str:
    job_id = manifest.job_id(job)
    if job_id is None:
        raise SchedulerError(f"{job} was planned but never submitted")
    return job_id


def _pending(scheduler: Scheduler, ids: dict[str, str]) -> list[str]:
    """Names of the jobs of which a task is pending."""
    states = scheduler.states(ids.values())
    pending = {key.partition("_")[0] for key, s in states.items() if s.phase == "pending"}
    return [name for name, job_id in ids.items() if job_id in pending]


def _release_if_pending(scheduler: Scheduler, name: str, job_id: str) -> None:
    """Clear the dependency; that the array has started meanwhile is no error."""
    try:
        scheduler.release(job_id)
    except SchedulerError:
        if _pending(scheduler, {name: job_id}):
            raise


def _record_missing(run: RunPaths, job: PlannedJob) -> None:
    for task in job.tasks:
        for cell in task:
            paths = run.cell(cell.checkpoint, cell.benchmark)
            known = read_task(paths)
            if known is None or known.state == "missing":
                now = utc_now()
                reason = "training ended without this checkpoint"
                write_task(
                    paths,
                    TaskRecord(state="missing", reason=reason, log=str(run.logs("train")),
                               started=now, ended=now),
                )  # fmt: skip
