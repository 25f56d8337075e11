"""Every name inside a run folder; no other module spells one.

<runs_dir>/<name>/<run id>/
  spec.yaml site.yaml manifest.json
  scripts/<job>.sbatch  scripts/commands.sh
  logs/<job>/
  checkpoints/checkpoint-<step>/  (of LoRA: merged-<fingerprint>/ in it, made by evaluation)
  train/state.json  train/log.jsonl
  eval/<checkpoint>/<benchmark>/metrics.json task.json output-rs<k>.jsonl server.log
                                judgements.jsonl judge.log
  eval/<checkpoint>/metrics.json
  serve/state.json  serve/server.log
  local/
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

from harness.errors import UserError, nearest

RUN_ID = re.compile(r"^\d{8}-\d{6}-[a-z]{4}$")
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
    """The step in a checkpoint's name; 0 for the base model, None for any other name."""
    if name == BASE:
        return 0
    match = re.fullmatch(r"checkpoint-(\d+)", name)
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


@dataclass(frozen=True)
class TokenisedPaths:
    """Rows tokenised once, shared by every run that asks for the same."""

    cache: Path
    key: str

    @property
    def root(self) -> Path:
        return self.cache / self.key

    @property
    def rows(self) -> Path:
        return self.root / "rows"

    @property
    def facts(self) -> Path:
        """What the rows were made from; written last."""
        return self.root / "facts.json"

    @property
    def lock(self) -> Path:
        return self.cache / f"{self.key}.lock"

    @property
    def alive(self) -> Path:
        """Touched while they are being made."""
        return self.cache / f"{self.key}.alive"

    @property
    def problem(self) -> Path:
        """Why they could not be made."""
        return self.cache / f"{self.key}.error"

    @property
    def is_whole(self) -> bool:
        return self.facts.is_file()


def tokenised_cache(run: RunPaths) -> Path:
    """Shared by all runs of a runs folder; may be deleted when no training is running."""
    return run.root.parent.parent / ".tokenised"


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
    if word and (Path(word) / MANIFEST).is_file():
        return RunPaths(Path(word).resolve())
    runs = find_runs(runs_dir)
    matching = [run for run in runs if word in (None, run.name, run.run_id)]
    if matching:
        return matching[-1]
    if word:
        known = {run.name for run in runs} | {run.run_id for run in runs}
        raise UserError(
            f"{word}: no run folder, and no run of that name or id under {runs_dir}"
            f"{nearest(word, known)}"
        )
    raise UserError(f"no run under {runs_dir} yet; start one with `python -m harness submit`")
