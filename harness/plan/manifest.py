"""manifest.json: what a run planned, what was submitted as which job, from which environment.

While jobs are being submitted, a journal stands beside it, manifest.jsonl: first a line for each
job that is to be submitted, written whole and synced before the first one is, then a line for each
id as it comes. In the end its ids go into manifest.json, and it goes. Whoever is killed in between
leaves announced jobs without an id: none of them was taken, except perhaps the first, which the
scheduler knows by its name. Only this module reads either file.
"""

from __future__ import annotations

import errno
import getpass
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
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


class Intent(Frozen):
    """A job that is to be submitted."""

    job: str
    name: str
    """Under which its scheduler will know it."""
    tasks: tuple[int, ...] = ()


class Manifest(Frozen):
    """The record of a run."""

    run_id: str
    created: str
    scheduler: Scheduler
    plan: Plan
    environment: dict[str, str] = {}
    submissions: tuple[Submission, ...] = ()
    intents: tuple[Intent, ...] = ()
    """Announced and without an id: being submitted, or left by a submission that was interrupted."""

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
    """The manifest of a run, with its journal. Raises ResultError when it is missing or not one."""
    # The journal first: when it is folded in meanwhile, its ids are read twice, never missed.
    announced, submitted = _read_journal(run)
    try:
        manifest = Manifest.model_validate(read_json(run.manifest))
    except ValidationError as error:
        raise ResultError(
            f"{run.manifest}: not a manifest of this version ({harness.__version__}): "
            f"{error.error_count()} fields differ"
        ) from None
    known = {(s.job, s.id) for s in manifest.submissions}
    new = tuple(s for s in submitted if (s.job, s.id) not in known)
    if not announced and not new:
        return manifest
    return manifest.model_copy(
        update={"submissions": (*manifest.submissions, *new), "intents": tuple(announced)}
    )


def write_manifest(run: RunPaths, manifest: Manifest) -> None:
    """Write the first manifest of a run."""
    # In one line: its indented form takes ten times as long, and of many cells is not read by eye.
    write_json(run.manifest, manifest.model_dump(mode="json", exclude_defaults=True), indent=None)


def announce(run: RunPaths, intents: Sequence[Intent]) -> None:
    """Write down, on the disk itself, what is about to be submitted."""
    _append(run, [{"intent": intent.model_dump(mode="json")} for intent in intents], sync=True)


def add_submission(run: RunPaths, job: str, job_id: str, tasks: tuple[int, ...] = ()) -> None:
    """Record that a job was accepted by the scheduler. Outlives this process, killed or not."""
    submission = Submission(job=job, id=job_id, time=utc_now(), tasks=tasks)
    _append(run, [{"submission": submission.model_dump(mode="json")}])


def is_announced(run: RunPaths) -> bool:
    """Whether a job is announced that has no id. Raises ResultError."""
    return bool(_read_journal(run)[0])


def settle(run: RunPaths) -> None:
    """Move the journal's ids into manifest.json; what was announced and has none is given up."""
    with FileLock(run.root / ".manifest.lock"):
        write_manifest(run, read_manifest(run).model_copy(update={"intents": ()}))
        _journal(run).unlink(missing_ok=True)


def _journal(run: RunPaths) -> Path:
    return run.manifest.with_suffix(".jsonl")


def _append(run: RunPaths, entries: Sequence[object], sync: bool = False) -> None:
    """One write, so that lines of several writers never mix. Raises OSError."""
    # A line begins with its newline, so that it is whole even after one that was cut.
    data = "".join(f"\n{json.dumps(entry)}" for entry in entries).encode()
    handle = os.open(_journal(run), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        if os.write(handle, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(_journal(run)))
        if sync:
            os.fsync(handle)
    finally:
        os.close(handle)


def _read_journal(run: RunPaths) -> tuple[list[Intent], list[Submission]]:
    """What is announced and without an id, and what has one.

    A line that was cut says nothing, and need not: its job is still announced, or was never begun.
    """
    announced: list[Intent] = []
    submitted: list[Submission] = []
    try:
        lines = _journal(run).read_bytes().splitlines()
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise ResultError(f"{_journal(run)}: cannot be read: {error.strerror}") from None
    for line in lines:
        try:
            entry = json.loads(line)
            if "intent" in entry:
                announced.append(Intent.model_validate(entry["intent"]))
            else:
                submitted.append(Submission.model_validate(entry["submission"]))
        except (ValueError, KeyError, TypeError):
            continue
    taken = [submission.job for submission in submitted]
    return [intent for intent in announced if intent.job not in taken], submitted


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
