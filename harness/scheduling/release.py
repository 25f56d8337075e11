"""Start an array as soon as its checkpoint is whole; leave none pending for ever."""

from __future__ import annotations

from pathlib import Path

from harness.errors import SchedulerError, UserError
from harness.plan.facts import RunFacts
from harness.plan.manifest import Manifest, read_manifest
from harness.plan.plan import PlannedJob, eval_job_name
from harness.runs.metrics import record_absent
from harness.runs.paths import RunPaths, checkpoint_name
from harness.scheduling.interrupted import take_up
from harness.scheduling.schedulers.local_queue import ENDING
from harness.scheduling.schedulers.named import scheduler_named
from harness.scheduling.schedulers.scheduler import Scheduler


def release_checkpoint(run: RunPaths, step: int) -> bool:
    """Start the evaluation of a checkpoint while training goes on.

    Returns whether there was an array to release. Raises SchedulerError when the scheduler cannot
    be asked from here; nothing is lost then, the dependency resolves when training ends.
    """
    manifest = read_manifest(run)
    job_id = manifest.job_id(eval_job_name(checkpoint_name(step)))
    if job_id is None:
        return False
    scheduler_named(manifest.scheduler, run).release(job_id)
    return True


def close_run(run: RunPaths) -> str:
    """After training has ended, however it ended: release arrays with a checkpoint, cancel others.

    Cells whose checkpoint was never written are recorded as missing. Returns what was done.
    Raises SchedulerError when the scheduler cannot be asked.
    """
    facts = RunFacts(run)
    scheduler = scheduler_named(facts.manifest.scheduler, run)
    waiting = [job for job in facts.plan.jobs if any(e.job == "train" for e in job.after)]
    arrays = {job.name: job for job in waiting if job.work == "evaluate"}
    ids = {name: _submitted_id(facts.manifest, name) for name in arrays}
    complete = {checkpoint_name(step) for step in facts.complete}
    released, cancelled = [], []
    for name in _pending(scheduler, ids):
        if arrays[name].tasks[0][0].checkpoint in complete:
            _release_if_pending(scheduler, name, ids[name])
            released.append(name)
        else:
            _record_absent(facts, arrays[name])
            scheduler.cancel([ids[name]])
            cancelled.append(name)
    summary = f"released {len(released)}, cancelled {len(cancelled)}"
    print(f"close: {summary}", *(f"  released {n}" for n in released),
          *(f"  cancelled {n}: training left no checkpoint" for n in cancelled), sep="\n")  # fmt: skip
    return summary


def cancel_run(run: RunPaths) -> list[str]:
    """Cancel every job of a run that has not ended and is not being ended; returns their names.

    Raises SchedulerError when the scheduler cannot be asked.
    """
    facts = RunFacts(run)
    scheduler = scheduler_named(facts.manifest.scheduler, run)
    facts, _ = take_up(facts, scheduler)
    states = scheduler.states(s.id for s in facts.manifest.submissions)
    living = {
        key.partition("_")[0]
        for key, state in states.items()
        if not state.ended and state.detail != ENDING
    }
    chosen = [s for s in facts.manifest.submissions if s.id in living]
    scheduler.cancel(s.id for s in chosen)
    remove_key(facts)
    return [s.job for s in chosen]


def remove_key(facts: RunFacts) -> None:
    """Remove the key file of a server that is no more; nothing for another run.

    Raises UserError when it cannot be removed.
    """
    if facts.plan.serves and facts.served and facts.served.key_file:
        key = Path(facts.served.key_file)
        try:
            key.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise UserError.at(key, f"the server's key cannot be removed: {error}") from None


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


def _record_absent(facts: RunFacts, job: PlannedJob) -> None:
    for cell in (cell for task in job.tasks for cell in task):
        record_absent(
            facts.run.cell(cell.checkpoint, cell.benchmark),
            "training ended without this checkpoint",
            str(facts.run.logs("train")),
            cell.checkpoint in facts.written,
        )
