"""Every name inside a run folder; no other module spells one.

<runs_dir>/<name>/<run id>/
  spec.yaml site.yaml manifest.json  code/ (the package when the run was submitted: its jobs' own)
  scripts/<job>.sbatch  scripts/commands.sh
  logs/<job>/
  checkpoints/checkpoint-<step>/  (of LoRA: merged-<fingerprint>/ in it, made by evaluation)
  train/state.json  train/log.jsonl  train/checkpoints.jsonl
  eval/<checkpoint>/<benchmark>/metrics.json task.json output-rs<k>.jsonl server.log
                                judgements.jsonl judge.log
  eval/<checkpoint>/metrics.json
  serve/state.json  serve/server.log  local/
  results.csv results_long.csv results.png train.png
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

from harness.errors import UserError, nearest, quoted

RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z]{4}\Z")
MANIFEST = "manifest.json"
COMPLETE_MARKER = "HARNESS_COMPLETE.json"
MERGED_MARKER = "HARNESS_MERGED.json"
BASE = "base"
"""Name of the model before training, where a checkpoint's name is expected."""


def new_run_id() -> str:
    """UTC time and 4 random letters, e.g. `20260131-120000-abcd`; sorts by time."""
    letters = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(4))
    return f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{letters}"


def checkpoint_name(step: int) -> str:
    """`checkpoint-<step>`, the Trainer's own name."""
    return f"checkpoint-{step}"


def checkpoint_step(name: str) -> int | None:
    """The step in a checkpoint's own name; 0 for the base model, None for any other name."""
    if name == BASE:
        return 0
    match = re.fullmatch(r"checkpoint-(0|[1-9][0-9]{0,17})", name)
    return int(match[1]) if match else None


_STEP_NAME = re.compile(
    r"(?:checkpoint|ckpt|global[-_]?step|step|iter(?:ation)?)[-_=]?([0-9]{1,18})"
    r"(?:[-_](?:hf|merged|unsharded))?",
    re.IGNORECASE,
)


def step_of_name(name: str) -> int | None:
    """The step that the name of anybody's checkpoint folder tells; 0 for the base model.

    As trainers name them: `checkpoint-500` (transformers), `global_step_500` (verl),
    `global_step500` (DeepSpeed, OpenRLHF), `step_500`, `step-500` (open-instruct, torchtitan),
    `step500-unsharded` (OLMo), `iter_0000500` (Megatron), and `…-hf` beside them. None for any
    other name.
    """
    if name == BASE:
        return 0
    match = _STEP_NAME.fullmatch(name)
    return int(match[1]) if match else None


def merged_name(fingerprint: str) -> str:
    """Folder in a LoRA checkpoint with the merged model of that very adapter and base."""
    return f"merged-{fingerprint}"


@dataclass(frozen=True)
class RunPaths:
    """The files of one run."""

    root: Path

    @property
    def name(self) -> str:
        """The run's name (its parent folder)."""
        return self.root.parent.name

    @property
    def run_id(self) -> str:
        """The run's id (its own folder)."""
        return self.root.name

    @property
    def spec(self) -> Path:
        return self.root / "spec.yaml"

    @property
    def site(self) -> Path:
        return self.root / "site.yaml"

    @property
    def manifest(self) -> Path:
        return self.root / MANIFEST

    @property
    def scripts(self) -> Path:
        return self.root / "scripts"

    def script(self, job: str) -> Path:
        return self.scripts / f"{job}.sbatch"

    @property
    def commands(self) -> Path:
        return self.scripts / "commands.sh"

    @property
    def code(self) -> Path:
        return self.root / "code"

    def logs(self, job: str) -> Path:
        return self.root / "logs" / job

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def train(self) -> Path:
        return self.root / "train"

    @property
    def train_state(self) -> Path:
        return self.train / "state.json"

    @property
    def written_checkpoints(self) -> Path:
        return self.train / "checkpoints.jsonl"

    @property
    def prune_lock(self) -> Path:
        return self.train / ".prune.lock"

    @property
    def train_log(self) -> Path:
        return self.train / "log.jsonl"

    def node_reason(self, rank: int) -> Path:
        """What went wrong on another node than the first."""
        return self.train / f"node-{rank}.json"

    @property
    def train_plot(self) -> Path:
        return self.root / "train.png"

    @cached_property
    def eval(self) -> Path:
        return self.root / "eval"

    def checkpoint_eval(self, checkpoint: str) -> Path:
        return self.eval / checkpoint

    def checkpoint_metrics(self, checkpoint: str) -> Path:
        return self.eval / checkpoint / "metrics.json"

    def cell(self, checkpoint: str, benchmark: str) -> CellPaths:
        return CellPaths(self.eval.joinpath(checkpoint, benchmark))

    @property
    def serve_state(self) -> Path:
        """What became of a server of its own (`python -m harness serve`)."""
        return self.root / "serve" / "state.json"

    @property
    def serve_log(self) -> Path:
        return self.root / "serve" / "server.log"

    @property
    def local(self) -> Path:
        return self.root / "local"

    @property
    def results_csv(self) -> Path:
        return self.root / "results.csv"

    @property
    def results_long_csv(self) -> Path:
        return self.root / "results_long.csv"

    @property
    def results_plot(self) -> Path:
        return self.root / "results.png"


@dataclass(frozen=True)
class CellPaths:
    """The files of one cell (checkpoint x benchmark)."""

    root: Path

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.json"

    @property
    def task(self) -> Path:
        return self.root / "task.json"

    @property
    def server_log(self) -> Path:
        return self.root / "server.log"

    @property
    def judge_log(self) -> Path:
        """Log of a judge that the task serves itself."""
        return self.root / "judge.log"

    @property
    def program(self) -> Path:
        """What an evaluator that is a program of its own (ns, lm-eval) writes."""
        return self.root / "program"

    def output(self, repeat: int = 0) -> Path:
        return self.root / f"output-rs{repeat}.jsonl"

    def partial(self, repeat: int = 0) -> Path:
        """Answers as they come; gone once graded."""
        return self.root / f"partial-rs{repeat}.jsonl"

    @property
    def judgements(self) -> Path:
        """A judge's answers as they come; kept, for they are paid for."""
        return self.root / "judgements.jsonl"


def key_file(run_id: str) -> Path:
    """Where the key of a server of its own lies: in the user's home, which nodes share.

    `$XDG_STATE_HOME/harness/keys/<run id>.key`, by default below `~/.local/state`.
    """
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "harness" / "keys" / f"{run_id}.key"


def link_latest(root: Path) -> None:
    """Point `<runs_dir>/<name>/latest` at a run, atomically."""
    link = root.parent / "latest"
    temporary = root.parent / f".latest.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(root.name)
    os.replace(temporary, link)


def find_runs(runs_dir: Path) -> list[RunPaths]:
    """All runs under a runs folder, oldest first."""
    if not runs_dir.is_dir():
        return []
    found = [m.parent for m in runs_dir.glob(f"*/*/{MANIFEST}") if RUN_ID.match(m.parent.name)]
    return [RunPaths(root) for root in sorted(found, key=lambda root: (root.name, root))]


def find_run(word: str | None, runs_dir: Path) -> RunPaths:
    """A run by folder, id or name (its latest); without a word the latest of all.

    Raises UserError when there is none.
    """
    if word and os.path.isfile(os.path.join(word, MANIFEST)):  # False of what no file system takes
        return RunPaths(Path(word).resolve())
    runs = find_runs(runs_dir)
    matching = [run for run in runs if word in (None, run.name, run.run_id)]
    if matching:
        return matching[-1]
    if word is not None:
        known = {run.name for run in runs} | {run.run_id for run in runs}
        raise UserError(
            f"{quoted(word) or 'an empty word'}: no run folder, and no run of that name or id "
            f"under {runs_dir}"
            f"{nearest(word, known)}"
        )
    raise UserError(f"no run under {runs_dir} yet; start one with `python -m harness submit`")
