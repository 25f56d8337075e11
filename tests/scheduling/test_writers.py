"""Whether a writer elsewhere lives is Slurm's word, of its own cluster; else nobody's."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from harness.errors import SchedulerError
from harness.runs.lease import Writer, this_writer
from harness.scheduling import writers
from harness.scheduling.schedulers.scheduler import JobState, Phase
from harness.scheduling.writers import is_writing

HERE = this_writer("a", "x", {"SLURM_JOB_ID": "7", "SLURM_CLUSTER_NAME": "c"})
AWAY = replace(HERE, host="node7", machine="another boot")
DEAD = replace(HERE, started=1.0)


@pytest.fixture(autouse=True)
def slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "is_available", lambda: True)
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "c")


def say(monkeypatch: pytest.MonkeyPatch, phase: Phase | None) -> None:
    def states(self: object, ids: list[str]) -> dict[str, JobState]:
        assert ids == ["7"]
        if phase is None:
            raise SchedulerError("the controller is away")
        return {"7": JobState(phase)}

    monkeypatch.setattr(writers.SlurmScheduler, "states", states)


@pytest.mark.parametrize(
    ("phase", "writer", "writing"),
    [
        ("running", AWAY, True),
        ("running", DEAD, False),  # a job that goes on without its training
        ("pending", AWAY, True),  # requeued: it will go on
        ("pending", DEAD, True),
        ("completed", AWAY, False),
        ("failed", AWAY, False),
        ("cancelled", AWAY, False),
        ("unknown", AWAY, False),  # out of this cluster's queue
        (None, AWAY, None),
        (None, DEAD, False),
        (None, HERE, True),
    ],
)
def test_its_job_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, phase: Phase | None, writer: Writer, writing: bool | None
) -> None:
    say(monkeypatch, phase)
    assert is_writing(writer) is writing


def test_on_a_login_node_an_unknown_job_may_be_another_clusters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SLURM_CLUSTER_NAME")
    say(monkeypatch, "unknown")
    assert is_writing(AWAY) is None
    say(monkeypatch, "running")
    assert is_writing(AWAY) is True


@pytest.mark.parametrize("change", ["another cluster", "no job", "no Slurm"])
def test_whom_slurm_does_not_know_it_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    say(monkeypatch, "completed")
    writer = AWAY
    if change == "another cluster":
        writer = replace(AWAY, cluster="d")
    elif change == "no job":
        writer = replace(AWAY, job_id="")
    else:
        monkeypatch.setattr(writers, "is_available", lambda: False)
    assert is_writing(writer) is None
    assert is_writing(replace(writer, machine=HERE.machine, pid=os.getpid())) is True
