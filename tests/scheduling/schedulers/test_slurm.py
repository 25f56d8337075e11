"""Slurm's programs are asked so that nobody's settings change the answer, and silence ends nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.site import Site
from harness.entry import run_job
from harness.errors import CommandError, SchedulerError, SubmissionError
from harness.plan.manifest import Manifest, add_submission, write_manifest
from harness.plan.plan import build_plan
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers import slurm
from harness.scheduling.schedulers.slurm import SlurmScheduler
from tests.plan.test_plan import make_spec
from tests.support import ROOT

CAPTURED = ROOT / "tests" / "captured" / "slurm"


def answers(monkeypatch: pytest.MonkeyPatch, **programs: str | CommandError) -> None:
    def fake_call(argv: tuple[str, ...], **_: object) -> str:
        answer = programs[argv[0]]
        if isinstance(answer, CommandError):
            raise answer
        return answer

    monkeypatch.setattr(slurm, "call", fake_call)


def failure(name: str) -> CommandError:
    return CommandError(["x"], 1, "", (CAPTURED / f"error-{name}.txt").read_text())


def test_without_accounting_squeue_alone_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, sacct=failure("sacct-accounting-off"), squeue="7|RUNNING|None")
    assert SlurmScheduler().states(["7"])["7"].phase == "running"


def test_a_job_that_left_the_queue_is_unknown_without_accounting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(
        monkeypatch, sacct=failure("sacct-accounting-off"), squeue=failure("squeue-unknown-job")
    )
    assert SlurmScheduler().states(["7"])["7"].phase == "unknown"


def test_the_queue_is_newer_than_accounting(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, sacct="7|NODE_FAIL|0:0", squeue="7|PENDING|BeginTime")
    assert SlurmScheduler().states(["7"])["7"].phase == "pending"


def test_a_controller_that_is_down_is_an_error_and_not_an_empty_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(
        monkeypatch,
        sacct=failure("sacct-slurmdbd-down"),
        squeue=failure("squeue-controller-down"),
    )
    with pytest.raises(SchedulerError, match="cannot be asked"):
        SlurmScheduler().states(["7"])
