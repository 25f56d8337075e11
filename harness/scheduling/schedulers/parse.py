"""Slurm's own words, of 22.05 to 25.11: text in, ids and states out. Nothing here raises."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.scheduling.schedulers.scheduler import JobState, Phase

SQUEUE_FORMAT = "%i|%T|%r"
SQUEUE_NAMES = "%F|%j"
SACCT_FIELDS = "JobID,State,ExitCode,NodeList"
SACCT_NAMES = "JobID,JobName"
# squeue(1), "JOB STATE CODES", and enum job_states with its flags in slurm.h. A flag that only a
# requeue sets (LAUNCH_FAILED, RECONFIG_FAIL, …) means a job that waits; a REVOKED one has started
# on another cluster of a federation, where nobody was asked.
_PHASES: dict[str, Phase] = {
    "PENDING": "pending",
    "REQUEUED": "pending",
    "REQUEUE_HOLD": "pending",
    "REQUEUE_FED": "pending",
    "RESV_DEL_HOLD": "pending",
    "SPECIAL_EXIT": "pending",
    "LAUNCH_FAILED": "pending",
    "RECONFIG_FAIL": "pending",
    "EXPEDITING": "pending",
    "CONFIGURING": "running",
    "POWER_UP_NODE": "running",
    "RUNNING": "running",
    "COMPLETING": "running",
    "STAGE_OUT": "running",
    "STOPPED": "running",
    "SUSPENDED": "running",
    "RESIZING": "running",
    "SIGNALING": "running",
    "COMPLETED": "completed",
    "CANCELLED": "cancelled",
    "FAILED": "failed",
    "TIMEOUT": "failed",
    "DEADLINE": "failed",
    "OUT_OF_MEMORY": "failed",
    "NODE_FAIL": "failed",
    "BOOT_FAIL": "failed",
    "PREEMPTED": "failed",
    "REVOKED": "unknown",
}
_LEAST_ENDED: tuple[Phase, ...] = (
    "unknown", "running", "pending", "failed", "cancelled", "completed",
)  # fmt: skip
_MAX_TASKS = 4_000_001
"""The highest MaxArraySize (slurm.conf(5))."""
_PART = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7})(?::([0-9]{1,7}))?)?", re.ASCII)
_BARE_ID = re.compile(r"^[ \t]*([0-9]+)(?:;\S*)?[ \t\r]*$", re.MULTILINE)
_SUBMITTED = re.compile(r"Submitted batch job ([0-9]+)")


def parse_submission(stdout: str, stderr: str = "") -> str | None:
    """The id of a new job, in the answer of `sbatch --parsable` or of a site's own sbatch.

    A line of its own (`123`, `123;cluster`), or Slurm's sentence, whatever stands around. None
    where there is no such id, or more than one.
    """
    said = {*_BARE_ID.findall(stdout), *_SUBMITTED.findall(stdout)}
    found = said or set(_SUBMITTED.findall(stderr))
    return found.pop() if len(found) == 1 else None


def parse_names(text: str) -> dict[str, list[str]]:
    """`squeue -h -o '%F|%j'` or `sacct --format=JobID,JobName`: name -> ids, the newest last."""
    found: dict[str, set[int]] = {}
    for line in text.splitlines():
        job_id, bar, name = line.strip().partition("|")
        if match := re.match(r"[0-9]+", job_id) if bar else None:
            found.setdefault(name, set()).add(int(match[0]))
    return {name: [str(job_id) for job_id in sorted(ids)] for name, ids in found.items()}


def parse_squeue(text: str) -> dict[str, JobState]:
    """`squeue -h -r -o '%i|%T|%r'`: id, state, reason."""
    states = {}
    for job_id, state, reason in _rows(text):
        detail = state if reason in ("", "None") else f"{state} ({reason})"
        states[job_id] = JobState(_phase(state), detail)
    return states


def parse_sacct(text: str) -> dict[str, JobState]:
    """`sacct -X -n -P --format=JobID,State,ExitCode,NodeList`; pending arrays come as `12_[0-3]`.

    Of a list that was cut (`12_[0-3,5-...]`) the tasks that cannot be read have no row of their
    own: the array's bare id has their state.
    """
    states = {}
    for job_id, state, rest in _rows(text):
        code, _, node = rest.partition("|")
        phase = _phase(state)
        detail = state if code in ("", "0:0") else f"{state} (exit {code})"
        if phase == "failed" and node and " " not in node:  # else `None assigned`
            detail += f" on {node}"
        for key in _expand(job_id):
            states[key] = JobState(phase, detail)
    return states


def _rows(text: str) -> Iterator[tuple[str, str, str]]:
    """Three columns; a line of fewer is none of ours (`CLUSTER: lab`)."""
    for line in text.splitlines():
        job_id, bar, rest = line.strip().partition("|")
        if bar and job_id:
            state, _, last = rest.partition("|")
            yield job_id, state, last


def _expand(job_id: str) -> list[str]:
    """`12_[0-2,5%2]` -> `12_0`, `12_1`, `12_2`, `12_5`; any other id as it is."""
    base, bracket, inside = job_id.partition("_[")
    if not bracket:
        return [job_id]
    whole = inside.endswith("]") and "..." not in inside
    parts = inside.rstrip("]").partition("%")[0].split(",")
    # Of a list that was cut the last number may have lost digits: 5 of 53.
    keys = [] if whole else [base]
    for part in parts if whole else parts[:-1]:
        match = _PART.fullmatch(part.strip())
        if match is None:
            keys.append(base)
            continue
        first, last, step = (int(number) if number else None for number in match.groups())
        assert first is not None
        end = min(first if last is None else last, _MAX_TASKS)
        keys += [f"{base}_{index}" for index in range(first, end + 1, step or 1)]
    return keys


def _phase(state: str) -> Phase:
    """sacct writes `CANCELLED by 1000`; a state we do not know is unknown, never ended.

    Of several words (`COMPLETED,COMPLETING`) the one that is furthest from an end holds.
    """
    words = [word for word in re.split(r"[,+]", state.partition(" ")[0]) if word]
    phases = {_PHASES.get(word, "unknown") for word in words} or {"unknown"}
    return next(phase for phase in _LEAST_ENDED if phase in phases)
