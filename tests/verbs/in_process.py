"""The command line as a user has it, all in this process: its jobs too, where a runner would be.

Everything but the start of processes is the real thing: checks, plan, scripts, queue, jobs, table.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.entry import run_job
from harness.runs.files import read_json
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers import local


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass
class User:
    """Somebody at a terminal, with a folder for runs and one for benchmarks."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def run(self, *argv: str) -> Done:
        site = [
            f"--set-site=runs_dir={self.folder / 'runs'}",
            f"--set-site=benchmarks_dir={self.folder / 'b'}",
        ]
        self.monkeypatch.setattr(sys, "argv", ["harness", *argv, *site])
        self.capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self.capsys.readouterr()
        return Done(code, said.out, said.err)

    def evaluate(
        self, address: str, benchmark: str = "arithmetic", *argv: str, **given: Any
    ) -> Done:
        """`eval m` of a running server; `given` are fields of `evaluation`, a dot written `__`."""
        fields = {"max_items": 8, "request_timeout_minutes": 0.1, **given}
        sets = [f"--set={name.replace('__', '.')}={value}" for name, value in fields.items()]
        return self.run("eval", "m", "-b", benchmark, f"--server-address={address}", "--poll=0.5",
                        *sets, *argv)  # fmt: skip

    @property
    def latest(self) -> RunPaths:
        return RunPaths((self.folder / "runs" / "eval-m" / "latest").resolve())

    def task(self, benchmark: str = "arithmetic") -> dict[str, Any]:
        record: dict[str, Any] = read_json(self.latest.cell("base", benchmark).task)
        return record

    def log(self, job: str = "eval-base") -> str:
        return "".join(p.read_text() for p in sorted(self.latest.logs(job).glob("*.out")))


@pytest.fixture
def user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[User]:
    term, environment = signal.getsignal(signal.SIGTERM), dict(os.environ)
    monkeypatch.setattr(local, "_run_task", _task_here)
    monkeypatch.setattr(local.LocalScheduler, "start", lambda _, run, site: local.run_queue(run))
    monkeypatch.setattr("harness.results.collect.draw_run", lambda *_: None, raising=False)
    yield User(tmp_path, monkeypatch, capsys)
    signal.signal(signal.SIGTERM, term)
    os.environ.clear()
    os.environ.update(environment)


def _task_here(run: RunPaths, job: Any, index: int) -> tuple[str, str]:
    stem = f"{job.id}_{job.task(index)}_0_log" if job.array else f"{job.id}_0_log"
    folder = run.logs(job.name)
    with (
        (folder / f"{stem}.out").open("a") as out,
        (folder / f"{stem}.err").open("a") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            run_job(str(run.root), job.name, job.task(index))
        except BaseException as error:
            traceback.print_exc()
            return "failed", f"exit {1 if isinstance(error, Exception) else error}"
    return "completed", ""
