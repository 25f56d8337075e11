"""The one function that submitit pickles, by reference and with plain strings.

What runs is therefore what the run folder says, not what a pickle froze. Whoever submits jobs is
handed it, so that scheduling imports no job. By hand, on this machine:

    python -m harness.entry RUN_DIR JOB [TASK]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.benchmarks.custom import register_prepared
from harness.config.load import load_site
from harness.errors import HarnessError, TrainingCrashed, TrainingError
from harness.package import missing
from harness.plan.manifest import Manifest, read_manifest
from harness.runs.paths import RunPaths

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission


def run_job(run_dir: str, job: str, task: int = 0) -> str:
    """Do the work of one job, or of one task of an array. Returns how it ended.

    Raises HarnessError; one that names the extra where a package is not installed.
    """
    try:
        return _work(RunPaths(Path(run_dir)), job, task)
    except ModuleNotFoundError as error:
        if (text := missing(error)) is None:
            raise
        raise HarnessError(text) from error


def _work(run: RunPaths, job: str, task: int) -> str:
    from harness.scheduling.prune import prune_reported

    register_prepared(Path(load_site(run.site).benchmarks_dir))
    manifest = read_manifest(run)
    work = manifest.plan.job(job).work
    if work == "train":
        return _train(run, manifest)
    if work == "serve":
        from harness.compute.serve import job as serve_job

        return serve_job.run(run)
    if work == "evaluate":
        from harness.compute.evaluate import job as evaluate_job

        done = evaluate_job.run(run, job, task)
    elif work == "judge":
        from harness.compute.evaluate import judge_job

        done = judge_job.run(run, job)
    elif work == "close":
        from harness.scheduling.release import close_run

        done = close_run(run)
    else:
        from harness.results.collect import collect_run

        done = collect_run(run).summary()
    prune_reported(run)
    return done


def _train(run: RunPaths, manifest: Manifest) -> str:
    from harness.compute.train import job as train_job

    try:
        outcome = train_job.run(run)
    except TrainingCrashed as error:
        if manifest.scheduler != "slurm" or not train_job.restart_after_crash(run, error):
            raise
        outcome = "preempted"
    if outcome not in ("complete", train_job.ELSEWHERE):
        _interrupted(outcome, manifest, run)
    return outcome


def _interrupted(outcome: str, manifest: Manifest, run: RunPaths) -> None:
    """Training has saved and stopped before its end, which must never count as done.

    `preempted` on Slurm: the same job goes on later. submitit's own handler of USR2 does it: it
    calls `_checkpoint`, then `scontrol requeue`, and exits. Else the job has failed.
    """
    if outcome == "preempted" and manifest.scheduler == "slurm":
        os.kill(os.getpid(), signal.SIGUSR2)
        return
    raise TrainingError("training was told to stop; what it saved is kept", run.logs("train"))


def _checkpoint(run_dir: str, job: str, task: int = 0) -> DelayedSubmission:
    """submitit calls this on USR2, before it requeues: the same call resumes where it was."""
    from submitit.core.utils import DelayedSubmission

    return DelayedSubmission(run_job, run_dir, job, task)


run_job.checkpoint = _checkpoint  # type: ignore[attr-defined]


if __name__ == "__main__":
    from harness.entry import run_job as by_reference

    print(by_reference(sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["0"])[0])))
