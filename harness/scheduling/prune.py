"""Checkpoints that nobody needs any more: evaluated, not the newest, not among those to keep."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from harness.benchmarks.registry import BENCHMARKS
from harness.config.training.train import TrainSpec
from harness.errors import ResultError
from harness.plan.facts import RunFacts
from harness.runs.checkpoints import (
    finish_pruning,
    is_resumable,
    prune_checkpoint,
    prune_optimizer,
)
from harness.runs.metrics import TaskRecord, flatten, read_metrics
from harness.runs.paths import RunPaths, checkpoint_name


@dataclass(frozen=True)
class Evaluated:
    """What is known of the evaluation of one checkpoint."""

    final: bool
    """Every planned cell has its last word; true where none is planned."""
    score: float | None = None
    """By which `best:N` ranks; None when it is not known (never taken for 0)."""


def to_prune(
    train: TrainSpec,
    marked: Collection[int],
    evaluated: Mapping[int, Evaluated],
    pruned: Collection[int] = (),
) -> list[int]:
    """Steps of the checkpoints to prune, in order. Pure.

    `marked`: all complete checkpoints, `pruned`: those of them without their optimizer state.
    Never the newest one that training can go on from, nor any after it; never one whose
    evaluation is not final. `best:N` keeps the N best known scores (of equals the later) and
    every checkpoint that was to be evaluated and has no score; what was never to be evaluated
    (an interruption's checkpoint) is not kept.
    """
    resumable = set(marked) - set(pruned)
    if train.keep_checkpoints == "all" or not resumable:
        return []
    older = sorted(step for step in marked if step < max(resumable))
    if train.keep_best is None:
        kept = set(sorted(marked)[-int(train.keep_checkpoints):])  # fmt: skip
    else:
        scores = {s: e.score for s, e in evaluated.items() if e.score is not None and s in marked}
        kept = set(sorted(scores, key=lambda s: (scores[s], s))[-train.keep_best:])  # fmt: skip
        kept |= {s for s in marked if s in evaluated and evaluated[s].score is None}
    done = set(pruned) if train.prune == "optimizer" else set()
    final = {s for s in older if s not in evaluated or evaluated[s].final}
    return [s for s in older if s in final - kept - done]


def prune_run(run: RunPaths) -> list[str]:
    """Prune what the spec allows by now; returns a line for each checkpoint.

    Safe to call at any time from any job: decided from files, under a lock; when another job
    holds it, that one does the work. Raises ResultError for unreadable files, OSError.
    """
    facts = RunFacts(run)
    train = facts.train
    if train is None or train.keep_checkpoints == "all":
        return []  # a model that we did not train is never ours to delete
    run.train.mkdir(exist_ok=True)
    try:
        with FileLock(run.prune_lock, timeout=0):
            return _prune(facts, train)
    except Timeout:
        return []


def _prune(facts: RunFacts, train: TrainSpec) -> list[str]:
    finish_pruning(facts.checkpoints_dir)
    # In a shared output_dir another run's checkpoints are not ours to judge, nor to delete.
    marked = {s: path for s, path in facts.complete.items() if _is_ours(facts, path)}
    evaluated = {s: found for s in marked if (found := _evaluated(facts, train, s))}
    pruned = [step for step, path in marked.items() if not is_resumable(path)]
    lines = []
    for step in to_prune(train, marked, evaluated, pruned):
        delete = prune_checkpoint if train.prune == "checkpoint" else prune_optimizer
        gigabytes = delete(marked[step]) / 1e9
        what = "" if train.prune == "checkpoint" else ", its optimizer state"
        lines.append(f"pruned {checkpoint_name(step)}{what}: {gigabytes:.3g} GB freed")
    return lines


def _is_ours(facts: RunFacts, checkpoint: Path) -> bool:
    return (facts.marker(checkpoint.name) or {}).get("run") == facts.run.run_id


def _evaluated(facts: RunFacts, train: TrainSpec, step: int) -> Evaluated | None:
    """The evaluation of a checkpoint; None when it was never to be evaluated."""
    name, plan = checkpoint_name(step), facts.plan
    cells, marker = plan.cells_of(name), facts.marker(name) or {}
    if not cells:
        # Training that took more steps than the plan foresaw leaves some that nobody has seen.
        unforeseen = marker.get("planned", True) and step > plan.total_steps
        return Evaluated(final=False) if plan.checkpoints and unforeseen else None
    identity = marker.get("fingerprint")
    records = [facts.record(cell.checkpoint, cell.benchmark) for cell in cells]
    if not all(_is_final(record, identity, train) for record in records):
        return Evaluated(final=False)
    if any(record is None or record.state != "ok" for record in records):
        return Evaluated(final=True)
    return Evaluated(True, _score(facts.run, [c.benchmark for c in cells], name, train))


def _is_final(record: TaskRecord | None, identity: object, train: TrainSpec) -> bool:
    """Failed cells are to be retried, and so may be invalid ones: both need the model."""
    if record is None or record.facts.get("fingerprint") != identity:
        return False
    return record.state == "ok" or (record.state == "invalid" and train.prune == "optimizer")


def _score(run: RunPaths, benchmarks: list[str], checkpoint: str, train: TrainSpec) -> float | None:
    values: dict[str, object] = {}
    for name in benchmarks:
        values |= dict(flatten(read_metrics(run.cell(checkpoint, name).metrics)))
    if train.best_metric is not None:
        columns = [train.best_metric]
    else:
        columns = [f"{name}/pass@1/{BENCHMARKS[name].headline}" for name in benchmarks]
    found = [values.get(column) for column in columns]
    numbers = [v for v in found if isinstance(v, int | float)]
    return sum(numbers) / len(numbers) if len(numbers) == len(columns) else None


def prune_reported(run: RunPaths) -> None:
    """Prune and print; whatever goes wrong is a warning, the job that calls has done its work."""
    try:
        lines = prune_run(run)
    except (ResultError, OSError) as error:
        lines = [f"warning: nothing more is pruned: {error}"]
    for line in lines:
        print(line, flush=True)
