"""Several machines train together: where they meet, who is who, and whose failure it was.

srun starts one task on each node; each starts its own launcher. The script's first rank, on the
first node, writes the state; the other nodes read it, and add only what went wrong with them.
"""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from harness.compute.train.launch import Node
from harness.compute.train.state import TrainState, read_state, write_state
from harness.runs.paths import RunPaths

_FIRST_PORT, _PORTS = 20_000, 12_000
"""Below the ports that Linux hands out by itself (32,768 and up)."""
_STATE_SECONDS = 60.0
"""For another node's last word to show up on a shared file system that caches."""


def this_node(env: Mapping[str, str]) -> Node:
    """Which node of the Slurm job this is; the only one outside Slurm or on a single node."""
    count = int(env.get("SLURM_JOB_NUM_NODES", env.get("SLURM_NNODES", "1")))
    if count <= 1:
        return Node()
    # submitit reads Slurm's folded host lists; it is what started us.
    from submitit import JobEnvironment

    first = JobEnvironment().hostnames[0]
    port = _FIRST_PORT + int(env["SLURM_JOB_ID"]) % _PORTS
    return Node(int(env["SLURM_NODEID"]), count, _address(first, env), port)


def _address(first: str, env: Mapping[str, str]) -> str:
    """The first node's name; where it is no host name, the address that srun was started from.

    The batch script, and so srun, runs on the first node (srun(1), SLURM_LAUNCH_NODE_IPADDR).
    """
    try:
        socket.getaddrinfo(first, None)
    except OSError:
        return env.get("SLURM_LAUNCH_NODE_IPADDR", first)
    return first


def local_attempt(attempt: str, node: Node) -> str:
    """Name of this start on this node: two nodes on one machine leave each other's workers alone."""
    return attempt if node.rank == 0 else f"{attempt}-node{node.rank}"


def last_state(paths: RunPaths, node: Node, attempt: str, code: int) -> TrainState | None:
    """The state, once the first node's last word has arrived where there are several."""
    end = time.monotonic() + (_STATE_SECONDS if node.rank > 0 and code == 0 else 0)
    while True:
        state = read_state(paths.train_state)
        final = state is not None and state.attempt == attempt and state.state != "running"
        if final or time.monotonic() >= end:
            return state
        time.sleep(0.5)


def own_reason(state: TrainState, node: Node, tail: Iterable[str]) -> str:
    """Why training failed, as far as this node can tell.

    The script's first rank writes what it saw, on the first node; elsewhere only the launcher's
    report is left. A worker that was killed is a cause, whatever the others said of it.
    """
    report = "\n".join(tail).rpartition("Root Cause")[2]
    killed = re.search(r"exitcode\s*: -(7|9|11)\b", report)  # torch 2.13, elastic/multiprocessing
    if killed:
        return f"a training process was killed by {signal.Signals(int(killed[1])).name}"
    if state.error and node.rank == 0:
        return state.error
    return f"training ended while it was running at step {state.step}"


def record_failure(paths: RunPaths, node: Node, attempt: str, reason: str) -> None:
    """Write that training failed. With several nodes each adds its own reason, a kill in front."""
    before = read_state(paths.train_state)
    if before is None or before.attempt != attempt:
        before = TrainState("failed")
    if node.count > 1:
        told = before.error if before.state == "failed" else None
        if told and told.startswith("node ") and told in reason:
            return  # read there, where another node had written it
        reason = f"node {node.rank} ({socket.gethostname()}): {reason}"
        if told and told not in reason:
            both = (reason, told) if " was killed by " in reason else (told, reason)
            reason = "; ".join(both)
    write_state(paths.train_state, replace(before, state="failed", attempt=attempt, error=reason))


def log_place(paths: RunPaths, node: Node, env: Mapping[str, str]) -> Path:
    """The log to read: of this node's task where there are several, else the job's folder."""
    folder = paths.logs("train")
    if node.count == 1:
        return folder
    return folder / f"{env.get('SLURM_JOB_ID', '?')}_{node.rank}_log.out"
