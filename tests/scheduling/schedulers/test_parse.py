"""States and ids out of Slurm's own words, as captured on a real Slurm 22.05 and 24.11."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scheduling.schedulers.parse import (
    parse_names,
    parse_sacct,
    parse_squeue,
    parse_submission,
)
from harness.scheduling.schedulers.scheduler import JobState
from tests.support import ROOT

VERSIONS = {"22.05": "slurm", "24.11": "slurm-24.11"}


class Captured:
    """What one version printed."""

    def __init__(self, version: str) -> None:
        self.folder = ROOT / "tests" / "captured" / VERSIONS[version]
        self.jobs: dict[str, str] = json.loads((self.folder / "jobs.json").read_text())

    def text(self, name: str) -> str:
        return (self.folder / f"{name}.txt").read_text()

    def columns(self, name: str, *wanted: int) -> str:
        """Some columns of a table, as our own format asks for them."""
        lines = self.text(name).splitlines()
        return "\n".join("|".join(line.split("|")[i] for i in wanted) for line in lines)

    @property
    def squeue(self) -> dict[str, JobState]:
        return parse_squeue(self.columns("squeue-all-states", 0, 4, 5))

    @property
    def sacct(self) -> dict[str, JobState]:
        return parse_sacct(self.columns("sacct-X", 0, 5, 6, 13))


@pytest.fixture(params=VERSIONS)
def slurm(request: pytest.FixtureRequest) -> Captured:
    return Captured(request.param)


@pytest.mark.parametrize(
    ("job", "phase", "detail"),
    [
        ("completed", "completed", "COMPLETED"),
        ("failed", "failed", "FAILED (exit 3:0) on gpu2"),
        ("killed-by-signal", "failed", "FAILED (exit 0:9) on gpu1"),
        ("cancelled-while-running", "cancelled", "CANCELLED by 0"),
        ("timeout", "failed", "TIMEOUT on gpu2"),
        ("node-fail", "failed", "NODE_FAIL on gpu1"),
        ("preempted", "failed", "PREEMPTED on gpu3"),
        ("requeued", "running", "RUNNING"),
        ("resources", "pending", "PENDING"),
    ],
)
def test_sacct_states(slurm: Captured, job: str, phase: str, detail: str) -> None:
    state = slurm.sacct[slurm.jobs[job]]
    assert state.phase == phase
    # Which of two free nodes was taken differs; 24.11 has an exit code for a lost node, too.
    assert re.sub(r"gpu\d| \(exit 1:0\)", "", state.detail) == re.sub(r"gpu\d", "", detail)


@pytest.mark.parametrize(
    ("job", "phase", "detail"),
    [
        ("train", "running", "RUNNING"),
        ("held", "pending", "PENDING (JobHeldUser)"),
        ("dependency-never-satisfied", "pending", "PENDING (DependencyNeverSatisfied)"),
        ("closer", "pending", "PENDING (Dependency)"),
        ("timeout", "failed", "TIMEOUT (TimeLimit)"),
    ],
)
def test_squeue_states(slurm: Captured, job: str, phase: str, detail: str) -> None:
    state = slurm.squeue[slurm.jobs[job]]
    assert (state.phase, state.detail) == (phase, detail)


def test_a_preempted_job_that_waits_again_has_not_ended(slurm: Captured) -> None:
    """24.11's accounting calls it PREEMPTED; the queue is asked, too, and is newer."""
    assert not slurm.squeue[slurm.jobs["preempted-requeued"]].ended


def test_array_tasks_have_states_of_their_own(slurm: Captured) -> None:
    array = slurm.jobs["mixed-array"]
    for states in (slurm.squeue, slurm.sacct):
        assert [states[f"{array}_{i}"].phase for i in range(3)] == ["completed", "failed", "failed"]
    waiting = slurm.jobs["eval-waiting"]
    assert all(slurm.squeue[f"{waiting}_{i}"].phase == "pending" for i in range(4))


TASKS = [first + n for first in range(0, 100, 5) for n in range(4)]


def test_a_whole_list_of_tasks_is_read_whole(slurm: Captured) -> None:
    states = parse_sacct(slurm.text("sacct-array"))
    assert [int(key.partition("_")[2]) for key in states] == TASKS
    assert {state.phase for state in states.values()} == {"cancelled"}


@pytest.mark.parametrize(
    ("table", "phase"), [("sacct-array-cut", "cancelled"), ("squeue-array-cut", "pending")]
)
def test_of_a_list_that_was_cut_every_task_has_its_state_and_none_is_invented(
    slurm: Captured, table: str, phase: str
) -> None:
    text = slurm.text(table)
    assert "98" not in text
    # squeue, which is asked with -r, prints no lists; it is cut in the same way.
    states = parse_sacct(text)
    base = text.partition("_")[0]
    named = {int(key.partition("_")[2]) for key in states if "_" in key}
    assert {0, 1, 2, 3, 5, 18} <= named <= set(TASKS)
    assert {states.get(f"{base}_{task}", states[base]).phase for task in TASKS} == {phase}


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("12_[0-2,5%2]", ["12_0", "12_1", "12_2", "12_5"]),
        ("12_[4-7%2]", ["12_4", "12_5", "12_6", "12_7"]),
        ("12_[0-6:3]", ["12_0", "12_3", "12_6"]),
        ("12_[1-3,40-5...]", ["12", "12_1", "12_2", "12_3"]),
        ("12_[1-3,40-5", ["12", "12_1", "12_2", "12_3"]),
        ("12_[1-3,4...%2]", ["12", "12_1", "12_2", "12_3"]),
        ("12_[", ["12"]),
        ("12_[]", ["12"]),
        ("12_[3-1]", []),
        ("12_[a-b,2]", ["12", "12_2"]),
        ("12_[\u0663-\u0664]", ["12"]),
        ("12_[0-99999999999]", ["12"]),
        ("12+1", ["12+1"]),
        ("12_7", ["12_7"]),
        ("67108865", ["67108865"]),
    ],
)
def test_ids_of_arrays_and_of_other_jobs(words: str, keys: list[str]) -> None:
    assert sorted(parse_sacct(f"{words}|PENDING|0:0|None assigned")) == keys


PHASES = {
    "pending": "PENDING REQUEUED REQUEUE_HOLD REQUEUE_FED RESV_DEL_HOLD SPECIAL_EXIT LAUNCH_FAILED "
    "RECONFIG_FAIL EXPEDITING",
    "running": "RUNNING CONFIGURING COMPLETING POWER_UP_NODE STAGE_OUT STOPPED SUSPENDED RESIZING "
    "SIGNALING",
    "completed": "COMPLETED",
    "cancelled": "CANCELLED CANCELLED+",
    "failed": "FAILED TIMEOUT DEADLINE OUT_OF_MEMORY NODE_FAIL BOOT_FAIL PREEMPTED",
    "unknown": "REVOKED UPDATE_DB NEW_IN_26 ? COMPLETED?? completed DONE",
}


@pytest.mark.parametrize(
    ("word", "phase"), [(word, phase) for phase, words in PHASES.items() for word in words.split()]
)
def test_every_state_of_slurm_and_none_that_we_do_not_know_has_ended(word: str, phase: str) -> None:
    for state in (parse_squeue(f"7|{word}|None")["7"], parse_sacct(f"7|{word}|0:0|")["7"]):
        assert state.phase == phase
        assert state.ended is (phase in ("completed", "cancelled", "failed"))


@pytest.mark.parametrize(
    ("words", "phase"),
    [("COMPLETED,COMPLETING", "running"), ("PENDING,LAUNCH_FAILED", "pending"),
     ("CANCELLED by 1000", "cancelled"), ("COMPLETED,NEW", "unknown"), ("", "unknown"),
     ("FAILED,COMPLETED", "failed")],
)  # fmt: skip
def test_of_several_words_the_one_furthest_from_an_end_holds(words: str, phase: str) -> None:
    assert parse_squeue(f"7|{words}|None")["7"].phase == phase


@pytest.mark.parametrize(
    "reason",
    ["Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
     "(null)", "user|env retrieval failed", "ReqNodeNotAvail, UnavailableNodes:gpu[1-3]", "é 'x'"],
)  # fmt: skip
def test_a_reason_is_kept_as_it_is(reason: str) -> None:
    state = parse_squeue(f"CLUSTER: lab\n7|PENDING|{reason}\n\n8|RUNNING|None\n")
    assert {k: v.detail for k, v in state.items()} == {"7": f"PENDING ({reason})", "8": "RUNNING"}


@given(st.text(alphabet="0123456789_[]-,.%:+|; \nPENDINGx\u0663\x00", max_size=60))
def test_no_text_makes_a_parser_raise(text: str) -> None:
    for parse in (parse_sacct, parse_squeue, parse_names, parse_submission):
        parse(text)


def test_what_sbatch_answers(slurm: Captured) -> None:
    sentence, bare = slurm.text("sbatch"), slurm.text("sbatch-parsable")
    assert parse_submission(sentence) == sentence.split()[-1]
    assert parse_submission(bare) == bare.strip()


BANNER = "Welcome. This is your job 1 of 10 today; 3 are left.\n"


@pytest.mark.parametrize(
    ("out", "err", "job_id"),
    [
        ("123\n", "", "123"),
        ("123;lab\n", "", "123"),
        ("  123 \r\n", "", "123"),
        (f"{BANNER}123\n", "", "123"),
        (f"123\n{BANNER}", "", "123"),
        (f"{BANNER}Submitted batch job 123\n{BANNER}", "", "123"),
        ("Submitted batch job 123 on cluster lab\n", "", "123"),
        ("sbatch: Submitted batch job 123\n123\n", "", "123"),
        ("", f"{BANNER}Submitted batch job 123\n", "123"),
        ("123\n", "sbatch: lua: Submitted batch job 9 of your group\n", "123"),
        (BANNER, "", None),
        ("", "", None),
        ("10\n123\n", "", None),
        ("Submitted batch job 1\nSubmitted batch job 2\n", "", None),
        ("Your job 123 has been taken\n", "", None),
        ("12.5\n", "", None),
        ("-1\n", "", None),
    ],
)
def test_an_id_is_taken_only_where_there_is_one_and_no_other(
    out: str, err: str, job_id: str | None
) -> None:
    assert parse_submission(out, err) == job_id


def test_jobs_are_found_by_name(slurm: Captured) -> None:
    (found,) = parse_names(slurm.text("squeue-name")).items()
    assert found == ("a.20260101-000000-aaaa:train", [slurm.text("squeue-name").partition("|")[0]])
    assert parse_names("9|x\n10|x\n9|x\nCLUSTER: lab\n11_[0-3]|y|z\nno|x") == {
        "x": ["9", "10"], "y|z": ["11"],
    }  # fmt: skip
