"""submitit's Slurm executor, submitting our own rendered script for single jobs and for arrays.

submitit builds its sbatch file itself and, for arrays, through a plain SlurmExecutor that forgets
any subclass. Both places are overridden here, and only here (submitit 1.5.4, slurm/slurm.py).
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from submitit.core import core, utils
from submitit.slurm.slurm import SlurmExecutor, SlurmJob


class RenderedExecutor(SlurmExecutor):
    """Submits one rendered script.

    folder: where submitit keeps pickles, logs and results of the job.
    script: text of the script; an array's holds its own `--array`.
    sbatch: the command that submits, e.g. ["sbatch", "--dependency=afterok:12"].
    minutes: the job's time limit, by which submitit tells a timeout from a preemption.
    tasks: indices of an array's tasks, one call each; empty for a single job.
    """

    def __init__(
        self,
        folder: Path,
        *,
        script: str,
        sbatch: Sequence[str],
        minutes: int,
        tasks: Sequence[int] = (),
    ) -> None:
        self._sbatch = list(sbatch)
        if shutil.which(self._sbatch[0]) is None:
            raise FileNotFoundError(self._sbatch[0])
        super().__init__(folder, max_num_timeout=1000)
        self._script = script
        self._tasks = tuple(tasks)
        self.update_parameters(time=minutes)

    @classmethod
    def affinity(cls) -> int:
        """Always usable: __init__ has checked that the submitting command exists."""
        return 2

    def submit_calls(self, function: Any, calls: Sequence[tuple[Any, ...]]) -> str:
        """Submit one call, or an array with one task per call; returns the job id."""
        jobs = self._internal_process_submissions(
            [utils.DelayedSubmission(function, *arguments) for arguments in calls]
        )
        return str(jobs[0].job_id).partition("_")[0]

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        return self._script

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        return [*self._sbatch, str(submission_file_path)]

    def _internal_process_submissions(
        self, delayed_submissions: list[utils.DelayedSubmission]
    ) -> list[core.Job[Any]]:
        if not self._tasks:
            return super()._internal_process_submissions(delayed_submissions)
        self.folder.mkdir(parents=True, exist_ok=True)
        pickles = []
        for delayed in delayed_submissions:
            pickles.append(self.folder / f"{uuid.uuid4().hex}.pkl")
            delayed.set_timeout(self.parameters["time"], self.max_num_timeout)
            delayed.dump(pickles[-1])
        first = self._submit_command(self._submitit_command_str)
        jobs: list[core.Job[Any]] = [
            SlurmJob(folder=self.folder, job_id=f"{first.job_id}_{index}", tasks=[0])
            for index in self._tasks
        ]
        for job, pickle in zip(jobs, pickles, strict=True):
            job.paths.move_temporary_file(pickle, "submitted_pickle")
        return jobs
