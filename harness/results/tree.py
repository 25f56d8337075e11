"""Any tree of results, ours or other programs', -> one table in which nothing is left out.

A row is a checkpoint: any folder with metrics, whatever its trainer called it. Read are runs of ours
(by their manifest: every planned cell), cells of ours (task.json), NeMo-Skills' folders
(`eval-results/<benchmark>/metrics.json`, one metrics.json for all, `output*.jsonl` with an empty
`.done` each), and results files of lm-eval and lighteval.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.errors import ResultError, UserError
from harness.plan.facts import RunFacts
from harness.results.batch import is_run, open_run, run_tables
from harness.results.compare import different_items, not_everywhere
from harness.results.group import Group, groups_of
from harness.results.names import Parts, distinct, is_checkpoint_name, natural, run_names, run_of
from harness.results.sources import ALL, Found, read_folder
from harness.results.table import Problem, Row, Table
from harness.results.walk import METRICS, TASK, Walk

_LINKS_SHOWN = 5
_PROGRAM = "program"
"""In a cell of ours: what another evaluator wrote, of which the cell's metrics are made."""


def collect_tree(folder: Path, report: Callable[[str], object] = lambda text: None) -> Table:
    """One row per checkpoint below `folder`, in order of run and step, those without a step last.

    Not ok are: what a run or a cell of ours says itself, a file or folder that cannot be read, a value
    that is no number, an output without its mark or without metrics, a benchmark that only other
    checkpoints have, a checkpoint's folder without results beside others, files that contradict each
    other, checkpoints that differ in items. `report` hears how far it is, once that takes seconds.
    Raises UserError where there is nothing of the kind, and names what there is.
    """
    if not folder.is_dir():
        raise UserError.at(folder, "is no folder" if folder.exists() else "no such folder")
    tree = Tree(folder, report)
    tree.read()
    if not tree.found and not tree.runs and not tree.damaged and not tree.walk.unreadable:
        raise UserError.at(
            folder,
            "no results below it: no metrics.json, and no results_*.json of lm-eval or lighteval\n"
            f"found in {tree.walk.folders:,} folders: {', '.join(tree.walk.names) or 'nothing'}",
        )
    return tree.table()


class Tree:
    """What is found in a tree, and the table of it."""

    def __init__(self, folder: Path, report: Callable[[str], object]) -> None:
        self.folder = folder
        self.walk = Walk(folder, report)
        self.found: list[Found] = []
        self.runs: dict[Parts, RunFacts] = {}
        """Runs of ours."""
        self.damaged: dict[Parts, str] = {}
        """Runs of ours whose manifest cannot be read, and why."""
        self.named: list[Parts] = []
        """Folders that are called like a checkpoint."""

    def read(self) -> None:
        """Look into every folder once."""
        root = len(Path(os.path.realpath(self.folder)).parts)
        for folder in self.walk:
            if is_run(folder):
                try:
                    self.runs[folder.parts] = open_run(folder)
                    self.walk.leave_out(folder)
                    continue
                except (
                    ResultError,
                    UserError,
                ) as error:  # then its cells are read as they lie there
                    self.damaged[folder.parts] = str(error)
            if is_checkpoint_name(folder.name):
                self.named.append(folder.parts)
            if METRICS in folder.files or TASK in folder.files:
                self.walk.leave_out(folder, _PROGRAM)
            self.found += read_folder(folder, root)

    def table(self) -> Table:
        """Rows of all that was read, under names that tell them apart."""
        groups = groups_of(self.found)
        keys = dict.fromkeys((*(g.run for g in groups), *self.runs, *self.damaged))
        labels = distinct({key: run_names(key) for key in keys})
        rows, problems, notes = _rows(groups, labels)
        problems += not_everywhere(rows, problems)
        origins = {
            (run, checkpoint, benchmark): origin
            for (run, checkpoint), group in _named(groups, labels).items()
            for benchmark, origin in group.merged.origins.items()
        }
        planned: list[str] = []
        for table in run_tables(self.runs, labels, self.walk.say):
            rows += table.rows
            problems += table.problems
            notes += table.notes
            origins |= table.origins
            planned += table.benchmarks
        problems += different_items(rows)
        problems += self._without_results(groups, labels)
        problems += self._unreadable(labels)
        rows.sort(
            key=lambda r: (natural(r.run), r.step is None, r.step or 0, natural(r.checkpoint))
        )
        places = {(row.run, row.checkpoint): at for at, row in enumerate(rows)}
        problems.sort(key=lambda p: places.get((p.run, p.checkpoint), len(places)))
        order = tuple(dict.fromkeys(planned))
        notes = [*self._links(), *notes]
        return Table(tuple(rows), tuple(problems), 0, tuple(notes), origins, order)

    def _without_results(self, groups: list[Group], labels: Mapping[Parts, str]) -> list[Problem]:
        """Folders that are called like a checkpoint, beside others that have results."""
        named = [group.checkpoint for group in groups if is_checkpoint_name(group.checkpoint[-1])]
        beside = {checkpoint[:-1] for checkpoint in named}
        lead_to_some = {g.checkpoint[:n] for g in groups for n in range(len(g.checkpoint) + 1)}
        return [
            Problem(parts[-1], ALL, "missing", "no results in it", run=labels[run_of(parts)])
            for parts in self.named
            if parts[:-1] in beside and parts not in lead_to_some
        ]

    def _unreadable(self, labels: Mapping[Parts, str]) -> list[Problem]:
        damaged = [Problem(ALL, ALL, "invalid", w, run=labels[p]) for p, w in self.damaged.items()]
        relative = [(os.path.relpath(path, self.folder), why) for path, why in self.walk.unreadable]
        return [*damaged, *(Problem(path, ALL, "unreadable", why) for path, why in relative)]

    def _links(self) -> list[str]:
        links = self.walk.links
        if not links:
            return []
        more = f", … {len(links) - _LINKS_SHOWN} more" if len(links) > _LINKS_SHOWN else ""
        return [f"links that add nothing: {', '.join(links[:_LINKS_SHOWN])}{more}"]


def _named(groups: list[Group], labels: Mapping[Parts, str]) -> dict[tuple[str, str], Group]:
    """Groups by run and checkpoint as the table calls them: no two alike."""
    names = distinct({at: [(labels[g.run], n) for n in g.names] for at, g in enumerate(groups)})
    return {names[at]: group for at, group in enumerate(groups)}


def _rows(
    groups: list[Group], labels: Mapping[Parts, str]
) -> tuple[list[Row], list[Problem], list[str]]:
    rows: list[Row] = []
    problems: list[Problem] = []
    notes: list[str] = []
    for (run, checkpoint), group in _named(groups, labels).items():
        row, troubles, told = group.merged.table_row(run, checkpoint, group.step)
        problems += troubles
        notes += [f"{run} {text}" for text in told]
        if group.merged.is_row:
            rows.append(row)
    return rows, problems, notes
