"""A run, or a single metrics file -> one table in which nothing is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.benchmarks.registry import BENCHMARKS
from harness.errors import UserError
from harness.plan.facts import RunFacts
from harness.plan.manifest import read_manifest
from harness.results.table import Problem, Row, Table, long_csv_text, write_csv
from harness.runs.files import write_text
from harness.runs.metrics import Metrics, read_metrics
from harness.runs.paths import RunPaths, checkpoint_name, checkpoint_step, find_run, find_runs
from harness.scheduling.status import RunStatus, run_status


def collect_run(run: RunPaths) -> Table:
    """The table of a run, every planned cell accounted for; also written into the run folder.

    What cannot be written or drawn there is noted in the table.
    Raises ResultError when the manifest is unreadable, UserError for a server of its own.
    """
    status = run_status(run)
    if status.manifest.plan.serves:
        raise UserError(f"{run.name}/{run.run_id} is a served model: it has no table")
    table = run_table(status)
    try:
        write_csv(run.results_csv, table)
        write_text(run.results_long_csv, long_csv_text(table))
        if table.columns:
            from harness.results.plots import plot_table

            plot_table(table, headlines(table), run.results_plot)
        _plot_training(status.facts)
    except (UserError, OSError) as error:
        return replace(table, notes=(*table.notes, f"{run.root}: {error}"))
    return table


def latest_run(runs_dir: Path) -> RunPaths:
    """The newest run that has a table. Raises UserError when there is none."""
    for run in reversed(find_runs(runs_dir)):
        if not read_manifest(run).plan.serves:
            return run
    return find_run(None, runs_dir)


def _plot_training(facts: RunFacts) -> None:
    run = facts.run
    if not run.train_log.is_file():
        return
    from harness.results.training_curve import plot_training, read_log

    entries = read_log(run.train_log)
    if entries:
        plot_training(entries, sorted(facts.complete), f"{run.name}  {run.run_id}", run.train_plot)


def run_table(status: RunStatus) -> Table:
    """The table of a run as it stands."""
    run, plan = status.run, status.manifest.plan
    metrics: dict[str, Metrics] = {c.name: {} for c in plan.checkpoints}
    origins: dict[tuple[str, str], Mapping[str, Any]] = {}
    problems = []
    for cell in status.cells:
        name, benchmark = cell.cell.checkpoint, cell.cell.benchmark
        if cell.state == "ok":
            own = cell.metrics or {}
            metrics[name] |= own
            facts = cell.record.facts if cell.record else {}
            origins |= {(name, key): facts for key in own}
        else:
            log = cell.log if Path(cell.log).exists() else ""
            problems.append(Problem(name, benchmark, cell.state, cell.reason, log))
    rows = tuple(Row.of(run.name, c.name, c.step, metrics[c.name]) for c in plan.checkpoints)
    return Table(rows, tuple(problems), len(status.cells), tuple(_notes(status)), origins)


def _notes(status: RunStatus) -> list[str]:
    notes = [f"the scheduler could not be asked: {status.problem}"] if status.problem else []
    for cell in status.cells:
        for text in cell.record.facts.get("warnings", []) if cell.record else []:
            notes.append(f"{cell.cell.checkpoint} x {cell.cell.benchmark}: {text}")
    last = max((c.step for c in status.manifest.plan.checkpoints), default=0)
    beyond = [s for s in status.facts.complete if s > last]
    notes += [f"{checkpoint_name(step)} was written but not planned" for step in beyond if last]
    return notes


def headlines(table: Table) -> list[str]:
    """`<benchmark>/<metric>` that a person looks at first, for the benchmarks in a table."""
    names = dict.fromkeys(column.split("/")[0] for column in table.columns)
    found = []
    for name in names:
        metrics = [c.split("/")[2] for c in table.columns if c.startswith(f"{name}/pass@1/")]
        wanted = [BENCHMARKS[name].headline] if name in BENCHMARKS else _FOREIGN_HEADLINES
        found += [f"{name}/{m}" for m in wanted if m in metrics][:1]
    return found


_FOREIGN_HEADLINES = (
    "symbolic_correct", "judge_correct", "passing_plus_tests", "prompt_strict_accuracy", "score",
    "acc_norm", "acc", "exact_match", "prompt_level_strict_acc", "f1",
)  # fmt: skip
"""Of benchmarks of other programs, the first of these that they have."""


def collect_file(path: Path, name: str) -> Table:
    """One metrics.json as a table of one row, named `name`. Raises ResultError."""
    return Table((Row.of(name, name, checkpoint_step(name), read_metrics(path)),))
