"""Submissions that do not reach their end: undone by us, or found again after we were killed.

A job is announced in the run's record before it is submitted, under a name of its own. One that
has no id was not taken, except perhaps the one that was being submitted: its scheduler is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from filelock import FileLock, Timeout

from harness.errors import HarnessError, SchedulerError, SubmissionError, UserError
from harness.plan.facts import RunFacts
from harness.plan.manifest import Manifest, add_submission, is_announced, read_manifest, settle
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.calls import name_calls
from harness.scheduling.schedulers.scheduler import JobState, Scheduler

LOOKS, LOOK_S = 4, 1.0
"""How often, and how many seconds apart, a job is looked for whose submission was not answered."""


@contextmanager
def undone(
    run: RunPaths, scheduler: Scheduler, then: Callable[[], object] = lambda: None
) -> Iterator[dict[str, str]]:
    """Jobs submitted inside (name -> id) are cancelled when anything goes wrong there.

    So is a job that was taken although nobody learned its id; `then` is called afterwards. Raises
    UserError for a refusal; SchedulerError where a job is left, or may be: it says which and how to
    find it, and `then` is not called, for such a job needs the run's folder.
    """
    ids: dict[str, str] = {}
    with _lock(run):
        try:
            yield ids
        except BaseException as error:
            _undo(run, scheduler, ids, error)
            then()
            if isinstance(error, SchedulerError | OSError):
                raise UserError(f"{error}\nNothing is left submitted.") from None
            raise
        finally:
            with suppress(OSError):  # the journal is read as well
                if run.manifest.is_file() and not is_announced(run):
                    settle(run)


def take_up(facts: RunFacts, scheduler: Scheduler) -> tuple[RunFacts, dict[str, JobState]]:
    """A run's files once what an interrupted submission left in the queue is in its record.

    And the states of the jobs that were announced and have no id. Raises SchedulerError where the
    scheduler cannot be asked.
    """
    if not facts.manifest.intents:
        return facts, {}
    try:
        with _lock(facts.run, timeout=0):
            _take_up(facts.run, scheduler)
    except Timeout:
        return facts, _states(facts.manifest, JobState("pending", "being submitted"))
    except OSError:  # another user's run
        return facts, _states(facts.manifest, JobState("unknown", "its submission was interrupted"))
    again = RunFacts(facts.run)
    return again, _states(
        again.manifest, JobState("cancelled", "never submitted: the submission was interrupted")
    )


def _states(manifest: Manifest, state: JobState) -> dict[str, JobState]:
    return {intent.job: state for intent in manifest.intents}


def _take_up(run: RunPaths, scheduler: Scheduler) -> None:
    manifest = read_manifest(run)  # anew, with the lock
    found = _found(manifest, scheduler)
    for intent in manifest.intents:
        for job_id in found.get(intent.name, [])[-1:]:
            with suppress(FileNotFoundError):
                name_calls(run, manifest.plan.job(intent.job), job_id, intent.tasks)
            add_submission(run, intent.job, job_id, intent.tasks)


def _found(manifest: Manifest, scheduler: Scheduler) -> dict[str, list[str]]:
    """Ids by name of announced jobs that the scheduler knows and the record does not."""
    if not manifest.intents:
        return {}
    known = {submission.id for submission in manifest.submissions}
    found = scheduler.find([intent.name for intent in manifest.intents])
    new = {name: [i for i in ids if i not in known] for name, ids in found.items()}
    return {name: ids for name, ids in new.items() if ids}


def _undo(
    run: RunPaths, scheduler: Scheduler, ids: Mapping[str, str], error: BaseException
) -> None:
    """Cancel what was taken. Raises SchedulerError where something is left, or may be."""
    taken = error.taken if isinstance(error, SubmissionError) else "unlikely"
    lost: dict[str, list[str]] = {}
    doubt = ""
    try:
        lost = _look(run, scheduler, taken == "perhaps" or not isinstance(error, Exception))
        doubt = "" if lost or taken != "perhaps" else "the scheduler does not know it now"
    except HarnessError as problem:
        doubt = "" if taken == "no" else f"whether it is there cannot be asked: {problem}"
    all_ids = [*ids.values(), *(job_id for found in lost.values() for job_id in found)]
    try:
        scheduler.cancel(all_ids)
    except HarnessError as problem:
        raise SchedulerError(
            f"{len(all_ids)} jobs were submitted and could not be cancelled again: "
            f"{', '.join(all_ids)} ({problem})"
        ) from None
    if doubt and (intents := read_manifest(run).intents):
        name = intents[0].name
        raise SchedulerError(
            f"{error}\nA job may be left: {doubt}\n`squeue --me --name={name}` shows it, "
            f"`python -m harness cancel {run.root}` ends it"
        )


def _look(run: RunPaths, scheduler: Scheduler, patiently: bool) -> dict[str, list[str]]:
    """Announced jobs that were taken and have no id: name -> ids."""
    found: dict[str, list[str]] = {}
    for look in range(LOOKS if patiently else 1):
        if look:
            time.sleep(LOOK_S)
        found = _found(read_manifest(run), scheduler)
        if found:
            break
    return found


def _lock(run: RunPaths, timeout: float = -1) -> FileLock:
    """Held while jobs of a run are submitted."""
    return FileLock(run.root / ".submit.lock", timeout=timeout)
