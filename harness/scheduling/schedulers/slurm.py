"""Slurm: submission by sbatch, states through squeue and sacct. Its words are read in parse.py."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from harness.config.site import Site
from harness.errors import CommandError, SchedulerError, SubmissionError
from harness.plan.manifest import read_manifest
from harness.plan.plan import PlannedJob
from harness.processes.environments import job_environment, slurm_environment
from harness.processes.shell import NO_SUCH_PROGRAM, call
from harness.processes.shell import run as run_program
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.calls import name_calls, write_calls
from harness.scheduling.schedulers.parse import (
    SACCT_FIELDS,
    SACCT_NAMES,
    SQUEUE_FORMAT,
    SQUEUE_NAMES,
    parse_names,
    parse_sacct,
    parse_squeue,
    parse_submission,
)
from harness.scheduling.schedulers.scheduler import (
    Dependency,
    JobState,
    RunJob,
    sbatch_options,
    shell_defaults,
    submitted_name,
)

SBATCH_S = 120.0
"""How long sbatch is waited for; it waits for the controller by MessageTimeout (slurm.conf(5))."""
_WHOLE_LISTS = {"SLURM_BITSTR_LEN": "0"}
"""Else squeue and sacct cut the list of an array's tasks after 64 characters."""
_FIND_DAYS = 30
_LOST = re.compile(
    r"timed out|zero bytes|communicat|connection|unexpected message|transport|reset by peer", re.I
)
"""What sbatch says when it cannot know whether the controller took the job (slurm_errno.h)."""
_NOT_REACHED = "connect failure"


def is_available() -> bool:
    """Whether this machine can submit to Slurm."""
    return shutil.which("sbatch") is not None


class SlurmScheduler:
    """The real thing."""

    name: Literal["slurm", "local"] = "slurm"

    def submit(
        self,
        run: RunPaths,
        job: PlannedJob,
        after: Sequence[Dependency],
        site: Site,
        run_job: RunJob,
        tasks: Sequence[int] = (),
    ) -> str:
        write_calls(run, job, run_job, tasks)
        name = submitted_name(run, job.name)
        options = [*sbatch_options(name, after, job, tasks), *shell_defaults(job, os.environ)]
        command = ["sbatch", "--parsable", *options, str(run.script(job.name))]
        try:
            answer = run_program(command, timeout=SBATCH_S, env=job_environment(os.environ, site))
        except CommandError as error:
            raise _refusal(job.name, error) from None
        job_id = parse_submission(*answer) or self._submitted_as(run, job.name, name, answer)
        name_calls(run, job, job_id, tasks)
        return job_id

    def _submitted_as(self, run: RunPaths, job: str, name: str, answer: tuple[str, str]) -> str:
        """The id of a job whose own sbatch did not tell it."""
        said = " ".join("".join(answer).split())[:200]
        with suppress(SchedulerError):
            ids = self.find([name]).get(name, [])
            known = {s.id for s in read_manifest(run).submissions}
            if new := [job_id for job_id in ids if job_id not in known]:
                return new[-1]
        raise SubmissionError(
            f"sbatch answered without a job id for {job}: {said or '(nothing)'}", "perhaps"
        )

    def find(self, names: Sequence[str]) -> dict[str, list[str]]:
        word = ",".join(names)
        found = parse_names(self._call("squeue", "-h", "-t", "all", "-n", word, "-o", SQUEUE_NAMES))
        if set(found) < set(names):
            with suppress(SchedulerError):  # many sites run without accounting
                since = f"now-{_FIND_DAYS}days"
                known = self._call("sacct", "-X", "-n", "-P", f"--format={SACCT_NAMES}",
                                   "-S", since, f"--name={word}")  # fmt: skip
                found = {**parse_names(known), **found}
        return {name: found[name] for name in names if name in found}

    def start(self, run: RunPaths, site: Site) -> None:
        """Slurm starts jobs itself."""

    def release(self, job_id: str) -> None:
        self._call("scontrol", "update", f"jobid={job_id}", "dependency=")

    def cancel(self, job_ids: Iterable[str]) -> None:
        ids = list(job_ids)
        if ids:
            self._call("scancel", *ids)

    def states(self, job_ids: Iterable[str]) -> dict[str, JobState]:
        ids = list(dict.fromkeys(job_ids))
        if not ids:
            return {}
        queue_error: CommandError | None = None
        found: dict[str, JobState] = {}
        # Many sites run without accounting: then squeue alone must do.
        with suppress(CommandError):
            found = parse_sacct(
                _ask("sacct", "-X", "-n", "-P", f"--format={SACCT_FIELDS}", "-j", ",".join(ids))
            )
        try:
            queue = parse_squeue(_ask("squeue", "-h", "-r", "-t", "all", "-o", SQUEUE_FORMAT,
                                      "-j", ",".join(ids)))  # fmt: skip
            found = _merged(found, queue)
        except CommandError as error:
            # squeue fails for ids that have left the queue; with several it leaves them out.
            if "Invalid job id" not in error.stderr:
                queue_error = error
        if queue_error is not None and not found:
            raise SchedulerError(f"Slurm cannot be asked for states: {queue_error}")
        known = {key.partition("_")[0] for key in found}
        found.update({job_id: JobState("unknown") for job_id in ids if job_id not in known})
        return found

    def _call(self, *argv: str) -> str:
        try:
            return _ask(*argv)
        except CommandError as error:
            raise SchedulerError(str(error)) from None


def _ask(*argv: str) -> str:
    return call(argv, env=slurm_environment(os.environ) | _WHOLE_LISTS)


def _merged(
    accounted: Mapping[str, JobState], queued: Mapping[str, JobState]
) -> dict[str, JobState]:
    """The queue is newer; of what has failed in both, accounting knows how, and where."""
    failed = {
        key: state
        for key, state in accounted.items()
        if state.phase == "failed" == queued.get(key, state).phase
    }
    return {**accounted, **queued, **failed}


def _refusal(job: str, error: CommandError) -> SubmissionError:
    """sbatch failed: what it said, and how sure it is that the job was not taken."""
    if error.code == NO_SUCH_PROGRAM:
        return SubmissionError("sbatch is not on this machine's PATH", "no")
    text = _reason(error)
    if error.code is None or error.code < 0 or (_LOST.search(text) and _NOT_REACHED not in text):
        return SubmissionError(f"sbatch did not say whether it took {job}: {text}", "perhaps")
    refused = "submission failed" in text
    return SubmissionError(f"sbatch refused {job}: {text}", "no" if refused else "unlikely")


def _reason(error: CommandError) -> str:
    """What sbatch said, without its own name before each line."""
    lines = [line.strip() for line in error.stderr.splitlines() if "error:" in line]
    words = (line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines)
    said = " ".join(words) or " ".join((error.stderr or error.stdout).split())
    return said if said and error.code is not None else f"{said} ({error})".strip()
