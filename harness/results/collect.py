"""A run, or a single metrics file -> one table in which nothing is left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from harness.benchmarks.other_tools import read_tool_results, tool_of
from harness.benchmarks.registry import BENCHMARKS
from harness.errors import ResultError, UserError
from harness.plan.facts import RunFacts
from harness.plan.manifest import read_manifest
from harness.results.merge import merge
from harness.results.names import natural, step_of
from harness.results.sources import ALL, COMBINED, Found, Place
from harness.results.table import (
    Origin,
    Problem,
    Row,
    Table,
    Value,
    origin,
    write_csv,
    write_long_csv,
)
from harness.results.walk import is_tool_file
from harness.runs.files import read_json
from harness.runs.metrics import flatten, read_values
from harness.runs.paths import RunPaths, checkpoint_name, find_run, find_runs
from harness.scheduling.cells import CellStatus
from harness.scheduling.status import RunStatus, cell_statuses, job_states


def collect_run(run: RunPaths) -> Table:
    """The table of a run, every planned cell accounted for; also written into the run folder.

    What cannot be written or drawn there is noted in the table.
    Raises ResultError when the manifest is unreadable, UserError for a server of its own.
    """
    facts = RunFacts(run)
    if facts.plan.serves:
        raise UserError(f"{run.name}/{run.run_id} is a served model: it has no table")
    asked = job_states([facts])[0]
    facts = asked.facts
    table = cells_table(facts, cell_statuses(facts, asked.jobs), asked.problem)
    try:
        write_csv(run.results_csv, table)
        write_long_csv(run.results_long_csv, table)
        if table.columns:
            from harness.results.plots import plot_table

            plot_table(table, headlines(table), run.results_plot)
        _plot_training(facts)
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
    return cells_table(status.facts, status.cells, status.problem)


def cells_table(
    facts: RunFacts, cells: Iterable[CellStatus], problem: str, label: str = ""
) -> Table:
    """The table of a run's planned cells, of which each is looked at once and let go.

    `problem`: why the scheduler could not be asked. `label`: the run's name among others.
    """
    name, plan = label or facts.run.name, facts.plan
    values: dict[str, dict[str, Value]] = {c.name: {} for c in plan.checkpoints}
    names: dict[str, set[str]] = {}
    origins: dict[tuple[str, str, str], Origin] = {}
    problems, notes = [], [f"the scheduler could not be asked: {problem}"] if problem else []
    for cell in cells:
        checkpoint, benchmark = cell.cell.checkpoint, cell.cell.benchmark
        told = cell.record.facts if cell.record else {}
        notes += (f"{checkpoint} x {benchmark}: {text}" for text in told.get("warnings", ()))
        own = names.setdefault(benchmark, set())
        if cell.state == "ok" and cell.metrics is not None:
            own.update(cell.metrics)
            values[checkpoint].update(flatten(cell.metrics))
            came_from = origin(told)
            origins.update(((name, checkpoint, key), came_from) for key in cell.metrics)
        else:
            log = cell.log if Path(cell.log).exists() else ""
            problems.append(Problem(checkpoint, benchmark, cell.state, cell.reason, log, name))
    notes += _unplanned(facts)
    if label:
        notes = [f"{label} {text}" for text in notes]
    rows = tuple(Row(name, c.name, c.step, values[c.name]) for c in plan.checkpoints)
    order = [each for b, own in names.items() for each in (b, *sorted(own - {b}, key=natural))]
    return Table(rows, tuple(problems), len(plan.cells), tuple(notes), origins, tuple(order))


def _unplanned(facts: RunFacts) -> list[str]:
    last = max((c.step for c in facts.plan.checkpoints), default=0)
    try:
        beyond = [step for step in facts.complete if step > last]
    except ResultError as error:
        return [str(error)]
    return [f"{checkpoint_name(step)} was written but not planned" for step in beyond if last]


def headlines(table: Table) -> list[str]:
    """The columns that a person looks at first: one of each benchmark, or all of one that is unknown.

    Subsets of a benchmark (`mmlu-anatomy`) are left to the CSV.
    """
    groups: dict[str, dict[str, list[str]]] = {}
    for column in table.columns:
        benchmark, aggregation, _ = column.split("/", 2)
        groups.setdefault(benchmark, {}).setdefault(aggregation, []).append(column)
    found: list[str] = []
    for benchmark, aggregations in groups.items():
        if benchmark in BENCHMARKS:
            wanted = (f"{benchmark}/pass@1/{BENCHMARKS[benchmark].headline}",)
            found += [c for c in aggregations.get("pass@1", ()) if c in wanted]
        elif not any(benchmark.startswith(f"{whole}-") and whole in BENCHMARKS for whole in groups):
            first = {"pass@1": aggregations["pass@1"]} if "pass@1" in aggregations else aggregations
            found += [column for columns in first.values() for column in _first(columns)]
    return found


def _first(columns: Sequence[str]) -> Sequence[str]:
    """Of one aggregation of another program's benchmark."""
    for metric in _FOREIGN_HEADLINES:
        for column in columns:
            if column.split("/", 2)[2].partition(":")[0] == metric:
                return [column]
    return columns


_FOREIGN_HEADLINES = (
    "symbolic_correct", "judge_correct", "passing_plus_tests", "prompt_strict_accuracy", "score",
    "acc_norm", "acc", "exact_match", "extractive_match", "prompt_level_strict_acc", "pass@k", "em",
    "f1",
)  # fmt: skip
"""Of benchmarks of other programs, the first of these that they have."""


def collect_file(path: Path, name: str) -> Table:
    """One file of metrics, or of results of lm-eval or lighteval, as one row, named `name`.

    Values that are none are problems of the table. Raises ResultError for a file with nothing to read.
    """
    notes: list[str] = []
    data = read_json(path)
    # As in a tree: what is called and made like a program's results is not taken for a benchmark.
    looks_foreign = isinstance(data, dict) and isinstance(data.get("results"), dict)
    if tool_of(data) or (looks_foreign and is_tool_file(path.name)):
        found = read_tool_results(path)
        metrics, odd, notes = found.metrics, found.odd, found.cut
    else:
        metrics, odd = read_values(path)
    if odd and all(value is None for _, value in flatten(metrics)):
        raise ResultError(f"{path}: {odd[0]}")
    whole = Found(Place((name,)), ALL, str(path), COMBINED, metrics, odd=odd, notes=notes)
    row, problems, notes = merge([whole]).table_row(name, name, step_of(name))
    return Table((row,), tuple(problems), notes=tuple(notes))
