"""A server as a job of its own: its key, its plan, and following it until it is ready or gone."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config.serve import ServeSpec
from harness.config.site import Site
from harness.errors import SchedulerError, ServerError, UserError
from harness.plan.plan import serve_plan
from harness.runs.files import read_json
from harness.runs.paths import RunPaths, key_file, new_run_id
from harness.plan.manifest import read_manifest
from harness.scheduling.release import cancel_run, remove_key, scheduler_of
from harness.scheduling.render import Place, render
from harness.scheduling.scheduler import JobState, Scheduler
from harness.scheduling.submit import SchedulerName, Staged, submit

JOB = "serve"
POLL_S = 0.5
ASK_S = {"local": 1.0, "slurm": 5.0}
"""Seconds between questions to the scheduler."""
STOP_S = 90.0
WITHOUT_KEY = ("transformers",)


def stage_serve(spec: ServeSpec, site: Site, scheduler: SchedulerName) -> Staged:
    """Plan and render; nothing is written. The key's file is named, not made."""
    run = RunPaths(Path(site.runs_dir) / spec.name / new_run_id())
    mounts = [spec.model, *spec.lora_adapters.values(), *filter(None, [spec.chat_template])]
    if spec.server.engine not in WITHOUT_KEY:
        path = key_file(run.run_id)
        spec = spec.model_copy(update={"key_file": str(path)})
        mounts.append(str(path.parent))
    plan = serve_plan(spec, site)
    place = Place(run, mounts=tuple(mounts))
    scripts = {job.name: render(job, plan, site, place) for job in plan.jobs}
    return Staged(spec, site, scheduler, plan, run, scripts)


def submit_serve(staged: Staged, report: Callable[[str], None]) -> RunPaths:
    """Make the key, then submit. What fails leaves neither job, folder nor key. Raises UserError."""
    assert isinstance(staged.spec, ServeSpec)
    path = Path(staged.spec.key_file) if staged.spec.key_file else None
    try:
        if path:
            write_key(path)
        return submit(staged, report)
    except BaseException as error:
        if path:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"{path}: the server's key cannot be written: {error}") from None
        raise


def write_key(path: Path) -> None:
    """A random key in a file that only its owner may read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secrets.token_urlsafe(32) + "\n")


def serve_state(run: RunPaths) -> dict[str, Any]:
    """What the job last said of its server; empty before it has begun."""
    return dict(read_json(run.serve_state)) if run.serve_state.is_file() else {}


@dataclass
class Follower:
    """Looks at a served job: what it says, what the scheduler says, what it prints."""

    run: RunPaths
    report: Callable[[str], None]
    _scheduler: Scheduler = field(init=False)
    _job_id: str = field(init=False)
    _asked: float = -1e9
    _job: JobState = field(default_factory=lambda: JobState("unknown"))
    _said: str = ""
    _read: int = 0

    def __post_init__(self) -> None:
        manifest = read_manifest(self.run)
        self._scheduler = scheduler_of(self.run, manifest)
        self._job_id = manifest.job_id(JOB) or "?"

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
        """Cancel the job and wait until it is gone. Raises SchedulerError when it stays."""
        cancel_run(self.run)
        self._asked = -1e9
        deadline = time.monotonic() + STOP_S
        while not self._look().ended:
            if time.monotonic() > deadline:
                raise SchedulerError(f"job {self._job_id} was cancelled and is still there")
            time.sleep(POLL_S)

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
                if line.startswith(f"{_engine(self.run)} ("):
                    self.report(line)

    def _failure(self) -> ServerError:
        remove_key(self.run)
        state = serve_state(self.run)
        if state.get("state") in ("failed", "stopped"):
            return ServerError(str(state.get("reason")))
        return ServerError(f"job {self._job_id} ended ({self._job})", self.run.logs(JOB))


def _engine(run: RunPaths) -> str:
    from harness.config.load import load_serve

    return load_serve(run.spec).server.engine
