"""Several machines train together: who is who, and which of them is to blame when it fails."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness.compute.train import nodes
from harness.compute.train.launch import Node
from harness.runs.paths import RunPaths
from harness.runs.train_state import TrainState

HERE = socket.gethostname()
FIRST, SECOND = Node(0, 2, "a", 23_456), Node(1, 2, "a", 23_456)
FAILED = TrainState("failed", 7, 60, "slurm-7-0", error="loss is nan")


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "it's ü" / "20260101-000000-aaaa")


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0", "SLURM_JOB_ID": "7"},
        {"SLURM_NNODES": "1"},
    ],
)
def test_one_machine_is_the_only_node(env: dict[str, str]) -> None:
    assert nodes.this_node(env) == Node()


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of the second of two nodes; the first one is called localhost."""
    env = {
        "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "12007", "SLURM_NODEID": "1",
        "SLURM_JOB_NODELIST": "localhost,node-[7-8]", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7",
        "SUBMITIT_EXECUTOR": "slurm",
    }  # fmt: skip
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env


def test_all_nodes_of_a_job_meet_at_the_first_one_at_the_same_port(
    two_nodes: dict[str, str],
) -> None:
    pytest.importorskip("submitit")
    second = nodes.this_node(two_nodes)
    assert second == Node(1, 2, "localhost", 20_007)
    first = nodes.this_node(two_nodes | {"SLURM_NODEID": "0"})
    assert first == replace(second, rank=0)
    # Two jobs on the same nodes do not meet each other; the kernel hands out none of these.
    other = nodes.this_node(two_nodes | {"SLURM_JOB_ID": "12008"}).main_port
    assert other != second.main_port
    assert all(20_000 <= port < 32_000 for port in (other, second.main_port))


def test_a_node_whose_name_is_no_host_is_met_where_srun_was_started(
    two_nodes: dict[str, str],
) -> None:
    assert nodes._address("localhost", two_nodes) == "localhost"
    assert nodes._address("no such host.invalid", two_nodes) == "10.0.0.7"
    assert nodes._address("no such host.invalid", {}) == "no such host.invalid"


def test_workers_of_two_nodes_on_one_machine_are_told_apart() -> None:
    assert nodes.local_attempt("slurm-7-0", Node()) == "slurm-7-0"
    assert nodes.local_attempt("slurm-7-0", SECOND) == "slurm-7-0-node1"


REPORT = "\n".join(
    [
        "  exitcode  : -9 (pid: 11)",  # an earlier one: a follower of the true cause
        "Root Cause (first observed failure):",
        "[0]:",
        "  exitcode  : {code} (pid: 12)",
    ]
)


@pytest.mark.parametrize(
    ("node", "code", "reason"),
    [
        (FIRST, "-9", "a training process was killed by SIGKILL"),
        (SECOND, "-7", "a training process was killed by SIGBUS"),
        (FIRST, "-11", "a training process was killed by SIGSEGV"),
        # Told to stop, or failed by itself: what the script said counts, where it was heard.
        (FIRST, "-15", "loss is nan"),
        (FIRST, "1", "loss is nan"),
        (FIRST, "-99", "loss is nan"),
        (SECOND, "1", "training ended while it was running at step 7"),
    ],
)
def test_a_kill_is_the_reason_whatever_the_others_said(node: Node, code: str, reason: str) -> None:
    assert nodes.own_reason(FAILED, node, REPORT.format(code=code).split("\n")) == reason


def test_without_a_report_the_state_is_what_is_known() -> None:
    assert nodes.own_reason(FAILED, FIRST, []) == "loss is nan"
    silent = replace(FAILED, error=None)
    ended = "training ended while it was running at step 7"
    assert nodes.own_reason(silent, FIRST, ["the last words"]) == ended


def test_alone_a_node_waits_for_nobody(run: RunPaths) -> None:
    assert nodes.with_other_nodes(run, Node(), "slurm-7-0", "why") == "why"


def test_reasons_of_all_nodes_are_told_a_kill_in_front(run: RunPaths) -> None:
    killed = "a training process was killed by SIGKILL"
    nodes.note_reason(run, SECOND, "slurm-7-0", killed)
    found = nodes.with_other_nodes(run, FIRST, "slurm-7-0", "loss is nan")
    assert found == f"node 1 ({HERE}): {killed}; node 0 ({HERE}): loss is nan"
    nodes.note_reason(run, SECOND, "slurm-7-0", "it's\nover ü")
    found = nodes.with_other_nodes(run, FIRST, "slurm-7-0", killed)
    assert found == f"node 0 ({HERE}): {killed}; node 1 ({HERE}): it's\nover ü"


def test_a_late_node_is_waited_for(run: RunPaths) -> None:
    late = threading.Timer(0.25, nodes.note_reason, (run, SECOND, "slurm-7-0", "late"))
    late.start()
    assert "late" in nodes.with_other_nodes(run, FIRST, "slurm-7-0", "first")
    late.join()


def test_a_silent_node_and_one_of_an_earlier_start_are_not_waited_for_for_ever(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "_OTHERS_S", 0.25)
    nodes.note_reason(run, SECOND, "slurm-7-0", "of yesterday")
    three = Node(0, 3)
    nodes.note_reason(run, replace(three, rank=2), "slurm-7-1", "of today")
    found = nodes.with_other_nodes(run, three, "slurm-7-1", "first")
    assert found == f"node 0 ({HERE}): first; node 2 ({HERE}): of today"


def test_a_noted_reason_is_whole_json_with_its_start(run: RunPaths) -> None:
    nodes.note_reason(run, SECOND, "slurm-7-0", "why")
    noted = json.loads(run.node_reason(1).read_text())
    assert noted == {"attempt": "slurm-7-0", "reason": f"node 1 ({HERE}): why"}


def test_the_log_to_read_is_this_nodes_own(run: RunPaths) -> None:
    folder = run.logs("train")
    assert nodes.log_place(run, Node(), {}) == folder
    assert nodes.log_place(run, SECOND, {"SLURM_JOB_ID": "7"}) == folder / "7_1_log.out"
    assert nodes.log_place(run, SECOND, {}) == folder / "?_1_log.out"
