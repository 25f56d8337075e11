"""The training job of a run: spec -> `accelerate launch` -> what its state file says.

By hand, or inside a job:

    python -m harness.compute.train.job RUN_DIR
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from harness.compute.train.launch import (
    Node,
    accelerate_config,
    command,
    environment,
    script_arguments,
)
from harness.compute.train.processes import Launcher, launched
from harness.compute.train.state import TrainState, read_state, write_state
from harness.config.load import PROJECT_ROOT, load_spec
from harness.config.train import TrainSpec
from harness.errors import ResultError, TrainingError, UserError
from harness.runs.files import write_json, write_text
from harness.runs.paths import RunPaths

_TAIL_SHOWN = 15


def run(run_dir: str) -> str:
    """Train a run until it is done or told to stop; returns `complete`, `preempted` or `stopped`.

    On USR2 or TERM the workers save one checkpoint together, and the same call, made again, goes
    on from there. USR2 (the time limit comes near) gives `preempted`: requeue it. TERM gives
    `stopped`: somebody cancelled the job, or the scheduler takes the machine and requeues itself. The former signal handlers are back by then, so
    a caller may pass the signal on to submitit's own. Raises TrainingError with the log's last
    lines when training fails, UserError for a spec that cannot be trained.
    """
    paths = RunPaths(Path(run_dir).resolve())
    train = load_spec(paths.spec).train
    node, attempt = this_node(os.environ), this_attempt(os.environ)
    argv = prepare(paths, train, node)
    if node.rank == 0:
        write_state(paths.train_state, TrainState("running", attempt=attempt))
    cores = len(os.sched_getaffinity(0))
    env = environment(os.environ, train, PROJECT_ROOT, cores, attempt)
    with launched(argv, env, cwd=PROJECT_ROOT) as launcher:
        code = launcher.wait()
    return outcome(paths, node, attempt, launcher, code)


def prepare(paths: RunPaths, train: TrainSpec, node: Node) -> list[str]:
    """Write the launcher's and the script's files into the run folder; returns the command."""
    output = Path(train.output_dir) if train.output_dir else paths.checkpoints
    arguments = script_arguments(train, paths.root, output.resolve(), template(train))
    # One launcher file for each node: they differ in machine_rank.
    suffix = f"-{node.rank}" if node.count > 1 else ""
    accelerate_file = paths.train / f"accelerate{suffix}.yaml"
    write_text(accelerate_file, yaml.safe_dump(accelerate_config(train, node), sort_keys=False))
    arguments_file = paths.train / "sft.json"
    write_json(arguments_file, arguments)
    return command(accelerate_file, arguments_file)


def template(train: TrainSpec) -> Path | None:
    """The spec's chat template: as given, or relative to the project. Raises UserError."""
    if train.chat_template_path is None:
        return None
    given = Path(train.chat_template_path).expanduser()
    for path in (given, PROJECT_ROOT / given):
        if path.is_file():
            return path.resolve()
    raise UserError(f"train.chat_template_path: {given}: no such file")


def this_node(env: Any) -> Node:
    """Which node of the Slurm job this is; the only one outside Slurm or on a single node."""
    count = int(env.get("SLURM_JOB_NUM_NODES", env.get("SLURM_NNODES", "1")))
    if count <= 1:
        return Node()
    # submitit reads Slurm's folded host lists; it is what started us.
    from submitit import JobEnvironment

    slurm = JobEnvironment()
    port = 20_000 + int(env["SLURM_JOB_ID"]) % 20_000
    return Node(int(env["SLURM_NODEID"]), count, slurm.hostnames[0], port)


def this_attempt(env: Any) -> str:
    """A name for this start of the job, the same on all its nodes."""
    job = env.get("SLURM_JOB_ID")
    if job is None:
        return f"local-{secrets.token_hex(4)}"
    step = env.get("SLURM_RESTART_COUNT", "0")
    return f"slurm-{job}-{step}"


def outcome(paths: RunPaths, node: Node, attempt: str, launcher: Launcher, code: int) -> str:
    """Read how it ended from the state file, not from the return code. Raises TrainingError."""
    state = read_state(paths.train_state)
    if state is None or state.attempt != attempt:
        reason = "training left no state of this attempt"
    elif state.state == "preempted" and code < 0 and not launcher.stop_requested:
        # Orphans save when they are ended; that must not look like a request to requeue.
        reason = f"the launcher was killed by signal {-code}; its workers saved step {state.step}"
    elif state.state in ("complete", "preempted"):
        print(f"training is {state.state} at step {state.step} of {state.max_steps}", flush=True)
        stopped = state.state == "preempted" and launcher.stop_signal == signal.SIGTERM
        return "stopped" if stopped else state.state
    else:
        reason = state.error or f"training ended while it was running at step {state.step}"
    reason = f"{reason} (the launcher exited {code})"
    if node.rank == 0:
        ours = state if state is not None and state.attempt == attempt else TrainState("failed")
        failed = replace(ours, state="failed", attempt=attempt, error=reason)
        write_state(paths.train_state, failed)
    tail = "\n".join(f"  {line}" for line in list(launcher.tail)[-_TAIL_SHOWN:])
    raise TrainingError(f"{reason}\nlast lines:\n{tail}", paths.logs("train"))


if __name__ == "__main__":
    try:
        print(run(sys.argv[1]))
    except (TrainingError, UserError, ResultError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
