"""A server as a job of its own: its key, its plan, and following it until it is ready or gone."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config.serve import ServeSpec
from harness.errors import SchedulerError, ServerError, UserError
from harness.plan.facts import RunFacts
from harness.runs.files import read_json
from harness.runs.paths import RunPaths
from harness.scheduling.release import cancel_run, remove_key
from harness.scheduling.schedulers.local_queue import RUNNER_DIED
from harness.scheduling.schedulers.named import scheduler_named
from harness.scheduling.schedulers.scheduler import JobState, RunJob, Scheduler
from harness.scheduling.stage import Staged
from harness.scheduling.submit import submit

JOB = "serve"
POLL_S = 0.5
ASK_S = {"local": 1.0, "slurm": 5.0}
"""Seconds between questions to the scheduler."""
STOP_S = 90.0


def submit_serve(staged: Staged, run_job: RunJob, report: Callable[[str], None]) -> RunPaths:
    """Make the key, then submit. What fails leaves neither job, folder nor key. Raises UserError."""
    assert isinstance(staged.spec, ServeSpec)
    path = Path(staged.spec.key_file) if staged.spec.key_file else None
    if path:
        try:
            write_key(path)
        except OSError as error:
            raise UserError.at(path, f"the server's key cannot be written: {error}") from None
    try:
        return submit(staged, run_job, report)
    except BaseException:
        if path:
            with suppress(OSError):  # why there is no job is what is to be told
                path.unlink()
        raise


def write_key(path: Path) -> None:
    """A random key in a new file that only its owner may read, from its first byte on.

    Raises OSError; then no file of ours is there, and one of another's is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    except BaseException:
        path.unlink()
        raise


def serve_state(run: RunPaths) -> dict[str, Any]:
    """What the job last said of its server; empty before it has begun."""
    return dict(read_json(run.serve_state)) if run.serve_state.is_file() else {}


@dataclass
class Follower:
    """Looks at a served job: what it says, what the scheduler says, what it prints."""

    run: RunPaths
    report: Callable[[str], None]
    _facts: RunFacts = field(init=False)
    _engine: str = field(init=False)
    _scheduler: Scheduler = field(init=False)
    _job_id: str = field(init=False)
    _asked: float = -1e9
    _job: JobState = field(default_factory=lambda: JobState("unknown"))
    _said: str = ""
    _read: int = 0

    def __post_init__(self) -> None:
        self._facts = RunFacts(self.run)
        self._scheduler = scheduler_named(self._facts.manifest.scheduler, self.run)
        self._job_id = self._facts.manifest.job_id(JOB) or "?"
        served = self._facts.served
        self._engine = served.server.engine if served else ""

    def until_ready(self) -> dict[str, Any]:
        """The state once ready. Raises ServerError when the job ends before."""
        while True:
            state = serve_state(self.run)
            self._print_log()
            if state.get("state") == "ready":
                return state
            if self._look().ended:
                raise self._failure()
            time.sleep(POLL_S)

    def until_end(self) -> None:
        """Return when it was stopped or cancelled. Raises ServerError when it failed."""
        while not self._look().ended:
            time.sleep(POLL_S)
        if serve_state(self.run).get("state") != "stopped":
            raise self._failure()

    def stop(self) -> None:
        """Cancel the job and wait until nothing of it lives. Raises SchedulerError when it stays, or
        when nobody is left to tell."""
        cancel_run(self.run)
        self._asked = -1e9
        deadline = time.monotonic() + STOP_S
        while not self._look().ended:
            if time.monotonic() > deadline:
                raise SchedulerError(f"job {self._job_id} was cancelled and is still there")
            time.sleep(POLL_S)
        if self._job.detail == RUNNER_DIED:
            raise SchedulerError(f"{RUNNER_DIED}: what job {self._job_id} started may still run")

    def _look(self) -> JobState:
        """The job's state, asked every few seconds; a change is reported."""
        if time.monotonic() - self._asked >= ASK_S[self._scheduler.name]:
            self._asked = time.monotonic()
            try:
                self._job = self._scheduler.states([self._job_id])[self._job_id]
                said = f"job {self._job_id}: {self._job}"
            except SchedulerError as error:
                said = f"the scheduler cannot be asked: {error}"
            if said != self._said:
                self.report(said)
                self._said = said
        return self._job

    def _print_log(self) -> None:
        """New whole lines of the job's output: what the server is waited for."""
        log = self.run.logs(JOB) / f"{self._job_id}_0_log.out"
        if log.is_file():
            with log.open("rb") as file:
                file.seek(self._read)
                whole = file.read().rpartition(b"\n")[0]
            self._read += len(whole) + 1 if whole else 0
            for line in whole.decode("utf-8", "replace").splitlines():
                if line.startswith(f"{self._engine} ("):
                    self.report(line)

    def _failure(self) -> ServerError:
        remove_key(self._facts)
        state = serve_state(self.run)
        if state.get("state") in ("failed", "stopped"):
            return ServerError(str(state.get("reason")))
        return ServerError(f"job {self._job_id} ended ({self._job})", self.run.logs(JOB))
