"""manifest.json: what a run planned, what was submitted as which job, from which environment."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import ValidationError

import harness
from harness.config.base import Frozen
from harness.errors import ResultError
from harness.plan.plan import Plan
from harness.runs.files import read_json, utc_now, write_json
from harness.runs.paths import RunPaths

Scheduler = Literal["slurm", "local"]
_PACKAGES = ("submitit", "pydantic", "torch", "transformers", "trl", "accelerate", "datasets")


class Submission(Frozen):
    """One sbatch that was accepted."""

    job: str
    id: str
    time: str
    tasks: tuple[int, ...] = ()
    """Which tasks of an array, where it was not all of them."""


class Manifest(Frozen):
    """The record of a run."""

    run_id: str
    created: str
    scheduler: Scheduler
    plan: Plan
    environment: dict[str, str] = {}
    submissions: tuple[Submission, ...] = ()

    def submission(self, job: str, task: int | None = None) -> Submission | None:
        """The newest submission of a job, or of one task of it; None if there is none."""
        for submission in reversed(self.submissions_of(job)):
            if task is None or not submission.tasks or task in submission.tasks:
                return submission
        return None

    def submissions_of(self, job: str) -> list[Submission]:
        """All submissions of a job, oldest first."""
        return self._by_job.get(job, [])

    @cached_property
    def _by_job(self) -> dict[str, list[Submission]]:
        found: dict[str, list[Submission]] = {}
        for submission in self.submissions:
            found.setdefault(submission.job, []).append(submission)
        return found

    def job_id(self, job: str, task: int | None = None) -> str | None:
        """The scheduler's id of the newest submission of a job, or of one task of it."""
        found = self.submission(job, task)
        return found.id if found else None


def read_manifest(run: RunPaths) -> Manifest:
    """The manifest of a run. Raises ResultError when it is missing or not one."""
    try:
        return Manifest.model_validate(read_json(run.manifest))
    except ValidationError as error:
        raise ResultError(
            f"{run.manifest}: not a manifest of this version ({harness.__version__}): "
            f"{error.error_count()} fields differ"
        ) from None


def write_manifest(run: RunPaths, manifest: Manifest) -> None:
    """Write the first manifest of a run."""
    write_json(run.manifest, manifest.model_dump(mode="json", exclude_defaults=True))


def update_manifest(run: RunPaths, change: Callable[[Manifest], Manifest]) -> Manifest:
    """Read, change and write the manifest under its lock."""
    with FileLock(run.root / ".manifest.lock"):
        manifest = change(read_manifest(run))
        write_manifest(run, manifest)
    return manifest


def add_submission(run: RunPaths, job: str, job_id: str, tasks: tuple[int, ...] = ()) -> Manifest:
    """Record that a job was accepted by the scheduler."""
    submission = Submission(job=job, id=job_id, time=utc_now(), tasks=tasks)
    return update_manifest(
        run, lambda m: m.model_copy(update={"submissions": (*m.submissions, submission)})
    )


def describe_environment(project: Path) -> dict[str, str]:
    """Host, versions and git commit of the submitting side. No secrets, no variables."""
    facts = {
        "harness": harness.__version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "host": platform.node(),
        "user": _user(),
    }
    for package in _PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    # The package may lie in somebody else's repository: a virtual environment in a project.
    ours = _git(project, "ls-files", "--", "harness/__init__.py")
    commit = _git(project, "rev-parse", "HEAD") if ours else ""
    if commit:
        changed = _git(project, "status", "--porcelain", "--untracked-files=no")
        facts["git_commit"] = commit + (" with local changes" if changed else "")
    return facts


def _user() -> str:
    """The user's name; the number where a container's passwd does not know it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _git(project: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(project), *arguments],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
