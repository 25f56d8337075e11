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
from pathlib import Path

from harness.compute.train.launch import Node
from harness.runs.files import read_json, write_json
from harness.runs.paths import RunPaths
from harness.runs.train_state import TrainState

_FIRST_PORT, _PORTS = 20_000, 12_000
"""Below the ports that Linux hands out by itself (32,768 and up)."""
_OTHERS_S = 10.0
"""For the other nodes to say what went wrong with them, once training has failed on the first."""


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


def note_reason(paths: RunPaths, node: Node, attempt: str, reason: str) -> None:
    """Leave for the first node what went wrong on this one."""
    told = f"node {node.rank} ({socket.gethostname()}): {reason}"
    write_json(paths.node_reason(node.rank), {"attempt": attempt, "reason": told})


def with_other_nodes(paths: RunPaths, node: Node, attempt: str, reason: str) -> str:
    """The first node's reason and those of the others, a kill in front."""
    if node.count == 1:
        return reason
    end = time.monotonic() + _OTHERS_S
    others: list[str] = []
    while len(others) < node.count - 1 and time.monotonic() < end:
        found = [_noted(paths.node_reason(rank), attempt) for rank in range(1, node.count)]
        others = [text for text in found if text]
        time.sleep(0.2)
    reasons = [f"node {node.rank} ({socket.gethostname()}): {reason}", *others]
    return "; ".join(sorted(reasons, key=lambda text: " was killed by " not in text))


def _noted(path: Path, attempt: str) -> str:
    if not path.is_file():
        return ""
    noted = read_json(path)
    return str(noted["reason"]) if noted.get("attempt") == attempt else ""


def log_place(paths: RunPaths, node: Node, env: Mapping[str, str]) -> Path:
    """The log to read: of this node's task where there are several, else the job's folder."""
    folder = paths.logs("train")
    if node.count == 1:
        return folder
    return folder / f"{env.get('SLURM_JOB_ID', '?')}_{node.rank}_log.out"
