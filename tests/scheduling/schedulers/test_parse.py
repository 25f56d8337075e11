"""States and ids out of Slurm's own words, as captured on a real Slurm 22.05 and 24.11."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scheduling.schedulers.parse import (
    parse_names,
    parse_sacct,
    parse_squeue,
    parse_submission,
)
from tests.support import ROOT

CAPTURED = ROOT / "tests" / "captured" / "slurm"
JOBS: dict[str, str] = json.loads((CAPTURED / "jobs.json").read_text())


def columns(name: str, *wanted: int) -> str:
    """Some columns of a captured table, as our own format asks for them."""
    lines = (CAPTURED / name).read_text().splitlines()
    return "\n".join("|".join(line.split("|")[i] for i in wanted) for line in lines)


SQUEUE = columns("squeue-all-states.txt", 0, 4, 5)
SACCT = columns("sacct-X.txt", 0, 5, 6)


@pytest.mark.parametrize(
    ("job", "phase", "detail"),
    [
        ("completed", "completed", "COMPLETED"),
        ("failed", "failed", "FAILED (exit 3:0)"),
        ("killed-by-signal", "failed", "FAILED (exit 0:9)"),
        ("cancelled-while-running", "cancelled", "CANCELLED by 0"),
        ("timeout", "failed", "TIMEOUT"),
        ("node-fail", "failed", "NODE_FAIL"),
        ("preempted", "failed", "PREEMPTED"),
        ("requeued", "running", "RUNNING"),
        ("preempted-requeued", "running", "RUNNING"),
    ],
)
def test_sacct_states(job: str, phase: str, detail: str) -> None:
    state = parse_sacct(SACCT)[JOBS[job]]
    assert (state.phase, state.detail) == (phase, detail)


@pytest.mark.parametrize(
    ("key", "phase", "detail"),
    [
        ("train", "running", "RUNNING"),
        ("held", "pending", "PENDING (JobHeldUser)"),
        ("dependency-never-satisfied", "pending", "PENDING (DependencyNeverSatisfied)"),
        ("closer", "pending", "PENDING (Dependency)"),
        ("timeout", "failed", "TIMEOUT (TimeLimit)"),
    ],
)
def test_squeue_states(key: str, phase: str, detail: str) -> None:
    state = parse_squeue(SQUEUE)[JOBS[key]]
    assert (state.phase, state.detail) == (phase, detail)


def test_array_tasks_have_states_of_their_own() -> None:
    array = JOBS["mixed-array"]
    for states in (parse_squeue(SQUEUE), parse_sacct(SACCT)):
        assert [states[f"{array}_{i}"].phase for i in range(3)] == ["completed", "failed", "failed"]
    waiting = JOBS["eval-waiting"]
    assert all(parse_squeue(SQUEUE)[f"{waiting}_{i}"].phase == "pending" for i in range(4))


def test_sacct_writes_a_pending_array_in_brackets() -> None:
    states = parse_sacct("12_[0-2,5%2]|PENDING|0:0\n12_7|RUNNING|0:0")
    assert sorted(states) == ["12_0", "12_1", "12_2", "12_5", "12_7"]
