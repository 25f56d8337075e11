"""The training job of a run: spec -> `accelerate launch` -> what its state file says.

By hand, or inside a job:

    python -m harness.compute.train.job RUN_DIR
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from harness.compute.train.launch import (
    SHUTDOWN_S,
    Node,
    accelerate_config,
    command,
    environment,
)
from harness.compute.train.launcher import Launcher, launched
from harness.compute.train.nodes import (
    local_attempt,
    log_place,
    note_reason,
    own_reason,
    this_node,
    with_other_nodes,
)
from harness.config.load import load_spec
from harness.config.training.script import script_arguments
from harness.config.training.train import TrainSpec
from harness.errors import (
    ResultError,
    TrainingCrashed,
    TrainingError,
    TrainingSuperseded,
    UserError,
)
from harness.package import ROOT, find_template
from harness.runs.checkpoints import complete_checkpoints
from harness.runs.files import write_json, write_text
from harness.runs.paths import RunPaths
from harness.runs.train_state import TrainState, read_state, write_state

_TAIL_SHOWN = 15
_VERDICT_S = SHUTDOWN_S + 60.0
"""How long other nodes wait for the first node's word."""
ELSEWHERE = "left to the first node"


def run(run: RunPaths) -> str:
    """Train a run until it is done or told to stop; returns `complete`, `preempted` or `stopped`.

    On USR2 or TERM the workers save one checkpoint together, and the same call, made again, goes
    on from there. USR2 (the time limit comes near) gives `preempted`: requeue it. TERM gives
    `stopped`: somebody cancelled the job, or the scheduler takes the machine and requeues itself.
    The former signal handlers are back by then, so a caller may pass the signal on to submitit's
    own. On any node but the first it returns ELSEWHERE. Raises TrainingError with the log's last
    lines when training fails, TrainingCrashed when another start may go on, UserError for a spec
    that cannot be trained.
    """
    paths = RunPaths(run.root.resolve())
    train = load_spec(paths.spec).train
    node, attempt = this_node(os.environ), this_attempt(os.environ, paths.root.name)
    argv = prepare(paths, train, node)
    if node.rank == 0:
        begin(paths, attempt)
    first = newest_step(paths, train)
    cores = len(os.sched_getaffinity(0))
    env = environment(os.environ, train, ROOT, cores, local_attempt(attempt, node))
    with launched(argv, env, cwd=ROOT) as launcher:
        code = launcher.wait()
    if node.rank > 0:
        return left_to_first_node(paths, node, attempt, launcher, code)
    return outcome(paths, train, node, attempt, launcher, code, first)


def prepare(paths: RunPaths, train: TrainSpec, node: Node) -> list[str]:
    """Write the launcher's and the script's files into the run folder; returns the command."""
    arguments = script_arguments(train, paths.root, output_dir(paths, train), template(train))
    # One launcher file for each node: they differ in machine_rank.
    suffix = f"-{node.rank}" if node.count > 1 else ""
    accelerate_file = paths.train / f"accelerate{suffix}.yaml"
    write_text(accelerate_file, yaml.safe_dump(accelerate_config(train, node), sort_keys=False))
    arguments_file = paths.train / "sft.json"
    write_json(arguments_file, arguments)
    return command(accelerate_file, arguments_file)


def output_dir(paths: RunPaths, train: TrainSpec) -> Path:
    """Where checkpoints go."""
    return Path(train.output_dir or paths.checkpoints).resolve()


def template(train: TrainSpec) -> Path | None:
    """The spec's chat template: as given, or a shipped one. Raises UserError."""
    if train.chat_template_path is None:
        return None
    path = find_template(Path(train.chat_template_path).expanduser())
    if path.is_file():
        return path.resolve()
    raise UserError(f"train.chat_template_path: {path}: no such file")


def this_attempt(env: Any, run: str) -> str:
    """A name for this start of the job, the same on all its nodes.

    With the run's name: what is left of an attempt is ended by it, and the local scheduler numbers
    the jobs of every `runs_dir` from 1.
    """
    job = env.get("SLURM_JOB_ID")
    if job is None:
        return f"local-{secrets.token_hex(4)}"
    step = env.get("SLURM_RESTART_COUNT", "0")
    return f"slurm-{job}-{run}-{step}"


def begin(paths: RunPaths, attempt: str) -> None:
    """State of a start: of the same Slurm job it keeps the number of restarts."""
    known = read_state(paths.train_state)
    job = attempt.rpartition("-")[0]
    same = known is not None and known.attempt.rpartition("-")[0] == job
    restarts = known.restarts if known is not None and same else 0
    write_state(paths.train_state, TrainState("running", attempt=attempt, restarts=restarts))


def outcome(
    paths: RunPaths, train: TrainSpec, node: Node, attempt: str, launcher: Launcher, code: int,
    first: int,
) -> str:  # fmt: skip
    """Read how it ended from the state file, not from the return code.

    `first` is the step that this start began with. Raises TrainingError; TrainingCrashed where
    another start may go on: no known mistake, and a newer checkpoint than at the start.
    """
    state = read_state(paths.train_state)
    if state is not None and state.attempt != attempt:
        raise TrainingSuperseded(f"{state.attempt} trains this run now: {attempt} has ended")
    if state is None:
        state, reason = TrainState("failed", attempt=attempt), "training left no state"
    elif state.state == "preempted" and code < 0 and not launcher.stop_requested:
        # Orphans save when they are ended; that must not look like a request to requeue.
        reason = f"the launcher was killed by signal {-code}; its workers saved step {state.step}"
    elif state.state in ("complete", "preempted"):
        print(f"training is {state.state} at step {state.step} of {state.max_steps}", flush=True)
        stopped = state.state == "preempted" and launcher.stop_signal == signal.SIGTERM
        return "stopped" if stopped else state.state
    else:
        reason = own_reason(state, node, launcher.tail)
    reason = f"{reason} (the launcher exited {code})"
    reason = with_other_nodes(paths, node, attempt, reason)
    write_state(paths.train_state, replace(state, state="failed", error=reason))
    crashed = not state.final and launcher.stop_signal != signal.SIGTERM
    kind = TrainingCrashed if crashed and newest_step(paths, train) > first else TrainingError
    raise kind(f"{reason}\n{last_lines(launcher)}", log_place(paths, node, os.environ))


def left_to_first_node(
    paths: RunPaths, node: Node, attempt: str, launcher: Launcher, code: int
) -> str:
    """Wait on another node until the first one has said how this start ended.

    Slurm ends the whole step when one task of it fails, so only the first node asks for a restart.
    Raises TrainingError when it has failed, or says nothing.
    """
    state = read_state(paths.train_state)
    if code != 0 and state is not None:
        note_reason(paths, node, attempt, own_reason(state, node, launcher.tail))
    deadline = time.monotonic() + _VERDICT_S
    while time.monotonic() < deadline:
        state = read_state(paths.train_state)
        if state is not None and (state.attempt, state.state) != (attempt, "running"):
            if state.attempt == attempt and state.state == "failed":
                raise TrainingError(
                    f"{state.error}\n{last_lines(launcher)}", log_place(paths, node, os.environ)
                )
            print(f"training is {state.state} at step {state.step} of {state.max_steps}")
            return ELSEWHERE
        time.sleep(0.5)
    raise TrainingError("training ended on this node, and not on the first", paths.logs("train"))


def last_lines(launcher: Launcher) -> str:
    """The end of what the workers wrote."""
    tail = "\n".join(f"  {line}" for line in list(launcher.tail)[-_TAIL_SHOWN:])
    return f"last lines:\n{tail}" if tail else "it wrote nothing"


def newest_step(paths: RunPaths, train: TrainSpec) -> int:
    """Step of the newest marked checkpoint; 0 when there is none."""
    return max(complete_checkpoints(output_dir(paths, train)), default=0)


def restart_after_crash(run: RunPaths, error: TrainingCrashed) -> bool:
    """Whether a crashed job may be requeued; if so, its state says so.

    Each start must have completed a checkpoint, so a job that always crashes at the same place
    ends; `train.max_restarts` limits the rest.
    """
    paths = RunPaths(run.root.resolve())
    state, limit = read_state(paths.train_state), load_spec(paths.spec).train.max_restarts
    if state is None or state.restarts >= limit:
        return False
    restarts = state.restarts + 1
    print(f"{error}\nrestart {restarts} of at most {limit} from the newest checkpoint", flush=True)
    write_state(paths.train_state, replace(state, state="preempted", restarts=restarts))
    return True


if __name__ == "__main__":
    try:
        print(run(RunPaths(Path(sys.argv[1]))))
    except (TrainingError, UserError, ResultError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
