"""The files of a run with its plan: what was planned, which job makes a cell, where its log is."""

from __future__ import annotations

from functools import cached_property

from harness.plan.manifest import Manifest, read_manifest
from harness.plan.plan import Plan, PlannedJob
from harness.runs.reader import RunReader


class RunFacts(RunReader):
    """A run's own files, its manifest among them; each is read once."""

    @cached_property
    def manifest(self) -> Manifest:
        """manifest.json. Raises ResultError."""
        return read_manifest(self.run)

    @property
    def plan(self) -> Plan:
        """What the run was to do."""
        return self.manifest.plan

    def task_log(self, job: PlannedJob, task: int = 0) -> str:
        """submitit's log of the errors of a job's, or an array task's, newest submission."""
        job_id = self.manifest.job_id(job.name, task if job.is_array else None) or "?"
        stem = f"{job_id}_{task}" if job.is_array else job_id
        return f"{self._logs[job.name]}/{stem}_0_log.err"

    @cached_property
    def _logs(self) -> dict[str, str]:
        return {job.name: str(self.run.logs(job.name)) for job in self.plan.jobs}
