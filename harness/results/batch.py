"""Runs of ours in a tree, each as `collect` of the run shows it: every planned cell, with its state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from harness.errors import HarnessError, ResultError
from harness.plan.facts import RunFacts
from harness.results.collect import cells_table
from harness.results.names import Parts
from harness.results.sources import ALL
from harness.results.table import Problem, Table
from harness.results.walk import Folder
from harness.runs.files import read_json
from harness.runs.paths import MANIFEST, RUN_ID, RunPaths
from harness.scheduling.cells import CellStatus
from harness.scheduling.status import Jobs, cell_statuses, job_states, unasked

Runs = Mapping[Parts, RunFacts]


def is_run(folder: Folder) -> bool:
    """Whether a folder is one of our runs: by its id, or, renamed, by its manifest."""
    if MANIFEST not in folder.files:
        return False
    if RUN_ID.match(folder.name):
        return True
    try:
        data = read_json(f"{folder.path}/{MANIFEST}")
    except ResultError:
        return False
    return isinstance(data, dict) and {"run_id", "plan", "scheduler"} <= data.keys()


def open_run(folder: Folder) -> RunFacts:
    """A run whose manifest and spec can be read. Raises ResultError or UserError."""
    facts = RunFacts(RunPaths(Path(*folder.parts)))
    _ = facts.manifest, facts.checkpoints_dir
    return facts


def run_tables(
    runs: Runs, labels: Mapping[Parts, str], report: Callable[[str], object]
) -> Iterator[Table]:
    """The table of each run, under its label.

    Slurm is asked once, and only for runs in which a cell is not ok: what is ok stays so.
    """
    asked: list[Parts] = []
    for number, (key, facts) in enumerate(runs.items(), 1):
        report(f"{number} of {len(runs)} runs read …")
        if facts.plan.serves or not facts.plan.cells:
            what = "a served model" if facts.plan.serves else "no evaluation is planned"
            yield Table((), notes=(f"{labels[key]}: {what}: it has no table",))
            continue
        nothing = unasked(facts)
        if table := _table(facts, labels[key], nothing, "", only_ok=True):
            yield table
        else:
            asked.append(key)
    told = job_states([runs[key] for key in asked])
    for key, of in zip(asked, told, strict=True):
        if table := _table(of.facts, labels[key], of.jobs, of.problem):
            yield table


def _table(
    facts: RunFacts, label: str, jobs: Jobs, problem: str, only_ok: bool = False
) -> Table | None:
    """The table of a run; None where `only_ok` and a cell is not."""
    cells = cell_statuses(facts, jobs)
    try:
        return cells_table(facts, _all_ok(cells) if only_ok else cells, problem, label)
    except _NotOk:
        return None
    except HarnessError as error:
        if only_ok:
            return None
        trouble = Problem(ALL, ALL, "invalid", str(error), run=label)
        return Table((), (trouble,), len(facts.plan.cells))


class _NotOk(Exception):
    """A cell is not ok."""


def _all_ok(cells: Iterable[CellStatus]) -> Iterator[CellStatus]:
    for cell in cells:
        if cell.state != "ok":
            raise _NotOk
        yield cell
